// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/case_modalities.h"

#include "core/base/error.h"
#include "core/data/case_cache.h"
#include "core/pipeline/test_cases.h"
#include "core/pipeline/train_step.h"

#include <catch2/catch.hpp>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

/// "modalities" of a train step.
CaseModalities modalities(const std::string& text) {
  const Schema schema = Schema::parse(train_schema(), "train step");
  return CaseModalities::read(
      schema.resolve(parse_config(R"({"train": "m", "component": "compressor", "data": "d", "iterations": 1, "to": "t",
                                      "modalities": )" +
                                      text + "}",
                                  "train.json")),
      LabelTable());
}

constexpr const char* kMr =
    R"({"mr": {"cases": ["*_mr", "t2_?"], "intensity": {"kind": "window", "low": 0, "high": 10}}})";

TrainingData read(const Folder& folder, const CaseModalities& modalities, const PatchOptions& patches = {},
                  std::shared_ptr<CaseCache> cache = nullptr) {
  TrainingDataOptions options = labelled();
  options.modalities = modalities;
  options.cache = std::move(cache);
  return {folder.path, contract(), patches, options, {}};
}

std::vector<float> image_of(const TrainingData& data, const std::string& name) {
  for (const std::size_t number : data.training()) {
    if (data.name(number) == name) return values_of(data.still_item(number).image);
  }
  return {};
}

}  // namespace

TEST_CASE("modalities: a case belongs to the one whose pattern is its name", "[unit][pipeline]") {
  const CaseModalities mr = modalities(kMr);
  for (const char* name : {"sub-01_mr", "_mr", "t2_1"}) CHECK(mr.of(name) != nullptr);
  for (const char* name : {"sub-01_mr_2", "sub-01_ct", "t2_10", ""}) CHECK(mr.of(name) == nullptr);
  CHECK(CaseModalities().of("sub-01_mr") == nullptr);
}

TEST_CASE("modalities: images are scaled by their own rule, the others by the contract", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a_ct", ramp(), spot(0));
  folder.add("a_mr", ramp(), spot(0));
  const TrainingData data = read(folder, modalities(kMr));
  const std::vector<float> ct = image_of(data, "a_ct"), mr = image_of(data, "a_mr");
  REQUIRE(ct.size() == mr.size());
  for (std::size_t i = 0; i < ct.size(); ++i) CHECK(mr[i] == Approx(std::min(ct[i] / 10, 1.0F)));
  CHECK(data.patches_lie_still());
}

TEST_CASE("modalities: the cache keeps them apart from what the contract gives", "[unit][pipeline]") {
  const Folder folder, kept;
  folder.add("a_mr", ramp(), spot(0));
  const auto cache = std::make_shared<CaseCache>(kept.path / "cache", 1 << 20, [](const std::string&) {});
  const std::vector<float> plain = image_of(read(folder, {}, {}, cache), "a_mr");
  const std::vector<float> scaled = image_of(read(folder, modalities(kMr), {}, cache), "a_mr");
  CHECK(plain != scaled);
  CHECK(image_of(read(folder, modalities(kMr), {}, cache), "a_mr") == scaled);
}

TEST_CASE("modalities: patches are changed as their own says, or as the step says", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a_ct", ramp(), spot(0));
  folder.add("a_mr", ramp(), spot(0));
  const CaseModalities shifted = modalities(
      R"({"mr": {"cases": ["*_mr"], "intensity": {"kind": "none"}, "augment": {"shift_intensity": {"probability": 1, "range": [5, 6]}}}})");
  const TrainingData data = read(folder, shifted);
  CHECK_FALSE(data.patches_lie_still());
  for (std::uint64_t draw = 0; draw < 4; ++draw) {
    const float first = values_of(data.item(draw).image).front();
    CHECK((data.name(data.case_of(draw)) == "a_mr" ? first >= 5 : first == 0));
  }
  PatchOptions patches;
  patches.augment.emplace();
  patches.augment->shift_intensity = {1, 1, 2};
  const TrainingData both =
      read(folder, modalities(R"({"mr": {"cases": ["*_mr"], "intensity": {"kind": "none"}}})"), patches);
  for (std::uint64_t draw = 0; draw < 4; ++draw) CHECK(values_of(both.item(draw).image).front() >= 1);
}

TEST_CASE("modalities: a pattern without a case and a case of two are refused", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a_ct", ramp(), spot(0));
  CHECK_THROWS_WITH(read(folder, modalities(kMr)),
                    Contains("modalities.mr.cases names no case of the data, which are a_ct"));
  const CaseModalities two = modalities(
      R"({"mr": {"cases": ["a*"], "intensity": {"kind": "none"}}, "pet": {"cases": ["*_ct"], "intensity": {"kind": "none"}}})");
  CHECK_THROWS_WITH(two.check({"a_ct", "b_ct"}), Contains("modalities.pet.cases has case a_ct, as \"mr\" has"));
}

TEST_CASE("modalities: a rule that makes no sense is refused", "[unit][pipeline]") {
  CHECK_THROWS_WITH(modalities(R"({"mr": {"cases": ["*"], "intensity": {"kind": "window", "low": 5, "high": 5}}})"),
                    Contains("modalities.mr.intensity.high must be above low (5), got 5"));
  CHECK_THROWS_AS(modalities(R"({"mr": {"cases": [], "intensity": {"kind": "none"}}})"), ConfigError);
  CHECK_THROWS_AS(modalities(R"({"mr": {"cases": ["*"]}})"), ConfigError);
  CHECK_THROWS_AS(modalities(R"({"mr": {"cases": ["*"], "intensity": {"kind": "z-score"}}})"), ConfigError);
  CHECK_THROWS_AS(modalities("{}"), ConfigError);
}
