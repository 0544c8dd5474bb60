// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/services.h"

#include "core/base/error.h"
#include "core/plugin/abi_text.h"
#include "core/plugin/elf_file.h"
#include "core/plugin/invoke.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>

using namespace medgen;
using Catch::Matchers::Contains;

TEST_CASE("every index of a parallel loop runs once, for any number of threads", "[unit][plugin]") {
  const unsigned threads = GENERATE(0u, 1u, 2u, 7u);
  const std::uint64_t n = GENERATE(0u, 1u, 3u, 1000u);
  std::vector<std::atomic<int>> runs(n);
  const auto count = [](void* arg, std::uint64_t i) { ++(*static_cast<std::vector<std::atomic<int>>*>(arg))[i]; };
  CHECK(run_parallel(threads, n, count, &runs) == MEDGEN_OK);
  for (const auto& run : runs) CHECK(run == 1);
}

TEST_CASE("a loop inside a loop runs on the thread it is on", "[unit][plugin]") {
  std::atomic<int> runs = 0;
  const auto inner = [](void* arg, std::uint64_t) { ++*static_cast<std::atomic<int>*>(arg); };
  static constexpr auto* kInner = +inner;
  const auto outer = [](void* arg, std::uint64_t) { run_parallel(4, 10, kInner, arg); };
  CHECK(run_parallel(4, 10, outer, &runs) == MEDGEN_OK);
  CHECK(runs == 100);
}

TEST_CASE("an exception in a parallel loop becomes a status", "[unit][plugin]") {
  const auto throws = [](void*, std::uint64_t i) {
    if (i == 5) throw 1;
  };
  CHECK(run_parallel(3, 10, throws, nullptr) == MEDGEN_E_INTERNAL);
  CHECK_THAT(error_text(), Contains("parallel_for"));
}

TEST_CASE("a plugin's text is made printable", "[unit][plugin]") {
  CHECK(message_text({"plain", 5}) == "plain");
  CHECK(message_text({nullptr, 99}).empty());
  CHECK(message_text(abi_text("µm → 2\n")) == "µm → 2\n");
  CHECK(message_text(abi_text("a\x1b[31m\xff\xc3")) == "a?[31m??");
  CHECK(message_text(abi_text("\xed\xa0\x80\xf5\x80\x80\x80")) == "???????");
  const std::string lengthy(100000, 'x');
  CHECK(message_text(abi_text(lengthy)).size() == 16384);
}

TEST_CASE("statuses become the errors they mean", "[unit][plugin]") {
  set_error_text("out of luck");
  CHECK_THROWS_AS(throw_status("a.b: f", MEDGEN_E_CANCELLED), Cancelled);
  CHECK_THROWS_AS(throw_status("a.b: f", MEDGEN_E_OUT_OF_MEMORY), OutOfMemoryError);
  CHECK_THROWS_AS(throw_status("a.b: f", MEDGEN_E_DEVICE), DeviceError);
  CHECK_THROWS_WITH(throw_status("a.b: f", MEDGEN_E_INVALID), "a.b: f failed: out of luck (INVALID)");
  CHECK_THROWS_WITH(throw_status("a.b: f", -77), "a.b: f failed: out of luck (INTERNAL, unknown status -77)");
  for (medgen_status_t status = -11; status < 0; ++status) CHECK(status_name(status) != "OK");
}

TEST_CASE("a library tells what it needs without being loaded", "[unit][plugin]") {
  const ElfFile self = read_elf("/proc/self/exe");
  const auto needs = [&](const char* name) {
    return std::any_of(self.needed.begin(), self.needed.end(), [&](const auto& n) { return n.starts_with(name); });
  };
  CHECK(needs("libstdc++"));
  CHECK(needs("libc.so"));
  CHECK_FALSE(self.executable_stack);
  CHECK_THROWS_AS(read_elf("/etc/passwd"), PluginError);
  CHECK_THROWS_AS(read_elf("/nowhere/at/all"), PluginError);
  CHECK_THROWS_AS(read_elf("/"), PluginError);
}
