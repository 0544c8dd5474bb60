// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/loss_weights.h"

#include "core/base/error.h"
#include "core/config/parse.h"

#include <catch2/catch.hpp>

#include <numeric>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

LossWeights weights(const char* json) {
  return LossWeights::read(parse_config(json, "pipeline.json"), LabelTable({{1, "liver"}, {26, "hepatic tumor"}}));
}

Tensor mask_with(std::size_t voxel, std::int32_t label) {
  Tensor mask = Tensor::zeros(DType::I32, {1, 1, 8, 4, 4});
  mask.values<std::int32_t>()[voxel] = label;
  return mask;
}

float sum(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return std::accumulate(values.begin(), values.end(), 0.0F);
}

}  // namespace

TEST_CASE("loss weights: a label at the voxel that the latent reads counts, all else counts 1", "[unit][pipeline]") {
  const LossWeights tumour = weights(R"({"loss_weights": {"hepatic tumor": 100}})");
  const Shape latent{2, 1, 1};
  CHECK(sum(tumour.on(mask_with(0, 26), latent)) == 101);
  const Tensor second = tumour.on(mask_with(4 * 16, 26), latent);
  CHECK(second.shape() == Shape{1, 1, 2, 1, 1});
  CHECK(second.values<float>()[0] == 1);
  CHECK(second.values<float>()[1] == 100);
  CHECK(sum(tumour.on(mask_with(4 * 16 + 1, 26), latent)) == 2);  // between the voxels that are read
  CHECK(sum(tumour.on(mask_with(0, 1), latent)) == 2);
  CHECK(sum(tumour.on(mask_with(5, 26), {8, 4, 4})) == 8 * 16 + 99);  // the same grid
}

TEST_CASE("loss weights: none are needed, and only known labels have any", "[unit][pipeline]") {
  CHECK(weights("{}").empty());
  CHECK_THROWS_WITH(weights(R"({"loss_weights": {"hepatic tumour": 2}})"),
                    Contains("hepatic tumor") && Contains("loss_weights"));
}
