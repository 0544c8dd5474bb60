// SPDX-License-Identifier: Apache-2.0
// medgen-torch-cuda.so: what of LibTorch's CUDA library has no interface for any device. It is linked to that library,
// which is loaded when it is asked for (nn/device.h), and so is a library of its own.
#include <ATen/core/GraphImplInterface.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/util/Exception.h>

#include <memory>
#include <string>

namespace {

cudaStreamCaptureMode mode_of(at::GraphCaptureMode mode) {
  switch (mode) {
    case at::GraphCaptureMode::ThreadLocal:
      return cudaStreamCaptureModeThreadLocal;
    case at::GraphCaptureMode::Relaxed:
      return cudaStreamCaptureModeRelaxed;
    case at::GraphCaptureMode::Default:
    case at::GraphCaptureMode::Global:
      break;
  }
  return cudaStreamCaptureModeGlobal;
}

class CudaGraph : public at::GraphImplInterface {
 public:
  explicit CudaGraph(const at::GraphImplArgs& args) : graph_(args.keep_graph) {}

  void capture_begin(at::MempoolId_t pool, at::GraphCaptureMode mode) override {
    graph_.capture_begin(pool, mode_of(mode));
  }

  void capture_end() override { graph_.capture_end(); }

  void instantiate() override { graph_.instantiate(); }

  void replay() override { graph_.replay(); }

  void reset() override { graph_.reset(); }

  at::MempoolId_t pool() const override { return graph_.pool(); }

  void enable_debug_mode() override { graph_.enable_debug_mode(); }

  void debug_dump(const std::string&) override { TORCH_CHECK_NOT_IMPLEMENTED(false, "CUDA graphs are not dumped"); }

 private:
  mutable at::cuda::CUDAGraph graph_;
};

/// LibTorch 2.15 registers the graphs of other devices only.
const bool registered = [] {
  if (at::has_graph_impl(at::kCUDA)) return false;
  at::GraphImplRegistry()->Register("CUDA", [](at::GraphImplArgs args) -> std::unique_ptr<at::GraphImplInterface> {
    return std::make_unique<CudaGraph>(args);
  });
  return true;
}();

}  // namespace
