// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/mask_autoencoder.h"

#include "plugins/support/test_call.h"

#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <optional>

namespace medgen::maisi {
namespace {

using Catch::Matchers::Contains;
using support::testing::Given;
using support::testing::Tensors;
using support::testing::TestHost;

std::string config(const char* rest) {
  return std::string(
             R"({"spatial_dims": 3, "num_channels": [4, 8], "num_res_blocks": 1, "attention_levels": [false, false],
    "latent_channels": 2, "norm_num_groups": 2, "use_convtranspose": true, )") +
         rest + "}";
}

const std::string kBits = config(R"("in_channels": 8, "out_channels": 3, "classes": [0, 5, 200])");
const std::string kOneHot =
    config(R"("in_channels": 3, "out_channels": 3, "classes": [0, 5, 200], "encoding": "one_hot")");

MaskAutoencoder made(const std::string& text) {
  const medgen_create_t request = TestHost::create(text);
  return MaskAutoencoder(sdk::Create(request));
}

/// 0, 5 and 200 in slabs.
at::Tensor slabs() {
  at::Tensor map = at::zeros({1, 1, 8, 8, 6});
  map.narrow(2, 3, 2).fill_(5);
  map.narrow(2, 5, 3).fill_(200);
  return map;
}

}  // namespace

TEST_CASE("mask autoencoder: bit planes and one-hot planes hold the labels", "[unit][maisi]") {
  const at::Tensor map = slabs();
  const auto bits = made(kBits);
  at::Tensor sum = at::zeros_like(map);
  for (std::int64_t bit = 0; bit < 8; ++bit) sum += (1 << bit) * bits.planes(map).narrow(1, bit, 1);
  CHECK(sum.equal(map));
  const at::Tensor one_hot = made(kOneHot).planes(map);
  CHECK(one_hot.sum(1).eq(1).all().item<bool>());
  CHECK(one_hot.argmax(1).equal(bits.classes_of(map)));
}

TEST_CASE("mask autoencoder: what is decoded are label ids", "[unit][maisi]") {
  auto vae = made(kBits);
  vae.network().initialize(3);
  TestHost host;
  const Given latent({{"z", at::randn({2, 2, 4, 4, 3})}});
  const at::Tensor x =
      host.call([&](const sdk::Context& call, sdk::Outputs& out) { vae.decode(call, latent.binds(), out); }).at("x");
  CHECK(x.sizes() == at::IntArrayRef({2, 1, 8, 8, 6}));
  CHECK((x.eq(0) + x.eq(5) + x.eq(200)).all().item<bool>());
}

TEST_CASE("mask autoencoder: it learns a map by heart", "[unit][maisi]") {
  const std::string text = GENERATE(kBits, kOneHot);
  auto vae = made(text);
  TestHost host;
  const at::Tensor map = slabs();
  const Given given({{"x", map}});
  std::optional<MaskAutoencoderTrainer> trainer;
  host.call([&](const sdk::Context& call, sdk::Outputs&) { trainer.emplace(vae, call, "{}"); });
  double accuracy = 0;
  for (int i = 0; i < 150 && accuracy < 1; ++i) {
    accuracy = host.call([&](const sdk::Context& call, sdk::Outputs& out) { trainer->step(call, given.binds(), out); })
                   .at("accuracy")
                   .item<double>();
    host.call([&](const sdk::Context& call, sdk::Outputs&) { trainer->apply(call, 1e-2); });
  }
  CHECK(accuracy > 0.98);
}

TEST_CASE("mask autoencoder: labels and channels that do not fit are refused", "[unit][maisi]") {
  CHECK_THROWS_WITH(made(kBits).classes_of(slabs().add(1)), Contains("is none of the 3 classes"));
  CHECK_THROWS_WITH(made(config(R"("in_channels": 8, "out_channels": 2, "classes": [0, 5, 200])")),
                    Contains("out_channels is 2"));
  CHECK_THROWS_WITH(
      made(config(R"("in_channels": 8, "out_channels": 3, "classes": [0, 5, 200], "encoding": "one_hot")")),
      Contains("one_hot makes 3"));
}

}  // namespace medgen::maisi
