// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/window_decode.h"

#include "plugins/maisi/autoencoder.h"
#include "plugins/support/test_call.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>

namespace medgen::maisi {
namespace {

using nlohmann::json;
using support::testing::Given;
using support::testing::made;
using support::testing::TestHost;
using Shape = std::vector<std::int64_t>;

constexpr WindowOptions kOptions{.roi = {6, 4, 8}, .overlap = 0.5};

/// A small VAE, of label maps when it has classes.
json config(bool windows, bool labels) {
  json config = {{"spatial_dims", 3},      {"in_channels", labels ? 8 : 1}, {"out_channels", labels ? 3 : 1},
                 {"num_channels", {4, 8}}, {"num_res_blocks", 1},           {"attention_levels", {false, false}},
                 {"latent_channels", 2},   {"norm_num_groups", 2}};
  if (labels) config["classes"] = {0, 200, 5};
  if (windows) config.update({{"decode_roi", kOptions.roi}, {"decode_overlap", kOptions.overlap}});
  return config;
}

Autoencoder autoencoder(bool windows, bool labels) {
  auto vae = made<Autoencoder>(config(windows, labels).dump());
  vae.network().initialize(1);
  return vae;
}

json estimate(bool windows, bool labels, const Shape& z) {
  const json request = {{"function", "decode"}, {"inputs", {{"z", z}}}};
  return json::parse(made<Autoencoder>(config(windows, labels).dump()).estimate(request.dump()));
}

at::Tensor decoded(TestHost& host, Autoencoder& vae, const at::Tensor& z) {
  const Given given({{"z", z}});
  return host.call([&](const sdk::Context& context, sdk::Outputs& out) { vae.decode(context, given.binds(), out); })
      .at("x");
}

/// logits (1, classes, ...) -> labels (1, 1, ...)
at::Tensor labels_of(const Autoencoder& vae, const at::Tensor& logits) {
  const at::Tensor labels = at::zeros_like(logits.narrow(1, 0, 1));
  vae.labels()->labels_into(logits, labels);
  return labels;
}

double number(const json& reply, const char* key) {
  return reply.at(key).get<double>();
}

TEST_CASE("windows: they cover every voxel, and none reaches beyond the end", "[unit][maisi]") {
  const Shape z = GENERATE(Shape{1, 2, 7, 4, 23}, Shape{2, 2, 3, 90, 8}, Shape{1, 2, 13, 13, 13});
  const Windows windows = windows_over(z, kOptions);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto& origins = windows.origins[axis];
    CHECK(origins.front() == 0);
    CHECK(origins.back() + windows.size[axis] == z[2 + axis]);
    for (std::size_t i = 1; i < origins.size(); ++i) {
      CHECK(origins[i] > origins[i - 1]);
      CHECK(origins[i] <= origins[i - 1] + windows.size[axis]);
    }
  }
}

TEST_CASE("windows: there are as many as are decoded", "[unit][maisi]") {
  const Shape size = GENERATE(Shape{1, 2, 7, 4, 23}, Shape{1, 2, 3, 20, 8}, Shape{1, 2, 3, 8, 8});
  std::int64_t calls = 0;
  decode_in_windows(at::rand(size), windows_over(size, kOptions), 1, [&](const at::Tensor& window) {
    ++calls;
    return window;
  });
  CHECK(calls == windows_over(size, kOptions).count());
}

TEST_CASE("windows: what has no more voxels than one is decoded whole, whatever its shape", "[unit][maisi]") {
  CHECK(windows_over({1, 2, 3, 8, 8}, kOptions).count() == 1);
  CHECK(windows_over({1, 2, 3, 8, 8}, kOptions).size == std::array<std::int64_t, 3>{3, 8, 8});
  CHECK(windows_over({1, 2, 7, 4, 8}, kOptions).count() > 1);
  CHECK(windows_over({1, 2, 500, 500, 500}, {}).count() == 1);
}

TEST_CASE("windowed decode: the estimate is of one window and the sums, the work that of all windows",
          "[unit][maisi]") {
  const Shape window{1, 2, 6, 4, 8}, large{1, 2, 48, 32, 64};
  const json one = estimate(true, false, window), all = estimate(true, false, large);
  const auto count = static_cast<double>(windows_over(large, kOptions).count());
  const double voxels = 8 * 48 * 32 * 64, window_voxels = 8 * 6 * 4 * 8;
  CHECK(number(all, "flops") == Approx(count * number(one, "flops")));
  CHECK(number(all, "peak_bytes") == Approx(number(one, "peak_bytes") + 4 * (2 * voxels + window_voxels)));
  CHECK(number(all, "peak_bytes") < number(estimate(false, false, large), "peak_bytes") / 2);
  CHECK(all.at("outputs").at("x") == json({1, 1, 96, 64, 128}));
  CHECK(all.at("note").get<std::string>().starts_with("3375 windows"));
}

TEST_CASE("windowed decode: a latent of one window costs what it costs whole", "[unit][maisi]") {
  const bool labels = GENERATE(false, true);
  const Shape z{1, 2, 3, 8, 8};
  const json windowed = estimate(true, labels, z), whole = estimate(false, labels, z);
  for (const char* key : {"peak_bytes", "flops", "scratch_bytes", "note", "outputs"})
    CHECK(windowed.at(key) == whole.at(key));
}

TEST_CASE("windowed decode: labels are those of the blended logits", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  TestHost host;
  Autoencoder vae = autoencoder(true, true);
  const at::Tensor z = at::randn({2, 2, 7, 6, 8});
  const at::Tensor labels = decoded(host, vae, z);
  CHECK(labels.sizes() == at::IntArrayRef({2, 1, 14, 12, 16}));
  const auto whole = [&](const at::Tensor& window) { return vae.network().decode(window); };
  for (std::int64_t n = 0; n < 2; ++n) {
    const at::Tensor logits = decode_in_windows(z.narrow(0, n, 1), windows_over(z.sizes(), kOptions), 2, whole);
    CHECK(labels.narrow(0, n, 1).equal(labels_of(vae, logits)));
  }
}

TEST_CASE("decode: labels are those of the whole logits", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  TestHost host;
  Autoencoder vae = autoencoder(false, true);
  const at::Tensor z = at::randn({2, 2, 7, 6, 8});
  const at::Tensor labels = decoded(host, vae, z);
  for (std::int64_t n = 0; n < 2; ++n)
    CHECK(labels.narrow(0, n, 1).equal(labels_of(vae, vae.network().decode(z.narrow(0, n, 1)))));
}

TEST_CASE("decode: the estimate of label maps does not hold the logits", "[unit][maisi]") {
  json many = config(false, true);
  many["out_channels"] = 125;
  many["classes"] = Shape(125);
  std::iota(many["classes"].begin(), many["classes"].end(), 0);
  const Shape z{1, 2, 64, 64, 64};
  const json request = {{"function", "decode"}, {"inputs", {{"z", z}}}};
  const json reply = json::parse(made<Autoencoder>(many.dump()).estimate(request.dump()));
  const double voxels = 128 * 128 * 128;
  CHECK(number(reply, "peak_bytes") < 4 * 125 * voxels / 4);
  CHECK(number(reply, "peak_bytes") > 4.0 * 125 * 2 * 128 * 128);  // two planes of them
  CHECK(reply.at("outputs").at("x") == json({1, 1, 128, 128, 128}));
}

TEST_CASE("decoding tells how far it is, through all windows and rows", "[unit][maisi]") {
  const bool labels = GENERATE(false, true), windows = GENERATE(false, true);
  TestHost host;
  std::vector<double> parts;
  host.progress = [&](std::uint64_t done, std::uint64_t total) {
    parts.push_back(static_cast<double>(done) / static_cast<double>(total));
    return true;
  };
  Autoencoder vae = autoencoder(windows, labels);
  decoded(host, vae, at::randn({2, 2, 13, 6, 8}));
  REQUIRE(parts.size() > 2);
  CHECK(std::is_sorted(parts.begin(), parts.end()));
  CHECK(parts.front() < 0.2);
  CHECK(parts.back() == Approx(1).margin(2e-3));
}

TEST_CASE("windowed decode: it stops at the window in which the host wants it to", "[unit][maisi]") {
  TestHost host;
  std::uint64_t last = 0;
  host.progress = [&](std::uint64_t done, std::uint64_t total) {
    last = done;
    return done * 2 < total;
  };
  Autoencoder vae = autoencoder(true, false);
  const at::Tensor z = at::randn({1, 2, 13, 6, 8});
  CHECK_THROWS_WITH(decoded(host, vae, z), Catch::Matchers::Contains("cancelled in decode"));
  CHECK(last < 900);
  host.progress = {};
  CHECK_NOTHROW(decoded(host, vae, z));
}

}  // namespace
}  // namespace medgen::maisi
