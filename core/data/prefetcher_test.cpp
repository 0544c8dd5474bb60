// SPDX-License-Identifier: Apache-2.0
#include "core/data/prefetcher.h"

#include "core/tensor/tensor.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>

namespace medgen {
namespace {

using namespace std::chrono_literals;

TEST_CASE("prefetcher: batches come in order, whatever the threads and their speed", "[unit][data]") {
  const unsigned threads = GENERATE(0u, 1u, 3u);
  Prefetcher<std::uint64_t> loader(
      [](std::uint64_t n) {
        std::this_thread::sleep_for((n % 3) * 1ms);
        return n * n;
      },
      {threads, 4, 5});
  for (std::uint64_t n = 5; n < 40; ++n) REQUIRE(loader.next() == n * n);
}

TEST_CASE("prefetcher: it works ahead, and no farther than told", "[unit][data]") {
  std::atomic<std::uint64_t> made{0};
  Prefetcher<std::uint64_t> loader([&](std::uint64_t n) { return ++made, n; }, {2, 3});
  for (int i = 0; i < 200 && made < 3; ++i) std::this_thread::sleep_for(5ms);
  std::this_thread::sleep_for(20ms);
  CHECK(made == 3);
  CHECK(loader.next() == 0);
  for (int i = 0; i < 200 && made < 4; ++i) std::this_thread::sleep_for(5ms);
  std::this_thread::sleep_for(20ms);
  CHECK(made == 4);
}

TEST_CASE("prefetcher: an error comes at its batch, as it was thrown, and stays", "[unit][data]") {
  const unsigned threads = GENERATE(0u, 1u, 2u);
  Prefetcher<int> loader(
      [](std::uint64_t n) -> int {
        if (n == 2) throw DataError("case_7.nii.gz: damaged");
        return static_cast<int>(n);
      },
      {threads, 8});
  CHECK(loader.next() == 0);
  CHECK(loader.next() == 1);
  REQUIRE_THROWS_AS(loader.next(), DataError);
  if (threads > 0) REQUIRE_THROWS_WITH(loader.next(), "case_7.nii.gz: damaged");
}

TEST_CASE("prefetcher: it ends while batches are in the making or nobody asks", "[unit][data]") {
  std::atomic<int> running{0};
  for (int i = 0; i < 20; ++i) {
    Prefetcher<TensorMap> loader(
        [&](std::uint64_t) {
          ++running;
          std::this_thread::sleep_for(2ms);
          --running;
          return TensorMap{{"x", Tensor::scalar(1)}};
        },
        {3, 2});
    if (i % 2 == 0) loader.next();
  }
  CHECK(running == 0);
}

TEST_CASE("prefetcher: nothing is made beyond the last batch", "[unit][data]") {
  std::atomic<std::uint64_t> made{0};
  Prefetcher<std::uint64_t> loader([&](std::uint64_t n) { return ++made, n; }, {2, 8, 10, 13});
  for (std::uint64_t n = 10; n < 13; ++n) CHECK(loader.next() == n);
  std::this_thread::sleep_for(10ms);
  CHECK(made == 3);
  REQUIRE_THROWS(loader.next());
}

}  // namespace
}  // namespace medgen
