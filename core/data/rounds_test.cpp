// SPDX-License-Identifier: Apache-2.0
#include "core/data/rounds.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

namespace medgen {
namespace {

std::vector<std::size_t> round_of(const Rounds& rounds, std::uint64_t round, std::size_t n) {
  std::vector<std::size_t> numbers(n);
  for (std::size_t i = 0; i < n; ++i) numbers[i] = rounds.at(round * n + i);
  return numbers;
}

TEST_CASE("rounds: each has every number once, in an order of its own", "[unit][data]") {
  const Rounds rounds(1, "test", 20);
  std::set<std::vector<std::size_t>> orders;
  for (std::uint64_t round = 0; round < 5; ++round) {
    std::vector<std::size_t> numbers = round_of(rounds, round, 20);
    orders.insert(numbers);
    std::sort(numbers.begin(), numbers.end());
    for (std::size_t i = 0; i < 20; ++i) CHECK(numbers[i] == i);
  }
  CHECK(orders.size() == 5);
}

TEST_CASE("rounds: a function of seed, purpose and place, whatever was asked for before", "[unit][data]") {
  const Rounds forward(1, "test", 7), backward(1, "test", 7), seed(2, "test", 7), purpose(1, "other", 7);
  std::vector<std::size_t> there, back;
  for (std::uint64_t place = 0; place < 70; ++place) there.push_back(forward.at(place));
  for (std::uint64_t place = 70; place-- > 0;) back.push_back(backward.at(place));
  std::reverse(back.begin(), back.end());
  CHECK(there == back);
  CHECK(round_of(seed, 0, 7) != round_of(forward, 0, 7));
  CHECK(round_of(purpose, 0, 7) != round_of(forward, 0, 7));
}

TEST_CASE("rounds: of one number", "[unit][data]") {
  CHECK(Rounds(1, "test", 1).at(1000000000000ULL) == 0);
}

}  // namespace
}  // namespace medgen
