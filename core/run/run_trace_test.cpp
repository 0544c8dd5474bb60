// SPDX-License-Identifier: Apache-2.0
#include "core/run/run_trace.h"

#include "core/base/error.h"
#include "core/base/test_folder.h"

#include <catch2/catch.hpp>

#include <string>

using namespace medgen;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

TEST_CASE("a run's trace is put in its place however the run ends", "[unit][run]") {
  const TestFolder folder;
  const auto silent = [](std::string_view) { FAIL(); };
  {
    RunTrace trace(folder.path / "done.json", silent);
    trace.finish();
    CHECK(fs::exists(folder.path / "done.json"));
  }
  { const RunTrace trace(folder.path / "failed.json", silent); }
  CHECK(fs::exists(folder.path / "failed.json"));
  RunTrace none("", silent);
  CHECK(none.get() == nullptr);
  CHECK_NOTHROW(none.finish());
}

TEST_CASE("a run's trace that is lost is an error of a run that succeeded, and a warning of one that failed",
          "[unit][run]") {
  const TestFolder folder;
  std::string warning;
  const auto warn = [&](std::string_view text) { warning = text; };
  fs::create_directories(folder.path / "gone");
  {
    RunTrace trace(folder.path / "gone" / "t.json", warn);
    fs::remove_all(folder.path / "gone");
    CHECK_THROWS_AS(trace.finish(), RuntimeError);
  }
  CHECK(warning.empty());
  fs::create_directories(folder.path / "gone");
  {
    const RunTrace trace(folder.path / "gone" / "t.json", warn);
    fs::remove_all(folder.path / "gone");
  }
  CHECK_THAT(warning, Contains("t.json"));
  CHECK_THROWS_AS(RunTrace(folder.path / "gone" / "t.json", warn), RuntimeError);
}
