// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/group_norm.h"

#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/planes.h"

#include "kernels/group_norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

namespace medgen::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// The numbers of one sample's channels that the way back needs again, as rows of a tensor.
struct Kept {
  float *factor, *offset, *center, *scale;
  float* distance;  ///< sum of x - center

  /// For all samples.
  static at::Tensor make(int64_t samples, int64_t channels) { return at::empty({samples, 5, channels}, at::kFloat); }

  Kept(const at::Tensor& all, int64_t n)
      : factor(all.mutable_data_ptr<float>() + n * all.stride(0)),
        offset(factor + all.stride(1)),
        center(offset + all.stride(1)),
        scale(center + all.stride(1)),
        distance(scale + all.stride(1)) {}
};

int64_t channels_of(const at::Tensor& planes) {
  return planes.size(3);
}

int64_t voxels_of(const at::Tensor& planes) {
  return planes.numel() / planes.size(3);
}

const float* row(const at::Tensor& vectors, int64_t n) {
  return vectors.defined() ? vectors.const_data_ptr<float>() + n * vectors.size(1) : nullptr;
}

/// One sample on the way back.
class SampleGradient {
 public:
  SampleGradient(const at::Tensor& x, const at::Tensor& dy, const Kept& kept, const NormOptions& options)
      : x_(x),
        dy_(dy),
        kept_(kept),
        options_(options),
        channels_(channels_of(x)),
        norm_{kept.factor, kept.offset, kept.center, options.with_silu} {
    FeatureMap::Sums each = zero_sums(static_cast<size_t>(x.size(0) * channels_));
    norm_gradient_sums(x, dy, norm_, each.sum.data(), each.squares.data());
    sums_ = total(each, static_cast<size_t>(channels_));
    // The sum of du times the normalised x.
    for (int64_t c = 0; c < channels_; ++c) sums_.squares[static_cast<size_t>(c)] *= kept_.scale[c];
  }

  void add_gains(double* weight, double* bias) const {
    for (int64_t c = 0; c < channels_; ++c) {
      weight[c] += sums_.squares[static_cast<size_t>(c)];
      bias[c] += sums_.sum[static_cast<size_t>(c)];
    }
  }

  /// @param shift_gradient  a float for each channel, or null
  void write(const float* weight, const at::Tensor& dx, float* shift_gradient) const {
    const auto voxels = static_cast<double>(voxels_of(x_));
    const int64_t per_group = channels_ / options_.groups;
    std::vector<float> abc(static_cast<size_t>(3 * channels_));
    for (int64_t first = 0; first < channels_; first += per_group) {
      double mean = 0, slope = 0;
      for (int64_t c = first; c < first + per_group; ++c) {
        mean += weight[c] * sums_.sum[static_cast<size_t>(c)];
        slope += weight[c] * sums_.squares[static_cast<size_t>(c)];
      }
      const double count = voxels * static_cast<double>(per_group);
      for (int64_t c = first; c < first + per_group; ++c) {
        const double scale = kept_.scale[c];
        const double a = weight[c] * scale, b = -scale * scale * slope / count;
        const double offset = -scale * mean / count;
        const auto i = static_cast<size_t>(c), n = static_cast<size_t>(channels_);
        abc[i] = static_cast<float>(a), abc[n + i] = static_cast<float>(b), abc[2 * n + i] = static_cast<float>(offset);
        if (shift_gradient != nullptr)
          shift_gradient[c] = static_cast<float>(a * sums_.sum[i] + b * kept_.distance[c] + offset * voxels);
      }
    }
    norm_gradient(x_, dy_, norm_, abc.data(), dx);
  }

 private:
  const at::Tensor& x_;
  const at::Tensor& dy_;
  Kept kept_;
  const NormOptions& options_;
  int64_t channels_;
  NormForward norm_;
  FeatureMap::Sums sums_;
};

