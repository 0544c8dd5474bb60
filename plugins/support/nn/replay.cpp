// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/replay.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace medgen::nn {
namespace {

/// With and without conditions, whole and in windows; each holds the memory of a pass.
constexpr std::size_t kMost = 4;

thread_local bool recording_now = false;

class RecordingNow {
 public:
  RecordingNow() { recording_now = true; }

  ~RecordingNow() { recording_now = false; }

  RecordingNow(const RecordingNow&) = delete;
  RecordingNow& operator=(const RecordingNow&) = delete;
};

bool alike(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() && a.device() == b.device();
}

/// Of `from` into `to`, which are alike.
void copy_all(const Tensors& from, const Tensors& to) {
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i].defined()) to[i].copy_(from[i], /*non_blocking=*/true);
  }
}

Tensors copies(const Tensors& tensors) {
  Tensors result;
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.defined() ? tensor.clone() : tensor);
  return result;
}

}  // namespace

bool is_recording() {
  return recording_now;
}

Tensors Replay::run(const Tensors& inputs, const Function& function) {
  const at::DeviceType device = inputs.front().device().type();
  if (stopped_ || at::GradMode::is_enabled() || !at::has_graph_impl(device)) return function(inputs);
  Recording* known = find(inputs);
  if (known == nullptr) {
    if (recordings_.size() == kMost) recordings_.erase(recordings_.begin());
    recordings_.push_back({copies(inputs), {}, nullptr});
    return function(inputs);
  }
  if (known->graph == nullptr && !record(*known, function)) {
    stop();
    return function(inputs);
  }
  copy_all(inputs, known->inputs);
  known->graph->replay();
  return copies(known->results);
}

void Replay::stop() {
  stopped_ = true;
  recordings_.clear();
}

/// A library may refuse to be recorded; the numbers are the same without.
bool Replay::record(Recording& recording, const Function& function) {
  const RecordingNow now;
  try {
    auto graph = at::create_graph_impl(recording.inputs.front().device().type());
    // Other threads may go on to use the device meanwhile.
    graph->capture_begin({0, 0}, at::GraphCaptureMode::ThreadLocal);
    try {
      recording.results = function(recording.inputs);
    } catch (...) {
      graph->capture_end();
      throw;
    }
    graph->capture_end();
    recording.graph = std::move(graph);
  } catch (const c10::Error&) {
    return false;
  }
  return true;
}

Replay::Recording* Replay::find(const Tensors& inputs) {
  const auto found = std::find_if(recordings_.begin(), recordings_.end(), [&](const Recording& recording) {
    return std::equal(inputs.begin(), inputs.end(), recording.inputs.begin(), recording.inputs.end(), alike);
  });
  if (found == recordings_.end()) return nullptr;
  std::rotate(found, found + 1, recordings_.end());
  return &recordings_.back();
}

}  // namespace medgen::nn
