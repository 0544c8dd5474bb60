// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/GraphImplInterface.h>
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace medgen::nn {

using Tensors = std::vector<at::Tensor>;

/// A function of tensors that is called over and over with the same shapes, as a network is in the steps of a sampling
/// loop. A device that can record its work (CUDA graphs) runs it once as it is, which sets up its libraries, records it
/// at the second call, and then starts the whole at once instead of some thousand kernels one after the other.
/// Elsewhere it is called as it is. What it reads besides its inputs (weights) must stay where it lies; it must not
/// wait for the device. Thread: one at a time.
class Replay {
 public:
  /// Inputs may be undefined; the first is not.
  using Function = std::function<Tensors(const Tensors& inputs)>;

  /// function(inputs). The results are the caller's.
  Tensors run(const Tensors& inputs, const Function& function);

  /// From now on the function is called as it is: its weights are about to change.
  void stop();

 private:
  struct Recording {
    Tensors inputs;  ///< what is recorded reads these
    Tensors results;
    std::unique_ptr<at::GraphImplInterface> graph;  ///< null until the second call
  };

  /// Returns whether it worked.
  static bool record(Recording& recording, const Function& function);
  /// The one for such inputs, moved to the end of the list; null when there is none.
  Recording* find(const Tensors& inputs);

  bool stopped_ = false;
  std::vector<Recording> recordings_;  ///< the latest last
};

/// Whether this thread is recording: what was kept from other calls must not be compared, nor new things kept.
bool is_recording();

}  // namespace medgen::nn
