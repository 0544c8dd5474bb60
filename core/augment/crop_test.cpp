// SPDX-License-Identifier: Apache-2.0
#include "core/augment/crop.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

namespace medgen {
namespace {

/// A tumour (2) of three voxels in an organ (1).
Volume organ() {
  Tensor voxels = Tensor::zeros(DType::U8, {10, 12, 14});
  auto ids = voxels.values<std::uint8_t>();
  const auto index = [](int x, int y, int z) { return static_cast<std::size_t>((z * 12 + y) * 14 + x); };
  for (int z = 3; z < 8; ++z) {
    for (int y = 2; y < 9; ++y) ids[index(6, y, z)] = 1;
  }
  ids[index(6, 4, 3)] = ids[index(13, 11, 9)] = ids[index(0, 0, 5)] = 2;
  return Volume(voxels, {});
}

TEST_CASE("label index: every voxel of a label is found once, in order", "[unit][augment]") {
  const LabelIndex index(organ());
  CHECK(index.labels() == std::vector<std::int64_t>{0, 1, 2});
  CHECK(index.count(1) == 34);
  CHECK(index.count(7) == 0);
  CHECK(index.voxel(2, 0) == Size3{6, 4, 3});
  CHECK(index.voxel(2, 1) == Size3{0, 0, 5});
  CHECK(index.voxel(2, 2) == Size3{13, 11, 9});
  CHECK(index.voxel(1, 0) == Size3{6, 2, 3});
  CHECK(index.voxel(0, index.count(0) - 1) == Size3{12, 11, 9});
  REQUIRE_THROWS(index.voxel(2, 3));
  REQUIRE_THROWS(index.voxel(7, 0));
}

TEST_CASE("crop: patches lie inside, and everywhere", "[unit][augment]") {
  const Size3 whole = {14, 12, 10};
  const CropOptions options{{8, 12, 4}, {}};
  std::set<Size3> corners;
  for (std::uint64_t n = 0; n < 2000; ++n) {
    const Size3 corner = crop_corner(options, whole, nullptr, 1, n);
    for (std::size_t d = 0; d < 3; ++d) {
      REQUIRE(corner[d] >= 0);
      REQUIRE(corner[d] + options.size[d] <= whole[d]);
    }
    corners.insert(corner);
    REQUIRE(corner == crop_corner(options, whole, nullptr, 1, n));
  }
  CHECK(corners.size() == 7 * 1 * 7);
}

TEST_CASE("crop: labels are met as often as asked for", "[unit][augment]") {
  const Volume label = organ();
  const LabelIndex index(label);
  CropOptions options{{1, 1, 1}, {{1, 0.25}, {2, 0.5}}};
  std::map<int, int> met;
  for (std::uint64_t n = 0; n < 4000; ++n) {
    const auto [x, y, z] = crop_corner(options, label.size(), &index, 2, n);
    ++met[label.voxels().values<std::uint8_t>()[static_cast<std::size_t>((z * 12 + y) * 14 + x)]];
  }
  CHECK(met[2] == Approx(2000).margin(150));
  CHECK(met[1] == Approx(1000 + 1000 * 34.0 / 1680).margin(150));
}

TEST_CASE("crop: labels that a case lacks leave their share to the others", "[unit][augment]") {
  const LabelIndex index(organ());
  CropOptions options{{1, 1, 1}, {{7, 0.9}, {2, 0.1}}};
  const std::set<Size3> tumour = {{6, 4, 3}, {0, 0, 5}, {13, 11, 9}};
  std::set<Size3> met;
  for (std::uint64_t n = 0; n < 200; ++n) met.insert(crop_corner(options, {14, 12, 10}, &index, 2, n));
  CHECK(met == tumour);
  options.label_probability = {{7, 1.0}};
  CHECK(crop_corner(options, {14, 12, 10}, &index, 2, 1) == crop_corner(options, {14, 12, 10}, &index, 2, 1));
}

TEST_CASE("crop: near the border a patch stays inside; a short axis lies in its middle", "[unit][augment]") {
  const LabelIndex index(organ());
  const CropOptions options{{6, 6, 16}, {{2, 1.0}}};
  for (std::uint64_t n = 0; n < 50; ++n) {
    const Size3 corner = crop_corner(options, {14, 12, 10}, &index, 2, n);
    CHECK(corner[0] >= 0);
    CHECK(corner[0] <= 8);
    CHECK(corner[2] == -3);
  }
  CHECK(crop_size({{0, 5, 0}, {}}, {14, 12, 10}) == Size3{14, 5, 10});
}

}  // namespace
}  // namespace medgen
