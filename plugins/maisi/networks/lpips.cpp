// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/lpips.h"

#include "plugins/maisi/networks/limits.h"
#include "plugins/support/error.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/reflection_pad2d.h>
#include <ATen/ops/relu.h>
#include <ATen/TensorOperators.h>

#include <array>

namespace medgen::maisi {
namespace {

using nn::Conv;
using nn::ConvOptions;
using support::require;

constexpr char kLpips[] = "Lpips";

/// What the trunks' training data were normalised by, for images in [-1, 1].
constexpr std::array<double, 3> kShift = {-0.030, -0.088, -0.188};
constexpr std::array<double, 3> kScale = {0.458, 0.448, 0.450};

std::string slice_name(int slice, int index) {
  return "net.slice" + std::to_string(slice) + "." + std::to_string(index);
}

at::Tensor pool(const at::Tensor& x, int64_t stride, bool ceil) {
  return at::max_pool2d(x, {3, 3}, {stride, stride}, {0, 0}, {1, 1}, ceil);
}

/// One of SqueezeNet's: few channels, then many, of kernels of one and of three.
class Fire : public nn::Module {
 public:
  Fire(int64_t in, int64_t squeeze, int64_t expand)
      : squeeze_(add<Conv>("squeeze", ConvOptions{.rank = 2, .in = in, .out = squeeze, .kernel = 1, .padding = 0})),
        expand1_(
            add<Conv>("expand1x1", ConvOptions{.rank = 2, .in = squeeze, .out = expand, .kernel = 1, .padding = 0})),
        expand3_(add<Conv>("expand3x3", ConvOptions{.rank = 2, .in = squeeze, .out = expand})) {}

  at::Tensor forward(const at::Tensor& x) const {
    const at::Tensor h = at::relu(squeeze_.forward(x));
    return at::cat({at::relu(expand1_.forward(h)), at::relu(expand3_.forward(h))}, 1);
  }

 private:
  Conv& squeeze_;
  Conv& expand1_;
  Conv& expand3_;
};

/// Halves the grid with the filter that comes with the weights.
class Blur : public nn::Module {
 public:
  explicit Blur(int64_t channels)
      : channels_(channels), filter_(add_parameter("filt", {channels, 1, 3, 3}, {}, nn::Role::Buffer)) {}

  at::Tensor forward(const at::Tensor& x) const {
    return at::convolution(at::reflection_pad2d(x, {2, 2, 2, 2}), filter_, {}, {2, 2}, {0, 0}, {1, 1}, false, {0, 0},
                           channels_);
  }

 private:
  int64_t channels_;
  const at::Tensor& filter_;
};

struct Head : nn::Module {
  explicit Head(int64_t channels) : weight(add_parameter("weight", {1, channels, 1, 1}, {})) {}

