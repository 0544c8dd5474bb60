// SPDX-License-Identifier: Apache-2.0
#include "core/volume/body.h"
#include "core/volume/labels.h"
#include "core/volume/morphology.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>
#include <queue>
#include <random>

namespace medgen {
namespace {

using Byte = std::uint8_t;

Tensor random_mask(const Shape& shape, double share, unsigned seed) {
  Tensor mask(DType::U8, shape);
  std::mt19937 draw(seed);
  for (Byte& voxel : mask.values<Byte>()) voxel = std::bernoulli_distribution(share)(draw) ? 1 : 0;
  return mask;
}

bool equal(const Tensor& a, const Tensor& b) {
  return std::ranges::equal(a.values<Byte>(), b.values<Byte>());
}

std::int64_t count(const Tensor& mask) {
  return std::ranges::count(mask.values<Byte>(), Byte{1});
}

/// Calls use(index of a neighbour) for those within `radius` along each axis.
template <typename Use>
void for_neighbours(const Shape& shape, std::int64_t at, std::int64_t radius, Use use) {
  const std::int64_t z0 = at / (shape[1] * shape[2]), y0 = at / shape[2] % shape[1], x0 = at % shape[2];
  for (std::int64_t z = z0 - radius; z <= z0 + radius; ++z)
    for (std::int64_t y = y0 - radius; y <= y0 + radius; ++y)
      for (std::int64_t x = x0 - radius; x <= x0 + radius; ++x)
        if (z >= 0 && y >= 0 && x >= 0 && z < shape[0] && y < shape[1] && x < shape[2])
          use(static_cast<std::size_t>((z * shape[1] + y) * shape[2] + x));
}

/// By flooding. Number of each voxel's component and the size of each.
struct Flooded {
  std::vector<std::size_t> number;
  std::vector<std::int64_t> sizes{0};

  explicit Flooded(const Tensor& mask) : number(static_cast<std::size_t>(mask.size())) {
    const auto voxels = mask.values<Byte>();
    for (std::size_t start = 0; start < voxels.size(); ++start) {
      if (voxels[start] == 0 || number[start] != 0) continue;
      std::queue<std::size_t> open({start});
      number[start] = sizes.size();
      sizes.push_back(0);
      while (!open.empty()) {
        const std::size_t at = open.front();
        open.pop(), ++sizes.back();
        for_neighbours(mask.shape(), static_cast<std::int64_t>(at), 1, [&](std::size_t next) {
          if (voxels[next] != 0 && number[next] == 0) number[next] = number[at], open.push(next);
        });
      }
    }
  }
};

const Shape kShapes[] = {{1, 1, 1}, {1, 7, 9}, {6, 1, 5}, {5, 6, 1}, {9, 10, 11}};

TEST_CASE("morphology: dilation and erosion are the largest and smallest of the cube", "[unit][volume]") {
  const Shape shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
  const std::int64_t edge = GENERATE(1, 3, 5, 31);
  const Tensor mask = random_mask(shape, GENERATE(0.1, 0.9), 3);
  const Tensor wide = dilate(mask, edge), narrow = erode(mask, edge);
  for (std::int64_t i = 0; i < mask.size(); ++i) {
    Byte most = 0, least = 1;
    for_neighbours(shape, i, edge / 2, [&](std::size_t n) {
      most = std::max(most, mask.values<Byte>()[n]), least = std::min(least, mask.values<Byte>()[n]);
    });
    REQUIRE(wide.values<Byte>()[static_cast<std::size_t>(i)] == most);
    REQUIRE(narrow.values<Byte>()[static_cast<std::size_t>(i)] == least);
  }
  CHECK(equal(close(close(mask, edge), edge), close(mask, edge)));
}

TEST_CASE("connected components: those of a flood", "[unit][volume]") {
  const Shape shape = GENERATE(from_range(std::begin(kShapes), std::end(kShapes)));
  const Tensor mask = random_mask(shape, GENERATE(0.0, 0.05, 0.1, 0.2, 1.0), GENERATE(1U, 2U, 3U));
  const Flooded flooded(mask);
  const ConnectedComponents components(mask);
  const std::int64_t most = *std::ranges::max_element(flooded.sizes);
  const auto largest = components.largest();
  CHECK(count(largest) == most);
  CHECK(components.most_voxels() == most);
  CHECK(Flooded(largest).sizes.size() == (most == 0 ? 1U : 2U));
  for (const std::int64_t least : {1, 2, 4, 8}) {
    const auto kept = components.of_at_least(least);
    for (std::size_t i = 0; i < flooded.number.size(); ++i)
      REQUIRE((kept.values<Byte>()[i] != 0) == (flooded.number[i] != 0 && flooded.sizes[flooded.number[i]] >= least));
  }
}

TEST_CASE("morphology: what is no mask is refused", "[unit][volume]") {
  CHECK_THROWS_AS(dilate(Tensor::zeros(DType::F32, {2, 2, 2}), 3), RuntimeError);
  CHECK_THROWS_AS(erode(Tensor::zeros(DType::U8, {2, 2}), 3), RuntimeError);
  CHECK_THROWS_AS(ConnectedComponents(Tensor::zeros(DType::I32, {2, 2, 2})), RuntimeError);
}

/// A body of water with a lung in it on a thin table, in air; edge 40.
struct Scan {
  Volume ct, labels;

  explicit Scan(DType type = DType::U8)
      : ct(Tensor(DType::I16, {40, 40, 40}), Affine<Ras>()), labels(Tensor::zeros(type, {40, 40, 40}), Affine<Ras>()) {
    fill(0, 40, 0, 40, -1000, 0);
    fill(10, 30, 8, 28, 30);        // body
    fill(17, 21, 15, 19, -850, 6);  // a lung, a small part
    fill(0, 40, 33, 34, 100);       // table
  }

