// SPDX-License-Identifier: Apache-2.0
#include "core/cli/command.h"

#include "core/cli/help.h"

#include <fmt/format.h>
#include <medgen/abi/version.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

namespace medgen::cli {
namespace {

const std::map<std::string, ProgressStyle> kProgressStyles = {{"auto", ProgressStyle::Auto},
                                                              {"bar", ProgressStyle::Bar},
                                                              {"lines", ProgressStyle::Lines},
                                                              {"json", ProgressStyle::Json},
                                                              {"none", ProgressStyle::None}};

/// Every command takes them.
void add_message_options(CLI::App& app, Invocation& call) {
  CLI::Option* quiet = app.add_flag("-q,--quiet", call.quiet, "Errors only");
  app.add_flag("-v,--verbose", call.verbose, "More messages")->excludes(quiet);
}

void configure(CLI::App& app, const Command& command, const std::string& called, Invocation& call) {
  app.description(command.summary);
  app.set_help_flag("-h,--help", "Show this help");
  app.footer(with_name(command.examples, called));
  command.configure(app, call);
  add_message_options(app, call);
}

}  // namespace

LogLevel Invocation::log_level() const {
  if (quiet) return LogLevel::Error;
  return verbose ? LogLevel::Debug : LogLevel::Info;
}

ProgressStyle Invocation::progress_style() const {
  if (progress == ProgressStyle::Json) return progress;
  return quiet || no_progress ? ProgressStyle::None : progress;
}

Registry Invocation::registry() const {
  return Registry::scan(plugin_dirs);
}

std::span<const Command> commands() {
  static const std::array kCommands = {kRunCommand,         kPlanCommand,       kValidateCommand, kInspectCommand,
                                       kBodyCommand,        kDescribeCommand,   kViewCommand,     kPluginsCommand,
                                       kImportCommand,      kProbeCommand,      kDoctorCommand,   kSchemaCommand,
                                       kCheckPluginCommand, kCompletionCommand, kVersionCommand};
  return kCommands;
}

void add_json_option(CLI::App& app, Invocation& call) {
  app.add_flag("--json", call.json, "Print one JSON document instead of text; also for errors");
}

void add_plugin_dir_option(CLI::App& app, Invocation& call) {
  app.add_option("--plugin-dir", call.plugin_dirs, "Look for plugins here first; may be given again")
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory)
      ->allow_extra_args(false);
}

void add_progress_options(CLI::App& app, Invocation& call) {
  app.add_option("--progress", call.progress, "How progress is shown on standard error")
      ->type_name("STYLE")
      ->transform(one_of(kProgressStyles));
  app.add_flag("--no-progress", call.no_progress, "Messages only; the same as --progress none");
}

namespace {

/// Nothing when the whole text is no number.
template <typename Number>
std::optional<Number> number_in(const std::string& text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

template <typename Number, typename Fits>
CLI::Validator number_that(const Fits& fits, std::string wanted, std::string type) {
  return CLI::Validator(
      [fits, wanted](const std::string& text) {
        const auto value = number_in<Number>(text);
        return value && fits(*value) ? std::string() : "must be " + wanted + ", got '" + text + "'";
      },
      std::move(type));
}

}  // namespace

CLI::Validator seed_range() {
  // CLI::Range reads -1 as 2^64 - 1.
  return number_that<std::uint64_t>([](std::uint64_t) { return true; }, "a whole number from 0 to 2^64 - 1", "UINT64");
}

CLI::Validator number_above_0() {
  return number_that<double>([](double x) { return std::isfinite(x) && x > 0; }, "a number above 0", "NUMBER");
}

CLI::Validator finite_number() {
  return number_that<double>([](double x) { return std::isfinite(x); }, "a finite number", "NUMBER");
}

CLI::Validator whole_number(std::int64_t least) {
  return number_that<std::int64_t>([least](std::int64_t n) { return n >= least; },
                                   fmt::format("a whole number of at least {}", least), "N");
}

CLI::Option* add_set_option(CLI::App& app, std::vector<std::string>& settings, const std::string& what) {
  return app.add_option("--set", settings, what)->type_name("KEY=VALUE")->allow_extra_args(false);
}

std::unique_ptr<CLI::App> make_app(const std::string& program, Invocation& call) {
  auto app = std::make_unique<CLI::App>();
  app->name(program);
  app->formatter(std::make_shared<HelpFormatter>());
  if (program == "medgen-run") {
    configure(*app, kRunCommand, program, call);
    app->set_version_flag("--version", std::string("medgen " MEDGEN_VERSION), "Print the version");
    return app;
  }
  app->description("medgen generates 3D medical images with their label maps.");
  app->set_help_flag("-h,--help", "Show this help; `medgen COMMAND --help` shows that of a command");
  app->set_version_flag("--version", std::string("medgen " MEDGEN_VERSION), "Print the version");
  app->footer(
      "medgen run pipeline.json           run a pipeline\n"
      "medgen plugins                     what is installed\n"
      "medgen describe maisi.unet         what a component takes and gives");
  app->require_subcommand(1);
  for (const Command& command : commands()) {
    configure(*app->add_subcommand(command.name)->group("Commands"), command, program + ' ' + command.name, call);
  }
  return app;
}

}  // namespace medgen::cli
