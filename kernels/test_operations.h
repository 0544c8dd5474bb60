// SPDX-License-Identifier: Apache-2.0
// Every kernel on vectors, for tests: the same cases run on any device. `Device` has in(vector), out<T>(n),
// back(pointer, n) and run(kernel).
#pragma once

#include "kernels/all.h"
#include "kernels/launch.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

namespace medgen::kernels::testing {

/// The CPU on one thread, or on a few.
class OnCpu {
 public:
  explicit OnCpu(Cpu cpu = {}) : cpu_(cpu) {}

  template <typename T>
  T* in(const std::vector<T>& values) {
    T* const memory = out<T>(values.size());
    if (!values.empty()) std::memcpy(memory, values.data(), values.size() * sizeof(T));
    return memory;
  }

  template <typename T>
  T* out(std::size_t n) {
    memory_.push_back(std::make_unique<std::byte[]>(n * sizeof(T) + 1));
    return reinterpret_cast<T*>(memory_.back().get());
  }

  template <typename T>
  std::vector<T> back(const T* values, std::size_t n) const {
    return {values, values + n};
  }

  template <typename Kernel>
  void run(const Kernel& kernel) const {
    launch(cpu_, kernel);
  }

 private:
  Cpu cpu_;
  std::vector<std::unique_ptr<std::byte[]>> memory_;
};

template <typename T>
std::vector<T> as(const std::vector<float>& values) {
  std::vector<T> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) store(values[i], &result[i]);
  return result;
}

template <typename T>
std::vector<float> floats(const std::vector<T>& values) {
  std::vector<float> result;
  for (const T value : values) result.push_back(load(value));
  return result;
}

/// N(0,1), the same everywhere.
inline std::vector<float> normal(std::size_t n, std::uint32_t purpose) {
  std::vector<float> values(n);
  launch(Cpu{}, NoiseRun<float, true>{{1, purpose, 0, 0}, 0, static_cast<std::int64_t>(n), values.data()});
  return values;
}

/// (planes, rows, columns, channels)
using Size = std::array<std::int64_t, 4>;

inline std::size_t count(const Size& size) {
  return static_cast<std::size_t>(size[0] * size[1] * size[2] * size[3]);
}

template <typename T, typename Device>
Planes<const T> planes(Device& device, const std::vector<float>& values, const Size& size) {
  return {device.in(as<T>(values)), size[0], size[1], size[2], size[3]};
}

/// Sums, then squares, [plane][channel], added to ones.
template <typename T, typename Device>
std::vector<double> channel_sums(Device& device, const std::vector<float>& x, const Size& size) {
  const auto n = static_cast<std::size_t>(size[0] * size[3]);
  double* const sums = device.in(std::vector<double>(2 * n, 1.0));
  device.run(ChannelSums<T>{planes<T>(device, x, size), sums, sums + n});
  return device.back(sums, 2 * n);
}

template <typename T, bool kSilu, typename To = T, typename Device>
std::vector<float> normalize(Device& device, const std::vector<float>& x, const Size& size,
                             const std::vector<float>& factor, const std::vector<float>& offset) {
  To* const y = device.template out<To>(count(size));
  device.run(Normalize<T, kSilu, To>{planes<T>(device, x, size), device.in(factor), device.in(offset), y});
  return floats(device.back(y, count(size)));
}

/// Factors, then offsets, for Normalize of x + shift in groups of `per_group` channels.
template <typename T, typename Device>
std::vector<float> group_affine(Device& device, const std::vector<float>& x, const Size& size, std::int64_t per_group,
                                const std::vector<float>& shift, const std::vector<float>& weight,
                                const std::vector<float>& bias) {
  const std::int64_t planes_of_x = size[0], channels = size[3];
  const auto n = static_cast<std::size_t>(channels);
  double* const each = device.in(std::vector<double>(2 * count({planes_of_x, 1, 1, channels}), 0.0));
  double* const totals = device.template out<double>(2 * n);
  float* const affine = device.template out<float>(2 * n);
  device.run(ChannelSums<T>{planes<T>(device, x, size), each, each + planes_of_x * channels});
  device.run(PlaneTotals{each, planes_of_x, channels, totals});
  device.run(PlaneTotals{each + planes_of_x * channels, planes_of_x, channels, totals + channels});
  device.run(GroupAffine{.sum = totals,
                         .square = totals + channels,
                         .channels = channels,
                         .per_group = per_group,
                         .voxels = size[0] * size[1] * size[2],
                         .eps = 1e-6,
                         .shift = shift.empty() ? nullptr : device.in(shift),
                         .weight = device.in(weight),
                         .bias = device.in(bias),
                         .factor = affine,
                         .offset = affine + channels});
  return device.back(affine, 2 * n);
}

