// SPDX-License-Identifier: Apache-2.0
#include "core/cli/progress.h"

#include "core/cli/console.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>

using medgen::cli::display_width;
using medgen::cli::format_bar;
using medgen::cli::format_duration;
using medgen::cli::format_line;
using medgen::cli::ProgressView;

namespace {

ProgressView half_way() {
  return {"ct", "sampling", "case_003", "loss 0.1", 15, 30, 1.5, 10.0};
}

}  // namespace

TEST_CASE("a progress line says step, task, item, count, rate, time left and note", "[unit][cli]") {
  CHECK(format_line(half_way()) == "ct  sampling case_003  15/30  1.5/s  0:10 left  loss 0.1");
}

TEST_CASE("a progress line leaves out what is not known", "[unit][cli]") {
  CHECK(format_line({"ct", "decoding", "", "", 3, 0, 0, {}}) == "ct  decoding  3");
}

TEST_CASE("a slow rate is given in seconds for each", "[unit][cli]") {
  CHECK(format_line({"ct", "decoding", "", "", 3, 4, 0.25, 4.0}) == "ct  decoding  3/4  4.0 s each  0:04 left");
}

TEST_CASE("a bar is never wider than the terminal", "[unit][cli]") {
  for (std::size_t width = 1; width < 200; ++width) CHECK(display_width(format_bar(half_way(), width)) <= width);
}

TEST_CASE("a bar is cut between characters, not within one", "[unit][cli]") {
  ProgressView view = half_way();
  view.item = "Schädel-Größe";
  for (std::size_t width = 1; width < 60; ++width) {
    const std::string text = format_bar(view, width);
    CHECK((static_cast<unsigned char>(text.back()) & 0xC0u) != 0xC0u);
  }
}

TEST_CASE("a bar is filled in proportion, and never beyond its ends", "[unit][cli]") {
  const std::string half = format_bar({"a", "b", "", "", 5, 10, 0, {}}, 60);
  const auto filled = std::count(half.begin(), half.end(), '#');
  const auto open = std::count(half.begin(), half.end(), '.');
  CHECK(filled > 4);
  CHECK(std::abs(filled - open) <= 1);
  CHECK(format_bar({"a", "b", "", "", 20, 10, 0, {}}, 30).find('.') == std::string::npos);
}

TEST_CASE("without a total there is no bar", "[unit][cli]") {
  CHECK(format_bar({"a", "b", "", "", 5, 0, 0, {}}, 80).find('[') == std::string::npos);
}

TEST_CASE("durations read as clocks do", "[unit][cli]") {
  CHECK(format_duration(7.9) == "0:07");
  CHECK(format_duration(750) == "12:30");
  CHECK(format_duration(11100) == "3:05:00");
  CHECK(format_duration(-1) == "0:00");
  CHECK(format_duration(1e300) == "277777:46:40");
}
