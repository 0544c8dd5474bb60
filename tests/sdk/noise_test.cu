// SPDX-License-Identifier: Apache-2.0
// The noise has the same bits on a GPU as on the host. Exit code 77 where there is no GPU.
#include <medgen/sdk/noise.hpp>

#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace noise = medgen::noise;

namespace {

constexpr std::uint32_t kBlocks = 1u << 20;

__global__ void fill(noise::Stream stream, double* normals, double* uniforms) {
  const std::uint32_t block = blockIdx.x * blockDim.x + threadIdx.x;
  if (block >= kBlocks) return;
  double values[4];
  noise::normals(stream, block, values);
  const noise::Words words = noise::words(stream, block);
  const noise::Words fine = noise::fine_words(stream, block);
  for (int lane = 0; lane < 4; ++lane) {
    normals[4 * block + lane] = values[lane];
    uniforms[4 * block + lane] = noise::uniform_double(words.w[lane], fine.w[lane]);
  }
}

std::size_t differing(const std::vector<double>& a, const std::vector<double>& b) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += std::memcmp(&a[i], &b[i], sizeof(double)) != 0;
  return count;
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("no CUDA device: skipped");
    return 77;
  }
  const noise::Stream stream{0x123456789abcdef0u, noise::purpose_hash("init"), 3, 11};
  const std::size_t count = std::size_t{4} * kBlocks;
  std::vector<double> normals(count), uniforms(count), expected_normals(count), expected_uniforms(count);
  for (std::uint32_t block = 0; block < kBlocks; ++block) {
    double values[4];
    noise::normals(stream, block, values);
    const noise::Words words = noise::words(stream, block);
    const noise::Words fine = noise::fine_words(stream, block);
    for (std::size_t lane = 0; lane < 4; ++lane) {
      expected_normals[4 * std::size_t{block} + lane] = values[lane];
      expected_uniforms[4 * std::size_t{block} + lane] = noise::uniform_double(words.w[lane], fine.w[lane]);
    }
  }
  double* memory = nullptr;
  if (cudaMalloc(&memory, 2 * count * sizeof(double)) != cudaSuccess) return 1;
  fill<<<kBlocks / 256, 256>>>(stream, memory, memory + count);
  cudaMemcpy(normals.data(), memory, count * sizeof(double), cudaMemcpyDeviceToHost);
  const cudaError_t status =
      cudaMemcpy(uniforms.data(), memory + count, count * sizeof(double), cudaMemcpyDeviceToHost);
  cudaFree(memory);
  const std::size_t wrong = differing(normals, expected_normals) + differing(uniforms, expected_uniforms);
  std::printf("%s: %zu of %zu numbers differ\n", cudaGetErrorString(status), wrong, 2 * count);
  return status == cudaSuccess && wrong == 0 ? 0 : 1;
}