template <typename T, typename Device>
std::vector<float> downsample(Device& device, const std::vector<float>& x, const Size& size) {
  const std::size_t n = count({size[0] / 2, size[1] / 2, size[2] / 2, size[3]});
  T* const y = device.template out<T>(n);
  device.run(DownsampleMean<T>{planes<T>(device, x, size), y});
  return floats(device.back(y, n));
}

/// Planes [from, to) of the doubled volume.
template <template <typename> class Upsample, typename T, typename Device>
std::vector<float> upsample(Device& device, const std::vector<float>& x, const Size& size, std::int64_t from,
                            std::int64_t to) {
  const Size result{to - from, 2 * size[1], 2 * size[2], size[3]};
  T* const y = device.template out<T>(count(result));
  device.run(Upsample<T>{{planes<T>(device, x, size), 0, size[0], y, from, to - from}});
  return floats(device.back(y, count(result)));
}

struct UpdateResult {
  std::vector<float> next, kept_m, kept_x0;
};

/// x, m, without, variance, noise and history drawn at random.
template <typename Device>
UpdateResult update(Device& device, const medgen_update_t& u, bool guided, std::size_t n) {
  UpdateStep step{};
  step.u = u;
  step.count = static_cast<std::int64_t>(n);
  step.guidance = 3.5;
  step.x = device.in(normal(n, 1));
  step.m = device.in(normal(n, 2));
  if (guided) step.without = device.in(normal(n, 3));
  step.variance = device.in(normal(n, 4));
  step.noise = device.in(normal(n, 5));
  for (std::uint32_t k = 0; k < MEDGEN_HISTORY; ++k) step.history[k] = device.in(normal(n, 6 + k));
  step.next = device.template out<float>(n);
  step.keep_m = device.template out<float>(n);
  step.keep_x0 = device.template out<float>(n);
  device.run(step);
  return {device.back(step.next, n), device.back(step.keep_m, n), device.back(step.keep_x0, n)};
}

template <typename T, bool kNormal, typename Device>
std::vector<T> noise_run(Device& device, const noise::Stream& stream, std::int64_t first, std::int64_t n) {
  T* const out = device.template out<T>(static_cast<std::size_t>(n));
  device.run(NoiseRun<T, kNormal>{stream, first, n, out});
  return device.back(out, static_cast<std::size_t>(n));
}

template <bool kBits, typename Device>
std::vector<float> label_planes(Device& device, const std::vector<std::int64_t>& labels, std::int64_t rows,
                                const std::array<std::int64_t, 3>& size, const std::vector<std::int64_t>& classes,
                                std::int64_t unshuffle) {
  const auto planes = static_cast<std::int64_t>(classes.size());
  const std::size_t n = labels.size() * classes.size();
  float* const out = device.template out<float>(n);
  device.run(LabelPlanes<kBits>{
      device.in(labels), device.in(classes), rows, planes, unshuffle, {size[0], size[1], size[2]}, out});
  return device.back(out, n);
}

/// One window of two channels at `origin`, added to ones of `whole`.
template <bool kValues, typename Device>
std::vector<float> blend(Device& device, const std::array<std::int64_t, 3>& size,
                         const std::array<std::int64_t, 3>& origin, const std::array<std::int64_t, 3>& whole) {
  const auto voxels = [](const auto& box) { return static_cast<std::size_t>(2 * box[0] * box[1] * box[2]); };
  float* const sum = device.in(std::vector<float>(voxels(whole), 1.0F));
  BlendWindow<kValues> kernel{};
  kernel.values = device.in(normal(voxels(size), 1));
  kernel.smallest = 0.25F;
  kernel.channels = 2;
  kernel.sum = sum;
  for (std::uint32_t i = 0; i < 3; ++i) {
    kernel.weight[i] = device.in(normal(static_cast<std::size_t>(size[i]), 2 + i));
    kernel.size[i] = size[i];
    kernel.origin[i] = origin[i];
    kernel.whole[i] = whole[i];
  }
  device.run(kernel);
  return device.back(sum, voxels(whole));
}

}  // namespace medgen::kernels::testing
