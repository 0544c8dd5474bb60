// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/layers.h"

#include <functional>
#include <string_view>

namespace medgen::maisi {

/// A 2D perceptual distance: features of a network trained on photographs, each pixel's vector scaled to length one,
/// squared differences weighted per channel. Names are those of the published state dicts.
/// Sources: Zhang et al. 2018 (LPIPS, version 0.1) with SqueezeNet 1.1, the network of MAISI's training; Ghildyal and
/// Liu 2022 (ST-LPIPS) with AlexNet, whose weights come with a Python package.
class Lpips : public nn::Module {
 public:
  enum class Network { SqueezeNet, ShiftTolerantAlexNet };

  explicit Lpips(Network network);

  /// x, y (N, 1 or 3, H, W) -> (N) float32. One channel stands for three.
  /// @throws InvalidInput for other shapes, or images too small for the network
  at::Tensor distance(const at::Tensor& x, const at::Tensor& y) const;

  /// Files made from the published class hold its constants, and every head twice.
  static bool is_surplus(std::string_view name);

 private:
  using Layer = std::function<at::Tensor(const at::Tensor&)>;

  bool ignores(std::string_view name) const override { return is_surplus(name); }

  void build_squeezenet();
  void build_alexnet();
  void conv(int slice, int index, const nn::ConvOptions& options);
  void fire(int slice, int index, int64_t in, int64_t squeeze, int64_t expand);
  void blur(int slice, int index, int64_t channels);
  /// The features so far are compared; of `channels` channels.
  void tap(int64_t channels);
  void add_heads();
  std::vector<at::Tensor> features(const at::Tensor& x) const;

  int64_t least_ = 0;  ///< pixels of an axis: with fewer a grid of the trunk would be empty
  std::vector<Layer> layers_;
  std::vector<size_t> taps_;  ///< behind that many layers
  std::vector<int64_t> tapped_channels_;
  std::vector<const at::Tensor*> heads_;
};

}  // namespace medgen::maisi
