// SPDX-License-Identifier: Apache-2.0
// medgen-nccl.so: the only file that knows NCCL. Loaded by core/parallel when gradients lie on GPUs.
#include "core/parallel/device_sums.h"

#include <medgen/abi/version.h>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>

namespace medgen {
namespace {

static_assert(sizeof(ncclUniqueId) == kMeetingBytes);

class NcclSums : public DeviceSums {
 public:
  /// False when it cannot be used.
  bool join(const ncclUniqueId& id, int rank, int size, int device) noexcept {
    // A stream of its own, which the default stream does not wait for: the backward pass goes on beside it.
    return good(cudaSetDevice(device)) && good(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)) &&
           good(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming)) &&
           good(ncclCommInitRank(&processes_, size, id, rank));
  }

  bool begin_sum(float* values, std::size_t count, void* stream) noexcept override {
    return good(cudaEventRecord(ready_, static_cast<cudaStream_t>(stream))) &&
           good(cudaStreamWaitEvent(stream_, ready_, 0)) &&
           good(ncclAllReduce(values, values, count, ncclFloat, ncclSum, processes_, stream_));
  }

  int test() noexcept override {
    ncclResult_t state = ncclSuccess;
    if (!good(ncclCommGetAsyncError(processes_, &state)) || !good(state)) return -1;
    const cudaError_t error = cudaStreamQuery(stream_);
    if (error == cudaErrorNotReady) return 0;
    return good(error) ? 1 : -1;
  }

  void abandon() noexcept override { ncclCommAbort(processes_); }

  const char* problem() const noexcept override { return problem_; }

 private:
  bool good(cudaError_t error) noexcept {
    if (error != cudaSuccess) problem_ = cudaGetErrorString(error);
    return error == cudaSuccess;
  }

  bool good(ncclResult_t result) noexcept {
    if (result != ncclSuccess) problem_ = ncclGetErrorString(result);
    return result == ncclSuccess;
  }

  ncclComm_t processes_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t ready_ = nullptr;
  const char* problem_ = "";
};

}  // namespace
}  // namespace medgen

extern "C" {

[[gnu::visibility("default")]] const char* medgen_transport_version() {
  return MEDGEN_VERSION;
}

[[gnu::visibility("default")]] bool medgen_device_meeting(char* meeting) {
  ncclUniqueId id;
  if (ncclGetUniqueId(&id) != ncclSuccess) return false;
  std::memcpy(meeting, &id, sizeof id);
  return true;
}

[[gnu::visibility("default")]] medgen::DeviceSums* medgen_device_join(const char* meeting, int rank, int size,
                                                                      int device, const char** problem) {
  static medgen::NcclSums sums;
  ncclUniqueId id;
  std::memcpy(&id, meeting, sizeof id);
  if (sums.join(id, rank, size, device)) return &sums;
  *problem = sums.problem();
  return nullptr;
}
}
