// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/cost.h"

#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/unet_blocks.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/wide_conv.h"
#include "plugins/support/nn/winograd.h"

#include "kernels/winograd.h"

#include <medgen/sdk/sdk.hpp>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>

namespace medgen::maisi {
namespace {

using Spatial = std::vector<std::int64_t>;

/// Convolutions of fewer voxels keep their weights packed (nn/layers.cpp).
constexpr double kFewVoxels = 8192;

/// Freed blocks between those that stay, of a large network, as measured (docs/performance.md).
constexpr double kKeptByHeap = 48 << 20;

double voxels(const Spatial& spatial) {
  double count = 1;
  for (const std::int64_t length : spatial) count *= static_cast<double>(length);
  return count;
}

/// Of an axis on the way down: means of two drop a last odd voxel, a convolution of stride 2 keeps it.
std::int64_t halved(const UnetConfig& config, std::int64_t length) {
  return config.resblock_updown ? length / 2 : (length + 1) / 2;
}

/// Follows a pass: what lies in memory, and what is computed.
class Pass {
 public:
  Pass(const UnetConfig& config, Spatial spatial, at::ScalarType compute)
      : config_(config),
        spatial_(std::move(spatial)),
        compute_(compute),
        element_(static_cast<double>(c10::elementSize(compute))),
        product_element_(static_cast<double>(c10::elementSize(nn::product_type(compute, at::kCPU)))) {}

  void way_down() {
    conv(config_.in_channels, config_.num_channels[0], 3, voxels(spatial_));
    channels_ = config_.num_channels[0];
    push();
    for (std::size_t level = 0; level < config_.levels(); ++level) {
      for (std::int64_t i = 0; i < config_.num_res_blocks[level]; ++i) {
        res_block(channels_, config_.num_channels[level]);
        if (config_.attention_levels[level]) attention();
        push();
      }
      if (level + 1 == config_.levels()) continue;
      resample(Resample::Down);
      push();
    }
  }

  void middle() {
    res_block(channels_, channels_);
    attention();
    res_block(channels_, channels_);
  }

  void way_up(std::int64_t out_channels) {
    down_ = false;
    for (std::size_t level = config_.levels(); level-- > 0;) {
      for (std::int64_t i = 0; i <= config_.num_res_blocks[level]; ++i) {
        const std::int64_t skip = skips_.back();
        skips_.pop_back();
        touch(map(channels_) + map(channels_ + skip));  // x and both joined; the skip is still among the kept
        kept_ -= map(skip);
        res_block(channels_ + skip, config_.num_channels[level]);
        if (config_.attention_levels[level]) attention();
      }
      if (level > 0) resample(Resample::Up);
    }
    // The last layer is exact: float32 copies of what it takes and gives.
    touch(2 * map(channels_) + float_map(channels_ + 2 * out_channels, voxels(spatial_)));
    conv(channels_, out_channels, 3, voxels(spatial_));
  }

  /// The ControlNet's zero convolutions, whose results, float32, are all kept.
  void projections() {
    double results = 0;
    for (const auto& [channels, count] : levels_) {
      results += float_map(channels, count);
      conv(channels, channels, 1, count);
    }
    touch(results);
  }

  /// Skips with a ControlNet's residuals, of which one is converted at a time.
  void add_residuals() {
    double largest = 0;
    for (const auto& [channels, count] : levels_)
      largest = std::max(largest, element_ * static_cast<double>(channels) * count);
    touch(2 * largest);
  }

  void conv(std::int64_t in, std::int64_t out, std::int64_t kernel, double results) {
    const double count = weights(in, out, kernel);
    cost_.flops += 2 * count * results;
    if (kernel == 1) return;
    if (is_filtered() || nn::prefers_gathered(static_cast<std::int64_t>(results), compute_, nn::Pass::Inference))
      return keep_wide(in, out, results);
    if (results <= kFewVoxels) cost_.packed_bytes += product_element_ * count;
  }

  /// Bytes that stay after the pass.
  void remember(double bytes) { cost_.known_bytes += bytes; }

  void touch(double bytes) { cost_.peak_bytes = std::max(cost_.peak_bytes, kept_ + bytes); }

  const PassCost& cost() const { return cost_; }

 private:
  static double float_map(std::int64_t channels, double voxels) {
    return sizeof(float) * static_cast<double>(channels) * voxels;
  }

