// SPDX-License-Identifier: Apache-2.0
#include "core/base/trace.h"

#include "core/base/error.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

using namespace medgen;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("medgen-trace-test-{}", ::getpid());

  Folder() { fs::create_directories(path); }

  ~Folder() { fs::remove_all(path); }
};

std::string text_of(const fs::path& file) {
  return read_file(file, 1 << 30);
}

}  // namespace

TEST_CASE("a trace holds the ranges of all threads, and names that need escaping", "[unit][base]") {
  const Folder folder;
  Trace trace(folder.path / "t.json");
  {
    const TraceRange outer(&trace, "say \"hi\"\\\n", "loop");
    std::jthread([&] { const TraceRange inner(&trace, "other thread", "layer"); });
    const TraceRange none(nullptr, "not traced", "loop");
  }
  CHECK(fs::is_empty(folder.path) == false);
  CHECK_FALSE(fs::exists(folder.path / "t.json"));
  trace.finish();
  const std::string text = text_of(folder.path / "t.json");
  CHECK_THAT(text, Contains(R"("name": "say \"hi\"\\\u000a", "cat": "loop", "ph": "X", "ts": )"));
  CHECK_THAT(text, Contains(R"("name": "other thread", "cat": "layer")"));
  CHECK_THAT(text, !Contains("not traced"));
}

TEST_CASE("a long trace is written as it grows", "[unit][base]") {
  const Folder folder;
  Trace trace(folder.path / "t.json");
  for (int i = 0; i < 10000; ++i) trace.add("event", "loop", Trace::now(), Trace::now());
  CHECK(fs::file_size(*fs::directory_iterator(folder.path)) > 100000);
  trace.finish();
  const std::string text = text_of(folder.path / "t.json");
  CHECK(std::count(text.begin(), text.end(), '\n') == 10003);
}

TEST_CASE("a trace that cannot be written is refused at once, one that is given up leaves nothing", "[unit][base]") {
  const Folder folder;
  CHECK_THROWS_AS(Trace(folder.path / "nowhere" / "t.json"), RuntimeError);
  CHECK_THROWS_WITH(Trace(folder.path), Contains("is a folder; a trace is a file"));
  { const Trace given_up(folder.path / "t.json"); }
  CHECK(fs::is_empty(folder.path));
}
