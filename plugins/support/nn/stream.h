// SPDX-License-Identifier: Apache-2.0
// Exact passes over volumes of any size. A convolutional network is run layer by layer: each layer takes its input in
// slabs of planes with the halo that its kernel reaches into, normalises them with the statistics of the whole volume,
// and leaves its output, with the sums from which the next statistics are made. So every number is the one that the
// whole volume at once would give, whatever the slabs, and memory holds two or three feature maps, or files do.
#pragma once

#include "plugins/support/nn/feature_map.h"
#include "plugins/support/nn/layers.h"

#include <functional>

namespace medgen::nn {

struct StreamOptions {
  std::int64_t memory = 0;                 ///< bytes of feature maps in memory, 0: all; the others lie in files
  std::filesystem::path scratch = "/tmp";  ///< folder of these files
  std::int64_t slab_bytes = 8 << 20;       ///< aim for what a layer takes at a time; two planes at least
  std::size_t parts = 1;                   ///< devices that share the volume, each a thread on the CPU
  std::function<void(double)> progress;    ///< told the part that is done, 0 to 1; may throw to stop
};

/// What a streamed pass costs.
struct StreamCost {
  std::int64_t memory = 0;  ///< most bytes of feature maps and slabs at a time
  std::int64_t files = 0;   ///< most bytes in scratch files
  double flops = 0;         ///< of the convolutions
};

/// What happens to a layer's input and output besides its convolution.
struct StreamStage {
  const GroupNorm* norm = nullptr;  ///< normalises the input
  bool with_silu = true;            ///< after norm
  enum class Resample { None, UpLinear, PadEnd } resample = Resample::None;
  const FeatureMap* residual = nullptr;  ///< added to the output
  const Conv* shortcut = nullptr;        ///< 1x1x1 convolution that the residual goes through
  bool in_place = false;  ///< the result takes the residual's memory; not with a shortcut, or where x is the residual
};

/// One pass of one network over one volume (batch 1), without gradients.
class Stream {
 public:
  /// @param total_flops  of the whole pass, for progress; 0: none is told
  explicit Stream(StreamOptions options, double total_flops = 0);

  /// A pass that computes nothing and only adds up what it would cost; its tensors are of the device "meta".
  static Stream planned(StreamOptions options);

  /// (1, C, D, H, W) as a map of type `dtype`.
  FeatureMap input(const at::Tensor& x, at::ScalarType dtype);

  /// The layer over the whole map; `dtype` is that of the result.
  FeatureMap conv(const Conv& conv, const FeatureMap& x, at::ScalarType dtype, const StreamStage& stage = {});

  /// The last layer: into `out` (1, C, D, H, W), converted to its type.
  void conv_into(const Conv& conv, const FeatureMap& x, const at::Tensor& out, const StreamStage& stage = {});

  /// A layer that needs the whole map at once (attention), normalised by itself.
  FeatureMap whole(const FeatureMap& x, const std::function<at::Tensor(const at::Tensor&)>& layer);

  StreamCost cost() const;

 private:
  /// Where a layer's result goes.
  struct Target {
    /// Planes [from, to) that the result is added to: (1, C, planes, rows, columns), channels-last.
    std::function<at::Tensor(std::int64_t from, std::int64_t to)> open;
    /// They are finished.
    std::function<void(std::int64_t from, const at::Tensor& planes)> close;
  };

  FeatureMap make(std::int64_t channels, std::array<std::int64_t, 3> size, at::ScalarType dtype);
  void run(const Conv& conv, const FeatureMap& x, const StreamStage& stage, std::array<std::int64_t, 3> size,
           const Target& target);
  void finished(double flops);

  StreamOptions options_;
  bool planned_ = false;
  std::shared_ptr<MapMemory> memory_;
  double total_flops_;
  double flops_ = 0;
  std::int64_t slab_peak_ = 0;
};

}  // namespace medgen::nn
