// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/region_contrast.h"

#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

namespace medgen::maisi {
namespace {

at::Tensor cube(std::int64_t edge) {
  at::Tensor region = at::zeros({1, 1, 8, 8, 8}, at::kBool);
  region.narrow(2, 2, edge).narrow(3, 2, edge).narrow(4, 2, edge).fill_(true);
  return region;
}

}  // namespace

TEST_CASE("region contrast: a difference beyond the margin gains nothing", "[unit][maisi]") {
  const RegionContrast contrast{.weight = 1, .margin = 2};
  const at::Tensor free = at::randn({1, 4, 8, 8, 8});
  const auto region_term = [&](double difference) {
    return contrast.terms(free + difference, free, free, cube(2)).region.item<double>();
  };
  CHECK(region_term(0) == Approx(0).margin(1e-5));
  CHECK(region_term(-1.5) == Approx(-1.5).epsilon(1e-4));
  CHECK(region_term(5) == -2);
}

TEST_CASE("region contrast: the background term sees only what is away from the region", "[unit][maisi]") {
  const RegionContrast contrast{.weight = 1, .margin = 2, .dilation = 3};
  const at::Tensor target = at::zeros({1, 4, 8, 8, 8});
  const auto background = [&](const at::Tensor& free) {
    return contrast.terms(target, free, target, cube(2)).background.item<double>();
  };
  at::Tensor inside = target.clone();
  inside.narrow(2, 1, 4).narrow(3, 1, 4).narrow(4, 1, 4).fill_(7);  // the region and its neighbours
  CHECK(background(inside) == 0);
  at::Tensor outside = target.clone();
  outside.select(2, 0).fill_(1);
  CHECK(background(outside) == Approx(64.0 / (512 - 64)));
}

TEST_CASE("region contrast: gradients are those of finite differences", "[unit][maisi]") {
  const RegionContrast contrast{.weight = 1, .margin = 2};
  const at::Tensor target = at::randn({1, 2, 8, 8, 8}, at::kDouble);
  const at::Tensor with = at::randn({1, 2, 8, 8, 8}, at::kDouble).requires_grad_(true);
  const at::Tensor free = at::randn({1, 2, 8, 8, 8}, at::kDouble).requires_grad_(true);
  const auto total = [&](const at::Tensor& a, const at::Tensor& b) {
    const auto terms = contrast.terms(a, b, target, cube(3));
    return terms.region + terms.background;
  };
  total(with, free).backward();
  const double h = 1e-6;
  for (const at::Tensor& direction :
       {at::randn({1, 2, 8, 8, 8}, at::kDouble), at::randn({1, 2, 8, 8, 8}, at::kDouble)}) {
    const at::Tensor a = with.detach(), b = free.detach(), step = direction * h;
    CHECK((total(a + step, b) - total(a - step, b)).item<double>() / (2 * h) ==
          Approx((with.grad() * direction).sum().item<double>()).epsilon(1e-4).margin(1e-7));
    CHECK((total(a, b + step) - total(a, b - step)).item<double>() / (2 * h) ==
          Approx((free.grad() * direction).sum().item<double>()).epsilon(1e-4).margin(1e-7));
  }
}

TEST_CASE("region contrast: the region is read off at the nearest voxels of the latent's grid", "[unit][maisi]") {
  const at::Tensor a = at::zeros({1, 8, 16, 16, 16}), latent = at::zeros({1, 4, 4, 4, 4});
  at::Tensor b = a.clone();
  CHECK_FALSE(differing_region(a, b, latent).any().item<bool>());
  b.select(1, 3).select(1, 5).fill_(1);  // between the voxels 4 and 8 that the latent reads
  CHECK_FALSE(differing_region(a, b, latent).any().item<bool>());
  b.select(1, 3).select(1, 4).fill_(1);
  const at::Tensor region = differing_region(a, b, latent);
  CHECK(region.sizes() == at::IntArrayRef({1, 1, 4, 4, 4}));
  CHECK(region.sum().item<std::int64_t>() == 16);
  CHECK(region.select(2, 1).all().item<bool>());
}

}  // namespace medgen::maisi
