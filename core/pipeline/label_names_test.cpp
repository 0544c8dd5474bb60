// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/label_names.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

const LabelTable kModel({{1, "liver"}, {3, "spleen"}, {26, "hepatic tumor"}});

Dataset data_set(const LabelTable& labels) {
  Dataset dataset;
  dataset.labels = labels;
  dataset.description = "data/dataset.json";
  return dataset;
}

Volume map_of(const std::vector<std::uint8_t>& ids) {
  return {Tensor::from<std::uint8_t>(ids, {1, 1, static_cast<std::int64_t>(ids.size())}), Affine<Ras>()};
}

std::vector<std::uint8_t> ids_of(const Volume& volume) {
  const auto values = volume.voxels().values<std::uint8_t>();
  return {values.begin(), values.end()};
}

std::vector<std::uint8_t> mapped(const LabelNames& names, const std::vector<std::uint8_t>& ids) {
  return ids_of(names.in_model(map_of(ids), "a"));
}

}  // namespace

TEST_CASE("label names: a label is what it is called, whatever its id", "[unit][pipeline]") {
  const LabelNames names(data_set(LabelTable({{0, "background"}, {1, "Spleen"}, {2, "Hepatic_tumor"}})), kModel, {});
  CHECK(mapped(names, {0, 1, 2, 1}) == std::vector<std::uint8_t>{0, 3, 26, 3});
}

TEST_CASE("label names: where names and ids agree the map stays the same", "[unit][pipeline]") {
  const LabelNames names(data_set(LabelTable({{1, "liver"}, {3, "spleen"}})), kModel, {});
  const Volume map = map_of({0, 3, 1});
  CHECK(names.in_model(map, "a").voxels().data() == map.voxels().data());
}

TEST_CASE("label names: where either has no names ids mean what they are", "[unit][pipeline]") {
  const std::vector<std::uint8_t> ids = {0, 1, 7};
  CHECK(mapped({data_set({}), kModel, {}}, ids) == ids);
  CHECK(mapped({data_set(LabelTable({{0, "background"}})), kModel, {}}, ids) == ids);
  CHECK(mapped({data_set(LabelTable({{1, "spleen"}})), {}, {}}, ids) == ids);
  CHECK(LabelNames(data_set({}), kModel, {}).text().empty());
}

TEST_CASE("label names: a name that the model lacks is told with its file, the nearest and what to do",
          "[unit][pipeline]") {
  const Dataset dataset = data_set(LabelTable({{1, "liver"}, {2, "hepatic tumour"}, {4, "gall"}}));
  CHECK_THROWS_WITH(LabelNames(dataset, kModel, {}),
                    Contains("data/dataset.json") && Contains("'hepatic tumour' (id 2)") &&
                        Contains("nearest: 'hepatic tumor', ") && Contains("'gall'") && Contains("\"labels\": {"));
  const LabelNames said(dataset, kModel, {{"hepatic tumour", 26}, {"gall", 0}});
  CHECK(mapped(said, {0, 1, 2, 4}) == std::vector<std::uint8_t>{0, 1, 26, 0});
}

TEST_CASE("label names: an id without a name is told with its case", "[unit][pipeline]") {
  const Dataset dataset = data_set(LabelTable({{1, "liver"}}));
  CHECK_THROWS_WITH(mapped({dataset, kModel, {}}, {0, 3}),
                    Contains("a: label 3 has no name in data/dataset.json") && Contains("\"labels\": {\"3\""));
  CHECK(mapped({dataset, kModel, {{"3", 3}}}, {0, 3}) == std::vector<std::uint8_t>{0, 3});
}

TEST_CASE("label names: the step says what ids without names are, and the others stay", "[unit][pipeline]") {
  Dataset plain;
  CHECK(mapped({plain, kModel, {{"5", 3}}}, {0, 1, 5}) == std::vector<std::uint8_t>{0, 1, 3});
  CHECK_THROWS_WITH(LabelNames(plain, kModel, {{"milt", 3}}), Contains("'milt'") && Contains("give ids"));
  CHECK_THROWS_WITH(LabelNames(data_set(LabelTable({{1, "milt"}})), kModel, {{"mild", 3}}),
                    Contains("did you mean 'milt'"));
}

TEST_CASE("label names: what a case becomes is part of its key in the cache", "[unit][pipeline]") {
  const Dataset dataset = data_set(LabelTable({{1, "liver"}, {2, "gall"}}));
  CHECK(LabelNames(dataset, kModel, {{"gall", 0}}).text() != LabelNames(dataset, kModel, {{"gall", 3}}).text());
}
