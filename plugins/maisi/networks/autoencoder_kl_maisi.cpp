// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"

#include "plugins/maisi/networks/limits.h"
#include "plugins/support/config_reader.h"
#include "plugins/support/error.h"
#include "plugins/support/nn/attention.h"
#include "plugins/support/nn/checkpoint.h"
#include "plugins/support/nn/device.h"
#include "plugins/support/nn/ops.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <optional>
#include <tuple>

namespace medgen::maisi {
namespace {

using nn::Conv;
using nn::ConvOptions;
using nn::GroupNorm;
using StageResample = nn::StreamStage::Resample;
using support::require;

constexpr char kAutoencoder[] = "AutoencoderKlMaisi";

/// The published code wraps convolutions twice, which shows in the names; the stock blocks of MONAI wrap once.
constexpr char kTwice[] = ".conv.conv";
constexpr char kOnce[] = ".conv";

struct Norm {
  int64_t groups;
  double eps;
};

ConvOptions pointwise(int64_t in, int64_t out) {
  return {.in = in, .out = out, .kernel = 1, .padding = 0};
}

/// Between the latent and the network: few channels, in float32.
ConvOptions latent_pointwise(const AutoencoderKlMaisiConfig& c) {
  return {.in = c.latent_channels, .out = c.latent_channels, .kernel = 1, .padding = 0, .role = nn::Role::Exact};
}

/// norm, SiLU, conv, twice, around a shortcut that is a 1x1x1 convolution where the channels change.
class ResBlock : public AutoencoderBlock {
 public:
  ResBlock(int64_t in, int64_t out, const Norm& norm, const std::string& conv_suffix)
      : norm1_(add<GroupNorm>("norm1", norm.groups, in, norm.eps)),
        conv1_(add<Conv>("conv1" + conv_suffix, ConvOptions{.in = in, .out = out, .role = nn::Role::Wide})),
        norm2_(add<GroupNorm>("norm2", norm.groups, out, norm.eps)),
        conv2_(add<Conv>("conv2" + conv_suffix, ConvOptions{.in = out, .out = out, .role = nn::Role::Wide})) {
    if (in != out) shortcut_ = &add<Conv>("nin_shortcut" + conv_suffix, pointwise(in, out));
  }

  at::Tensor forward(const at::Tensor& x) const override {
    at::Tensor h = conv1_.forward(norm1_.forward_silu(x));
    h = norm2_.forward_silu(h);
    return conv2_.forward(h).add_(shortcut_ == nullptr ? x : shortcut_->forward(x));
  }

  nn::FeatureMap stream(nn::Stream& stream, const nn::FeatureMap& x) const override {
    nn::FeatureMap h, sum = x;
    if (shortcut_ == nullptr) {
      h = stream.conv(conv1_, x, x.dtype(), {.norm = &norm1_});
    } else {
      std::tie(h, sum) =
          stream.conv_with_shortcut(conv1_, *shortcut_, x, x.dtype(), {.norm = &norm1_, .last_reader = true});
    }
    return stream.conv(conv2_, h, x.dtype(), {.norm = &norm2_, .residual = &sum, .last_reader = true});
  }

 private:
  GroupNorm& norm1_;
  Conv& conv1_;
  GroupNorm& norm2_;
  Conv& conv2_;
  Conv* shortcut_ = nullptr;
};

/// Halves every axis: one zero at the end, then a convolution of stride 2.
class Downsample : public AutoencoderBlock {
 public:
  explicit Downsample(int64_t channels)
      : conv_(add<Conv>("conv.conv.conv", ConvOptions{.in = channels, .out = channels, .stride = 2, .padding = 0})) {}

  at::Tensor forward(const at::Tensor& x) const override { return conv_.forward(nn::pad_end(x)); }

  nn::FeatureMap stream(nn::Stream& stream, const nn::FeatureMap& x) const override {
    return stream.conv(conv_, x, x.dtype(), {.resample = StageResample::PadEnd, .last_reader = true});
  }

