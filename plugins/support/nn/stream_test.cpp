// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/stream.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/winograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/TensorOperators.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <fstream>

using namespace medgen;
using nn::Stream;
using nn::StreamOptions;
using nn::StreamStage;

namespace {

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).norm().item<double>() / b.norm().item<double>();
}

at::Tensor feature_map(at::IntArrayRef shape) {
  return nn::channels_last(at::randn(shape));
}

/// A stage of one convolution, streamed.
at::Tensor streamed(const nn::Conv& conv, const at::Tensor& x, const StreamOptions& options, StreamStage stage = {},
                    const at::Tensor& residual = {}) {
  const at::NoGradGuard no_grad;
  Stream stream(options);
  const nn::FeatureMap map = stream.input(x, at::kFloat);
  const nn::FeatureMap added = residual.defined() ? stream.input(residual, at::kFloat) : nn::FeatureMap();
  if (residual.defined()) stage.residual = &added;
  stage.last_reader = true;
  const nn::FeatureMap result = stream.conv(conv, map, at::kFloat, stage);
  return result.read(0, result.planes());
}

/// Slab sizes from two planes up, files instead of memory, and several devices.
StreamOptions some_options() {
  StreamOptions options;
  options.slab_bytes = GENERATE(1, 20'000, 60'000, 1 << 30);
  options.memory = GENERATE(0, 1);
  options.devices.assign(GENERATE(1U, 3U), at::kCPU);
  return options;
}

int64_t resident_bytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

/// A convolution with weights.
struct Layer : nn::Conv {
  explicit Layer(const nn::ConvOptions& options) : nn::Conv(options) { initialize(3); }
};

}  // namespace

TEST_CASE("kernels: upsampling and normalisation are LibTorch's, whatever the planes", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const at::Tensor x = feature_map({1, 6, 5, 7, 3});
  const at::Tensor whole = nn::upsample_linear_2x(x);
  for (int64_t from = 0; from < 10; ++from) {
    for (int64_t to = from + 1; to <= 10; ++to) {
      at::Tensor part = at::empty({to - from, 14, 6, 6});
      nn::upsample_linear(nn::as_planes(x), 0, 5, from, part);
      REQUIRE(relative(part, nn::as_planes(whole.narrow(2, from, to - from))) < 1e-6);
    }
  }
  nn::GroupNorm norm(3, 6, 1e-6);
  norm.initialize(1);
  const at::Tensor expected = at::silu(at::group_norm(x.contiguous(), 3, {}, {}, 1e-6));
  REQUIRE(relative(norm.forward_silu(x), expected) < 1e-6);
}

TEST_CASE("kernels: normalisation keeps its digits where the mean is a thousand deviations", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  nn::GroupNorm norm(2, 4, 1e-6);
  norm.initialize(1);
  const at::Tensor x = feature_map({1, 4, 9, 8, 7});
  const at::Tensor shift = at::randn({1, 4}).mul(1000);
  const at::Tensor shifted = x.to(at::kDouble).add(shift.to(at::kDouble).view({1, 4, 1, 1, 1}));
  const at::Tensor expected = at::silu(at::group_norm(shifted.contiguous(), 2, {}, {}, 1e-6));
  REQUIRE(relative(norm.forward_silu(x, shift).to(at::kDouble), expected) < 1e-6);
}

TEST_CASE("stream: a convolution in slabs is the whole one", "[unit][nn]") {
  const StreamOptions options = some_options();
  const int64_t kernel = GENERATE(1, 3);
  Layer conv({.in = 8, .out = 5, .kernel = kernel, .padding = kernel / 2});
  const at::Tensor x = feature_map({1, 8, 11, 6, 9});
  REQUIRE(relative(streamed(conv, x, options), conv.forward(x)) < 1e-6);
}

TEST_CASE("stream: slabs of large planes have the bits of the whole", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const StreamOptions options = some_options();
  Layer conv({.in = 8, .out = 5});
  const at::Tensor x = feature_map({1, 8, 11, 33, 36});
  const at::Tensor whole = conv.forward(x);
  CHECK(relative(streamed(conv, x, options), whole) < 1e-6);
  if (nn::prefers_winograd(nn::plane_form(x), at::kFloat)) CHECK(streamed(conv, x, options).equal(whole));
}

