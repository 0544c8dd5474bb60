// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/case_conditions.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"
#include "core/config/json.h"
#include "core/config/parse.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen {
namespace {

using Catch::Matchers::Contains;

/// The conditions of a step with this table.
CaseConditions with_table(const std::string& table, const std::string& common = "{}") {
  const TestFolder folder;
  write_file(folder.path / "cases.csv", table);
  return CaseConditions::read(
      parse_config(R"({"conditions": )" + common + R"(, "case_conditions": "cases.csv"})", "p.json", folder.path));
}

Json of(const CaseConditions& conditions, const std::string& name) {
  return Json::parse(conditions.of(name));
}

TEST_CASE("case conditions: without a table all cases have those of the step", "[unit][pipeline]") {
  const auto conditions = CaseConditions::read(parse_config(R"({"conditions": {"modality": "ct"}})", "p.json"));
  CHECK_FALSE(conditions.has_table());
  CHECK(of(conditions, "a") == Json{{"modality", "ct"}});
  CHECK_NOTHROW(conditions.check_cases({"a", "b"}));
  CHECK(CaseConditions().of("a") == "{}");
  CHECK(conditions.describe("a") == "case a");
}

TEST_CASE("case conditions: each case has its own, numbers as numbers and the rest as names", "[unit][pipeline]") {
  const auto conditions = with_table("case,modality,top_region\na,mri_t1,0\nb,3,chest\nc,1.5,\"ct\"\n");
  CHECK(of(conditions, "a") == Json{{"modality", "mri_t1"}, {"top_region", 0}});
  CHECK(of(conditions, "b") == Json{{"modality", 3}, {"top_region", "chest"}});
  CHECK(of(conditions, "c") == Json{{"modality", 1.5}, {"top_region", "ct"}});
}

TEST_CASE("case conditions: the table goes before the step, an empty cell leaves it to the step", "[unit][pipeline]") {
  const auto conditions = with_table("case\tmodality\na\tct_contrast\nb\t\n", R"({"modality": "ct", "other": 1})");
  CHECK(of(conditions, "a") == Json{{"modality", "ct_contrast"}, {"other", 1}});
  CHECK(of(conditions, "b") == Json{{"modality", "ct"}, {"other", 1}});
}

TEST_CASE("case conditions: the order of lines changes nothing", "[unit][pipeline]") {
  const auto one = with_table("case,modality\na,ct\nb,mri\n");
  const auto two = with_table("case,modality\n\nb,mri\na,ct\n");
  for (const char* name : {"a", "b"}) CHECK(one.of(name) == two.of(name));
  CHECK(one.fingerprint({"a", "b"}) == two.fingerprint({"b", "a"}));
  CHECK(one.fingerprint({"a"}) != one.fingerprint({"b"}));
}

TEST_CASE("case conditions: a table that is none is refused with its line", "[unit][pipeline]") {
  const auto refused = [](const std::string& table, const std::string& text) {
    CHECK_THROWS_WITH(with_table(table), Contains("cases.csv") && Contains(text));
  };
  refused("", "is empty");
  refused("a,ct\nb,mri\n", ":1: the heading must be case,CONDITION");
  refused("case\na\n", ":1: the heading");
  refused("case,modality,modality\n", ":1: the column 'modality' comes twice");
  refused("case,modality,\n", ":1: a column has no name");
  refused("case,modality\na\n", ":2: must be case,modality, not 'a'");
  refused("case,modality\na,ct,mr\n", ":2: must be case,modality, not 'a,ct,mr'");
  refused("case,modality\n,ct\n", ":2: must be");
  refused("case,modality\na,ct\n\na,ct\n", ":4: the case 'a' is in line 2 already");
  CHECK_THROWS_AS(CaseConditions::read(parse_config(R"({"case_conditions": "nowhere.csv"})", "p.json")), Error);
}

TEST_CASE("case conditions: cases that the table lacks are listed, ten of them", "[unit][pipeline]") {
  const auto conditions = with_table("case,modality\na,ct\n");
  CHECK_NOTHROW(conditions.check_cases({"a"}));
  CHECK_THROWS_WITH(conditions.check_cases({"a", "b", "c"}), Contains("no line for 2 of 3 cases: b, c"));
  std::vector<std::string> many;
  for (int i = 0; i < 30; ++i) many.push_back(fmt::format("n{}", i));
  CHECK_THROWS_WITH(conditions.check_cases(many), Contains("n9 and 20 more") && !Contains("n10"));
}

TEST_CASE("case conditions: a case is described with its line", "[unit][pipeline]") {
  const auto conditions = with_table("case,modality\n\na,ct\n");
  CHECK_THAT(conditions.describe("a"), Contains("cases.csv:3: case a"));
  CHECK(conditions.describe("b") == "case b");
}

}  // namespace
}  // namespace medgen
