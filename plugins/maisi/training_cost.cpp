// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/training_cost.h"

#include "plugins/maisi/cost.h"
#include "plugins/maisi/networks/unet_blocks.h"
#include "plugins/support/nn/wide_conv.h"
#include "plugins/support/nn/winograd.h"

#include <medgen/sdk/sdk.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace medgen::maisi {
namespace {

/// Gradients and other orders of its input and output that a convolution has beside what is kept.
constexpr double kOfInput = 3, kOfOutput = 2;
/// Maps that attention keeps: normalised, as tokens, queries, keys, values, mixed, projected.
constexpr double kOfAttention = 7;
/// Those of a transformer's layer: two attentions, three norms, and the wide layers.
constexpr double kOfTransformer = 35;

/// Tensors beside a weight: both moments, and the average.
double kept_copies(const TrainingSetup& setup) {
  return setup.options.ema > 0 ? 3 : 2;
}

double voxels(const std::vector<std::int64_t>& spatial) {
  double count = 1;
  for (const std::int64_t length : spatial) count *= static_cast<double>(length);
  return count;
}

/// Follows a pass through the layers: what stays for the way back, and what each has while it works.
class Walk {
 public:
  explicit Walk(const TrainingSetup& setup, std::int64_t rank = 3)
      : setup_(setup),
        rank_(rank),
        element_(static_cast<double>(c10::elementSize(setup.options.compute))),
        voxels_(voxels(setup.spatial) * static_cast<double>(setup.batch)),
        is_wide_(narrow() && nn::prefers_float(setup.options.compute)) {}

  double map(std::int64_t channels) const { return element_ * static_cast<double>(channels) * voxels_; }

  double floats(std::int64_t channels) const { return sizeof(float) * static_cast<double>(channels) * voxels_; }

  bool narrow() const { return setup_.options.compute != at::kFloat; }

  void keep(double bytes) { kept_ += bytes; }

  void work(double bytes, double weights = 0) {
    layers_.push_back({kept_ + bytes, weights});
    largest_ = std::max(largest_, weights);
  }

  /// The operators of float32 and float16 copy x into their order and keep that; the kernels of bfloat16 keep x.
  void norm(std::int64_t channels, bool silu = true) {
    if (setup_.options.compute == at::kBFloat16) return keep(map(channels));
    keep((silu ? 2 : 1) * floats(channels));
    if (narrow()) work(2 * floats(channels));
  }

  /// To as many voxels as there are. @param in_voxels  of its input, times theirs
  void conv(std::int64_t in, std::int64_t out, std::int64_t kernel, double in_voxels = 1) {
    const double weights = static_cast<double>(in * out) * std::pow(kernel, rank_);
    const double input = in_voxels * map(in);
    keep(input);  // also where the weights do not learn: the gradient of x is one operator with theirs
    if (narrow() && kernel == 3) {
      const auto results = static_cast<std::int64_t>(voxels_);
      scratch_ = std::max(scratch_, nn::wide_training_memory(rank_, results, in, out, setup_.options.compute));
    }
    if (narrow() && !is_wide_) keep(element_ * weights);
    work(kOfInput * input + kOfOutput * map(out), setup_.learns ? sizeof(float) * weights : 0);
  }

  /// Of kernel 3 in float32, whatever the precision: at the ends of the VAE, and down from one level of a U-Net.
  void exact_conv(std::int64_t in, std::int64_t out, double in_voxels = 1) {
    const double weights = static_cast<double>(in * out) * std::pow(3, rank_);
    keep(in_voxels * floats(in));
    work(in_voxels * floats(in) + 2 * floats(out), setup_.learns ? sizeof(float) * weights : 0);
  }

  void attention(std::int64_t channels, std::int64_t transformer_layers = 0) {
    const double linear = 4.0 * static_cast<double>(channels * channels);
    keep((kOfAttention + kOfTransformer * static_cast<double>(transformer_layers)) * map(channels));
    work(4 * map(channels), sizeof(float) * linear * static_cast<double>(1 + 4 * transformer_layers));
  }