TEST_CASE("stream: a shortcut made in the same pass is a layer of its own", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const StreamOptions options = some_options();
  nn::GroupNorm norm(4, 8, 1e-6);
  norm.initialize(5);
  Layer conv({.in = 8, .out = 6});
  Layer shortcut({.in = 8, .out = 6, .kernel = 1, .padding = 0});
  const at::Tensor x = feature_map({1, 8, 7, 10, 6});
  Stream stream(options);
  const nn::FeatureMap map = stream.input(x, at::kFloat);
  const auto [main, beside] =
      stream.conv_with_shortcut(conv, shortcut, map, at::kFloat, {.norm = &norm, .last_reader = true});
  REQUIRE(relative(main.read(0, 7), conv.forward(norm.forward_silu(x))) < 1e-6);
  REQUIRE(relative(beside.read(0, 7), shortcut.forward(x)) < 1e-6);
  REQUIRE_THROWS_WITH(map.read(0, 7), Catch::Contains("released"));
  REQUIRE_THROWS(stream.conv_with_shortcut(conv, conv, main, at::kFloat));
  Layer down({.in = 6, .out = 6, .stride = 2});
  REQUIRE_THROWS(stream.conv_with_shortcut(down, shortcut, main, at::kFloat));
}

TEST_CASE("stream: a result takes the memory of its residual, whatever the slabs", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const StreamOptions options = some_options();
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16);
  nn::GroupNorm norm(4, 8, 1e-6);
  norm.initialize(5);
  Layer conv({.in = 8, .out = 8});
  conv.set_precision(dtype);
  const at::Tensor x = feature_map({1, 8, 7, 10, 6}), residual = feature_map({1, 8, 7, 10, 6});
  const auto pass = [&](const StreamOptions& how) {
    Stream stream(how);
    const nn::FeatureMap added = stream.input(residual, dtype);
    stream.conv(conv, stream.input(x, dtype), dtype, {.norm = &norm, .residual = &added, .last_reader = true});
    return std::pair{added.read(0, 7).clone(), added.sums().sum};
  };
  const auto [sum, channels] = pass(options);
  const auto [whole, channels_of_whole] = pass({});
  REQUIRE(sum.equal(whole));
  REQUIRE(channels == channels_of_whole);
  Stream stream(options);
  const nn::FeatureMap map = stream.input(x, dtype);
  REQUIRE_THROWS(stream.conv(conv, map, dtype, {.residual = &map}));
  const nn::FeatureMap small = stream.input(x.narrow(2, 0, 3), dtype);
  REQUIRE_THROWS(stream.conv(conv, map, dtype, {.residual = &small}));
}

TEST_CASE("stream: resampling layers in slabs are the whole ones", "[unit][nn]") {
  const StreamOptions options = some_options();
  const int64_t planes = GENERATE(1, 2, 7, 8);
  const at::Tensor x = feature_map({1, 4, planes, 6, 5});
  Layer up({.in = 4, .out = 3});
  REQUIRE(relative(streamed(up, x, options, {.resample = StreamStage::Resample::UpLinear}),
                   up.forward(nn::upsample_linear_2x(x))) < 1e-6);
  Layer transposed({.in = 4, .out = 3, .stride = 2, .transposed = true, .output_padding = 1});
  REQUIRE(relative(streamed(transposed, x, options), transposed.forward(x)) < 1e-6);
  if (planes < 2) return;
  Layer down({.in = 4, .out = 3, .stride = 2, .padding = 0});
  REQUIRE(relative(streamed(down, x, options, {.resample = StreamStage::Resample::PadEnd}),
                   down.forward(nn::pad_end(x))) < 1e-6);
}

TEST_CASE("stream: a plan counts what the pass then takes, and computes nothing", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  Layer conv({.in = 8, .out = 8});
  const auto pass = [&](Stream& stream, const at::Tensor& x) {
    const nn::FeatureMap first = stream.conv(conv, stream.input(x, at::kFloat), at::kFloat, {.last_reader = true});
    const nn::FeatureMap second = stream.conv(conv, first, at::kFloat);
    stream.conv(conv, second, at::kFloat, {.residual = &first, .last_reader = true});
  };
  const int64_t map = int64_t{8} * 12 * 10 * 6 * 4;
  StreamOptions options;
  options.memory = GENERATE_COPY(int64_t{0}, 2 * map, map, int64_t{1});
  options.slab_bytes = GENERATE(1, 1 << 20);
  Stream planned = Stream::planned(options);
  pass(planned, at::empty({1, 8, 12, 10, 6}, at::TensorOptions().device(at::kMeta)));
  REQUIRE(planned.cost().flops == Approx(3.0 * 2 * 27 * 64 * 12 * 10 * 6));

  double last = 0;
  options.progress = [&](double part) {
    REQUIRE(part >= last);
    last = part;
  };
  Stream real(options, planned.cost().flops);
  pass(real, feature_map({1, 8, 12, 10, 6}));
  REQUIRE(last == Approx(1));
  REQUIRE(real.cost().memory == planned.cost().memory);
  REQUIRE(real.cost().files == planned.cost().files);
  REQUIRE(real.cost().slabs == planned.cost().slabs);
  REQUIRE((planned.cost().files == 0) == (options.memory == 0 || options.memory >= 2 * map));
  // Parts of maps lie in memory as long as there is any.
  if (options.memory == map) REQUIRE(planned.cost().files <= map + 4 * map / 12);
}

