// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/window_decode.h"

#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "tests/golden/maisi/configs.h"
#include "tests/golden/support/golden.h"

#include <ATen/core/grad_mode.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>
#include <catch2/catch.hpp>

#include <array>

// The released windowed decode against numbers recorded from MONAI 1.6.1's SlidingWindowInferer (fp32, CPU).

namespace medgen::maisi {
namespace {

constexpr std::uint64_t kLatentSeed = 5;
constexpr double kSum = -597598.3102085248;
constexpr double kAbsSum = 666752.9424457424;
constexpr double kStd = 1.1007139680994071;
constexpr std::array<double, 4> kFirst = {-0.135056, -0.31067, -0.332063, -0.391374};

}  // namespace

TEST_CASE("maisi: the windowed decode gives the published image, seams included", "[golden][maisi]") {
  const at::NoGradGuard no_grad;
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(golden::autoencoder(false)));
  medgen::golden::fill_by_rule(network, 1234);
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(kLatentSeed);
  const at::Tensor z = at::randn({1, 4, 20, 20, 20}, generator);

  const at::Tensor image = decode_in_windows(z, windows_over(z.sizes(), {.roi = {12, 12, 12}, .overlap = 0.4}), 4,
                                             [&](const at::Tensor& window) { return network.decode(window); });

  REQUIRE(image.sizes() == at::IntArrayRef({1, 1, 80, 80, 80}));
  const at::Tensor exact = image.to(at::kDouble);
  CHECK(exact.sum().item<double>() == Approx(kSum).epsilon(1e-5));
  CHECK(exact.abs().sum().item<double>() == Approx(kAbsSum).epsilon(1e-5));
  CHECK(exact.std().item<double>() == Approx(kStd).epsilon(1e-5));
  for (std::size_t i = 0; i < kFirst.size(); ++i) {
    CHECK(exact.flatten()[static_cast<std::int64_t>(i)].item<double>() == Approx(kFirst[i]).margin(1e-5));
  }
}

}  // namespace medgen::maisi
