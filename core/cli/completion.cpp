// SPDX-License-Identifier: Apache-2.0
#include "core/cli/completion.h"

#include "core/cli/command.h"
#include "core/cli/help.h"
#include "core/inspect/inspect.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <span>
#include <sstream>

namespace medgen::cli {
namespace {

using Words = std::vector<std::string>;

const CLI::Option* find_option(const CLI::App& app, const std::string& name) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->check_name(name)) return option;
  }
  return nullptr;
}

bool takes_value(const CLI::Option& option) {
  return option.get_type_size() > 0;
}

/// The command that the words before the cursor lead to, and how many of its arguments they already give.
struct Place {
  const CLI::App* app;
  const CLI::Option* value_of = nullptr;  ///< the cursor is at the value of this option
  std::size_t arguments = 0;
};

Place find_place(const CLI::App& root, std::span<const std::string> before) {
  Place place{&root};
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::string& word = before[i];
    if (word.starts_with('-')) {
      const CLI::Option* option = find_option(*place.app, word);
      if (option == nullptr || !takes_value(*option)) continue;
      if (++i == before.size()) place.value_of = option;
    } else if (const Words names = command_names(*place.app); std::count(names.begin(), names.end(), word) > 0) {
      place = {place.app->get_subcommand(word)};
    } else {
      ++place.arguments;
    }
  }
  return place;
}

Words installed_ids(bool components_only) {
  const Registry registry = Registry::scan();
  const Json catalogue = catalogue_document(registry);
  Words ids;
  for (const Json& component : catalogue.at("components")) ids.push_back(component.at("id").get<std::string>());
  if (components_only) return ids;
  for (const Json& method : catalogue.at("methods")) ids.push_back(method.at("id").get<std::string>());
  for (const PluginInfo& plugin : registry.plugins()) ids.push_back(plugin.id);
  return ids;
}

/// "{a,b,c}" -> a b c
Words choices(const std::string& braces) {
  Words words;
  std::istringstream list(braces.substr(1, braces.size() - 2));
  for (std::string word; std::getline(list, word, ',');) words.push_back(word);
  return words;
}

/// Candidates for a value.
Words values_of(const CLI::Option& option) {
  const std::string wanted = metavariable(option);
  if (wanted.starts_with('{')) return choices(wanted);
  if (wanted == "COMPONENT") return installed_ids(true);
  if (wanted == "FUNCTION")
    return {"predict",   "encode",  "step",   "decode",         "prior",     "train",
            "timesteps", "updates", "levels", "training_times", "add_noise", "target"};
  if (wanted == "DIR" || wanted == "RUN") return {":folders"};
  if (wanted == "FILE" || wanted == "DATA" || wanted == "PIPELINE" || wanted == "MANIFEST") return {":files"};
  if (wanted != "ID" && wanted != "SUBJECT" && wanted != "METHOD") return {};
  Words ids = installed_ids(false);
  if (wanted == "SUBJECT") ids.emplace_back(":folders");
  return ids;
}

Words arguments_of(const Place& place) {
  const auto positional = [](const CLI::Option* option) {
    return option->get_positional() && !option->nonpositional();
  };
  std::size_t left = place.arguments;
  for (const CLI::Option* option : place.app->get_options(positional)) {
    const auto most = static_cast<std::size_t>(option->get_expected_max());
    if (left < most) return values_of(*option);
    left -= most;
  }
  return {};
}

Words candidates(const CLI::App& root, const Words& words) {
  const std::string current = words.empty() ? "" : words.back();
  const Place place = find_place(root, std::span(words).first(words.empty() ? 0 : words.size() - 1));
  if (place.value_of != nullptr) return values_of(*place.value_of);
  if (current.starts_with('-')) return option_names(*place.app);
  const Words commands = command_names(*place.app);
  return commands.empty() ? arguments_of(place) : commands;
}

constexpr const char* kBash = R"(# medgen completion for bash: source <(medgen completion bash)
_medgen() {
  local word=${COMP_WORDS[COMP_CWORD]} line
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :files) while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$word"); compopt -o filenames ;;
      :folders) while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$word"); compopt -o filenames ;;
      "$word"*) COMPREPLY+=("$line") ;;
    esac
  done < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _medgen medgen medgen-run
)";

constexpr const char* kZsh = R"(#compdef medgen medgen-run
# medgen completion for zsh: source <(medgen completion zsh)
_medgen() {
  local line
  local -a words_found
  for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :files) _files ;;
      :folders) _files -/ ;;
      ?*) words_found+=("$line") ;;
    esac
  done
  (( ${#words_found} )) && compadd -- "${words_found[@]}"
}
compdef _medgen medgen medgen-run
)";

constexpr const char* kFish = R"(# medgen completion for fish: medgen completion fish | source
function __medgen_complete
  set -l typed (commandline -opc) (commandline -ct)
  for line in ($typed[1] __complete $typed[2..-1] 2>/dev/null)
    switch $line
      case :files
        __fish_complete_path (commandline -ct)
      case :folders
        __fish_complete_directories (commandline -ct)
      case '*'
        echo $line
    end
  end
end
complete -c medgen -f -a '(__medgen_complete)'
complete -c medgen-run -f -a '(__medgen_complete)'
)";

}  // namespace

std::string complete(const CLI::App& app, const std::vector<std::string>& words) {
  const std::string current = words.empty() ? "" : words.back();
  std::string text;
  for (const std::string& word : candidates(app, words)) {
    if (word.starts_with(':') || word.starts_with(current)) text += word + '\n';
  }
  return text;
}

std::string completion_script(const std::string& shell) {
  if (shell == "bash") return kBash;
  return shell == "zsh" ? kZsh : kFish;
}

}  // namespace medgen::cli
