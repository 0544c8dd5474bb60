// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/planes.h"

#include "plugins/support/nn/ops.h"

#include "kernels/blend.h"
#include "kernels/downsample.h"
#include "kernels/group_norm.h"
#include "kernels/group_norm_backward.h"
#include "kernels/upsample.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/core/Stream.h>
#include <c10/util/Exception.h>

#include <type_traits>

namespace medgen::nn {
namespace {

using kernels::Bf16;
using kernels::Planes;

#ifdef MEDGEN_CUDA_KERNELS
constexpr bool kCudaKernels = true;
#else
constexpr bool kCudaKernels = false;
#endif

#ifndef INTRA_OP_PARALLEL
#error "at::parallel_for is a plain loop here; compile with OpenMP (cmake/MedgenTorch.cmake)"
#endif

void parallel(unsigned, std::int64_t n, std::int64_t grain, kernels::Cpu::Part part, const void* kernel) {
  at::parallel_for(0, n, grain, [=](std::int64_t from, std::int64_t to) { part(kernel, from, to); });
}

bool has_kernels(at::Device device) {
  return device.is_cpu() || (kCudaKernels && device.is_cuda());
}

/// On the device of the kernel's tensors; on CUDA in the order of LibTorch's current stream.
template <typename Kernel>
void run(at::Device device, const Kernel& kernel) {
  TORCH_CHECK(has_kernels(device), "medgen's kernels were built for the CPU", kCudaKernels ? " and CUDA" : "",
              ", not for ", device.str());
  if (device.is_cpu()) return launch(on_torch_threads(), kernel);
  if constexpr (kCudaKernels) {
    const c10::DeviceGuard guard(device);
    const c10::impl::VirtualGuardImpl cuda(device.type());
    launch(kernels::Cuda{cuda.getStream(device).native_handle()}, kernel);
  }
}

template <typename T>
Planes<const T> planes_of(const at::Tensor& x) {
  TORCH_CHECK(x.is_contiguous(), "planes must be contiguous");
  return {static_cast<const T*>(x.const_data_ptr()), x.size(0), x.size(1), x.size(2), x.size(3)};
}

template <typename T>
T* values_of(const at::Tensor& y) {
  return static_cast<T*>(y.mutable_data_ptr());
}

/// `count` numbers of the host on `device`; borrowed where that is the CPU.
template <typename T>
at::Tensor lend(const T* values, std::int64_t count, at::Device device) {
  return at::from_blob(const_cast<T*>(values), {count}, c10::CppTypeToScalarType<T>::value).to(device);
}

/// Pointers lead to the device of x.
void run_channel_sums(const at::Tensor& x, double* sums, double* squares) {
  by_type(x, [&]<typename T>(T*) { run(x.device(), kernels::ChannelSums<T>{planes_of<T>(x), sums, squares}); });
}

void run_normalize(const at::Tensor& x, const float* factor, const float* offset, bool with_silu, const at::Tensor& y) {
  const auto run_as = [&]<typename T, typename To>(T*, To*) {
    const auto run_with = [&]<bool kSilu>(std::bool_constant<kSilu>) {
      run(x.device(), kernels::Normalize<T, kSilu, To>{planes_of<T>(x), factor, offset, values_of<To>(y)});
    };
    with_silu ? run_with(std::true_type{}) : run_with(std::false_type{});
  };
  if (x.scalar_type() == at::kFloat && y.scalar_type() == at::kBFloat16) {
    return run_as(static_cast<float*>(nullptr), static_cast<Bf16*>(nullptr));
  }
  by_type(x, [&]<typename T>(T* type) { run_as(type, type); });
}

template <bool kValues>
void blend(const at::Tensor& values, const BlendWeights& weights, std::array<std::int64_t, 3> origin,
           const at::Tensor& sum) {
  TORCH_CHECK(sum.is_contiguous() && sum.scalar_type() == at::kFloat && sum.size(0) == 1,
              "a float32 sum of one sample");
  kernels::BlendWindow<kValues> kernel{};
  if (kValues) kernel.values = values.const_data_ptr<float>();
  kernel.smallest = weights.smallest;
  kernel.channels = sum.size(1);
  kernel.sum = values_of<float>(sum);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    kernel.weight[axis] = weights.axis[axis].const_data_ptr<float>();
    kernel.size[axis] = weights.axis[axis].size(0);
    kernel.origin[axis] = origin[axis];
    kernel.whole[axis] = sum.size(static_cast<std::int64_t>(2 + axis));
    TORCH_CHECK(origin[axis] >= 0 && origin[axis] + kernel.size[axis] <= kernel.whole[axis], "a window inside the sum");
  }
  run(sum.device(), kernel);
}

}  // namespace

kernels::Cpu on_torch_threads() {
  return {parallel, 0};
}

void channel_sums(const at::Tensor& x, double* sum, double* squares) {
  const std::int64_t count = x.size(0) * x.size(3);
  if (x.is_cpu()) return run_channel_sums(x, sum, squares);
  const at::Tensor made = at::zeros({2, count}, x.options().dtype(at::kDouble));
  run_channel_sums(x, values_of<double>(made), values_of<double>(made) + count);
  const at::Tensor back = made.cpu();
  const auto* const values = back.const_data_ptr<double>();
  for (std::int64_t i = 0; i < count; ++i) {
    sum[i] += values[i];
    squares[i] += values[count + i];
  }
}

