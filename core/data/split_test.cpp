// SPDX-License-Identifier: Apache-2.0
#include "core/data/split.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

namespace medgen {
namespace {

using Catch::Contains;
using Names = std::vector<std::string>;

Names subjects(int count, int visits = 3) {
  Names names;
  for (int i = 0; i < count * visits; ++i) names.push_back(fmt::format("s{}", i % count));
  return names;
}

std::set<std::string> names_of(const std::vector<std::size_t>& indices, const Names& names) {
  std::set<std::string> found;
  for (const std::size_t i : indices) found.insert(names[i]);
  return found;
}

TEST_CASE("subject: told by the name", "[unit][data]") {
  CHECK(subject_of("sub-01_ses-2_T1w") == "sub-01");
  CHECK(subject_of("study_sub-01_T1w") == "sub-01");
  CHECK(subject_of("case7_t2") == "case7");
  CHECK(subject_of("p3_visit-01_slice012") == "p3");
  CHECK(subject_of("P3-Scan2") == "P3");
  CHECK(subject_of("hippocampus_001") == "hippocampus_001");
  CHECK(subject_of("BraTS_t1") == "BraTS");
  CHECK(subject_of("_t1") == "_t1");
  CHECK(subject_of("scan2") == "scan2");
}

TEST_CASE("split: every case once, no subject in two parts, the fractions of subjects", "[unit][data]") {
  const Names names = subjects(50);
  const Split split = split_by_subject(names, {0.7, 0.2, 0.1}, 4);
  CHECK(split.train.size() + split.validation.size() + split.test.size() == names.size());
  const auto train = names_of(split.train, names), watch = names_of(split.validation, names),
             test = names_of(split.test, names);
  CHECK(train.size() == 35);
  CHECK(watch.size() == 10);
  CHECK(test.size() == 5);
  for (const std::string& name : watch) CHECK_FALSE((train.contains(name) || test.contains(name)));
  for (const std::string& name : test) CHECK_FALSE(train.contains(name));
}

TEST_CASE("split: the order of the cases does not matter, the seed does", "[unit][data]") {
  Names names = subjects(20, 1);
  const auto first = names_of(split_by_subject(names, {}, 1).train, names);
  const auto other = names_of(split_by_subject(names, {}, 2).train, names);
  std::reverse(names.begin(), names.end());
  CHECK(names_of(split_by_subject(names, {}, 1).train, names) == first);
  CHECK(first != other);
}

TEST_CASE("split: small sets leave no part empty", "[unit][data]") {
  const Split three = split_by_subject(subjects(3), {0.9, 0.05, 0.05}, 1);
  CHECK(three.train.size() == 3);
  CHECK(three.validation.size() == 3);
  CHECK(three.test.size() == 3);
  const Split all = split_by_subject(subjects(2), {1, 0, 0}, 1);
  CHECK(all.train.size() == 6);
  CHECK(all.test.empty());
}

TEST_CASE("split: mistakes are refused", "[unit][data]") {
  REQUIRE_THROWS_WITH(split_by_subject(subjects(2), {}, 1), Contains("2 subjects cannot be split into 3 parts"));
  REQUIRE_THROWS_WITH(split_by_subject(subjects(9), {0.5, 0.1, 0.1}, 1), Contains("0.7"));
  REQUIRE_THROWS_WITH(split_by_subject(subjects(9), {1.2, -0.2, 0}, 1), Contains("negative"));
  REQUIRE_THROWS_AS(split_by_subject(Names(), {1, 0, 0}, 1), DataError);
}

TEST_CASE("subject table: cases and subjects, with or without heading", "[unit][data]") {
  const TestFolder folder;
  const auto table = [&](const std::string& text) {
    write_file(folder.path / "subjects.csv", text);
    return read_subject_table(folder.path / "subjects.csv");
  };
  const std::map<std::string, std::string> expected = {{"a", "p1"}, {"b", "p1"}};
  CHECK(table("case,subject\r\na,p1\r\nb,p1\r\n") == expected);
  CHECK(table("a\tp1\n\n\"b\", p1") == expected);
  CHECK(subjects_of(Names{"b", "a"}, expected) == Names{"p1", "p1"});
  CHECK(subjects_of(Names{"x_t1"}) == Names{"x"});
  REQUIRE_THROWS_WITH(table("a,p1\nb\n"), Contains("subjects.csv:2") && Contains("CASE,SUBJECT"));
  REQUIRE_THROWS_WITH(table("a,p1,3\n"), Contains("subjects.csv:1"));
  REQUIRE_THROWS_WITH(table("a,p1\na,p2\n"), Contains("two subjects"));
  REQUIRE_THROWS_WITH(subjects_of(Names{"a", "c", "d"}, expected), Contains("2 of 3") && Contains("c, d"));
  REQUIRE_THROWS_AS(read_subject_table(folder.path / "none"), DataError);
}

}  // namespace
}  // namespace medgen
