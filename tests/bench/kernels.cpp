// SPDX-License-Identifier: Apache-2.0
// Times every kernel on one thread of the CPU: milliseconds (the median of nine), and bytes read and written per
// second.
#include "kernels/all.h"
#include "kernels/launch.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

using namespace medgen::kernels;

namespace {

constexpr std::int64_t kSide = 128;
constexpr std::int64_t kVoxels = kSide * kSide * kSide;
constexpr std::int64_t kChannels = 16;

template <typename Kernel>
void time_kernel(const char* name, const Kernel& kernel, double megabytes) {
  std::array<double, 9> times{};
  for (double& ms : times) {
    const auto start = std::chrono::steady_clock::now();
    launch(Cpu{}, kernel);
    ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  std::sort(times.begin(), times.end());
  std::printf("%-34s %8.2f ms %8.1f GB/s\n", name, times[4], megabytes / times[4]);
}

std::vector<float> normal(std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  launch(Cpu{}, NoiseRun<float, true>{{1, 2, 3, 4}, 0, n, values.data()});
  return values;
}

template <typename T>
void time_feature_maps(const char* type) {
  const std::string with = std::string(" of ") + type + ", 16 x 128^3";
  const double megabytes = static_cast<double>(kVoxels * kChannels) * sizeof(T) / 1e6;
  std::vector<T> x(static_cast<std::size_t>(kVoxels * kChannels)), y(x.size());
  const std::vector<float> values = normal(kVoxels * kChannels);
  for (std::size_t i = 0; i < x.size(); ++i) store(values[i], &x[i]);
  std::vector<double> sums(kSide * kChannels * 2);
  const Planes<const T> planes{x.data(), kSide, kSide, kSide, kChannels};
  time_kernel(("channel sums" + with).c_str(), ChannelSums<T>{planes, sums.data(), sums.data() + sums.size() / 2},
              megabytes);
  time_kernel(("normalise, SiLU" + with).c_str(), Normalize<T, true>{planes, values.data(), values.data(), y.data()},
              2 * megabytes);
  const Planes<const T> half{x.data(), kSide / 2, kSide / 2, kSide / 2, kChannels};
  time_kernel(("downsample" + with).c_str(), DownsampleMean<T>{planes, y.data()}, 1.125 * megabytes);
  time_kernel(("upsample, linear, to" + with.substr(3)).c_str(),
              UpsampleLinear<T>{{half, 0, kSide / 2, y.data(), 0, kSide}}, 1.125 * megabytes);
  time_kernel(("upsample, nearest, to" + with.substr(3)).c_str(),
              UpsampleNearest<T>{{half, 0, kSide / 2, y.data(), 0, kSide}}, 1.125 * megabytes);
}

void time_updates() {
  const std::int64_t n = 4 * 64 * 64 * 64;
  const std::vector<float> x = normal(n), m = normal(n), without = normal(n), noise = normal(n);
  std::vector<float> next(x.size()), kept(x.size());
  UpdateStep step{};
  step.u.x = 0.9, step.u.m = -0.3;
  step.count = n;
  step.x = x.data(), step.m = m.data(), step.next = next.data();
  const double megabytes = static_cast<double>(n) * 4 / 1e6;
  time_kernel("Euler step, 4 x 64^3", step, 3 * megabytes);
  step.guidance = 5, step.without = without.data();
  time_kernel("guided Euler step, 4 x 64^3", step, 4 * megabytes);
  step.u.x0 = 1, step.u.x0_x = 1.2, step.u.x0_m = -0.5, step.u.clamp_low = -1, step.u.clamp_high = 1;
  step.u.noise_scale = 0.1, step.u.history[0] = 0.5;
  step.u.flags = MEDGEN_UPDATE_NOISE | MEDGEN_UPDATE_CLAMP_X0;
  step.noise = noise.data(), step.history[0] = noise.data(), step.keep_x0 = kept.data();
  time_kernel("guided step with everything", step, 7 * megabytes);
}

}  // namespace

int main() {
  std::vector<float> noise(1000000);
  const auto n = static_cast<std::int64_t>(noise.size());
  time_kernel("1 M normal numbers", NoiseRun<float, true>{{1, 2, 3, 4}, 0, n, noise.data()}, 4);
  time_kernel("1 M uniform numbers", NoiseRun<float, false>{{1, 2, 3, 4}, 0, n, noise.data()}, 4);
  time_updates();
  std::vector<std::int64_t> labels(kVoxels, 5);
  std::vector<float> planes(kVoxels * 8);
  time_kernel("8 bit planes of 128^3 labels",
              LabelPlanes<true>{labels.data(), nullptr, 1, 8, 1, {kSide, kSide, kSide}, planes.data()},
              kVoxels * 8 * 12 / 1e6);
  const std::vector<float> values = normal(kVoxels), weight(kSide, 0.5F);
  time_kernel("blend a window of 128^3",
              BlendWindow<true>{values.data(),
                                {weight.data(), weight.data(), weight.data()},
                                1e-3F,
                                1,
                                {kSide, kSide, kSide},
                                {0, 0, 0},
                                {kSide, kSide, kSide},
                                planes.data()},
              kVoxels * 12 / 1e6);
  time_feature_maps<float>("float32");
  time_feature_maps<Bf16>("bfloat16");
}