  /// A residual block behind its normalisation. The shortcut keeps x where the normalisation kept a copy of it.
  void res_block(std::int64_t in, std::int64_t out) {
    norm(in);
    conv(in, out, 3);
    norm(out);
    conv(out, out, 3);
    if (in == out) return;
    if (!narrow()) keep(map(in));
    work(kOfInput * map(in) + kOfOutput * map(out), sizeof(float) * static_cast<double>(in * out));
  }

  void scale(double factor) { voxels_ *= factor; }

  /// Without gradients: of what came so far, `bytes` alone stay.
  void forget(double bytes) {
    layers_.clear();
    kept_ = bytes;
  }

  /// Layers of which `input` alone is kept where activations are computed again.
  template <typename Layers>
  void segment(double input, const Layers& layers) {
    if (!setup_.options.checkpoint_activations) return layers();
    const double before = kept_;
    const std::size_t first = layers_.size();
    layers();
    double most = kept_;
    double weights = 0;
    for (std::size_t i = first; i < layers_.size(); ++i) {
      most = std::max(most, layers_[i].bytes);
      weights += layers_[i].weights;
    }
    layers_.resize(first);
    kept_ = before + input;
    layers_.push_back({kept_ + most - before, weights});
  }

  /// Gradients of weights come on the way back, from the last layer on.
  double peak() const {
    double gradients = 0;
    for (const Layer& layer : layers_) gradients += layer.weights;
    const double all = gradients;
    double most = all + optimizer();
    if (!setup_.gradients_stay) gradients = 0;
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
      if (!setup_.gradients_stay) gradients += layer->weights;
      most = std::max(most, layer->bytes + gradients);
    }
    return most + static_cast<double>(scratch_);
  }

 private:
  /// What a step of the optimiser reads for a weight, where it does not lie in memory.
  double optimizer() const {
    return setup_.options.state_on_disk && setup_.learns ? kept_copies(setup_) * largest_ : 0;
  }

  struct Layer {
    double bytes;    ///< kept up to here, and its own work
    double weights;  ///< of its gradients
  };

  const TrainingSetup& setup_;
  std::int64_t rank_;
  double element_;
  double voxels_;
  bool is_wide_;  ///< convolutions compute in float32, with weights as they are
  double kept_ = 0;
  double largest_ = 0;  ///< bytes of the largest layer's weights
  std::int64_t scratch_ = 0;
  std::vector<Layer> layers_;
};

/// The levels of one half of the VAE; the attention that some have between them is small.
class CoderWalk {
 public:
  CoderWalk(const AutoencoderKlMaisiConfig& config, Walk& walk) : config_(config), walk_(walk) {}

  void encode() {
    const auto& channels = config_.num_channels;
    walk_.exact_conv(config_.in_channels, channels.front());
    for (std::size_t level = 0; level < channels.size(); ++level) {
      blocks(level, channels[level == 0 ? 0 : level - 1]);
      if (level + 1 == channels.size()) break;
      const double input = walk_.map(channels[level]);
      walk_.scale(1.0 / 8);
      walk_.segment(input, [&] { walk_.conv(channels[level], channels[level], 3, 8); });
    }
    end(config_.with_encoder_nonlocal_attn, channels.back(), config_.latent_channels);
  }

  void decode() {
    const auto& channels = config_.num_channels;
    walk_.exact_conv(config_.latent_channels, channels.back());
    if (config_.with_decoder_nonlocal_attn) nonlocal(channels.back());
    for (std::size_t level = channels.size(); level-- > 0;) {
      blocks(level, channels[std::min(level + 1, channels.size() - 1)]);
      if (level == 0) break;
      const double input = walk_.map(channels[level]);
      walk_.scale(8);
      const double read = config_.use_convtranspose ? 1.0 / 8 : 1.0;
      walk_.segment(input, [&] { walk_.conv(channels[level], channels[level], 3, read); });
    }
    end(false, channels.front(), config_.out_channels);
  }

 private:
  void block(std::int64_t in, std::int64_t out) {
    walk_.segment(walk_.map(in), [&] { walk_.res_block(in, out); });
  }

