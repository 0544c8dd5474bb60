// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace medgen::cli {

/// Help with the examples first: an app's footer holds them.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_usage(const CLI::App* app, std::string name) const override;
};

/// What stands for an option's value or an argument in the help, and what completion goes by: "FILE", "N",
/// "{bash,zsh,fish}".
std::string metavariable(const CLI::Option& option);

/// Every '%' replaced by the name a command was called by.
std::string with_name(std::string_view examples, std::string_view called);

/// What the user gave that no command or option answers to, with what was probably meant; "" when there is nothing.
std::string explain_unknown(const CLI::App& app);

/// The command that was being parsed: the innermost one.
const CLI::App& innermost(const CLI::App& app);

/// The long and short names of all options of an app, "--set", "-q".
std::vector<std::string> option_names(const CLI::App& app);
std::vector<std::string> command_names(const CLI::App& app);

}  // namespace medgen::cli
