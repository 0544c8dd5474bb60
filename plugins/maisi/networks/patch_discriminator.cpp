// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/patch_discriminator.h"

#include "plugins/maisi/networks/limits.h"
#include "plugins/support/config_reader.h"
#include "plugins/support/error.h"
#include "plugins/support/nn/ops.h"

#include <ATen/ops/dropout.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/relu.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {
namespace {

using nn::Conv;
using nn::ConvOptions;
using nn::Init;
using support::ConfigReader;
using support::InvalidInput;
using support::require;

constexpr char kDiscriminator[] = "PatchDiscriminator";
constexpr double kWeightStart = 0.02;

/// "NAME" or ["NAME", {options}], as MONAI writes activations and norms.
struct Choice {
  std::string name;
  nlohmann::json options = nlohmann::json::object();
};

Choice read_choice(const nlohmann::json& json, const char* key) {
  if (json.is_string()) return {json.get<std::string>()};
  const bool pair = json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_object();
  require(pair, "{}: '{}' wants a name, or a list of a name and an object", kDiscriminator, key);
  return {json[0].get<std::string>(), json[1]};
}

void read_activation(const nlohmann::json& json, PatchDiscriminatorConfig& c) {
  using Activation = PatchDiscriminatorConfig::Activation;
  const Choice choice = read_choice(json, "activation");
  ConfigReader options(choice.options, "PatchDiscriminator activation");
  if (choice.name == "LEAKYRELU") {
    c.activation = Activation::LeakyRelu;
    c.negative_slope = 0.01;
    options.read("negative_slope", c.negative_slope);
  } else if (choice.name == "RELU") {
    c.activation = Activation::Relu;
  } else if (choice.name == "SWISH") {
    c.activation = Activation::Silu;
  } else {
    throw InvalidInput("{}: 'activation' is '{}'; LEAKYRELU, RELU and SWISH are known", kDiscriminator, choice.name);
  }
  options.finish();
}

void read_norm(const nlohmann::json& json, PatchDiscriminatorConfig& c) {
  using Norm = PatchDiscriminatorConfig::Norm;
  if (json.is_null()) {
    c.norm = Norm::None;
    return;
  }
  const Choice choice = read_choice(json, "norm");
  ConfigReader options(choice.options, "PatchDiscriminator norm");
  if (choice.name == "INSTANCE") {
    c.norm = Norm::Instance;
    c.norm_affine = false;
  } else if (choice.name == "BATCH") {
    c.norm = Norm::Batch;
  } else if (choice.name == "GROUP") {
    c.norm = Norm::Group;
    options.need("num_groups");
    options.read("num_groups", c.norm_groups, 1, kMostChannels);
  } else {
    throw InvalidInput("{}: 'norm' is '{}'; INSTANCE, BATCH and GROUP are known", kDiscriminator, choice.name);
  }
  options.read("affine", c.norm_affine);
  options.read("eps", c.norm_eps);
  options.finish();
}

const PatchDiscriminatorConfig& validated(const PatchDiscriminatorConfig& config) {
  config.validate();
  return config;
}

}  // namespace

/// Convolution, then normalisation, dropout and activation where the layer has them.
class PatchDiscriminator::Layer : public nn::Module {
 public:
  enum class Kind { First, Inner, Last };

  Layer(const PatchDiscriminatorConfig& c, const ConvOptions& options, Kind kind)
      : config_(c), kind_(kind), conv_(add<Conv>("conv", options)) {
    if (kind == Kind::Inner) add_norm(options.out);
  }

  int64_t output_length(int64_t length) const { return conv_.output_length(length); }

  at::Tensor forward(const at::Tensor& x) const {
    at::Tensor h = conv_.forward(x);
    if (kind_ == Kind::Last) return h;
    if (norm_) h = norm_(h);
    if (config_.dropout > 0 && training()) h = at::dropout(h, config_.dropout, true);
    switch (config_.activation) {
      case PatchDiscriminatorConfig::Activation::LeakyRelu:
        return at::leaky_relu(h, config_.negative_slope);
      case PatchDiscriminatorConfig::Activation::Relu:
        return at::relu(h);
      case PatchDiscriminatorConfig::Activation::Silu:
        break;
    }
    return nn::silu(h);
  }

 private:
  template <typename Norm, typename... Args>
  void use_norm(Args&&... args) {
    const Norm& norm = add<Norm>("adn.N", std::forward<Args>(args)...);
    norm_ = [&norm](const at::Tensor& x) { return norm.forward(x); };
  }

