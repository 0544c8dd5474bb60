// SPDX-License-Identifier: Apache-2.0
#include "core/data/made_ahead.h"

#include "core/base/error.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

using namespace medgen;
using namespace std::chrono_literals;

namespace {

int square(std::uint64_t number) {
  return static_cast<int>(number * number);
}

/// What was made, and how often.
class Made {
 public:
  int operator()(std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    ++times_[number];
    return square(number);
  }

  std::map<std::uint64_t, int> times() const {
    const std::lock_guard lock(mutex_);
    return times_;
  }

  /// Gives threads the time to make `count` things, and to make too many.
  bool reaches(std::size_t count) const {
    for (int i = 0; i < 1000 && times().size() < count; ++i) std::this_thread::sleep_for(5ms);
    std::this_thread::sleep_for(20ms);
    return times().size() == count;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::uint64_t, int> times_;
};

}  // namespace

TEST_CASE("made ahead: every number gives its own thing, in whatever order", "[unit][data]") {
  const unsigned threads = GENERATE(0, 1, 3);
  MadeAhead<int> squares(square, {threads, 4});
  for (const std::uint64_t number : {0, 1, 2, 7, 8, 3, 3, 4, 100}) CHECK(squares.take(number) == square(number));
}

TEST_CASE("made ahead: threads and their speed change nothing", "[unit][data]") {
  const auto slow = [](std::uint64_t number) {
    std::this_thread::sleep_for((number % 3) * 1ms);
    return square(number);
  };
  MadeAhead<int> squares(slow, {3, 4});
  for (std::uint64_t number = 5; number < 40; ++number) REQUIRE(squares.take(number) == square(number));
}

TEST_CASE("made ahead: what follows is made before it is asked for, and no farther than told", "[unit][data]") {
  Made made;
  MadeAhead<int> counted(std::ref(made), {2, 3});
  CHECK(counted.take(5) == 25);
  CHECK(made.reaches(4));
  CHECK(counted.take(6) == 36);
  CHECK(made.reaches(5));
}

TEST_CASE("made ahead: numbers may be left out, and what was made ahead is not made again", "[unit][data]") {
  Made made;
  MadeAhead<int> counted(std::ref(made), {2, 4});
  CHECK(counted.take(0) == 0);
  REQUIRE(made.reaches(5));
  CHECK(counted.take(3) == 9);
  CHECK(made.reaches(8));
  CHECK(counted.take(7) == 49);
  for (const auto& [number, times] : made.times()) CHECK(times == 1);
}

TEST_CASE("made ahead: what is not wanted is not made, however much lies between", "[unit][data]") {
  Made made;
  {
    const auto tenth = [](std::uint64_t number) { return number % 10 == 0; };
    MadeAhead<int> counted(std::ref(made), {2, 3}, {}, tenth);
    for (const std::uint64_t number : {0, 10, 20, 30}) CHECK(counted.take(number) == square(number));
    CHECK(made.reaches(7));
    CHECK(counted.take(35) == square(35));  // all the same
  }
  for (const auto& [number, times] : made.times()) CHECK((times == 1 && (number % 10 == 0 || number == 35)));
}

TEST_CASE("made ahead: where nothing else is wanted, what is asked for comes", "[unit][data]") {
  MadeAhead<int> squares(square, {2, 3}, {}, [](std::uint64_t) { return false; });
  for (const std::uint64_t number : {4, 5, 1000000, 2}) CHECK(squares.take(number) == square(number));
}

TEST_CASE("made ahead: it ends while things are in the making or nobody asks", "[unit][data]") {
  std::atomic<int> running{0};
  for (int i = 0; i < 20; ++i) {
    MadeAhead<std::unique_ptr<int>> things(
        [&](std::uint64_t) {
          ++running;
          std::this_thread::sleep_for(2ms);
          --running;
          return std::make_unique<int>(1);
        },
        {3, 2});
    if (i % 2 == 0) CHECK(*things.take(0) == 1);
  }
  CHECK(running == 0);
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