class Norm : public torch::autograd::Function<Norm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& given_shift,
                            const at::Tensor& weight, const at::Tensor& bias, int64_t groups, double eps,
                            bool with_silu) {
    const at::Tensor shift = given_shift.value_or(at::Tensor());
    const int64_t samples = x.size(0), channels = x.size(1);
    const at::Tensor all = Kept::make(samples, channels);
    const at::Tensor y = at::empty_like(x);
    for (int64_t n = 0; n < samples; ++n) {
      const at::Tensor planes = as_planes(x.narrow(0, n, 1));
      const Kept kept(all, n);
      fill(planes, row(shift, n), weight, bias, {groups, eps, with_silu}, kept);
      normalize(planes, kept.factor, kept.offset, with_silu, as_planes(y.narrow(0, n, 1)));
    }
    context->save_for_backward({x, shift, weight, all});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    context->saved_data["with_silu"] = with_silu;
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &shift = saved[1], &weight = saved[2], &all = saved[3];
    const NormOptions options{context->saved_data["groups"].toInt(), context->saved_data["eps"].toDouble(),
                              context->saved_data["with_silu"].toBool()};
    const int64_t samples = x.size(0), channels = x.size(1);
    const at::Tensor dy = channels_last(gradients[0].to(x.scalar_type()));
    const at::Tensor dx = at::empty_like(x);
    const at::Tensor gains = at::zeros({2, channels}, at::kDouble);
    const at::Tensor dshift = shift.defined() ? at::empty_like(shift) : at::Tensor();
    for (int64_t n = 0; n < samples; ++n) {
      const at::Tensor planes = as_planes(x.narrow(0, n, 1)), slopes = as_planes(dy.narrow(0, n, 1));
      const SampleGradient sample(planes, slopes, Kept(all, n), options);
      sample.add_gains(gains.mutable_data_ptr<double>(), gains.mutable_data_ptr<double>() + channels);
      sample.write(weight.const_data_ptr<float>(), as_planes(dx.narrow(0, n, 1)),
                   dshift.defined() ? dshift.mutable_data_ptr<float>() + n * channels : nullptr);
    }
    const at::Tensor narrow = gains.to(at::kFloat);
    return {dx, dshift, narrow.select(0, 0), narrow.select(0, 1), {}, {}, {}};
  }

 private:
  static void fill(const at::Tensor& planes, const float* shift, const at::Tensor& weight, const at::Tensor& bias,
                   const NormOptions& options, const Kept& kept) {
    const int64_t channels = channels_of(planes);
    const FeatureMap::Sums sums = sums_of(planes);
    const GroupStatistics groups = group_statistics(sums, voxels_of(planes), options.groups, options.eps, shift);
    for (int64_t c = 0; c < channels; ++c) {
      const auto group = static_cast<size_t>(c / (channels / options.groups));
      const double center = groups.mean[group] - (shift == nullptr ? 0.0 : static_cast<double>(shift[c]));
      const double factor = weight.const_data_ptr<float>()[c] * groups.scale[group];
      kept.factor[c] = static_cast<float>(factor);
      kept.offset[c] = static_cast<float>(bias.const_data_ptr<float>()[c] - center * factor);
      kept.center[c] = static_cast<float>(center);
      kept.scale[c] = static_cast<float>(groups.scale[group]);
      kept.distance[c] =
          static_cast<float>(sums.sum[static_cast<size_t>(c)] - center * static_cast<double>(voxels_of(planes)));
    }
  }
};

}  // namespace

GroupStatistics group_statistics(const FeatureMap::Sums& sums, int64_t voxels, int64_t groups, double eps,
                                 const float* shift) {
  const auto channels = static_cast<int64_t>(sums.sum.size());
  const kernels::GroupAffine kernel{.sum = sums.sum.data(),
                                    .square = sums.squares.data(),
                                    .channels = channels,
                                    .per_group = channels / groups,
                                    .voxels = voxels,
                                    .eps = eps,
                                    .shift = shift};
  GroupStatistics result;
  for (int64_t group = 0; group < groups; ++group) {
    const kernels::GroupMoments moments = kernel.moments(group * kernel.per_group);
    result.mean.push_back(moments.mean);
    result.scale.push_back(moments.scale);
  }
  return result;
}

at::Tensor differentiable_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& weight,
                               const at::Tensor& bias, const NormOptions& options) {
  // One row for the whole batch is as good as one for each sample.
  std::optional<at::Tensor> rows;
  if (shift.defined()) rows = shift.expand({x.size(0), x.size(1)}).contiguous();
  return Norm::apply(x, rows, weight, bias, options.groups, options.eps, options.with_silu);
}

}  // namespace medgen::nn