  /// A box in x and y, through all planes but so many at each end.
  void fill(int x0, int x1, int y0, int y1, std::int16_t value, int ends = 2) {
    const auto voxels = ct.voxels().values<std::int16_t>();
    for (int z = ends; z < 40 - ends; ++z)
      for (int y = y0; y < y1; ++y)
        for (int x = x0; x < x1; ++x) voxels[index(x, y, z)] = value;
  }

  static std::size_t index(int x, int y, int z) { return static_cast<std::size_t>((z * 40 + y) * 40 + x); }

  std::int64_t body_at(int x, int y, int z = 20, const BodyRule& rule = {}) const {
    return with_body(ct, labels, rule).voxels().to(DType::I64).values<std::int64_t>()[index(x, y, z)];
  }
};

TEST_CASE("body: it is what is not air, without the table, with what lies in it", "[unit][volume]") {
  const Scan scan;
  CHECK(scan.body_at(10, 8) == 200);
  CHECK(scan.body_at(29, 27) == 200);
  CHECK(scan.body_at(18, 16) == 200);  // the lung
  CHECK(scan.body_at(9, 8) == 0);
  CHECK(scan.body_at(20, 30) == 0);
  CHECK(scan.body_at(20, 33) == 0);  // the table
  CHECK(scan.body_at(20, 20, 0) == 0);
}

TEST_CASE("body: a large part of air inside is not body", "[unit][volume]") {
  Scan scan;
  scan.fill(13, 27, 11, 25, -1000, 6);
  CHECK(scan.body_at(20, 20) == 0);
  CHECK(scan.body_at(11, 9) == 200);
}

TEST_CASE("body: smaller parts of it when they are asked for", "[unit][volume]") {
  Scan scan;
  scan.fill(0, 7, 10, 25, 40);  // an arm, a quarter
  CHECK(scan.body_at(3, 15) == 0);
  CHECK(scan.body_at(3, 15, 20, {.least_part = 0.5}) == 0);
  CHECK(scan.body_at(3, 15, 20, {.least_part = 0.1}) == 200);
  CHECK(scan.body_at(20, 33, 20, {.least_part = 0.1}) == 0);  // the table
}

TEST_CASE("body: labels stay, are body where they lie in air, and a map that has one keeps it", "[unit][volume]") {
  Scan scan;
  scan.labels.voxels().values<Byte>()[Scan::index(20, 20, 20)] = 7;
  scan.labels.voxels().values<Byte>()[Scan::index(2, 2, 2)] = 9;
  CHECK(scan.body_at(20, 20) == 7);
  CHECK(scan.body_at(2, 2, 2) == 9);
  CHECK(scan.body_at(21, 20, 20, {.label = 5}) == 5);
  CHECK(scan.body_at(21, 20, 20, {.label = 7}) == 0);
}

TEST_CASE("body: the element type grows where the label does not fit", "[unit][volume]") {
  CHECK(with_body(Scan().ct, Scan().labels, {}).dtype() == DType::U8);
  CHECK(with_body(Scan().ct, Scan(DType::I8).labels, {}).dtype() == DType::U8);
  CHECK(with_body(Scan().ct, Scan().labels, {.label = 500}).dtype() == DType::U16);
}

TEST_CASE("body: maps of every type get the same", "[unit][volume]") {
  const auto made = [](DType type) {
    Scan scan(type);
    Tensor ids = scan.labels.voxels().to(DType::I64);
    if (ids.data() == scan.labels.voxels().data()) ids = ids.clone();
    ids.values<std::int64_t>()[Scan::index(20, 20, 20)] = 7;
    const Tensor before = ids.to(type);
    const Volume result = with_body(scan.ct, scan.labels.with_voxels(before), {.label = 100});
    CHECK(before.to(DType::I64).values<std::int64_t>()[Scan::index(21, 20, 20)] == 0);  // what it was made from stays
    if (type != DType::F32) CHECK(result.dtype() == type);
    return result.voxels().to(DType::I64);
  };
  const Tensor wide = made(DType::I64);
  for (const DType type : {DType::U8, DType::I8, DType::U16, DType::I16, DType::U32, DType::I32, DType::F32}) {
    const Tensor same = made(type);
    CHECK(std::ranges::equal(same.values<std::int64_t>(), wide.values<std::int64_t>()));
  }
}

TEST_CASE("body: an image without air is all body, one of air has none", "[unit][volume]") {
  Scan scan;
  scan.ct.voxels() = Tensor::zeros(DType::F32, {40, 40, 40});
  CHECK(label_ids(with_body(scan.ct, scan.labels, {}).voxels()) == std::set<std::int64_t>{200});
  for (float& value : scan.ct.voxels().values<float>()) value = -1000;
  CHECK(label_ids(with_body(scan.ct, scan.labels, {}).voxels()) == std::set<std::int64_t>{0});
}

TEST_CASE("body: other sizes and channels are refused", "[unit][volume]") {
  const Scan scan;
  const Volume small(Tensor::zeros(DType::U8, {2, 2, 2}), Affine<Ras>());
  const Volume channels(Tensor::zeros(DType::I16, {2, 40, 40, 40}), Affine<Ras>());
  CHECK_THROWS_WITH(with_body(scan.ct, small, {}), Catch::Contains("40x40x40 and 2x2x2"));
  CHECK_THROWS_AS(with_body(channels, scan.labels, {}), DataError);
  CHECK_THROWS_AS(with_body(scan.ct, small.with_voxels(Tensor::zeros(DType::F32, {2, 2, 2})), {}), DataError);
}

}  // namespace
}  // namespace medgen
