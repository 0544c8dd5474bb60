// SPDX-License-Identifier: Apache-2.0
// The kernels on a CUDA device give what they give on the CPU: the same bits, but for the order of sums.
#include "kernels/cuda/need_device.h"
#include "kernels/test_operations.h"

#include <cuda_runtime_api.h>
#include <catch2/catch.hpp>

#include <stdexcept>

using namespace medgen::kernels;
using namespace medgen::kernels::testing;
namespace noise = medgen::noise;

namespace {

void need(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

bool has_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}

/// Memory and a stream of the first device.
class OnCuda {
 public:
  OnCuda() { need(cudaStreamCreate(&stream_)); }

  OnCuda(const OnCuda&) = delete;
  OnCuda& operator=(const OnCuda&) = delete;

  ~OnCuda() {
    for (void* memory : memory_) cudaFree(memory);
    cudaStreamDestroy(stream_);
  }

  template <typename T>
  T* in(const std::vector<T>& values) {
    T* const memory = out<T>(values.size());
    need(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return memory;
  }

  template <typename T>
  T* out(std::size_t n) {
    void* memory = nullptr;
    need(cudaMalloc(&memory, n * sizeof(T) + 1));
    memory_.push_back(memory);
    return static_cast<T*>(memory);
  }

  template <typename T>
  std::vector<T> back(const T* values, std::size_t n) const {
    need(cudaStreamSynchronize(stream_));
    std::vector<T> result(n);
    need(cudaMemcpy(result.data(), values, n * sizeof(T), cudaMemcpyDeviceToHost));
    return result;
  }

  template <typename Kernel>
  void run(const Kernel& kernel) const {
    launch(Cuda{stream_}, kernel);
  }

 private:
  cudaStream_t stream_ = nullptr;
  std::vector<void*> memory_;
};

const Size kSize{3, 17, 13, 40};

}  // namespace

TEMPLATE_TEST_CASE("cuda: kernels over feature maps are the CPU's", "[gpu]", float, Bf16) {
  NEED_DEVICE(has_device());
  OnCpu cpu;
  OnCuda cuda;
  const std::vector<float> x = normal(count(kSize), 1), factor = normal(40, 2), offset = normal(40, 3);
  const auto sums = channel_sums<TestType>(cuda, x, kSize), expected = channel_sums<TestType>(cpu, x, kSize);
  for (std::size_t i = 0; i < sums.size(); ++i) REQUIRE(sums[i] == Approx(expected[i]).margin(1e-10));
  CHECK(normalize<TestType, true>(cuda, x, kSize, factor, offset) ==
        normalize<TestType, true>(cpu, x, kSize, factor, offset));
  CHECK(normalize<TestType, false>(cuda, x, kSize, factor, offset) ==
        normalize<TestType, false>(cpu, x, kSize, factor, offset));
  CHECK(normalize<float, true, Bf16>(cuda, x, kSize, factor, offset) ==
        normalize<float, true, Bf16>(cpu, x, kSize, factor, offset));
  CHECK(upsample<UpsampleLinear, TestType>(cuda, x, kSize, 1, 5) ==
        upsample<UpsampleLinear, TestType>(cpu, x, kSize, 1, 5));
  CHECK(upsample<UpsampleNearest, TestType>(cuda, x, kSize, 1, 5) ==
        upsample<UpsampleNearest, TestType>(cpu, x, kSize, 1, 5));
  CHECK(downsample<TestType>(cuda, x, kSize) == downsample<TestType>(cpu, x, kSize));
}

TEST_CASE("cuda: statistics of groups are the CPU's", "[gpu]") {
  NEED_DEVICE(has_device());
  const std::vector<float> x = normal(count(kSize), 1), weight = normal(40, 2), bias = normal(40, 3);
  const std::vector<float> shift = GENERATE(std::vector<float>{}, std::vector<float>(40, 0.5F));
  OnCuda cuda;
  OnCpu cpu;
  const auto got = group_affine<float>(cuda, x, kSize, 8, shift, weight, bias);
  const auto expected = group_affine<float>(cpu, x, kSize, 8, shift, weight, bias);
  for (std::size_t i = 0; i < got.size(); ++i) REQUIRE(got[i] == Approx(expected[i]).epsilon(1e-6));
}

TEST_CASE("cuda: sums have the same bits in every run", "[gpu]") {
  NEED_DEVICE(has_device());
  OnCuda cuda;
  const std::vector<float> x = normal(count(kSize), 1);
  CHECK(channel_sums<float>(cuda, x, kSize) == channel_sums<float>(cuda, x, kSize));
}

TEST_CASE("cuda: an update has the CPU's bits", "[gpu]") {
  NEED_DEVICE(has_device());
  OnCpu cpu;
  OnCuda cuda;
  medgen_update_t u{};
  u.x = 0.75, u.m = -0.3, u.x0 = 1.1, u.x0_x = 1.25, u.x0_m = -0.6;
  u.clamp_low = -0.5, u.clamp_high = 0.5;
  u.history[1] = 0.3, u.history[7] = -0.2;
  u.noise_scale = 0.2, u.log_variance_min = -3, u.log_variance_max = -1;
  for (const std::uint32_t flags : {0u, 7u, MEDGEN_UPDATE_NOISE, MEDGEN_UPDATE_CLAMP_X0}) {
    u.flags = flags;
    const UpdateResult got = update(cuda, u, true, 10007), expected = update(cpu, u, true, 10007);
    CHECK(got.next == expected.next);
    CHECK(got.kept_m == expected.kept_m);
    CHECK(got.kept_x0 == expected.kept_x0);
  }
}

TEST_CASE("cuda: noise has the CPU's bits", "[gpu]") {
  NEED_DEVICE(has_device());
  OnCpu cpu;
  OnCuda cuda;
  const noise::Stream stream{0x123456789abcdef0u, noise::purpose_hash("init"), 3, 11};
  for (const std::int64_t first : {0, 3, 1 << 20}) {
    CHECK(noise_run<float, true>(cuda, stream, first, 100003) == noise_run<float, true>(cpu, stream, first, 100003));
    CHECK(noise_run<double, true>(cuda, stream, first, 100003) == noise_run<double, true>(cpu, stream, first, 100003));
    CHECK(noise_run<float, false>(cuda, stream, first, 1003) == noise_run<float, false>(cpu, stream, first, 1003));
    CHECK(noise_run<double, false>(cuda, stream, first, 1003) == noise_run<double, false>(cpu, stream, first, 1003));
  }
}

TEST_CASE("cuda: label planes and blended windows are the CPU's", "[gpu]") {
  NEED_DEVICE(has_device());
  OnCpu cpu;
  OnCuda cuda;
  std::vector<std::int64_t> labels(2 * 4 * 6 * 10);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(i * i % 7);
  for (const std::int64_t n : {1, 2}) {
    CHECK(label_planes<true>(cuda, labels, 2, {4, 6, 10}, {5, 0, 9}, n) ==
          label_planes<true>(cpu, labels, 2, {4, 6, 10}, {5, 0, 9}, n));
    CHECK(label_planes<false>(cuda, labels, 2, {4, 6, 10}, {5, 0, 9}, n) ==
          label_planes<false>(cpu, labels, 2, {4, 6, 10}, {5, 0, 9}, n));
  }
  CHECK(blend<true>(cuda, {2, 3, 4}, {1, 0, 2}, {4, 3, 7}) == blend<true>(cpu, {2, 3, 4}, {1, 0, 2}, {4, 3, 7}));
  CHECK(blend<false>(cuda, {2, 3, 4}, {1, 0, 2}, {4, 3, 7}) == blend<false>(cpu, {2, 3, 4}, {1, 0, 2}, {4, 3, 7}));
}

TEST_CASE("cuda: nothing to do is nothing done, and a refused launch is an exception", "[gpu]") {
  NEED_DEVICE(has_device());
  OnCuda cuda;
  const Size none{0, 4, 5, 19};
  CHECK(channel_sums<float>(cuda, {}, none).empty());
  CHECK(normalize<float, true>(cuda, {}, none, {}, {}).empty());
  const Size many_channels{1, 1, 1, std::int64_t{70000} * 32};  // more blocks than a grid has along y
  CHECK_THROWS_AS(channel_sums<float>(cuda, std::vector<float>(count(many_channels)), many_channels),
                  std::runtime_error);
}
