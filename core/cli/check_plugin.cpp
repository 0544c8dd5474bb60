// SPDX-License-Identifier: Apache-2.0
// medgen check-plugin

#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/plugin/checks.h"

#include <nlohmann/json.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <cstring>

namespace medgen::cli {
namespace {

namespace fs = std::filesystem;

std::string_view name_of(CheckStatus status) {
  return status == CheckStatus::Pass ? "pass" : status == CheckStatus::Fail ? "FAIL" : "skip";
}

/// The manifest of a library that was named instead of it: medgen-ID.so has ID.medgen-plugin.json beside it.
fs::path manifest_of(const fs::path& path) {
  if (path.extension() != ".so") return path;
  std::string id = path.stem().string();
  if (id.starts_with("medgen-")) id.erase(0, 7);
  const fs::path manifest = path.parent_path() / (id + std::string(kManifestSuffix));
  if (fs::exists(manifest)) return manifest;
  throw UsageError("{} has no manifest {} beside it; name the manifest", path.string(), manifest.filename().string());
}

void print_result(const CheckResult& result, bool json) {
  if (json)
    return print(Json{{"name", result.name}, {"status", name_of(result.status)}, {"detail", result.detail}}.dump() +
                 '\n');
  const std::string detail = result.detail.empty() ? "" : ": " + result.detail;
  print(fmt::format("{}  {}{}\n", name_of(result.status), printable(result.name), printable(detail)));
}

/// Exit codes of the child that are no plugin's: all checks were made, and went well, or not.
constexpr int kAllWell = 90, kProblems = 91;

/// In the child.
[[noreturn]] void run_checks(const fs::path& manifest, bool json) {
  int code = kAllWell;
  try {
    const auto results = check_plugin(manifest, [json](const CheckResult& result) { print_result(result, json); });
    for (const CheckResult& result : results) {
      if (result.status == CheckStatus::Fail) code = kProblems;
    }
  } catch (const OutputClosed&) {
  } catch (...) {
    code = kProblems;
  }
  _exit(code);
}

/// The plugin's code runs in a child, so that a crash is a result and not the end of the checker.
void check(const fs::path& path, Invocation& call) {
  const fs::path manifest = manifest_of(path);
  const pid_t child = ::fork();
  if (child < 0) throw RuntimeError("no process can be started: {}", std::strerror(errno));
  if (child == 0) run_checks(manifest, call.json);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFSIGNALED(status)) {
    throw PluginError("{} crashed the checker with signal {} ({}) in the check after the last one that was reported",
                      manifest.string(), WTERMSIG(status), strsignal(WTERMSIG(status)));
  }
  const int code = WEXITSTATUS(status);
  if (code != kAllWell && code != kProblems) {
    throw PluginError("{} ended the checker's process with exit({}) in the check after the last one that was reported",
                      manifest.string(), code);
  }
  call.exit_code = code == kAllWell ? 0 : static_cast<int>(ErrorKind::Plugin);
}

void configure_check_plugin(CLI::App& app, Invocation& call) {
  const auto path = std::make_shared<fs::path>();
  app.add_option("MANIFEST", *path, "The plugin's manifest, or its library")->required()->check(CLI::ExistingFile);
  app.add_flag("--json", call.json, "One line of JSON for each check");
  app.callback([path, &call] { check(*path, call); });
}

}  // namespace

const Command kCheckPluginCommand = {"check-plugin",
                                     "Run the conformance checks on a plugin, and say what is wrong with it.",
                                     "% build/release/plugins/medgen-mine.so\n"
                                     "% build/release/plugins/mine.medgen-plugin.json --json",
                                     configure_check_plugin};

}  // namespace medgen::cli
