// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/cli/progress.h"
#include "core/parallel/group.h"
#include "core/plugin/registry.h"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace medgen::cli {

/// One call of the tool: what the options that all commands share say, and what becomes of it.
struct Invocation {
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  bool no_progress = false;
  ProgressStyle progress = ProgressStyle::Auto;
  std::vector<std::filesystem::path> plugin_dirs;
  int exit_code = 0;
  std::shared_ptr<Group> group;  ///< the processes that were started together, when there are several

  /// Whether this process speaks for all.
  bool speaks() const { return !group || group->first(); }

  /// The least important messages to show.
  LogLevel log_level() const;
  ProgressStyle progress_style() const;
  Registry registry() const;

  /// Whether lines of text for people may be written to standard error between the others.
  bool talks() const { return !quiet && progress != ProgressStyle::Json; }
};

/// A command: what it is called, and how it adds its options and its action to a parser. The action runs as the
/// parser's callback, prints to standard output, and reports failure with an exception or `exit_code`.
struct Command {
  const char* name;
  const char* summary;   ///< one sentence, for the list of commands
  const char* examples;  ///< two or three, one a line; "%" stands for the program and command ("medgen run")
  void (*configure)(CLI::App& app, Invocation& call);
};

/// All commands in the order of the help.
std::span<const Command> commands();

extern const Command kRunCommand, kPlanCommand, kPluginsCommand, kDescribeCommand, kValidateCommand, kProbeCommand,
    kImportCommand, kInspectCommand, kDoctorCommand, kSchemaCommand, kCompletionCommand, kCheckPluginCommand,
    kVersionCommand, kViewCommand, kBodyCommand;

// Options that several commands share. Metavariables are what completion goes by: FILE, DIR, COMPONENT, ID, {a,b}.
void add_json_option(CLI::App& app, Invocation& call);
void add_plugin_dir_option(CLI::App& app, Invocation& call);
void add_progress_options(CLI::App& app, Invocation& call);  ///< --progress, --no-progress
/// Any unsigned 64-bit number: CLI11 alone would take -1 for a very large one.
CLI::Validator seed_range();

/// A finite number, above 0 or any; a whole number of at least `least`. Unlike those of CLI11, their messages say so.
CLI::Validator number_above_0();
CLI::Validator finite_number();
CLI::Validator whole_number(std::int64_t least);

/// One of `names`, which becomes its value.
template <typename Enum>
CLI::Validator one_of(const std::map<std::string, Enum>& names) {
  std::string list;
  for (const auto& [name, value] : names) list += (list.empty() ? "" : ", ") + name;
  return CLI::Validator(
      [names, list](std::string& text) {
        const auto found = names.find(text);
        if (found == names.end()) return "must be one of " + list + ", got '" + text + "'";
        text = std::to_string(static_cast<int>(found->second));
        return std::string();
      },
      "{" + list + "}");
}

CLI::Option* add_set_option(CLI::App& app, std::vector<std::string>& settings, const std::string& what);

/// The parser of the whole tool; of one command alone when `program` is "medgen-run".
std::unique_ptr<CLI::App> make_app(const std::string& program, Invocation& call);

}  // namespace medgen::cli
