// SPDX-License-Identifier: Apache-2.0
#include "core/base/text.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

namespace medgen {
namespace {

TEST_CASE("text: the first few of a list, and how many there are besides", "[unit][base]") {
  const std::vector<std::string> names = {"a", "b", "c", "d"};
  CHECK(medgen::first_of(names) == "a, b, c and 1 more");
  CHECK(medgen::first_of(names, 4) == "a, b, c, d");
  CHECK(medgen::first_of({}) == "");
}

TEST_CASE("edit_distance: counts edits, swaps of neighbours once, ignoring case", "[unit][base]") {
  REQUIRE(edit_distance("", "") == 0);
  REQUIRE(edit_distance("", "abc") == 3);
  REQUIRE(edit_distance("kitten", "sitting") == 3);
  REQUIRE(edit_distance("stpes", "steps") == 1);
  REQUIRE(edit_distance("Liver", "liver") == 0);
}

TEST_CASE("edit_distance: is symmetric and obeys the length bounds", "[unit][base]") {
  const std::vector<std::string> words = {"", "a", "steps", "spacing_mm", "pasc", "generate"};
  for (const std::string& a : words) {
    for (const std::string& b : words) {
      const std::size_t distance = edit_distance(a, b);
      REQUIRE(distance == edit_distance(b, a));
      REQUIRE(distance <= std::max(a.size(), b.size()));
      REQUIRE(distance >= std::max(a.size(), b.size()) - std::min(a.size(), b.size()));
    }
  }
}

TEST_CASE("closest_match: finds a likely typing error and nothing else", "[unit][base]") {
  const std::vector<std::string> keys = {"steps", "seed", "spacing_mm", "memory"};
  REQUIRE(closest_match("stesp", keys) == "steps");
  REQUIRE(closest_match("spacing", keys) == std::nullopt);
  REQUIRE(closest_match("spacing_m", keys) == "spacing_mm");
  REQUIRE(closest_match("guidance", keys) == std::nullopt);
  REQUIRE(closest_match("x", keys) == std::nullopt);
  REQUIRE(closest_match("x", std::vector<std::string>{"y"}) == std::nullopt);
  REQUIRE(did_you_mean("sede", keys) == " (did you mean 'seed'?)");
  REQUIRE(did_you_mean("zzz", keys).empty());
}

TEST_CASE("nearest: any name has nearest ones, and the nearest comes first", "[unit][base]") {
  const std::vector<std::string> keys = {"steps", "seed", "spacing_mm", "memory"};
  REQUIRE(nearest("sead", keys, 2) == std::vector<std::string>{"seed", "steps"});
  REQUIRE(nearest("memories", keys, 9).size() == keys.size());
  REQUIRE(nearest("memories", keys, 9).front() == "memory");
  REQUIRE(nearest("steps", {}, 3).empty());
}

}  // namespace
}  // namespace medgen