  void blocks(std::size_t level, std::int64_t in) {
    const std::int64_t out = config_.num_channels[level];
    for (std::int64_t i = 0; i < config_.num_res_blocks[level]; ++i) {
      block(i == 0 ? in : out, out);
      if (config_.attention_levels[level]) attention(out);
    }
  }

  void attention(std::int64_t channels) {
    walk_.segment(walk_.map(channels), [&] { walk_.attention(channels); });
  }

  void nonlocal(std::int64_t channels) {
    block(channels, channels);
    attention(channels);
    block(channels, channels);
  }

  void end(bool with_nonlocal, std::int64_t channels, std::int64_t out) {
    if (with_nonlocal) nonlocal(channels);
    walk_.norm(channels, false);
    walk_.exact_conv(channels, out);
  }

  const AutoencoderKlMaisiConfig& config_;
  Walk& walk_;
};

/// The U-Net and the ControlNet, which is its way down.
class UnetWalk {
 public:
  UnetWalk(const UnetConfig& config, Walk& walk) : config_(config), walk_(walk) {}

  void way_down() {
    walk_.conv(config_.in_channels, config_.num_channels.front(), 3);
    channels_ = config_.num_channels.front();
    push();
    for (std::size_t level = 0; level < config_.levels(); ++level) {
      for (std::int64_t i = 0; i < config_.num_res_blocks[level]; ++i) {
        unit(channels_, level, walk_.map(channels_));
        push();
      }
      if (level + 1 == config_.levels()) break;
      halve();
      push();
    }
  }

  void middle() {
    walk_.segment(walk_.map(channels_), [&] {
      walk_.res_block(channels_, channels_);
      mix();
      walk_.res_block(channels_, channels_);
    });
  }

  void way_up(std::int64_t out_channels) {
    for (std::size_t level = config_.levels(); level-- > 0;) {
      for (std::int64_t i = 0; i <= config_.num_res_blocks[level]; ++i) {
        const std::int64_t joined = channels_ + skips_.back();
        skips_.pop_back();
        unit(joined, level, walk_.map(channels_));
      }
      if (level > 0) twice();
    }
    walk_.norm(channels_);
    walk_.conv(channels_, out_channels, 3);
  }

  double skips() const { return results_; }

  /// The zero convolutions of a ControlNet, of all skips and of the middle.
  void projections() {
    walk_.keep(results_);
    walk_.work(results_);
  }

 private:
  /// @param input  what is kept of it where the rest is computed again; skips are kept already
  void unit(std::int64_t in, std::size_t level, double input) {
    const std::int64_t out = config_.num_channels[level];
    walk_.segment(input, [&] {
      walk_.res_block(in, out);
      channels_ = out;
      if (config_.attention_levels[level]) mix();
    });
  }

  void mix() { walk_.attention(channels_, config_.with_conditioning ? config_.transformer_num_layers : 0); }

  void push() {
    skips_.push_back(channels_);
    results_ += walk_.map(channels_);
  }

  void halve() {
    constexpr double kEighth = 1.0 / 8;
    const double input = walk_.map(channels_);
    if (!config_.resblock_updown) {
      walk_.scale(kEighth);
      return walk_.exact_conv(channels_, channels_, 8);
    }
    walk_.segment(input, [&] {
      walk_.norm(channels_);
      walk_.keep(2 * walk_.floats(channels_));  // of which the means were taken, for both ways
      walk_.scale(kEighth);
      walk_.conv(channels_, channels_, 3);
      walk_.norm(channels_);
      walk_.conv(channels_, channels_, 3);
    });
  }

  void twice() {
    const double input = walk_.map(channels_);
    walk_.segment(input, [&] {
      if (config_.resblock_updown) walk_.norm(channels_);
      walk_.scale(8);
      walk_.conv(channels_, channels_, 3);
      if (!config_.resblock_updown) return;
      walk_.norm(channels_);
      walk_.conv(channels_, channels_, 3);
    });
  }

  const UnetConfig& config_;
  Walk& walk_;
  std::int64_t channels_ = 0;
  std::vector<std::int64_t> skips_;
  double results_ = 0;
};