  const at::Tensor& weight;
};

at::Tensor normalized(const at::Tensor& x) {
  std::vector<at::Tensor> channels;
  for (int64_t c = 0; c < 3; ++c) {
    const auto i = static_cast<size_t>(c);
    channels.push_back((x.narrow(1, x.size(1) == 1 ? 0 : c, 1) - kShift[i]) / kScale[i]);
  }
  return at::cat(channels, 1);
}

/// The bound changes no value; without it the gradient where all channels are zero would be 0 times infinity.
at::Tensor unit_length(const at::Tensor& features) {
  constexpr double kTiny = 1e-30, kEps = 1e-10;
  return features / (features.square().sum({1}, true).clamp_min(kTiny).sqrt() + kEps);
}

}  // namespace

Lpips::Lpips(Network network) {
  network == Network::SqueezeNet ? build_squeezenet() : build_alexnet();
  add_heads();
}

void Lpips::conv(int slice, int index, const ConvOptions& options) {
  Conv& made = add<Conv>(slice_name(slice, index), options);
  layers_.emplace_back([&made](const at::Tensor& x) { return made.forward(x); });
}

void Lpips::fire(int slice, int index, int64_t in, int64_t squeeze, int64_t expand) {
  Fire& made = add<Fire>(slice_name(slice, index), in, squeeze, expand);
  layers_.emplace_back([&made](const at::Tensor& x) { return made.forward(x); });
}

void Lpips::blur(int slice, int index, int64_t channels) {
  Blur& made = add<Blur>(slice_name(slice, index), channels);
  layers_.emplace_back([&made](const at::Tensor& x) { return made.forward(x); });
}

void Lpips::tap(int64_t channels) {
  taps_.push_back(layers_.size());
  tapped_channels_.push_back(channels);
}

void Lpips::build_squeezenet() {
  least_ = 17;
  const Layer halve = [](const at::Tensor& x) { return pool(x, 2, /*ceil=*/true); };
  conv(1, 0, {.rank = 2, .in = 3, .out = 64, .stride = 2, .padding = 0});
  layers_.emplace_back([](const at::Tensor& x) { return at::relu(x); });
  tap(64);
  layers_.push_back(halve);
  fire(2, 3, 64, 16, 64);
  fire(2, 4, 128, 16, 64);
  tap(128);
  layers_.push_back(halve);
  fire(3, 6, 128, 32, 128);
  fire(3, 7, 256, 32, 128);
  tap(256);
  layers_.push_back(halve);
  fire(4, 9, 256, 48, 192);
  tap(384);
  fire(5, 10, 384, 48, 192);
  tap(384);
  fire(6, 11, 384, 64, 256);
  tap(512);
  fire(7, 12, 512, 64, 256);
  tap(512);
}

void Lpips::build_alexnet() {
  least_ = 21;
  const Layer relu = [](const at::Tensor& x) { return at::relu(x); };
  const Layer widen = [](const at::Tensor& x) { return pool(x, 1, /*ceil=*/false); };
  const auto conv_relu = [&](int slice, int index, const ConvOptions& options) {
    conv(slice, index, options);
    layers_.push_back(relu);
    tap(options.out);
  };
  conv(1, 0, {.rank = 2, .in = 3, .out = 64, .kernel = 11, .padding = 2});
  blur(1, 1, 64);
  layers_.push_back(relu);
  tap(64);
  layers_.push_back(widen);
  blur(2, 4, 64);
  conv_relu(2, 5, {.rank = 2, .in = 64, .out = 192, .kernel = 5, .padding = 2});
  layers_.push_back(widen);
  blur(3, 8, 192);
  conv_relu(3, 9, {.rank = 2, .in = 192, .out = 384});
  conv_relu(4, 11, {.rank = 2, .in = 384, .out = 256});
  conv_relu(5, 13, {.rank = 2, .in = 256, .out = 256});
}

void Lpips::add_heads() {
  for (size_t i = 0; i < tapped_channels_.size(); ++i) {
    heads_.push_back(&add<Head>("lin" + std::to_string(i) + ".model.1", tapped_channels_[i]).weight);
  }
}

bool Lpips::is_surplus(std::string_view name) {
  return name.starts_with("scaling_layer.") || name.starts_with("lins.");
}

std::vector<at::Tensor> Lpips::features(const at::Tensor& x) const {
  std::vector<at::Tensor> result;
  at::Tensor h = normalized(x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    h = layers_[i](h);
    if (taps_[result.size()] == i + 1) result.push_back(h);
  }
  return result;
}

at::Tensor Lpips::distance(const at::Tensor& x, const at::Tensor& y) const {
  check_feature_map(kLpips, "x", x, 2, x.dim() == 4 && x.size(1) == 3 ? 3 : 1);
  require(x.sizes() == y.sizes(), "{}: 'x' has shape {} and 'y' {}; both are wanted alike", kLpips,
          shape_text(x.sizes()), shape_text(y.sizes()));
  require(x.size(2) >= least_ && x.size(3) >= least_, "{}: images of {} x {} pixels, at least {} are wanted", kLpips,
          x.size(2), x.size(3), least_);
  const std::vector<at::Tensor> of_x = features(x), of_y = features(y);
  at::Tensor sum;
  for (size_t i = 0; i < heads_.size(); ++i) {
    const at::Tensor squares = (unit_length(of_x[i]) - unit_length(of_y[i])).square();
    const at::Tensor each = (squares * *heads_[i]).sum({1}).mean({1, 2});
    sum = sum.defined() ? sum + each : each;
  }
  return sum;
}

}  // namespace medgen::maisi