  /// The sum that goes down, beside its narrow copy.
  double wide(std::int64_t channels, double voxels) const {
    return down_ && element_ < sizeof(float) ? float_map(channels, voxels) : 0;
  }

  /// What a convolution takes and gives in float32, where narrow numbers have no products.
  double widened(std::int64_t in, std::int64_t out) const {
    const bool whole = product_element_ > element_ && !is_filtered();
    return whole ? float_map(in + out, voxels(spatial_)) : 0;
  }

  double map(std::int64_t channels) const { return element_ * static_cast<double>(channels) * voxels(spatial_); }

  /// Of a map that was doubled by repetition: computed with a packed kernel of 4, whatever the voxels.
  void conv_doubled(std::int64_t in, std::int64_t out) {
    cost_.flops += 2 * weights(in, out, 3) * voxels(spatial_);
    if (is_filtered()) return keep_wide(in, out, voxels(spatial_));
    cost_.packed_bytes += product_element_ * weights(in, out, 4);
  }

  nn::PlaneForm planes() const { return {config_.spatial_dims, spatial_[spatial_.size() - 2], spatial_.back()}; }

  bool is_filtered() const { return nn::prefers_winograd(planes(), compute_); }

  /// What wide_conv takes for a layer.
  void keep_wide(std::int64_t in, std::int64_t out, double results) {
    const auto count = static_cast<std::int64_t>(results);
    if (is_filtered()) {
      cost_.filtered_bytes += static_cast<double>(nn::winograd_kept_memory(planes(), count, in, out));
    }
    const std::int64_t bytes = nn::wide_conv_memory(planes(), count, in, out);
    cost_.scratch_bytes = std::max(cost_.scratch_bytes, static_cast<double>(bytes));
  }

  double weights(std::int64_t in, std::int64_t out, std::int64_t kernel) const {
    auto count = static_cast<double>(in * out);
    for (std::int64_t axis = 0; axis < config_.spatial_dims; ++axis) count *= static_cast<double>(kernel);
    return count;
  }

  /// The current map is kept for the way up.
  void push() {
    skips_.push_back(channels_);
    levels_.emplace_back(channels_, voxels(spatial_));
    kept_ += map(channels_);
    touch(0);
  }

  void change_lengths(Resample way) {
    for (std::int64_t& length : spatial_) length = way == Resample::Up ? 2 * length : halved(config_, length);
  }

  /// From a map of `in` channels that lies in memory to one of `out`.
  void res_block(std::int64_t in, std::int64_t out, Resample way = Resample::None) {
    const double before = map(in);
    if (way != Resample::None) change_lengths(way);
    const double resampled = way == Resample::None ? 0 : map(in);
    const double after = map(out);
    const double first = before + resampled + after + widened(in, out);  // normalised, resampled, convolved
    const double second = 3 * after + widened(out, out);                 // that, normalised, convolved
    const double last = 2 * after + resampled + (in == out ? 0 : after + widened(in, out));
    touch(before + std::max({first, second, last}) + wide(in, voxels(spatial_)) + wide(out, voxels(spatial_)));
    way == Resample::Up ? conv_doubled(in, out) : conv(in, out, 3, voxels(spatial_));
    conv(out, out, 3, voxels(spatial_));
    if (in != out) conv(in, out, 1, voxels(spatial_));
    channels_ = out;
  }

  void resample(Resample way) {
    if (config_.resblock_updown) return res_block(channels_, channels_, way);
    const bool up = way == Resample::Up;  // down it is float32
    const auto current = [&] { return up ? map(channels_) : float_map(channels_, voxels(spatial_)); };
    const double before = current();
    change_lengths(way);
    touch(before + 2 * current() + (up ? widened(channels_, channels_) : 0));
    up ? conv_doubled(channels_, channels_) : conv(channels_, channels_, 3, voxels(spatial_));
  }