 private:
  Conv& conv_;
};

/// Doubles every axis: trilinear then a convolution, or one transposed convolution.
class Upsample : public AutoencoderBlock {
 public:
  Upsample(int64_t channels, bool transposed)
      : transposed_(transposed),
        conv_(add<Conv>("conv.conv.conv", ConvOptions{.in = channels,
                                                      .out = channels,
                                                      .stride = transposed ? 2 : 1,
                                                      .transposed = transposed,
                                                      .output_padding = transposed ? 1 : 0,
                                                      .role = transposed ? nn::Role::Compute : nn::Role::Wide})) {}

  at::Tensor forward(const at::Tensor& x) const override {
    return conv_.forward(transposed_ ? x : nn::upsample_linear_2x(x));
  }

  nn::FeatureMap stream(nn::Stream& stream, const nn::FeatureMap& x) const override {
    const StageResample resample = transposed_ ? StageResample::None : StageResample::UpLinear;
    return stream.conv(conv_, x, x.dtype(), {.resample = resample, .last_reader = true});
  }

 private:
  bool transposed_;
  Conv& conv_;
};

/// Attention sees the whole map: it is as large as its level.
class Attention : public AutoencoderBlock {
 public:
  Attention(const nn::AttentionOptions& options, const Norm& norm)
      : attention_(add<nn::SpatialAttention>("", options, norm.groups, norm.eps)) {}

  at::Tensor forward(const at::Tensor& x) const override { return attention_.forward(x); }

  nn::FeatureMap stream(nn::Stream& stream, const nn::FeatureMap& x) const override {
    return stream.whole(x, [this](const at::Tensor& all) { return attention_.forward(all); });
  }

