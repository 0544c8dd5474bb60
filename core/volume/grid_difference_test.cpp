// SPDX-License-Identifier: Apache-2.0
#include "core/volume/grid_difference.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>

#include <string>

namespace medgen {
namespace {

using Catch::Matchers::Contains;

const Affine<Ras> kGrid = Affine<Ras>::from_spacing({1, 2, 3}, {10, 20, 30});

Geometry image() {
  return {{4, 5, 6}, kGrid};
}

/// One voxel of label 3, moved along x.
Volume map(double mm = 0, DType type = DType::U8, const Size3& size = {4, 5, 6}) {
  Tensor ids = Tensor::zeros(DType::U8, {size[2], size[1], size[0]});
  ids.values<std::uint8_t>()[9] = 3;
  return {ids.to(type), Affine<Ras>::from_spacing({1, 2, 3}, {10 + mm, 20, 30})};
}

TEST_CASE("label map of an image: integers along its axes, whatever the file has", "[unit][volume]") {
  const Volume plain = match_labels(image(), map(), "a").labels;
  CHECK(plain.dtype() == DType::U8);
  for (const char* code : {"RAS", "LPI", "SAR", "IRP"}) {
    const MatchedLabels matched = match_labels(image(), reorient(map(0, DType::F64), code), "a");
    CHECK_FALSE(matched.warning.has_value());
    CHECK(matched.labels.orientation() == "RAS");
    CHECK(matched.labels.dtype() == DType::U8);
    CHECK(matched.labels.voxels().values<std::uint8_t>()[9] == 3);
    CHECK(largest_difference_mm(matched.labels.geometry(), image()) < 1e-9);
  }
}

TEST_CASE("label map of an image: a little off is told, more is refused", "[unit][volume]") {
  CHECK_FALSE(match_labels(image(), map(0.009), "a").warning.has_value());
  const MatchedLabels matched = match_labels(image(), map(0.3), "a");
  CHECK(matched.warning == "the label map lies up to 0.3 mm away from the image");
  CHECK(matched.labels.geometry() == map(0.3).geometry());
  CHECK_THROWS_WITH(match_labels(image(), map(0.6), "a"), "a: the label map lies up to 0.6 mm away from the image");
  CHECK_THROWS_WITH(match_labels(image(), map(0, DType::U8, {5, 4, 6}), "a"),
                    Contains("a: the label map has 5 x 4 x 6 voxels"));
}

TEST_CASE("label map of an image: voxels that are no labels are refused", "[unit][volume]") {
  Volume grey = map(0, DType::F32);
  grey.voxels().values<float>()[0] = 0.5F;
  CHECK_THROWS_WITH(match_labels(image(), grey, "case 7"), Contains("case 7: a label map holds the value 0.5"));
}

}  // namespace
}  // namespace medgen
