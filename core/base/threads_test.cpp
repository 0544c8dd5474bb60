// SPDX-License-Identifier: Apache-2.0
#include "core/base/threads.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <vector>

using namespace medgen;

namespace {

struct Seen {
  std::vector<std::atomic<int>> visits;
  std::atomic<int> parts = 0;
};

void visit(const void* arg, std::int64_t from, std::int64_t to) {
  auto& seen = *static_cast<Seen*>(const_cast<void*>(arg));
  ++seen.parts;
  for (std::int64_t i = from; i < to; ++i) ++seen.visits[static_cast<std::size_t>(i)];
}

}  // namespace

TEST_CASE("every index of a loop in parts belongs to one part", "[unit][base]") {
  const unsigned threads = GENERATE(0u, 1u, 3u, 16u);
  const std::int64_t n = GENERATE(0, 1, 2, 15, 1000);
  const std::int64_t grain = GENERATE(0, 1, 7, 5000);
  Seen seen{std::vector<std::atomic<int>>(static_cast<std::size_t>(n))};
  run_in_parts(threads, n, grain, visit, &seen);
  for (const auto& visits : seen.visits) REQUIRE(visits == 1);
  if (threads > 0) CHECK(seen.parts <= static_cast<int>(threads));
  if (grain > n) CHECK(seen.parts == 1);
}