 private:
  nn::SpatialAttention& attention_;
};

nn::AttentionOptions attention(const AutoencoderKlMaisiConfig& c, int64_t channels) {
  return {.channels = channels, .output_projection = c.include_fc, .combined = c.use_combined_linear};
}

/// The optional attention at the coarsest level, between two residual blocks.
void append_nonlocal(Coder& coder, const AutoencoderKlMaisiConfig& c, int64_t channels) {
  const Norm norm{c.norm_num_groups, c.norm_eps};
  coder.add_block<ResBlock>(channels, channels, norm, kOnce);
  coder.add_block<Attention>(attention(c, channels), norm);
  coder.add_block<ResBlock>(channels, channels, norm, kOnce);
}

/// The residual blocks of one level, each followed by attention where the level has it.
void append_level(Coder& coder, const AutoencoderKlMaisiConfig& c, size_t level, int64_t in) {
  const Norm norm{c.norm_num_groups, c.norm_eps};
  const int64_t out = c.num_channels[level];
  for (int64_t i = 0; i < c.num_res_blocks[level]; ++i) {
    coder.add_block<ResBlock>(i == 0 ? in : out, out, norm, kTwice);
    if (c.attention_levels[level]) coder.add_block<Attention>(attention(c, out), norm);
  }
}

/// Of one sample of x, from which one of `shape` is made.
nn::StreamCost planned_cost(const Coder& coder, at::IntArrayRef x, at::IntArrayRef shape, at::ScalarType compute,
                            const nn::StreamOptions& options) {
  const auto planned = [](at::IntArrayRef sizes) {
    return at::empty(sizes, at::TensorOptions().device(at::kMeta)).narrow(0, 0, 1);
  };
  nn::Stream stream = nn::Stream::planned(options);
  coder.stream(stream, planned(x), compute, planned(shape));
  return stream.cost();
}

/// A pass is computed on devices of the kind on which its input lies.
nn::StreamOptions where(const at::Tensor& x, nn::StreamOptions options) {
  for (at::Device& device : options.devices) {
    if (device.type() != x.device().type()) device = x.device();
  }
  return options;
}

const AutoencoderKlMaisiConfig& validated(const AutoencoderKlMaisiConfig& config) {
  config.validate();
  return config;
}

}  // namespace

AutoencoderKlMaisiConfig AutoencoderKlMaisiConfig::from_json(const nlohmann::json& json) {
  support::ConfigReader reader(json, kAutoencoder);
  for (const char* key :
       {"spatial_dims", "in_channels", "out_channels", "num_res_blocks", "num_channels", "attention_levels"}) {
    reader.need(key);
  }
  AutoencoderKlMaisiConfig c;
  reader.read("spatial_dims", c.spatial_dims, 3, 3);
  reader.read("in_channels", c.in_channels, 1, kMostChannels);
  reader.read("out_channels", c.out_channels, 1, kMostChannels);
  reader.read("num_channels", c.num_channels, 1, kMostChannels);
  reader.read_per_level("num_res_blocks", c.num_res_blocks, c.num_channels.size(), 1, kMostBlocks);
  reader.read("attention_levels", c.attention_levels);
  reader.read("latent_channels", c.latent_channels, 1, kMostChannels);
  reader.read("norm_num_groups", c.norm_num_groups, 1, kMostChannels);
  reader.read("norm_eps", c.norm_eps);
  reader.read("with_encoder_nonlocal_attn", c.with_encoder_nonlocal_attn);
  reader.read("with_decoder_nonlocal_attn", c.with_decoder_nonlocal_attn);
  reader.read("include_fc", c.include_fc);
  reader.read("use_combined_linear", c.use_combined_linear);
  reader.read("use_convtranspose", c.use_convtranspose);
  reader.read("use_flash_attention", c.use_flash_attention);
  reader.read("use_checkpointing", c.use_checkpointing);
  reader.read("num_splits", c.num_splits, 1, kMostChannels);
  reader.read("dim_split", c.dim_split, 0, 2);
  reader.read("norm_float16", c.norm_float16);
  reader.read("print_info", c.print_info);
  reader.read("save_mem", c.save_mem);
  reader.finish();
  c.validate();
  return c;
}

void AutoencoderKlMaisiConfig::validate() const {
  const size_t levels = num_channels.size();
  require(levels >= 1 && levels <= kMostLevels, "{}: 'num_channels' has {} entries, 1 to {} are wanted", kAutoencoder,
          levels, kMostLevels);
  require(
      num_res_blocks.size() == levels && attention_levels.size() == levels,
      "{}: 'num_res_blocks' has {} and 'attention_levels' {} entries, 'num_channels' has {}; all want one per level",
      kAutoencoder, num_res_blocks.size(), attention_levels.size(), levels);
  check_norm(kAutoencoder, "num_channels", num_channels, norm_num_groups, norm_eps);
}

void Coder::add_input(int64_t in, int64_t out) {
  conv_in_ = &add<Conv>(next_name(kTwice), ConvOptions{.in = in, .out = out, .role = nn::Role::Exact});
}

void Coder::add_output(int64_t groups, double eps, int64_t in, int64_t out) {
  norm_ = &add<GroupNorm>(next_name(""), groups, in, eps);
  conv_out_ = &add<Conv>(next_name(kTwice), ConvOptions{.in = in, .out = out, .role = nn::Role::Exact});
}

at::Tensor Coder::forward(const at::Tensor& x, at::ScalarType compute) const {
  at::Tensor h = conv_in_->forward(nn::channels_last(x)).to(compute);
  for (const AutoencoderBlock* block : blocks_)
    h = nn::run_segment(*this, [block](at::TensorList in) { return block->forward(in[0]); }, {h});
  return conv_out_->forward(norm_->forward(h));
}

void Coder::stream(nn::Stream& stream, const at::Tensor& x, at::ScalarType compute, const at::Tensor& out,
                   const nn::FinishPlanes& finish) const {
  nn::FeatureMap h = stream.conv(*conv_in_, stream.input(x, at::kFloat), compute, {.last_reader = true});
  for (const AutoencoderBlock* block : blocks_) h = block->stream(stream, h);
  stream.conv_into(*conv_out_, h, out, {.norm = norm_, .with_silu = false, .last_reader = true}, finish);
}

AutoencoderKlMaisi::AutoencoderKlMaisi(const AutoencoderKlMaisiConfig& config)
    : config_(validated(config)),
      encoder_(add<Coder>("encoder")),
      decoder_(add<Coder>("decoder")),
      quant_conv_mu_(add<Conv>("quant_conv_mu.conv", latent_pointwise(config))),
      quant_conv_log_sigma_(add<Conv>("quant_conv_log_sigma.conv", latent_pointwise(config))),
      post_quant_conv_(add<Conv>("post_quant_conv.conv", latent_pointwise(config))) {
  build_encoder();
  build_decoder();
}

void AutoencoderKlMaisi::build_encoder() {
  const AutoencoderKlMaisiConfig& c = config_;
  const size_t levels = c.num_channels.size();
  encoder_.add_input(c.in_channels, c.num_channels.front());
  for (size_t level = 0; level < levels; ++level) {
    append_level(encoder_, c, level, c.num_channels[level == 0 ? 0 : level - 1]);
    if (level + 1 < levels) encoder_.add_block<Downsample>(c.num_channels[level]);
  }
  const int64_t top = c.num_channels.back();
  if (c.with_encoder_nonlocal_attn) append_nonlocal(encoder_, c, top);
  encoder_.add_output(c.norm_num_groups, c.norm_eps, top, c.latent_channels);
}

void AutoencoderKlMaisi::build_decoder() {
  const AutoencoderKlMaisiConfig& c = config_;
  int64_t channels = c.num_channels.back();
  decoder_.add_input(c.latent_channels, channels);
  if (c.with_decoder_nonlocal_attn) append_nonlocal(decoder_, c, channels);
  for (size_t level = c.num_channels.size(); level-- > 0;) {
    append_level(decoder_, c, level, channels);
    channels = c.num_channels[level];
    if (level > 0) decoder_.add_block<Upsample>(channels, c.use_convtranspose);
  }
  decoder_.add_output(c.norm_num_groups, c.norm_eps, channels, c.out_channels);
}

bool AutoencoderKlMaisi::ignores(std::string_view name) const {
  return !config_.include_fc && is_unused_projection(name);
}

AutoencoderKlMaisi::Posterior AutoencoderKlMaisi::encode(const at::Tensor& x, const nn::StreamOptions& given) const {
  check_feature_map(kAutoencoder, "x", x, 3, config_.in_channels);
  const nn::StreamOptions options = where(x, given);
  for (const int64_t length : x.sizes().slice(2)) {
    require(length >= config_.compression(), "{}: 'x' has an axis of {} voxels, at least {} are wanted", kAutoencoder,
            length, config_.compression());
  }
  at::Tensor h;
  if (const auto slabs = streamed(encoder_, x, latent_shape(x.sizes()), options)) {
    h = at::empty(latent_shape(x.sizes()), at::TensorOptions().dtype(at::kFloat));
    run(encoder_, x, h, *slabs, nn::copy_planes);
    h = nn::on_device(h, x.device());
  } else {
    h = encoder_.forward(x, compute_dtype());
  }
  const at::Tensor log_variance = quant_conv_log_sigma_.forward(h).clamp(-30.0, 20.0);
  return {quant_conv_mu_.forward(h), log_variance.div(2).exp()};
}

at::Tensor AutoencoderKlMaisi::decode(const at::Tensor& z, const nn::StreamOptions& given) const {
  check_feature_map(kAutoencoder, "z", z, 3, config_.latent_channels);
  const auto slabs = streamed(decoder_, z, image_shape(z.sizes()), where(z, given));
  const at::Tensor latent = post_quant_conv_.forward(z);
  if (!slabs) return decoder_.forward(latent, compute_dtype());
  at::Tensor out = at::empty(image_shape(z.sizes()), at::TensorOptions().dtype(at::kFloat));
  run(decoder_, latent, out, *slabs, nn::copy_planes);
  return nn::on_device(out, z.device());
}

void AutoencoderKlMaisi::decode_into(const at::Tensor& z, const at::Tensor& out, const nn::StreamOptions& given,
                                     const nn::FinishPlanes& finish) const {
  check_feature_map(kAutoencoder, "z", z, 3, config_.latent_channels);
  const auto slabs = streamed(decoder_, z, out.sizes(), where(z, given));
  const at::Tensor latent = post_quant_conv_.forward(z);
  slabs ? run(decoder_, latent, out, *slabs, finish) : finish(decoder_.forward(latent, compute_dtype()).cpu(), out);
}

/// Gradients need the tensors of the whole pass.
std::optional<AutoencoderKlMaisi::Streamed> AutoencoderKlMaisi::streamed(const Coder& coder, const at::Tensor& x,
                                                                         at::IntArrayRef shape,
                                                                         const nn::StreamOptions& options) const {
  if (at::GradMode::is_enabled() || compute_dtype() == at::kHalf) return std::nullopt;
  if (whole_on_device(coder, x.sizes(), shape, options)) return std::nullopt;
  return in_slabs(coder, x.sizes(), shape, options);
}

std::optional<nn::StreamCost> AutoencoderKlMaisi::whole_on_device(const Coder& coder, at::IntArrayRef x,
                                                                  at::IntArrayRef shape,
                                                                  const nn::StreamOptions& options) const {
  const at::Device device = options.device();
  if (device.is_cpu() || options.devices.size() > 1) return std::nullopt;
  constexpr int64_t kAllPlanes = int64_t{1} << 50;
  const nn::StreamCost pass =
      planned_cost(coder, x, shape, compute_dtype(), {.slab_bytes = kAllPlanes, .devices = {device}});
  // Half, because its libraries take some.
  const int64_t may_take = options.device_memory > 0 ? options.device_memory : nn::free_memory(device) / 2;
  if (pass.memory > may_take) return std::nullopt;
  return nn::StreamCost{.slabs = pass.memory, .flops = pass.flops};
}

std::vector<int64_t> AutoencoderKlMaisi::latent_shape(at::IntArrayRef x) const {
  std::vector<int64_t> shape{x[0], config_.latent_channels};
  for (const int64_t length : x.slice(2)) shape.push_back(length / config_.compression());
  return shape;
}

std::vector<int64_t> AutoencoderKlMaisi::image_shape(at::IntArrayRef z) const {
  std::vector<int64_t> shape{z[0], config_.out_channels};
  for (const int64_t length : z.slice(2)) shape.push_back(length * config_.compression());
  return shape;
}

void AutoencoderKlMaisi::run(const Coder& coder, const at::Tensor& x, const at::Tensor& out, const Streamed& streamed,
                             const nn::FinishPlanes& finish) const {
  for (int64_t n = 0; n < x.size(0); ++n) {
    nn::Stream stream(streamed.options, streamed.cost.flops);
    coder.stream(stream, x.narrow(0, n, 1), compute_dtype(), out.narrow(0, n, 1), finish);
  }
}

nn::StreamOptions AutoencoderKlMaisi::for_maps(const Coder& coder, at::IntArrayRef x, at::IntArrayRef shape,
                                               const nn::StreamOptions& options) const {
  nn::StreamOptions fitting = options;
  if (options.memory == 0) return fitting;
  const auto cost = [&] { return planned_cost(coder, x, shape, compute_dtype(), fitting); };
  fitting.memory = 1;  // slabs are largest when they come from files and go to files
  fitting.memory = std::max<int64_t>(options.memory - cost().slabs, 1);
  const int64_t too_much = cost().memory - options.memory;  // where the result outgrows the map that it is made of
  if (too_much > 0) fitting.memory = std::max<int64_t>(fitting.memory - too_much, 1);
  return fitting;
}

AutoencoderKlMaisi::Streamed AutoencoderKlMaisi::in_slabs(const Coder& coder, at::IntArrayRef x, at::IntArrayRef shape,
                                                          const nn::StreamOptions& options) const {
  const nn::StreamOptions fitting = for_maps(coder, x, shape, options);
  return {fitting, planned_cost(coder, x, shape, compute_dtype(), fitting)};
}

nn::StreamCost AutoencoderKlMaisi::cost(const Coder& coder, at::IntArrayRef x, at::IntArrayRef shape,
                                        const nn::StreamOptions& options) const {
  if (const auto whole = whole_on_device(coder, x, shape, options)) return *whole;
  return in_slabs(coder, x, shape, options).cost;
}

nn::StreamCost AutoencoderKlMaisi::encode_cost(at::IntArrayRef x, const nn::StreamOptions& options) const {
  return cost(encoder_, x, latent_shape(x), options);
}

nn::StreamCost AutoencoderKlMaisi::decode_cost(at::IntArrayRef z, at::IntArrayRef out,
                                               const nn::StreamOptions& options) const {
  return cost(decoder_, z, out, options);
}

}  // namespace medgen::maisi