  void add_norm(int64_t channels) {
    switch (config_.norm) {
      case PatchDiscriminatorConfig::Norm::None:
        return;
      case PatchDiscriminatorConfig::Norm::Instance:
        return use_norm<nn::InstanceNorm>(channels, config_.norm_affine, config_.norm_eps);
      case PatchDiscriminatorConfig::Norm::Batch:
        return use_norm<nn::BatchNorm>(channels, config_.norm_affine, Init{Init::Kind::Normal, kWeightStart, 1.0},
                                       config_.norm_eps);
      case PatchDiscriminatorConfig::Norm::Group:
        return use_norm<nn::GroupNorm>(config_.norm_groups, channels, config_.norm_eps);
    }
  }

  const PatchDiscriminatorConfig& config_;
  Kind kind_;
  Conv& conv_;
  std::function<at::Tensor(const at::Tensor&)> norm_;
};

PatchDiscriminatorConfig PatchDiscriminatorConfig::from_json(const nlohmann::json& json) {
  ConfigReader reader(json, kDiscriminator);
  for (const char* key : {"spatial_dims", "channels", "in_channels"}) reader.need(key);
  PatchDiscriminatorConfig c;
  reader.read("spatial_dims", c.spatial_dims, 2, 3);
  reader.read("channels", c.channels, 1, kMostChannels);
  reader.read("in_channels", c.in_channels, 1, kMostChannels);
  reader.read("out_channels", c.out_channels, 1, kMostChannels);
  reader.read("num_layers_d", c.num_layers_d, 1, static_cast<int64_t>(kMostLevels));
  reader.read("kernel_size", c.kernel_size, 1, 16);
  reader.accept("activation");
  reader.accept("norm");
  if (json.contains("activation")) read_activation(json["activation"], c);
  if (json.contains("norm")) read_norm(json["norm"], c);
  reader.read("bias", c.bias);
  reader.read("padding", c.padding, 0, 16);
  reader.read("dropout", c.dropout);
  reader.read("last_conv_kernel_size", c.last_conv_kernel_size, 1, 16);
  reader.finish();
  c.validate();
  return c;
}

void PatchDiscriminatorConfig::validate() const {
  require(num_layers_d >= 1 && channels >= 1 && channels << num_layers_d <= kMostChannels,
          "{}: {} layers that start with {} channels would end with more than {}", kDiscriminator, num_layers_d,
          channels, kMostChannels);
  require(dropout >= 0 && dropout < 1, "{}: 'dropout' is {}, 0 to 1 is wanted", kDiscriminator, dropout);
  require(norm_eps > 0, "{}: the norm's 'eps' is {}, a positive number is wanted", kDiscriminator, norm_eps);
  require(norm != Norm::Group || (channels * 2) % norm_groups == 0, "{}: {} channels are not a multiple of {} groups",
          kDiscriminator, channels * 2, norm_groups);
}

PatchDiscriminator::PatchDiscriminator(const PatchDiscriminatorConfig& config) : config_(validated(config)) {
  const PatchDiscriminatorConfig& c = config_;
  ConvOptions options{.rank = c.spatial_dims,
                      .in = c.in_channels,
                      .out = c.channels,
                      .kernel = c.kernel_size,
                      .stride = 2,
                      .padding = c.padding,
                      .normal_start = kWeightStart};
  layers_.push_back(&add<Layer>("initial_conv", c, options, Layer::Kind::First));
  options.bias = c.bias;
  for (int64_t i = 0; i < c.num_layers_d; ++i) {
    options.in = options.out;
    options.out *= 2;
    options.stride = i + 1 < c.num_layers_d ? 2 : 1;
    layers_.push_back(&add<Layer>(std::to_string(i), c, options, Layer::Kind::Inner));
  }
  const int64_t kernel = c.last_conv_kernel_size.value_or(c.kernel_size);
  layers_.push_back(&add<Layer>("final_conv", c,
                                ConvOptions{.rank = c.spatial_dims,
                                            .in = options.out,
                                            .out = c.out_channels,
                                            .kernel = kernel,
                                            .padding = (kernel - 1) / 2,
                                            .normal_start = kWeightStart},
                                Layer::Kind::Last));
}

std::vector<at::Tensor> PatchDiscriminator::forward(const at::Tensor& x) const {
  check_feature_map(kDiscriminator, "x", x, config_.spatial_dims, config_.in_channels);
  for (int64_t length : x.sizes().slice(2)) {
    const int64_t whole = length;
    for (const Layer* layer : layers_) length = length < 1 ? 0 : layer->output_length(length);
    require(length >= 1, "{}: 'x' has an axis of {} voxels, too few for {} layers", kDiscriminator, whole,
            layers_.size());
  }
  std::vector<at::Tensor> features;
  at::Tensor h = nn::channels_last(x.to(compute_dtype()));
  for (const Layer* layer : layers_) {
    h = layer->forward(h);
    features.push_back(h.to(at::kFloat));
  }
  return features;
}

}  // namespace medgen::maisi
