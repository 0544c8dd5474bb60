// SPDX-License-Identifier: Apache-2.0
#include "core/run/resources.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace medgen {
namespace {

TEST_CASE("this process takes memory, and the machine has some", "[unit][run]") {
  CHECK(peak_memory() > 1 << 20);
  CHECK(resident_memory() > 1 << 20);
  CHECK(resident_memory() <= peak_memory() + (1 << 20));
  const Memory memory = machine_memory();
  CHECK(memory.available > 0);
  CHECK(memory.total >= memory.available);
}

TEST_CASE("free disk is that of the part of a path that exists", "[unit][run]") {
  CHECK(free_disk("/") > 0);
  CHECK(same_disk("/no/such/folder", "/"));
  CHECK(free_disk(std::filesystem::temp_directory_path() / "not" / "there") > 0);
  CHECK_FALSE(same_disk("/proc/self", "/"));
}

#ifndef __SANITIZE_ADDRESS__  // which brings an allocator of its own
TEST_CASE("a training's freed memory is kept while it runs where there is room", "[unit][run]") {
  // Blocks below and above the size that otherwise has pages of its own.
  const std::size_t block = GENERATE(16, 48) << 20;
  const auto take_and_free = [block] {
    std::vector<std::unique_ptr<char[]>> blocks;
    for (int i = 0; i < 16; ++i) std::memset(blocks.emplace_back(new char[block]).get(), 1, block);
  };
  return_freed_memory();
  take_and_free();
  const std::uint64_t before = resident_memory();
  {
    const TrainingHeap scarce(TrainingHeap::Room::Scarce);
    take_and_free();
    CHECK(resident_memory() < before + (16u << 20));
  }
  {
    const TrainingHeap plenty(TrainingHeap::Room::Plenty);
    take_and_free();
    CHECK(resident_memory() > before + (128u << 20));
  }
  CHECK(resident_memory() < before + (64u << 20));
}
#endif

TEST_CASE("idle cores are yielded unless the user says otherwise", "[unit][run]") {
  ::unsetenv("OMP_WAIT_POLICY");
  ::unsetenv("GOMP_SPINCOUNT");
  yield_idle_cores();
  CHECK(std::getenv("GOMP_SPINCOUNT") == std::string("2000"));
  ::setenv("GOMP_SPINCOUNT", "7", 1);
  yield_idle_cores();
  CHECK(std::getenv("GOMP_SPINCOUNT") == std::string("7"));
  ::unsetenv("GOMP_SPINCOUNT");
  ::setenv("OMP_WAIT_POLICY", "active", 1);
  yield_idle_cores();
  CHECK(std::getenv("GOMP_SPINCOUNT") == nullptr);
  ::unsetenv("OMP_WAIT_POLICY");
}

}  // namespace
}  // namespace medgen