  /// Normalised, queries, keys, values, mixed, projected; cross-attention and its wide layers where there are any.
  void attention() {
    const double tokens = voxels(spatial_);
    const auto c = static_cast<double>(channels_);
    const double layers = config_.with_conditioning ? static_cast<double>(config_.transformer_num_layers) : 1;
    const double broad = config_.with_conditioning ? 8 : 0;
    // Queries, keys, values and what is mixed of them, multiplied in float32.
    const double floats = nn::prefers_float(compute_) ? 4 * float_map(channels_, tokens) : 2 * wide(channels_, tokens);
    touch((7 + broad) * map(channels_) + floats);
    cost_.flops += layers * (8 * c * c + 4 * tokens * c) * tokens;
    if (config_.with_conditioning) cost_.flops += layers * (4 + 24) * c * c * tokens;
  }

  const UnetConfig& config_;
  Spatial spatial_;
  at::ScalarType compute_;
  double element_;
  double product_element_;
  PassCost cost_;
  double kept_ = 0;
  bool down_ = true;
  std::int64_t channels_ = 0;
  std::vector<std::int64_t> skips_;
  std::vector<std::pair<std::int64_t, double>> levels_;  // channels and voxels of every skip
};

/// The embedding of the condition, from full resolution down.
class ConditionPass {
 public:
  ConditionPass(const ControlNetMaisiConfig& config, const Spatial& latent, at::ScalarType compute, Pass& pass)
      : config_(config), latent_(latent), compute_(compute), pass_(pass), spatial_(latent) {
    for (std::int64_t& length : spatial_) length <<= config.conditioning_embedding_num_channels.size() - 1;
  }

  void run() {
    const auto& channels = config_.conditioning_embedding_num_channels;
    const std::int64_t in = config_.conditioning_embedding_in_channels;
    // For the next steps: the values by which it is found again, and its embedding.
    const double entry =
        bytes(in, at::kFloat) + sizeof(float) * static_cast<double>(config_.num_channels.front()) * voxels(latent_);
    pass_.remember(static_cast<double>(ControlNetMaisi::condition_bytes_kept(static_cast<std::size_t>(entry))));
    conv(in, channels.front());
    for (std::size_t i = 0; i + 1 < channels.size(); ++i) {
      conv(channels[i], channels[i]);
      halving_conv(channels[i], channels[i + 1]);
    }
    conv(channels.back(), config_.num_channels.front());
  }

 private:
  double bytes(std::int64_t channels, at::ScalarType type) const {
    return static_cast<double>(c10::elementSize(type)) * static_cast<double>(channels) * voxels(spatial_);
  }

  bool widens() const { return nn::product_type(compute_, at::kCPU) != compute_; }

  void conv(std::int64_t in, std::int64_t out) {
    const nn::PlaneForm planes{config_.spatial_dims, spatial_[spatial_.size() - 2], spatial_.back()};
    double copies = 0;
    if (nn::prefers_winograd(planes, compute_)) {
      const std::int64_t filled = kernels::winograd_channels(in);
      if (filled != in) copies = bytes(filled, compute_);
    } else if (widens()) {
      copies = bytes(in + out, at::kFloat);
    }
    pass_.touch(bytes(in + out, compute_) + copies);
    pass_.conv(in, out, 3, voxels(spatial_));
  }

  void halving_conv(std::int64_t in, std::int64_t out) {
    const double before = bytes(in, compute_) + (widens() ? bytes(in, at::kFloat) : 0);
    for (std::int64_t& length : spatial_) length /= 2;
    pass_.touch(before + bytes(out, compute_) + (widens() ? bytes(out, at::kFloat) : 0));
    pass_.conv(in, out, 3, voxels(spatial_));
  }

