// SPDX-License-Identifier: Apache-2.0
#include "core/volume/labels.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>
#include <limits>
#include <vector>

namespace medgen {
namespace {

template <typename T>
Volume row(const std::vector<T>& ids) {
  return Volume(Tensor::from<T>(ids, {1, 1, static_cast<std::int64_t>(ids.size())}), Affine<Ras>());
}

const LabelTable kSource({{0, "background"}, {1, "Anterior"}, {2, "Posterior"}});
const LabelTable kTarget({{7, "Posterior"}, {300, "Anterior"}, {4, "liver"}});

TEST_CASE("label table: finds both ways and refuses doubles", "[unit][volume]") {
  REQUIRE(kSource.id_of("Posterior") == 2);
  REQUIRE(kSource.name_of(1) == "Anterior");
  REQUIRE(kSource.find("liver") == std::nullopt);
  LabelTable table = kSource;
  REQUIRE_THROWS_WITH(table.add(1, "x"), Catch::Contains("Anterior") && Catch::Contains("'x'"));
  REQUIRE_THROWS_WITH(table.add(9, "Anterior"), Catch::Contains("9"));
  REQUIRE_THROWS_AS(table.add(9, ""), DataError);
  REQUIRE(table == kSource);
  REQUIRE_THROWS_WITH(kSource.id_of("Anteroir"), Catch::Contains("did you mean 'Anterior'"));
  REQUIRE_THROWS_WITH(kSource.name_of(5), Catch::Contains("0, 1, 2"));
}

TEST_CASE("label_ids: finds whole numbers in any type and refuses images", "[unit][volume]") {
  REQUIRE(label_ids(row<std::uint8_t>({0, 2, 2, 0, 200}).voxels()) == std::set<std::int64_t>{0, 2, 200});
  REQUIRE(label_ids(row<float>({0, -2, 3}).voxels()) == std::set<std::int64_t>{-2, 0, 3});
  REQUIRE_THROWS_WITH(label_ids(row<float>({0, 0.5F}).voxels()), Catch::Contains("0.5"));
  REQUIRE_THROWS_AS(label_ids(row<float>({std::numeric_limits<float>::quiet_NaN()}).voxels()), DataError);
  REQUIRE_THROWS_AS(label_ids(row<double>({1e30}).voxels()), DataError);
  REQUIRE_THROWS_AS(label_ids(row<std::uint64_t>({~std::uint64_t{0}}).voxels()), DataError);
}

TEST_CASE("map_by_name: joins equal names and lists everything that has no partner", "[unit][volume]") {
  REQUIRE(map_by_name({0, 1, 2}, kSource, kTarget) == LabelMapping{{0, 0}, {1, 300}, {2, 7}});
  const LabelTable other({{1, "Anterir"}, {3, "spleen"}});
  REQUIRE_THROWS_WITH(map_by_name({1, 3, 9}, other, kTarget), Catch::Contains("'Anterir' (id 1)") &&
                                                                  Catch::Contains("(nearest: 'Anterior', ") &&
                                                                  Catch::Contains("spleen") && Catch::Contains("id 9"));
}

TEST_CASE("map_by_name: capitals, underscores and blanks make no other label, unless two differ by them",
          "[unit][volume]") {
  const LabelTable from({{1, "Left_Lung"}, {2, "left-kidney"}});
  const LabelTable to({{5, "left kidney"}, {6, "left lung"}});
  REQUIRE(map_by_name({1, 2}, from, to) == LabelMapping{{1, 6}, {2, 5}});
  const LabelTable both({{5, "left_kidney"}, {6, "left lung"}, {7, "Left Lung"}, {8, "left kidney"}});
  REQUIRE(both.find_alike("left kidney") == 8);
  REQUIRE(both.find_alike("left_lung") == std::nullopt);
  REQUIRE(both.find_alike("leftlung") == std::nullopt);
  REQUIRE_THROWS_WITH(map_by_name({1}, from, both), Catch::Contains("'Left_Lung'"));
}

TEST_CASE("relabel: widens the type only when it must and refuses unmapped ids", "[unit][volume]") {
  const Volume labels = row<std::uint8_t>({0, 1, 2, 1});
  const Volume swapped = relabel(labels, {{0, 0}, {1, 2}, {2, 1}});
  REQUIRE(swapped.dtype() == DType::U8);
  REQUIRE(label_ids(swapped.voxels()) == std::set<std::int64_t>{0, 1, 2});
  const Volume wide = relabel(labels, map_by_name({0, 1, 2}, kSource, kTarget));
  REQUIRE(wide.dtype() == DType::U16);
  REQUIRE(wide.voxels().values<std::uint16_t>()[3] == 300);
  REQUIRE_THROWS_WITH(relabel(labels, {{0, 0}, {1, 1}}), Catch::Contains("no mapping: 2"));
}

TEST_CASE("as_labels: makes integers of whole floats and leaves integers alone", "[unit][volume]") {
  REQUIRE(as_labels(row<std::int64_t>({0, 5})).dtype() == DType::I64);
  REQUIRE(as_labels(row<float>({0, 200})).dtype() == DType::U8);
  REQUIRE(as_labels(row<double>({0, -1})).dtype() == DType::I8);
  REQUIRE(as_labels(row<double>({0, 1e15})).dtype() == DType::I64);
  REQUIRE_THROWS_AS(as_labels(row<float>({0.25F})), DataError);
}

}  // namespace
}  // namespace medgen
