// SPDX-License-Identifier: Apache-2.0
#include "core/data/table.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"

#include <catch2/catch.hpp>

namespace medgen {
namespace {

std::vector<TableLine> read(const std::string& text) {
  const TestFolder folder;
  write_file(folder.path / "t.csv", text);
  return read_table(folder.path / "t.csv");
}

using Cells = std::vector<std::string>;

TEST_CASE("table: commas and tabs part cells, blanks and quotes round them go", "[unit][data]") {
  for (const char* text : {"a,b c,1\n", "a\tb c\t1", " a , \"b c\",1\r\n", "\xEF\xBB\xBF\"a\",b c,1\n\n"}) {
    const auto lines = read(text);
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].number == 1);
    CHECK(lines[0].cells == Cells{"a", "b c", "1"});
    CHECK(lines[0].text() == "a,b c,1");
  }
}

TEST_CASE("table: lines keep the numbers that an editor shows, and empty cells count", "[unit][data]") {
  const auto lines = read("\n  \na,\n\n,b,");
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].number == 3);
  CHECK(lines[0].cells == Cells{"a", ""});
  CHECK(lines[1].number == 5);
  CHECK(lines[1].cells == Cells{"", "b", ""});
}

TEST_CASE("table: nothing in it is no line, and no file is an error", "[unit][data]") {
  CHECK(read("").empty());
  CHECK(read(" \n\r\n").empty());
  CHECK_THROWS_AS(read_table("/nowhere/t.csv"), Error);
}

}  // namespace
}  // namespace medgen
