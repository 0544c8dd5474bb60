// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/planes.h"

#include "plugins/support/kernels/launch.h"

#include <c10/util/Exception.h>

namespace medgen::nn {
namespace {

using kernels::Bf16;
using kernels::Planes;

template <typename T>
Planes<const T> planes_of(const at::Tensor& x) {
  return {static_cast<const T*>(x.const_data_ptr()), x.size(0), x.size(1), x.size(2), x.size(3)};
}

/// Calls `call` with a null pointer of the element type.
template <typename Call>
void by_type(const at::Tensor& x, const Call& call) {
  TORCH_CHECK(x.is_cpu() && x.is_contiguous(), "planes must be contiguous and on the CPU");
  if (x.scalar_type() == at::kFloat) return call(static_cast<float*>(nullptr));
  TORCH_CHECK(x.scalar_type() == at::kBFloat16, "planes must be float32 or bfloat16");
  call(static_cast<Bf16*>(nullptr));
}

template <typename T>
T* values_of(const at::Tensor& y) {
  return static_cast<T*>(y.mutable_data_ptr());
}

at::MemoryFormat channels_last_of(const at::Tensor& x) {
  return x.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::ChannelsLast3d;
}

}  // namespace

void channel_sums(const at::Tensor& x, double* sum, double* squares) {
  by_type(x, [&]<typename T>(T*) { kernels::channel_sums(planes_of<T>(x), sum, squares); });
}

void normalize(const at::Tensor& x, const float* factor, const float* offset, bool with_silu, const at::Tensor& y) {
  by_type(x, [&]<typename T>(T*) { kernels::normalize(planes_of<T>(x), factor, offset, with_silu, values_of<T>(y)); });
}

void upsample_linear(const at::Tensor& x, std::int64_t first_plane, std::int64_t all_planes, std::int64_t first_result,
                     const at::Tensor& y) {
  by_type(x, [&]<typename T>(T*) {
    kernels::upsample_linear(planes_of<T>(x), first_plane, all_planes, first_result, y.size(0), values_of<T>(y));
  });
}

at::Tensor as_planes(const at::Tensor& x) {
  const at::Tensor last = x.squeeze(0).movedim(0, -1);
  return last.dim() == 3 ? last.unsqueeze(1) : last;
}

bool has_planes(const at::Tensor& x) {
  const bool known = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  return x.is_cpu() && known && (x.dim() == 4 || x.dim() == 5) && x.is_contiguous(channels_last_of(x));
}

}  // namespace medgen::nn
