// SPDX-License-Identifier: Apache-2.0
// Exact passes over volumes of any size. A convolutional network is run layer by layer: each layer takes its input in
// slabs of planes with the halo that its kernel reaches into, normalises them with the statistics of the whole volume,
// and leaves its output, with the sums from which the next statistics are made. So every number is the one that the
// whole volume at once would give, whatever the slabs, and memory holds two or three feature maps, or files do.
#pragma once

#include "plugins/support/nn/feature_map.h"
#include "plugins/support/nn/layers.h"

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace medgen::nn {

struct StreamOptions {
  std::int64_t memory = 0;                 ///< bytes of feature maps in memory, 0: all; the others lie in files
  std::filesystem::path scratch = "/tmp";  ///< folder of these files
  std::int64_t slab_bytes =
      8 << 20;  ///< aim for what a layer takes at a time; two planes at least, or four (winograd.h)
  /// Where slabs are computed, all of one kind: each takes a part of the volume, on a thread of its own. Maps lie in
  /// the host's memory.
  std::vector<at::Device> devices = {at::kCPU};
  std::int64_t device_memory = 0;             ///< bytes on a device that a pass may take, 0: half of what is free
  std::function<void(double)> progress = {};  ///< told the part that is done, 0 to 1; may throw to stop

  at::Device device() const { return devices.front(); }
};

/// What a streamed pass costs.
struct StreamCost {
  std::int64_t memory = 0;  ///< most bytes at a time of feature maps, slabs and what of the result is filled
  std::int64_t slabs = 0;   ///< most bytes of slabs alone, and of what computing with them takes, where it is done
  std::int64_t files = 0;   ///< most bytes in scratch files
  double flops = 0;         ///< of the convolutions
};

/// What happens to a layer's input and output besides its convolution.
struct StreamStage {
  const GroupNorm* norm = nullptr;  ///< normalises the input
  bool with_silu = true;            ///< after norm
  enum class Resample { None, UpLinear, PadEnd } resample = Resample::None;
  const FeatureMap* residual = nullptr;  ///< added to, in its own memory, which the result takes; another map than x
  bool last_reader = false;              ///< planes of x are released as soon as they are not needed any more
};

/// What becomes of finished planes (1, C, planes, rows, columns) of the last layer: it fills those of the caller's
/// array, (1, K, planes, rows, columns). Threads: disjoint planes at a time.
using FinishPlanes = std::function<void(const at::Tensor& planes, const at::Tensor& out)>;

/// They are copied, converted to the array's type.
void copy_planes(const at::Tensor& planes, const at::Tensor& out);

/// One pass of one network over one volume (batch 1), without gradients.
class Stream {
 public:
  /// @param total_flops  of the whole pass, for progress; 0: none is told
  explicit Stream(StreamOptions options, double total_flops = 0) : Stream(std::move(options), total_flops, false) {}

  /// A pass that computes nothing and only adds up what it would cost; its tensors are of the device "meta".
  static Stream planned(StreamOptions options) { return Stream(std::move(options), 0, true); }

  /// (1, C, D, H, W) as a map of type `dtype`.
  FeatureMap input(const at::Tensor& x, at::ScalarType dtype);

  /// The layer over the whole map; `dtype` is that of the result.
  FeatureMap conv(const Conv& conv, const FeatureMap& x, at::ScalarType dtype, const StreamStage& stage = {});

  /// The layer and `shortcut`, a 1x1x1 convolution of x itself, in one pass over x.
  std::pair<FeatureMap, FeatureMap> conv_with_shortcut(const Conv& conv, const Conv& shortcut, const FeatureMap& x,
                                                       at::ScalarType dtype, const StreamStage& stage = {});

  /// The last layer: into `out` (1, C, D, H, W), or of other channels where `finish` makes them.
  void conv_into(const Conv& conv, const FeatureMap& x, const at::Tensor& out, const StreamStage& stage = {},
                 const FinishPlanes& finish = copy_planes);

  /// A layer that needs the whole map at once (attention), normalised by itself; into the memory of x.
  FeatureMap whole(FeatureMap x, const std::function<at::Tensor(const at::Tensor&)>& layer);

  StreamCost cost() const;

 private:
  struct Layer;

  Stream(StreamOptions options, double total_flops, bool planned);
  FeatureMap make(std::int64_t channels, std::array<std::int64_t, 3> size, at::ScalarType dtype);
  void run(Layer layer);
  /// Output planes [from, to), which `device` makes.
  void run_part(const Layer& layer, at::Device device, const ChannelAffine& affine, std::int64_t from, std::int64_t to);
  /// What is taken beside maps: by slabs, and by the planes of the caller's array that are filled.
  void set_slabs(std::int64_t bytes, std::int64_t filled = 0);
  void finished(double flops);

  StreamOptions options_;
  bool planned_;
  std::shared_ptr<MapMemory> memory_;
  double total_flops_;
  std::mutex mutex_;  // of flops_ and of progress
  double flops_ = 0;
  std::int64_t slab_peak_ = 0;
  std::int64_t kept_ = 0;  ///< bytes that convolutions keep from layer to layer
};

}  // namespace medgen::nn