/// The condition's way to the latent's grid: convolutions with SiLU, from full resolution down.
void embed_condition(const ControlNetMaisiConfig& config, Walk& walk) {
  const auto& channels = config.conditioning_embedding_num_channels;
  const double factor = std::pow(8.0, static_cast<double>(channels.size() - 1));
  walk.scale(factor);
  walk.conv(config.conditioning_embedding_in_channels, channels.front(), 3);
  for (std::size_t i = 0; i + 1 < channels.size(); ++i) {
    walk.segment(walk.map(channels[i]), [&] {
      walk.keep(2 * walk.map(channels[i]));
      walk.conv(channels[i], channels[i], 3);
      walk.scale(1.0 / 8);
      walk.conv(channels[i], channels[i + 1], 3, 8);
    });
  }
  walk.conv(channels.back(), config.num_channels.front(), 3);
}

}  // namespace

TrainingSetup TrainingSetup::read(const nlohmann::json& request, at::ScalarType compute) {
  const std::vector<std::int64_t> x = requested_shape(request, "x");
  const nlohmann::json options = request.value("options", nlohmann::json::object());
  return {.batch = x[0],
          .spatial = {x.begin() + 2, x.end()},
          .options = support::TrainingOptions::read(options.dump(), compute, at::kCPU),
          .learns = request.value("trained", true),
          .gradients_stay = request.value("accumulate", 1) > 1};
}

double training_bytes(const AutoencoderKlMaisiConfig& config, const TrainingSetup& setup) {
  Walk walk(setup);
  CoderWalk coder(config, walk);
  coder.encode();
  coder.decode();
  walk.keep(2 * walk.floats(config.out_channels));  // the result, and its difference from x
  walk.work(walk.floats(config.out_channels));
  return walk.peak();
}

double training_bytes(const UnetConfig& config, std::int64_t out_channels, const TrainingSetup& setup) {
  Walk walk(setup, config.spatial_dims);
  UnetWalk unet(config, walk);
  unet.way_down();
  if (!setup.learns) walk.forget(unet.skips());  // its ControlNet's residuals come in here
  unet.middle();
  unet.way_up(out_channels);
  return walk.peak();
}

double training_bytes(const ControlNetMaisiConfig& config, const TrainingSetup& setup) {
  Walk walk(setup, config.spatial_dims);
  embed_condition(config, walk);
  UnetWalk unet(config, walk);
  unet.way_down();
  unet.middle();
  unet.projections();
  return walk.peak();
}

double adversary_bytes(std::int64_t channels, const TrainingSetup& setup) {
  constexpr double kParameters = 2.8e6, kPasses = 3, kMaps = 4;
  const double image = voxels(setup.spatial) * static_cast<double>(setup.batch) * sizeof(float);
  double maps = static_cast<double>(channels) * image;
  double width = 32;
  for (double size = image / 8; width <= 256; width *= 2, size /= width <= 128 ? 8 : 1) maps += kMaps * width * size;
  return kPasses * maps + 4 * sizeof(float) * kParameters;
}

double perceptual_bytes(double part, const TrainingSetup& setup) {
  constexpr double kNumbersOfPixel = 300;
  const double image = voxels(setup.spatial) * static_cast<double>(setup.batch) * sizeof(float);
  return 3 * part * image * kNumbersOfPixel;
}

nlohmann::json training_reply(double pass, std::int64_t numel, const TrainingSetup& setup) {
  const double weights = sizeof(float) * static_cast<double>(numel);
  const double kept = setup.learns ? kept_copies(setup) * weights : 0;
  const double on_disk = setup.options.state_on_disk ? kept : 0;
  return {{"peak_bytes", static_cast<std::uint64_t>(pass) + kTrainingScratch},
          {"weights_bytes", static_cast<std::uint64_t>(weights + kept - on_disk)},
          {"scratch_bytes", static_cast<std::uint64_t>(on_disk)},
          {"copied_bytes", static_cast<std::uint64_t>(setup.learns ? weights : 0)},
          {"precision", name_of(setup.options.compute)}};
}

}  // namespace medgen::maisi
