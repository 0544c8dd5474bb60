// SPDX-License-Identifier: Apache-2.0
#include "core/cli/help.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <sstream>

namespace medgen::cli {
namespace {

std::string indented(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) result += "  " + line + '\n';
  return result;
}

}  // namespace

HelpFormatter::HelpFormatter() {
  column_width(32);
  label("Positionals", "Arguments");
  label("Subcommands", "Commands");
  label("SUBCOMMAND", "COMMAND");
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const {
  std::string text = app->get_description() + '\n';
  if (!app->get_footer().empty()) text += "\nExamples:\n" + indented(app->get_footer());
  text += '\n' + make_usage(app, name);
  text += make_positionals(app);
  text += make_groups(app, mode);
  text += make_subcommands(app, mode);
  return text;
}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  std::string text = "Usage: " + (name.empty() ? app->get_name() : name);
  const auto positional = [](const CLI::Option* option) {
    return option->get_positional() && option->nonpositional() == false;
  };
  if (!app->get_subcommands([](const CLI::App*) { return true; }).empty()) text += " COMMAND";
  for (const CLI::Option* option : app->get_options(positional)) {
    const std::string metavariable = option->get_name(true) + (option->get_expected_max() > 1 ? "..." : "");
    text += option->get_required() ? ' ' + metavariable : " [" + metavariable + ']';
  }
  return text + " [OPTIONS]\n";
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  if (option->get_positional() && !option->nonpositional()) return "";
  std::string text = option->get_type_size() == 0 ? "" : ' ' + metavariable(*option);
  if (!option->get_default_str().empty()) text += '=' + option->get_default_str();
  return text + (option->get_required() ? " (required)" : "");
}

std::string metavariable(const CLI::Option& option) {
  const std::string type = option.get_type_name();  // "N:INT in [1 - 8]", "TEXT:{a,b}": ours, and what its checks add
  const std::size_t brace = type.find('{');
  if (brace != std::string::npos) return type.substr(brace, type.find('}') + 1 - brace);
  if (option.get_positional() && !option.nonpositional()) return option.get_name(true);
  return type.substr(0, type.find(':'));
}

std::string with_name(std::string_view examples, std::string_view called) {
  std::string text;
  for (const char c : examples) c == '%' ? text += called : text += c;
  return text;
}

const CLI::App& innermost(const CLI::App& app) {
  const CLI::App* found = &app;
  while (!found->get_subcommands().empty()) found = found->get_subcommands().back();
  return *found;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

std::string explain_unknown(const CLI::App& app) {
  const std::vector<std::string> unknown = app.remaining(true);
  if (unknown.empty()) return "";
  const CLI::App& command = innermost(app);
  const std::string& word = unknown.front();
  if (word.starts_with('-')) {
    const std::string name = word.substr(0, word.find('='));
    return fmt::format("unknown option '{}'{}", name, did_you_mean(name, option_names(command)));
  }
  const std::vector<std::string> known = command_names(command);
  if (!known.empty()) return fmt::format("no command '{}'{}", word, did_you_mean(word, known));
  return fmt::format("unexpected argument '{}'", word);
}

}  // namespace medgen::cli
