// SPDX-License-Identifier: Apache-2.0
#include "core/cli/app.h"

#include "core/cli/command.h"
#include "core/cli/completion.h"
#include "core/cli/console.h"
#include "core/cli/help.h"
#include "core/cli/signals.h"
#include "core/inspect/failure.h"

#include <nlohmann/json.hpp>

#include <unistd.h>
#include <algorithm>
#include <cstring>

namespace medgen::cli {
namespace {

/// Says what failed, the way it was asked for, and gives the exit code.
int report(const Failure& failure, const Invocation& call) {
  const int code = static_cast<int>(failure.kind);
  const Json error = {{"kind", name_of(failure.kind)}, {"code", code}, {"message", failure.message}};
  constexpr auto kReplace = Json::error_handler_t::replace;
  std::string line =
      "medgen: " + std::string(failure.kind == ErrorKind::Cancelled ? "" : "error: ") + printable(failure.message);
  if (call.progress == ProgressStyle::Json)
    line = Json{{"event", "error"}, {"error", error}}.dump(-1, ' ', false, kReplace);
  line += '\n';
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  if (call.json) print(Json{{"error", error}}.dump(2, ' ', false, kReplace) + '\n');
  return code;
}

/// Ends a process that failed; of several that were started together the first one says why, whichever it was.
int end(Failure failure, const Invocation& call) {
  if (!call.group) return report(failure, call);
  call.group->fail(failure.kind, failure.message);
  const auto cause = call.group->failure();
  if (cause && cause->kind != ErrorKind::Cancelled && failure.kind == ErrorKind::Cancelled) {
    failure = {cause->kind, fmt::format("process {} of {}: {}", cause->rank + 1, call.group->size(), cause->message)};
  }
  return call.speaks() ? report(failure, call) : static_cast<int>(failure.kind);
}

/// CLI11's own words where nothing better is known: without its trailing advice, starting in lower case.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  if (std::string unknown = explain_unknown(app); !unknown.empty()) return unknown;
  std::string text = error.what();
  text = text.substr(0, text.find('\n'));
  if (text.starts_with("A subcommand is required")) return "a command is needed";
  return text;
}

int parse_and_run(CLI::App& app, Invocation& call, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());  // the order CLI11 wants
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    print(app.help());
  } catch (const CLI::CallForVersion& version) {
    print(std::string(version.what()) + '\n');
  } catch (const CLI::ParseError& error) {
    const std::string called =
        app.get_name() + (innermost(app).get_parent() != nullptr ? ' ' + innermost(app).get_name() : "");
    throw UsageError("{}; see `{} --help`", usage_message(app, error), called);
  }
  return call.exit_code;
}

/// `medgen help plan` is `medgen plan --help`.
void rewrite_help(std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments.front() != "help") return;
  arguments.erase(arguments.begin());
  arguments.emplace_back("--help");
}

}  // namespace

int main(const std::string& program, std::vector<std::string> arguments) {
  ignore_broken_pipes();
  Invocation call;
  // A wrong command line is reported the way it asks for, although it is not understood.
  call.json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
  try {
    const auto app = make_app(program == "medgen-run" ? program : "medgen", call);
    if (!arguments.empty() && arguments.front() == "__complete") {
      print(complete(*app, {arguments.begin() + 1, arguments.end()}));
      return 0;
    }
    if (program != "medgen-run") rewrite_help(arguments);
    return parse_and_run(*app, call, std::move(arguments));
  } catch (const OutputClosed&) {
    return 0;
  } catch (...) {
    try {
      return end(current_failure(), call);
    } catch (...) {  // standard output is gone, or there is no memory left to say anything
      return static_cast<int>(ErrorKind::Runtime);
    }
  }
}

}  // namespace medgen::cli