TEST_CASE("stream: a map that is read for the last time makes room for the next", "[unit][nn]") {
  Layer conv({.in = 8, .out = 8});
  StreamOptions options;
  options.slab_bytes = 1;
  options.devices.assign(GENERATE(1U, 3U), at::kCPU);
  options.memory = GENERATE(0, 1);
  const int64_t plane = int64_t{8} * 10 * 6 * 4, map = 40 * plane;
  const auto most = [&](bool last_reader) {
    Stream stream = Stream::planned(options);
    const nn::FeatureMap x =
        stream.input(at::empty({1, 8, 40, 10, 6}, at::TensorOptions().device(at::kMeta)), at::kFloat);
    stream.conv(conv, x, at::kFloat, {.last_reader = last_reader});
    const nn::StreamCost cost = stream.cost();
    return options.memory == 0 ? cost.memory - cost.slabs : cost.files;
  };
  REQUIRE(most(false) == 2 * map);
  REQUIRE(most(true) <= map + 5 * plane * static_cast<int64_t>(options.devices.size()));
}

TEST_CASE("stream: what stops a pass reaches the caller, from any device", "[unit][nn]") {
  Layer conv({.in = 8, .out = 5});
  const at::Tensor x = feature_map({1, 8, 11, 6, 9});
  StreamOptions options;
  options.devices.assign(GENERATE(1U, 2U), at::kCPU);
  SECTION("progress that throws") {
    options.progress = [](double) { throw std::runtime_error("stopped"); };
    Stream stream(options, 1.0);
    const nn::FeatureMap map = stream.input(x, at::kFloat);
    REQUIRE_THROWS_WITH(stream.conv(conv, map, at::kFloat), "stopped");
  }
  SECTION("a folder that takes no files") {
    options.memory = 1;
    options.scratch = "/nonexistent";
    Stream stream(options);
    REQUIRE_THROWS_WITH(stream.input(x, at::kFloat), Catch::Contains("/nonexistent"));
  }
}

TEST_CASE("feature map: sums are those of what was written, in any order and twice", "[unit][nn]") {
  const auto memory = std::make_shared<nn::MapMemory>(GENERATE(0, 1), "/tmp");
  const at::Tensor x = feature_map({1, 3, 6, 4, 5});
  nn::FeatureMap map(memory, 3, {6, 4, 5}, at::kFloat, GENERATE(1U, 4U), true);
  map.write(4, x.narrow(2, 0, 2));
  map.write(3, x.narrow(2, 3, 3));
  map.write(0, x.narrow(2, 0, 3));
  REQUIRE(map.read(1, 5).equal(x.narrow(2, 1, 4)));
  const nn::FeatureMap::Sums sums = map.sums();
  for (int64_t c = 0; c < 3; ++c) {
    REQUIRE(sums.sum[static_cast<size_t>(c)] == Approx(x.select(1, c).sum().item<double>()).margin(1e-5));
    REQUIRE(sums.squares[static_cast<size_t>(c)] == Approx(x.select(1, c).square().sum().item<double>()));
  }
}

TEST_CASE("feature map: planes lie in memory while there is room, then in a file", "[unit][nn]") {
  constexpr int64_t kPlane = int64_t{3} * 4 * 5 * 4;
  const auto memory = std::make_shared<nn::MapMemory>(4 * kPlane, "/tmp");
  const at::Tensor x = feature_map({1, 3, 6, 4, 5});
  nn::FeatureMap map(memory, 3, {6, 4, 5}, at::kFloat, 1, true);
  REQUIRE(memory->peak_in_memory() == 0);
  for (int64_t plane = 0; plane < 6; ++plane) map.write(plane, x.narrow(2, plane, 1));
  REQUIRE(memory->peak_in_memory() == 4 * kPlane);
  REQUIRE(memory->peak_in_files() == 2 * kPlane);
  REQUIRE_FALSE(map.in_files(0, 4));
  REQUIRE(map.in_files(3, 5));
  REQUIRE(map.read(0, 6).equal(x));
  map.room(3, 5).copy_(x.narrow(2, 3, 2));  // nothing but a copy
  REQUIRE(map.read(2, 6).equal(x.narrow(2, 2, 4)));
  REQUIRE(memory->peak_in_files() == 2 * kPlane);
}

