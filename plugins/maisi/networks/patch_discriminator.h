// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/layers.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>

namespace medgen::maisi {

/// Parameters of the published constructor (MONAI 1.6.1), with its names and defaults.
struct PatchDiscriminatorConfig {
  enum class Norm { None, Instance, Batch, Group };
  enum class Activation { LeakyRelu, Relu, Silu };

  int64_t spatial_dims = 3;  ///< 2 or 3
  int64_t channels = 1;      ///< of the first layer; doubled by each further one
  int64_t in_channels = 1;
  int64_t out_channels = 1;
  int64_t num_layers_d = 3;
  int64_t kernel_size = 4;
  Activation activation = Activation::LeakyRelu;
  double negative_slope = 0.2;
  Norm norm = Norm::Batch;
  bool norm_affine = true;  ///< of Batch and Group; of Instance where the JSON says so
  int64_t norm_groups = 1;  ///< of Group
  double norm_eps = 1e-5;
  bool bias = false;  ///< of the inner layers
  int64_t padding = 1;
  double dropout = 0.0;  ///< in training, after each normalisation
  std::optional<int64_t> last_conv_kernel_size;

  /// `activation` and `norm` are a name or [name, {options}], as published: LEAKYRELU, RELU, SWISH; INSTANCE, BATCH,
  /// GROUP.
  /// @throws InvalidInput
  static PatchDiscriminatorConfig from_json(const nlohmann::json& json);

  /// @throws InvalidInput when the network cannot be built
  void validate() const;
};

/// Judges patches of an image: convolutions of stride 2, the last two of stride 1. Source: Wang et al. 2018
/// (pix2pixHD).
class PatchDiscriminator : public nn::Module {
 public:
  explicit PatchDiscriminator(const PatchDiscriminatorConfig& config);

  /// x (N, in_channels, spatial...) -> the features of every layer, and the patch logits last; float32.
  /// @throws InvalidInput for a wrong shape, or one too small for the layers
  std::vector<at::Tensor> forward(const at::Tensor& x) const;

  const PatchDiscriminatorConfig& config() const { return config_; }

 private:
  class Layer;

  PatchDiscriminatorConfig config_;
  std::vector<Layer*> layers_;
};

}  // namespace medgen::maisi
