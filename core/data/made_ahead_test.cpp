// SPDX-License-Identifier: Apache-2.0
#include "core/data/made_ahead.h"

#include "core/base/error.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

using namespace medgen;

namespace {

int square(std::uint64_t number) {
  return static_cast<int>(number * number);
}

}  // namespace

TEST_CASE("made ahead: every number gives its own thing, in whatever order", "[unit][data]") {
  const unsigned threads = GENERATE(0, 1, 3);
  MadeAhead<int> squares(square, {threads, 4});
  for (const std::uint64_t number : {0, 1, 2, 7, 8, 3, 3, 4, 100}) CHECK(squares.take(number) == square(number));
}

TEST_CASE("made ahead: what follows is made before it is asked for", "[unit][data]") {
  std::atomic<int> made = 0;
  const auto count = [&](std::uint64_t) { return ++made; };
  MadeAhead<int> counted(count, {1, 3});
  counted.take(5);
  for (int i = 0; i < 1000 && made < 4; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(made == 4);
}

TEST_CASE("made ahead: of a share, what follows in it is made; the rest when it is asked for", "[unit][data]") {
  const BatchShare share = BatchShare::of(5, {1, 2});  // rows 3 and 4 of 5
  std::mutex mutex;
  std::vector<std::uint64_t> made;
  const auto note = [&](std::uint64_t number) {
    const std::lock_guard lock(mutex);
    made.push_back(number);
    return square(number);
  };
  {
    MadeAhead<int> squares(note, {1, 3}, share);
    for (const std::uint64_t number : {3, 4, 8, 9, 13}) CHECK(squares.take(number) == square(number));
    CHECK(squares.take(1) == square(1));
    CHECK(squares.take(14) == square(14));
  }
  for (const std::uint64_t number : made) CHECK((number == 1 || share.has(number)));
}

TEST_CASE("made ahead: without threads nothing is made that is not asked for", "[unit][data]") {
  int made = 0;
  MadeAhead<int> counted([&](std::uint64_t) { return ++made; }, {0, 3});
  for (const std::uint64_t number : {0, 1, 5}) counted.take(number);
  CHECK(made == 3);
}

TEST_CASE("made ahead: what goes wrong is told where it is asked for, and no earlier", "[unit][data]") {
  const unsigned threads = GENERATE(0, 2);
  const auto make = [](std::uint64_t number) {
    if (number == 2) throw DataError("two cannot be read");
    return square(number);
  };
  MadeAhead<int> squares(make, {threads, 4});
  CHECK(squares.take(0) == 0);
  CHECK(squares.take(1) == 1);
  CHECK_THROWS_WITH(squares.take(2), "two cannot be read");
  CHECK_THROWS_WITH(squares.take(2), "two cannot be read");
  CHECK(squares.take(3) == 9);
}
