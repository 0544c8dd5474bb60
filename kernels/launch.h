// SPDX-License-Identifier: Apache-2.0
// Runs a kernel: launch(Cpu{...}, kernel) or launch(Cuda{stream}, kernel). A kernel is a functor of borrowed pointers
// in one of two forms,
//   lines:     line(i)(j) for i in [0, lines()) and j in [0, length())
//   elements:  run<N>(i) does the elements [i, i + N) of [0, size())
// or sums of channels, plane by plane, as ChannelSums. Results do not depend on the number of threads or on the
// instruction set.
#pragma once

#include <cstdint>

namespace medgen::kernels {

/// The CPU, in vector code for the processor at hand. `Cpu{}` is the calling thread alone.
struct Cpu {
  using Part = void (*)(const void* kernel, std::int64_t from, std::int64_t to);
  /// Calls part(kernel, from, to) for disjoint parts of [0, n), none much smaller than `grain`, and waits.
  void (*parallel)(unsigned threads, std::int64_t n, std::int64_t grain, Part part, const void* kernel) = nullptr;
  unsigned threads = 0;  ///< for `parallel`; 0: as many as it thinks right
};

/// A CUDA device, the current one. Pointers lead to its memory; the work is queued on the stream.
struct Cuda {
  void* stream = nullptr;  ///< cudaStream_t
};

/// Defined for the kernels of cpu/launch.cpp and cuda/launch.cu (which is there in builds with CUDA only).
/// @throws std::runtime_error when CUDA refuses
template <typename On, typename Kernel>
void launch(const On& on, const Kernel& kernel);

}  // namespace medgen::kernels