void normalize(const at::Tensor& x, const float* factor, const float* offset, bool with_silu, const at::Tensor& y) {
  const at::Tensor factors = lend(factor, x.size(3), x.device());
  const at::Tensor offsets = lend(offset, x.size(3), x.device());
  run_normalize(x, factors.const_data_ptr<float>(), offsets.const_data_ptr<float>(), with_silu, y);
}

void group_normalize(const at::Tensor& x, const GroupGains& gains, const at::Tensor& shift, bool with_silu,
                     const at::Tensor& y) {
  const std::int64_t planes = x.size(0), channels = x.size(3);
  const at::Tensor each = at::zeros({2, planes, channels}, x.options().dtype(at::kDouble));
  const at::Tensor all = at::empty({2, channels}, each.options());
  const at::Tensor affine = at::empty({2, channels}, each.options().dtype(at::kFloat));
  auto* const sums = values_of<double>(each);
  auto* const totals = values_of<double>(all);
  auto* const factor = values_of<float>(affine);
  run_channel_sums(x, sums, sums + planes * channels);
  for (const std::int64_t which : {0, 1}) {
    run(x.device(),
        kernels::PlaneTotals{sums + which * planes * channels, planes, channels, totals + which * channels});
  }
  run(x.device(), kernels::GroupAffine{.sum = totals,
                                       .square = totals + channels,
                                       .channels = channels,
                                       .per_group = channels / gains.groups,
                                       .voxels = x.numel() / channels,
                                       .eps = gains.eps,
                                       .shift = shift.defined() ? shift.const_data_ptr<float>() : nullptr,
                                       .weight = gains.weight.const_data_ptr<float>(),
                                       .bias = gains.bias.const_data_ptr<float>(),
                                       .factor = factor,
                                       .offset = factor + channels});
  run_normalize(x, factor, factor + channels, with_silu, y);
}

namespace {

/// Calls call(slope, x as planes) with the functor for the type of x and for SiLU or not.
template <typename Call>
void backward_of(const at::Tensor& x, const at::Tensor& dy, const NormForward& norm, const Call& call) {
  TORCH_CHECK(x.is_cpu(), "the numbers of the channels are the host's");
  by_type(x, [&]<typename T>(T*) {
    const auto with = [&]<bool kSilu>(std::bool_constant<kSilu>) {
      const kernels::Planes<const T> planes = planes_of<T>(x);
      call(planes,
           kernels::NormBackward<T, kSilu>{planes.data, planes_of<T>(dy).data, norm.factor, norm.offset, norm.center});
    };
    norm.with_silu ? with(std::true_type{}) : with(std::false_type{});
  });
}

}  // namespace

void norm_gradient_sums(const at::Tensor& x, const at::Tensor& dy, const NormForward& norm, double* sum,
                        double* moments) {
  backward_of(x, dy, norm,
              [&]<typename T, bool kSilu>(const kernels::Planes<const T>& planes,
                                          const kernels::NormBackward<T, kSilu>& slope) {
                run(x.device(), kernels::NormBackwardSums<T, kSilu>{planes, slope, sum, moments});
              });
}

void norm_gradient(const at::Tensor& x, const at::Tensor& dy, const NormForward& norm, const float* abc,
                   const at::Tensor& dx) {
  const float* const b = abc + x.size(3);
  backward_of(
      x, dy, norm,
      [&]<typename T, bool kSilu>(const kernels::Planes<const T>& planes,
                                  const kernels::NormBackward<T, kSilu>& slope) {
        run(x.device(), kernels::NormBackwardInput<T, kSilu>{planes, slope, abc, b, b + x.size(3), values_of<T>(dx)});
      });
}

void upsample_linear(const at::Tensor& x, std::int64_t first_plane, std::int64_t all_planes, std::int64_t first_result,
                     const at::Tensor& y) {
  by_type(x, [&]<typename T>(T*) {
    run(x.device(), kernels::UpsampleLinear<T>{
                        {planes_of<T>(x), first_plane, all_planes, values_of<T>(y), first_result, y.size(0)}});
  });
}

void upsample_nearest(const at::Tensor& x, const at::Tensor& y) {
  by_type(x, [&]<typename T>(T*) {
    run(x.device(), kernels::UpsampleNearest<T>{{planes_of<T>(x), 0, x.size(0), values_of<T>(y), 0, y.size(0)}});
  });
}

void downsample_mean(const at::Tensor& x, const at::Tensor& y) {
  by_type(x, [&]<typename T>(T*) { run(x.device(), kernels::DownsampleMean<T>{planes_of<T>(x), values_of<T>(y)}); });
}

void blend_window(const at::Tensor& values, const BlendWeights& weights, std::array<std::int64_t, 3> origin,
                  const at::Tensor& sum) {
  const auto size = [&](std::size_t axis) { return weights.axis[axis].size(0); };
  TORCH_CHECK(values.sizes() == at::IntArrayRef({1, sum.size(1), size(0), size(1), size(2)}),
              "a window of the size of its weights");
  blend<true>(values.to(at::kFloat).contiguous(), weights, origin, sum);
}

void blend_weights(const BlendWeights& weights, std::array<std::int64_t, 3> origin, const at::Tensor& sum) {
  blend<false>({}, weights, origin, sum);
}

at::Tensor as_planes(const at::Tensor& x) {
  const at::Tensor last = x.squeeze(0).movedim(0, -1);
  return last.dim() == 3 ? last.unsqueeze(1) : last;
}

bool has_planes(const at::Tensor& x) {
  return has_kernels(x.device()) && has_kernel_type(x) && (x.dim() == 4 || x.dim() == 5) &&
         x.is_contiguous(channels_last_format(x));
}

}  // namespace medgen::nn
