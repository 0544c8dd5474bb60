// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/channel_choice.h"

#include "core/base/error.h"
#include "core/config/parse.h"
#include "core/pipeline/test_cases.h"

#include <catch2/catch.hpp>

#include <memory>
#include <numeric>
#include <set>
#include <string>

namespace medgen {
namespace {

using Catch::Matchers::Contains;

ChannelChoice choice(const std::string& value) {
  return {parse_config(R"({"channel": )" + value + "}", "p.json").at("channel"), "; steps.b takes it over"};
}

TrainingDataOptions taking(const std::string& value) {
  TrainingDataOptions options = labelled();
  options.channel = choice(value);
  return options;
}

float first_voxel(const Folder& folder, const TrainingDataOptions& options) {
  return TrainingData(folder.path, contract(), {}, options, {}).item(0).image.values<float>().front();
}

/// Two channels that start at 0 and at 500, together in one file.
Volume pair() {
  Tensor voxels(DType::F32, {2, kSize[2], kSize[1], kSize[0]});
  const auto values = voxels.values<float>();
  std::iota(values.begin(), values.end(), 0.0F);
  values[voxels.values<float>().size() / 2] = 500;
  return {std::move(voxels), kOneMm};
}

}  // namespace

TEST_CASE("channel: by name as the data set has it, or by number", "[unit][pipeline]") {
  Dataset dataset;
  dataset.channels = {"FLAIR", "T1w"};
  CHECK_FALSE(ChannelChoice().number(dataset));
  CHECK(choice("\"T1w\"").number(dataset) == 1U);
  CHECK(choice("1").number(dataset) == 1U);
  CHECK_THROWS_WITH(choice("\"T1\"").number(dataset),
                    Contains("p.json:1:") && Contains("'T1w'") && Contains("FLAIR, T1w; steps.b takes it over"));
}

TEST_CASE("channel: one of a case's files", "[unit][pipeline]") {
  const Case two{"a", {"a_0000.nii", "a_0001.nii"}, {}};
  CHECK(image_of(two, 1) == "a_0001.nii");
  CHECK(image_of({"a", {"a.nii"}, {}}, std::nullopt) == "a.nii");
  CHECK_THROWS_WITH(image_of(two, std::nullopt), Contains("2 images") && Contains("\"channel\""));
  CHECK_THROWS_WITH(image_of(two, 2), Contains("the case has 2"));
  CHECK_THROWS_WITH(image_of({"a", {}, {}}, 0), Contains("no image"));
}

TEST_CASE("channel: one of an image's", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", pair(), spot(0));
  CHECK(first_voxel(folder, taking("0")) == 0);
  CHECK(first_voxel(folder, taking("1")) == 500);
  CHECK_THROWS_WITH(first_voxel(folder, taking("2")), Contains("a: \"channel\" is 2, but the image has 2"));
  TrainingDataOptions one = labelled();
  one.channels = 1;
  CHECK_THROWS_WITH(first_voxel(folder, one), Contains("has 2 channels, this training takes 1; \"channel\""));
}

TEST_CASE("channel: the cache and the fingerprint tell them apart", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", pair(), spot(0));
  const TestFolder kept;
  const auto cache = std::make_shared<CaseCache>(kept.path, 1 << 20, [](const std::string&) {});
  std::set<std::string> fingerprints;
  for (const char* channel : {"0", "1", "0"}) {
    TrainingDataOptions options = taking(channel);
    options.cache = cache;
    CHECK(first_voxel(folder, options) == (channel == std::string("1") ? 500 : 0));
    fingerprints.insert(TrainingData(folder.path, contract(), {}, options, {}).fingerprint());
  }
  CHECK(fingerprints.size() == 2);
}

}  // namespace medgen
