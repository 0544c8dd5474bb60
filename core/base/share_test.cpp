// SPDX-License-Identifier: Apache-2.0
#include "core/base/share.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>

#include <vector>

using namespace medgen;

TEST_CASE("share: parts cover everything once, in order, and differ by one at most", "[unit][share]") {
  const std::size_t things = GENERATE(0, 1, 7, 8, 1000);
  const std::size_t count = GENERATE(1, 2, 3, 8, 13);
  std::size_t next = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Part part{i, count};
    CHECK(part.begin(things) == next);
    next = part.end(things);
    CHECK(next - part.begin(things) - things / count <= 1);
  }
  CHECK(next == things);
}

TEST_CASE("share: every row of every batch has one process, and numbers of its own lead back", "[unit][share]") {
  const std::uint64_t batch = GENERATE(1, 4, 5, 9);
  const std::size_t processes = GENERATE(1, 2, 4);
  if (batch < processes) return;
  double weight = 0;
  std::vector<std::uint64_t> next(processes, 0);
  for (std::size_t p = 0; p < processes; ++p) weight += BatchShare::of(batch, {p, processes}).weight();
  CHECK(weight == Approx(1));
  for (std::uint64_t row = 0; row < 5 * batch; ++row) {
    int owners = 0;
    for (std::size_t p = 0; p < processes; ++p) {
      const BatchShare share = BatchShare::of(batch, {p, processes});
      if (!share.has(row)) continue;
      ++owners;
      CHECK(share.own_number(row) == next[p]++);
      CHECK(share.row_of(share.own_number(row)) == row);
    }
    CHECK(owners == 1);
  }
}

TEST_CASE("share: a part is read as it is written", "[unit][share]") {
  CHECK(parse_part("1/1").whole());
  CHECK(parse_part("2/8") == Part{1, 8});
  CHECK(to_string(parse_part("8/8")) == "8/8");
  for (const char* wrong : {"", "1", "/", "1/", "/2", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1/2 ", "1.5/2"}) {
    INFO(wrong);
    CHECK_THROWS_AS(parse_part(wrong), UsageError);
  }
}
