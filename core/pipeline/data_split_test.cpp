// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/data_split.h"

#include "core/base/file.h"
#include "core/base/test_folder.h"
#include "core/config/parse.h"
#include "core/pipeline/schema.h"

#include <catch2/catch.hpp>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

/// A train step with these keys.
SplitOptions read(const std::string& keys, const std::filesystem::path& folder = {}) {
  const std::string step =
      R"({"train": "m", "component": "compressor", "data": "d", "iterations": 1, "to": "t")" + keys + "}";
  return SplitOptions::read(verb_schema("train").resolve(parse_config(step, "p.json", folder)), 7);
}

std::vector<Case> cases_of(const std::vector<std::string>& names) {
  std::vector<Case> cases;
  for (const std::string& name : names) cases.push_back({name, {}, std::nullopt});
  return cases;
}

}  // namespace

TEST_CASE("split: without a word about it every case is trained on", "[unit][pipeline]") {
  const SplitOptions options = read("");
  CHECK_FALSE(options.splits());
  CHECK(split_cases(cases_of({"a", "a_t2", "b"}), options).train == std::vector<std::size_t>{0, 1, 2});
}

TEST_CASE("split: \"validation\" is short for a split with that part", "[unit][pipeline]") {
  const auto cases = cases_of({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"});
  const Split one = split_cases(cases, read(R"(, "validation": 0.1)"));
  const Split other = split_cases(cases, read(R"(, "split": {"validation": 0.1})"));
  std::vector<std::string> names;
  for (const Case& each : cases) names.push_back(each.name);
  const Split direct = split_by_subject(names, {0.9, 0.1, 0.0}, 7);
  CHECK(one.train == direct.train);
  CHECK(one.validation == direct.validation);
  CHECK(one.validation == other.validation);
  CHECK(one.test.empty());
}

TEST_CASE("split: a table tells the subjects, from the pipeline's folder", "[unit][pipeline]") {
  const TestFolder folder;
  write_file(folder.path / "s.csv", "case,subject\na,1\nb,1\nc,2\nd,2\n");
  const SplitOptions options = read(R"(, "split": {"validation": 0.5, "subjects": "s.csv"})", folder.path);
  const Split split = split_cases(cases_of({"a", "b", "c", "d"}), options);
  REQUIRE(split.validation.size() == 2);
  CHECK(split.validation[0] / 2 == split.validation[1] / 2);
  CHECK_THROWS_WITH(split_cases(cases_of({"a", "x", "y"}), options), Contains("x") && Contains("y"));
}

TEST_CASE("split: what makes no sense is refused", "[unit][pipeline]") {
  CHECK_THROWS_WITH(read(R"(, "validation": 0.1, "split": {"test": 0.1})"), Contains("give one of the two"));
  CHECK_THROWS_WITH(read(R"(, "split": {"validation": 0.5, "test": 0.5})"), Contains("nothing to train on"));
  CHECK_THROWS_AS(read(R"(, "validation": 1)"), ConfigError);
  CHECK_THROWS_AS(read(R"(, "split": {"valdation": 0.1})"), ConfigError);
  const SplitOptions odd = read(R"(, "split": {"train": 0.2, "validation": 0.1})");
  CHECK_THROWS_WITH(split_cases(cases_of({"a", "b", "c"}), odd), Contains("sum to"));
  CHECK_THROWS_WITH(split_cases(cases_of({"a", "a_t2"}), read(R"(, "validation": 0.5)")),
                    Contains("1 subject cannot be split"));
}