TEST_CASE("feature map: released planes make room, keep their sums and cannot be read", "[unit][nn]") {
  constexpr int64_t kPlane = int64_t{3} * 4 * 5 * 4;
  const auto memory = std::make_shared<nn::MapMemory>(GENERATE(int64_t{0}, 6 * kPlane, 3 * kPlane, int64_t{1}), "/tmp");
  const auto parts = GENERATE(1U, 4U);
  const at::Tensor x = feature_map({1, 3, 6, 4, 5});
  const auto planes_of = [&](const std::shared_ptr<nn::MapMemory>& where) {
    nn::FeatureMap map(where, 3, {6, 4, 5}, at::kFloat, parts, true);
    for (int64_t plane = 0; plane < 6; ++plane) map.write(plane, x.narrow(2, plane, 1));
    return map;
  };
  nn::FeatureMap map = planes_of(memory);
  const std::vector<double> sums = map.sums().sum;
  const int64_t taken = memory->peak_in_memory() + memory->peak_in_files();
  REQUIRE(taken == 6 * kPlane);
  map.release(0, 3);
  map.release(1, 4);
  REQUIRE_THROWS_WITH(map.read(3, 4), Catch::Contains("released"));
  REQUIRE_THROWS(map.read(3, 6));
  REQUIRE(map.read(4, 6).equal(x.narrow(2, 4, 2)));
  REQUIRE(map.sums().sum == sums);
  nn::FeatureMap other(memory, 3, {4, 4, 5}, at::kFloat, 1, true);
  REQUIRE_THROWS_WITH(other.read(0, 1), Catch::Contains("never written"));
  for (int64_t plane = 0; plane < 4; ++plane) other.write(plane, x.narrow(2, plane, 1));
  REQUIRE(memory->peak_in_memory() + memory->peak_in_files() == taken);
  map.write(2, x.narrow(2, 2, 1));
  REQUIRE(map.read(2, 3).equal(x.narrow(2, 2, 1)));
}

TEST_CASE("feature map: what was released is taken by others, or given back to the system", "[unit][nn]") {
  constexpr int64_t kPlanes = 16, kMiB = 1 << 20;
  const auto memory = std::make_shared<nn::MapMemory>(0, "/tmp");
  const auto make = [&] { return nn::FeatureMap(memory, 256, {kPlanes, 64, 64}, at::kFloat, 1, true); };
  nn::FeatureMap map = make();  // 4 MiB a plane
  const int64_t before = resident_bytes();
  const auto resident = [&] { return resident_bytes() - before; };
  const auto all_are = [](float value, const at::Tensor& x) {  // makes no array
    return x.min().item<float>() == value && x.max().item<float>() == value;
  };
  for (int64_t plane = 0; plane < kPlanes; ++plane) map.room(plane, plane + 1).fill_(1);
  REQUIRE(resident() > (4 * kPlanes - 4) * kMiB);
  nn::FeatureMap other = make();
  for (int64_t plane = 0; plane + 1 < kPlanes; ++plane) {
    map.release(plane, plane + 1);
    other.room(plane, plane + 1).fill_(2);
  }
  REQUIRE(resident() < (4 * kPlanes + 12) * kMiB);
  REQUIRE(all_are(1, map.read(kPlanes - 1, kPlanes)));
  REQUIRE(all_are(2, other.read(0, kPlanes - 1)));
  SECTION("when the map is gone") {
    other = make();
    REQUIRE(resident() > (4 * kPlanes - 12) * kMiB);
    other.room(0, kPlanes - 1).fill_(3);
    REQUIRE(resident() < (4 * kPlanes + 12) * kMiB);
  }
  SECTION("when memory is wanted beside maps") {
    other = make();
    memory->set_beside(memory->peak_in_memory());
    REQUIRE(resident() < 16 * kMiB);
  }
  SECTION("when planes are placed that have no whole page") {
    other = make();
    nn::FeatureMap small(memory, 64, {4 * kPlanes - 4, 64, 64}, at::kFloat, 1, true);  // 1 MiB a plane
    for (int64_t plane = 0; plane < small.planes(); ++plane) small.room(plane, plane + 1).fill_(3);
    REQUIRE(resident() < (4 * kPlanes + 12) * kMiB);
  }
  SECTION("but what is read of it stays, as long as it is held") {
    const at::Tensor held = other.read(0, kPlanes - 1);
    other = make();
    make().room(0, kPlanes).fill_(4);
    REQUIRE(all_are(2, held));
  }
}
