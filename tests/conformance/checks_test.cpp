// SPDX-License-Identifier: Apache-2.0
// The checker itself: it passes what is sound and finds what is not.

#include "core/plugin/checks.h"

#include "plugin_folder.h"

#include <medgen/abi/version.h>

#include <catch2/catch.hpp>

using namespace medgen;
using namespace medgen::test;
using Catch::Matchers::Contains;

namespace {

/// The manifest that says what `plain_plugin.h` says.
constexpr const char* kPlainManifest = R"({"medgen_plugin": 1, "id": "plain", "version": "1.0.0",
 "vendor": "medgen tests", "license": "Apache-2.0", "summary": "A plugin for tests.",
 "abi": {"major": 1, "minor": MINOR}, "library": "LIBRARY.so",
 "components": [{"id": "plain.nothing", "kind": "medgen.conditioner/1", "summary": "Computes nothing.",
   "config_schema": {"type": "object", "additionalProperties": false}, "io": {}}]})";

std::vector<CheckResult> check_library(const std::string& library) {
  const TemporaryFolder folder;
  const auto manifest = install(folder.path(), library, "plain", {});
  std::string text = kPlainManifest;
  text.replace(text.find("LIBRARY"), 7, library);
  text.replace(text.find("MINOR"), 5, std::to_string(MEDGEN_ABI_MINOR));
  std::ofstream(manifest, std::ios::trunc) << text;
  return check_plugin(manifest);
}

std::vector<std::string> failures(const std::vector<CheckResult>& results) {
  std::vector<std::string> names;
  for (const CheckResult& result : results) {
    if (result.status == CheckStatus::Fail) names.push_back(result.name + ": " + result.detail);
  }
  return names;
}

}  // namespace

TEST_CASE("a sound plugin passes every check", "[conformance][plugin]") {
  const auto results = check_library("sound");
  CHECK(failures(results) == std::vector<std::string>{});
  CHECK(results.size() > 10);
}

TEST_CASE("a defect is found and named", "[conformance][plugin]") {
  const auto [library, expected] = GENERATE(table<std::string, std::string>({
      {"two_symbols", "leaked_symbol"},
      {"returns_null", "does not offer ABI 1"},
      {"no_symbol", "has no symbol medgen_plugin_v1"},
      {"short_plugin", "its description is 40 bytes long"},
      {"init_fails", "the licence server is asleep"},
      {"any_major", "when asked for ABI 0"},
      {"knows_everything", "answers to the unknown extension id"},
  }));
  CAPTURE(library);
  const auto found = failures(check_library(library));
  REQUIRE_FALSE(found.empty());
  CHECK_THAT(fmt::format("{}", fmt::join(found, "\n")), Contains(expected));
}

TEST_CASE("a manifest that differs from its library is found", "[conformance][plugin]") {
  const TemporaryFolder folder;
  const auto results =
      check_plugin(install(folder.path(), "sound", "plain", {{"plain.nothing", "medgen.conditioner/1"}}));
  const std::string found = fmt::format("{}", fmt::join(failures(results), "\n"));
  CHECK_THAT(found, Contains("vendor is 'medgen tests' in the library and '' in the manifest"));
  CHECK_THAT(found, Contains("plain.nothing: manifest says what the library says"));
}

TEST_CASE("a folder without a plugin fails in one check", "[conformance][plugin]") {
  const auto results = check_plugin("/nowhere/x.medgen-plugin.json");
  REQUIRE(results.size() == 1);
  CHECK(results[0].status == CheckStatus::Fail);
}

TEST_CASE("misbehaviour of components is found", "[conformance][plugin]") {
  const TemporaryFolder folder;
  const auto manifest = install(folder.path(), "misbehaving", "misbehaving",
                                {{"misbehaving.denoiser", "medgen.denoiser/1"},
                                 {"misbehaving.nan", "medgen.denoiser/1"},
                                 {"misbehaving.name", "medgen.denoiser/1"},
                                 {"misbehaving.scheduler", "medgen.scheduler/1"},
                                 {"misbehaving.propagator", "medgen.propagator/1"}});
  const std::string found = fmt::format("{}", fmt::join(failures(check_plugin(manifest)), "\n"));
  CHECK_THAT(found,
             Contains("misbehaving.nan: gives what its kind promises: misbehaving.nan: predict gave 'out' with 2 of 2 "
                      "values NaN"));
  CHECK_THAT(found,
             Contains("misbehaving.name: gives what its kind promises: misbehaving.name: predict reported success "
                      "without output 'out'"));
  CHECK_THAT(found, Contains("plugin: ranges nest: misbehaving.nan: predict leaves 1 ranges open"));
  CHECK_THAT(found, Contains("misbehaving.scheduler: levels invert the training target"));
  CHECK_THAT(found, Contains("misbehaving.scheduler: impossible requests are refused: a run of no steps is begun"));
  CHECK_THAT(found, Contains("misbehaving.propagator: a gap is an error"));
  CHECK_THAT(found, Contains("misbehaving.propagator: covers 6x5x4 and gives back what it was given"));
}
