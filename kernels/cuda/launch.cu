// SPDX-License-Identifier: Apache-2.0
#include "kernels/launch.h"

#include "kernels/all.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace medgen::kernels {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 1 << 20;  // threads go on with further elements beyond

__device__ std::int64_t first_of_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ std::int64_t all_threads() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

/// Neighbouring threads take neighbouring elements of a line.
template <typename Kernel>
__global__ void each_line(const Kernel kernel) {
  const std::int64_t length = kernel.length();
  const std::int64_t n = kernel.lines() * length;
  for (std::int64_t i = first_of_thread(); i < n; i += all_threads()) kernel.line(i / length)(i % length);
}

template <typename Kernel>
__global__ void each_element(const Kernel kernel) {
  const std::int64_t n = kernel.size();
  for (std::int64_t i = first_of_thread(); i < n; i += all_threads()) kernel.template run<1>(i);
}

constexpr int kChannels = 32;  // of one block of the sums: a warp reads neighbours
constexpr int kParts = 16;     // of a plane, summed side by side

/// One block sums 32 channels of one plane, in one order: the same bits in every run.
template <typename Kernel>
__global__ void each_sum(const Kernel kernel) {
  __shared__ double sums[kParts][kChannels], squares[kParts][kChannels];
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.y) * kChannels + threadIdx.x;
  const std::int64_t voxels = kernel.x.voxels_per_plane();
  const std::int64_t first = blockIdx.x * voxels;
  double sum = 0, square = 0;
  if (channel < kernel.x.channels) {
    for (std::int64_t v = threadIdx.y; v < voxels; v += kParts) kernel(first + v, channel, &sum, &square);
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  squares[threadIdx.y][threadIdx.x] = square;
  __syncthreads();
  if (threadIdx.y != 0 || channel >= kernel.x.channels) return;
  for (int part = 1; part < kParts; ++part) {
    sum += sums[part][threadIdx.x];
    square += squares[part][threadIdx.x];
  }
  kernel.sums[blockIdx.x * kernel.x.channels + channel] += sum;
  kernel.squares[blockIdx.x * kernel.x.channels + channel] += square;
}

unsigned blocks_for(std::int64_t n) {
  return static_cast<unsigned>(std::min((n + kThreads - 1) / kThreads, kMostBlocks));
}

template <typename Kernel>
void start_sums(const Kernel& kernel, cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>(kernel.x.planes),
                    static_cast<unsigned>((kernel.x.channels + kChannels - 1) / kChannels));
  if (blocks.x > 0 && blocks.y > 0) each_sum<<<blocks, dim3(kChannels, kParts), 0, stream>>>(kernel);
}

template <typename Kernel>
void start(const Kernel& kernel, cudaStream_t stream) {
  if constexpr (requires { kernel.sums; }) {
    start_sums(kernel, stream);
  } else if constexpr (requires { kernel.lines(); }) {
    const std::int64_t n = kernel.lines() * kernel.length();
    if (n > 0) each_line<<<blocks_for(n), kThreads, 0, stream>>>(kernel);
  } else {
    if (kernel.size() > 0) each_element<<<blocks_for(kernel.size()), kThreads, 0, stream>>>(kernel);
  }
}

}  // namespace

template <typename On, typename Kernel>
void launch(const On& on, const Kernel& kernel) {
  start(kernel, static_cast<cudaStream_t>(on.stream));
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) throw std::runtime_error(std::string("a CUDA kernel: ") + cudaGetErrorString(status));
}

#define MEDGEN_INSTANTIATE(...) template void launch(const Cuda&, const __VA_ARGS__&);
MEDGEN_EACH_SUM(MEDGEN_INSTANTIATE)
MEDGEN_EACH_LINE_KERNEL(MEDGEN_INSTANTIATE)
MEDGEN_EACH_ELEMENT_KERNEL(MEDGEN_INSTANTIATE)

}  // namespace medgen::kernels
