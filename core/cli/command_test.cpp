// SPDX-License-Identifier: Apache-2.0
#include "core/cli/command.h"
#include "core/cli/completion.h"
#include "core/cli/help.h"

#include <catch2/catch.hpp>

using namespace medgen::cli;

namespace {

std::string explained(std::vector<std::string> arguments) {
  Invocation call;
  const auto app = make_app("medgen", call);
  std::reverse(arguments.begin(), arguments.end());
  try {
    app->parse(std::move(arguments));
  } catch (const CLI::ParseError&) {
  }
  return explain_unknown(*app);
}

std::string completed(const std::vector<std::string>& words, const std::string& program = "medgen") {
  Invocation call;
  return complete(*make_app(program, call), words);
}

}  // namespace

TEST_CASE("a mistyped command is answered with the one that was meant", "[unit][cli]") {
  CHECK(explained({"plugin"}) == "no command 'plugin' (did you mean 'plugins'?)");
  CHECK(explained({"qqqqqqqqq", "x"}) == "no command 'qqqqqqqqq'");
}

TEST_CASE("a mistyped option is answered with one of the same command", "[unit][cli]") {
  CHECK(explained({"plugins", "--jsn"}) == "unknown option '--jsn' (did you mean '--json'?)");
  CHECK(explained({"run", "p.json", "--sead=3"}) == "unknown option '--sead' (did you mean '--seed'?)");
}

TEST_CASE("a superfluous argument is named", "[unit][cli]") {
  CHECK(explained({"plugins", "extra"}) == "unexpected argument 'extra'");
}

TEST_CASE("a choice that is none is told with those there are", "[unit][cli]") {
  Invocation call;
  std::vector<std::string> arguments{"x", "--progress", "p.json", "run"};  // the last is the first
  CHECK_THROWS_WITH(make_app("medgen", call)->parse(arguments),
                    Catch::Contains("--progress: must be one of auto, bar, json, lines, none, got 'x'"));
}

TEST_CASE("every command has a summary of one line, and examples in which it occurs", "[unit][cli]") {
  for (const Command& command : commands()) {
    INFO(command.name);
    CHECK(std::string(command.summary).ends_with('.'));
    CHECK(std::string(command.summary).find('\n') == std::string::npos);
    CHECK(std::string(command.examples).find('%') != std::string::npos);
  }
}

TEST_CASE("help shows examples before usage and options", "[unit][cli]") {
  Invocation call;
  const auto app = make_app("medgen", call);
  for (const CLI::App* command : app->get_subcommands([](const CLI::App*) { return true; })) {
    const std::string help = command->help();
    INFO(help);
    CHECK(help.find("Examples:\n") < help.find("Usage: "));
    CHECK(help.find("Usage: ") < help.find("Options:"));
    CHECK(help.find("medgen " + command->get_name()) != std::string::npos);
    CHECK(help.find('%') == std::string::npos);
  }
}

TEST_CASE("medgen-run takes the options of medgen run", "[unit][cli]") {
  Invocation call;
  const auto app = make_app("medgen-run", call);
  CHECK(app->get_option_no_throw("--dry-run") != nullptr);
  CHECK(app->get_subcommands([](const CLI::App*) { return true; }).empty());
  CHECK(app->help().find("medgen-run pipeline.json") != std::string::npos);
}

TEST_CASE("completion offers commands, options of the command, and choices", "[unit][cli]") {
  CHECK(completed({"plug"}) == "plugins\n");
  CHECK(completed({"run", "--dr"}) == "--dry-run\n");
  CHECK(completed({"run", "--precision", "b"}) == "bf16\n");
  CHECK(completed({"completion", ""}) == "bash\nzsh\nfish\n");
  CHECK(completed({"probe", "some.component", "predi"}) == "predict\n");
}

TEST_CASE("completion asks the shell for files where files are wanted", "[unit][cli]") {
  CHECK(completed({"run", ""}) == ":files\n");
  CHECK(completed({"run", "a.json", ""}).empty());
  CHECK(completed({"validate", "a.json", "b.json", ""}) == ":files\n");
  CHECK(completed({"probe", "--config", ""}) == ":files\n");
  CHECK(completed({"plugins", "--plugin-dir", ""}) == ":folders\n");
  CHECK(completed({""}, "medgen-run") == ":files\n");
}

TEST_CASE("completion of words that lead nowhere is empty", "[unit][cli]") {
  CHECK(completed({"nonsense", "--x"}).empty());
  CHECK(completed({"run", "--seed", ""}).empty());
}
