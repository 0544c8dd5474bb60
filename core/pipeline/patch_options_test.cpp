// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/patch_options.h"

#include "core/base/error.h"
#include "core/config/parse.h"
#include "core/pipeline/schema.h"

#include <catch2/catch.hpp>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

PatchOptions options_of(const std::string& keys) {
  const std::string step = R"({"train": "m", "component": "denoiser", "data": "d", "iterations": 1, "to": "t")";
  LabelTable labels;
  labels.add(1, "tumour");
  labels.add(7, "left");
  labels.add(8, "right");
  return PatchOptions::read(verb_schema("train").resolve(parse_config(step + keys + "}", "p.json")), labels, 5);
}

}  // namespace

TEST_CASE("patch options: whole images lie still, whatever crop_at says", "[unit][pipeline]") {
  for (const char* keys : {"", R"(, "crop_at": "random")", R"(, "crop_at": "center")"})
    CHECK(options_of(keys).lie_still());
  CHECK(options_of(R"(, "crop": [4, 4, 4], "crop_at": "center")").lie_still());
  CHECK_FALSE(options_of(R"(, "crop": [4, 4, 4])").lie_still());
  CHECK_FALSE(options_of(R"(, "augment": {"flip": {"probability": 1, "axes": ["x"]}})").lie_still());
}

TEST_CASE("patch options: labels are found by their names", "[unit][pipeline]") {
  const PatchOptions options = options_of(R"(, "crop": [2, 3, 4], "crop_at": {"tumour": 0.5, "left": 0.25})");
  CHECK(options.crop.size == Size3{2, 3, 4});
  CHECK(options.crop.label_probability == std::map<std::int64_t, double>{{1, 0.5}, {7, 0.25}});
  CHECK(options.random);
  CHECK(options.needs_labels());
  CHECK(options.seed == 5);
}

TEST_CASE("patch options: augmentation is read with the model's labels", "[unit][pipeline]") {
  const PatchOptions options =
      options_of(R"(, "augment": {"preset": "maisi-ct", "mirrored_labels": [["left", "right"]]})");
  REQUIRE(options.augment);
  CHECK(options.augment->zoom.probability == 0.3);
  CHECK(options.augment->mirrored_labels.front() == std::pair<std::int64_t, std::int64_t>{7, 8});
}

TEST_CASE("patch options: what cannot be is refused at its place", "[unit][pipeline]") {
  const auto [keys, part] = GENERATE(table<std::string, std::string>({
      {R"(, "crop": [4, 4, 4], "crop_at": {"tumor": 1})", "crop_at.tumor"},
      {R"(, "crop": [4, 4, 4], "crop_at": {"tumour": 0.7, "left": 0.4})", "1.1"},
      {R"(, "crop": [4, 4, 4], "crop_at": {"tumour": 2})", "crop_at"},
      {R"(, "crop": [4, 4, 4], "crop_at": {})", "crop_at"},
      {R"(, "crop": [4, 4, 4], "crop_at": "corner")", "crop_at"},
      {R"(, "crop_at": {"tumour": 0.5})", "without \"crop\""},
      {R"(, "augment": {"flop": {"probability": 1}})", "flip"},
      {R"(, "augment": {"rotate": {"probability": 1, "range": [1, -1]}})", "must rise"},
      {R"(, "augment": {"rotate": {"probability": 2}})", "probability"},
      {R"(, "augment": {"preset": "maisi-ct", "mirrored_labels": [["left", "rigth"]]})", "cannot change places"},
      {R"(, "augment": {"mirrored_labels": [["left", "right"]]})", "nothing mirrors"},
  }));
  INFO(keys);
  CHECK_THROWS_AS(options_of(keys), ConfigError);
  CHECK_THROWS_WITH(options_of(keys), Contains(part));
}