  const ControlNetMaisiConfig& config_;
  const Spatial& latent_;
  at::ScalarType compute_;
  Pass& pass_;
  Spatial spatial_;
};

double timed_rate(at::ScalarType compute) {
  constexpr std::int64_t kChannels = 64, kGroups = 32, kPlanes = 12, kRows = 48;
  constexpr int kRuns = 3;
  const at::NoGradGuard no_grad;
  nn::GroupNorm norm(kGroups, kChannels, 1e-6);
  nn::Conv conv({.in = kChannels, .out = kChannels});
  for (nn::Module* module : {static_cast<nn::Module*>(&norm), static_cast<nn::Module*>(&conv)}) {
    module->initialize(1);
    module->set_precision(compute);
  }
  const at::Tensor x =
      nn::channels_last(at::ones({1, kChannels, kPlanes, kRows, kRows}, at::TensorOptions().dtype(compute)));
  const auto once = [&] {
    const auto start = std::chrono::steady_clock::now();
    conv.forward(norm.forward_silu(x));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  once();  // kernels are made at the first call
  double seconds = once();
  for (int i = 1; i < kRuns; ++i) seconds = std::min(seconds, once());
  return conv.flops_per_voxel() * kPlanes * kRows * kRows / seconds;
}

}  // namespace

PassCost unet_cost(const UnetConfig& config, std::int64_t out_channels, Spatial spatial, at::ScalarType compute,
                   bool residuals) {
  Pass pass(config, std::move(spatial), compute);
  pass.way_down();
  if (residuals) pass.add_residuals();
  pass.middle();
  pass.way_up(out_channels);
  return pass.cost();
}

PassCost controlnet_cost(const ControlNetMaisiConfig& config, Spatial spatial, at::ScalarType compute) {
  Pass pass(config, spatial, compute);
  ConditionPass(config, spatial, compute, pass).run();
  pass.way_down();
  pass.middle();
  pass.projections();
  return pass.cost();
}

void add_kept(PassCost& cost, std::int64_t most_weights) {
  const double heap = std::min(cost.peak_bytes / 4, kKeptByHeap);
  cost.peak_bytes = nn::with_kept_bytes(cost.peak_bytes) + heap;
  cost.known_bytes += std::min(cost.filtered_bytes, static_cast<double>(most_weights));
}

std::vector<std::pair<std::string, Spatial>> residual_shapes(const UnetConfig& config, const Spatial& shape) {
  std::vector<std::pair<std::string, Spatial>> shapes;
  Spatial of = shape;
  const auto add = [&](std::size_t level) {
    of[1] = config.num_channels[level];
    shapes.emplace_back("down" + std::to_string(shapes.size()), of);
  };
  add(0);
  for (std::size_t level = 0; level < config.levels(); ++level) {
    for (std::int64_t i = 0; i < config.num_res_blocks[level]; ++i) add(level);
    if (level + 1 == config.levels()) break;
    for (std::size_t axis = 2; axis < of.size(); ++axis) of[axis] = halved(config, of[axis]);
    add(level);
  }
  shapes.emplace_back("mid", of);
  return shapes;
}

std::uint64_t weight_bytes(nn::Module& network, at::ScalarType compute, at::Device device) {
  std::uint64_t bytes = 0;
  for (const nn::NamedParameter& named : network.parameters()) {
    const at::ScalarType stored = nn::stored_type(named.parameter->role, compute, device);
    bytes += static_cast<std::uint64_t>(named.parameter->numel()) * c10::elementSize(stored);
  }
  return bytes;
}

double measured_rate(at::ScalarType compute) {
  static std::mutex mutex;
  static std::map<at::ScalarType, double> rates;
  const std::lock_guard lock(mutex);
  const auto found = rates.find(compute);
  return found != rates.end() ? found->second : rates.emplace(compute, timed_rate(compute)).first->second;
}

const char* name_of(at::ScalarType compute) {
  if (compute == at::kHalf) return "fp16";
  return compute == at::kBFloat16 ? "bf16" : "fp32";
}

Spatial requested_shape(const nlohmann::json& request, const char* name) {
  const auto& inputs = request.at("inputs");
  if (!inputs.contains(name)) throw sdk::invalid("the shape of '", name, "' is needed");
  const auto shape = inputs.at(name).get<Spatial>();
  if (shape.size() != 5)
    throw sdk::invalid("a shape (N, C, X, Y, Z) of '", name, "' is needed, got one of ", shape.size(), " axes");
  return shape;
}

nlohmann::json cost_reply(const PassCost& cost, std::int64_t rows, std::uint64_t weights, at::ScalarType compute,
                          at::Device device) {
  const bool on_cpu = device.is_cpu();
  return {{"peak_bytes", static_cast<std::uint64_t>(cost.peak_bytes + (on_cpu ? cost.scratch_bytes : 0))},
          {"kept_bytes", static_cast<std::uint64_t>(cost.known_bytes + (on_cpu ? cost.packed_bytes : 0))},
          {"weights_bytes", weights},
          {"flops", cost.flops * static_cast<double>(rows)},
          {"flops_per_second", on_cpu ? measured_rate(compute) : 0.0},
          {"precision", name_of(compute)}};
}

}  // namespace medgen::maisi
