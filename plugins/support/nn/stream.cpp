// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/stream.h"

#include "plugins/support/nn/planes.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

namespace medgen::nn {
namespace {

using Resample = StreamStage::Resample;
using Size = std::array<std::int64_t, 3>;

/// Lengths that the convolution sees.
Size resampled(const FeatureMap& x, Resample resample) {
  Size size = x.size();
  for (std::int64_t& length : size) {
    if (resample == Resample::UpLinear) length *= 2;
    if (resample == Resample::PadEnd) length += 1;
  }
  return size;
}

Size output_size(const Conv& conv, const Size& in) {
  return {conv.output_length(in[0]), conv.output_length(in[1]), conv.output_length(in[2])};
}

/// Planes of the convolution's input; those outside [0, length) are zeros.
struct Reach {
  std::int64_t from;
  std::int64_t to;
};

/// What the output planes [from, to) are made of. Of a transposed convolution `from` and `to` are even.
Reach reach_of(const Conv& conv, std::int64_t from, std::int64_t to) {
  const ConvOptions& o = conv.options();
  if (o.transposed) return {from / 2, to / 2 + 1};
  return {from * o.stride - o.padding, (to - 1) * o.stride - o.padding + o.kernel};
}

/// The convolution's input in a window of planes that moves over the volume: normalised and resampled (planes, rows,
/// columns, channels). The planes that two places of the window share are made once.
class Window {
 public:
  /// @param dtype  of its planes
  /// @param most   planes that are asked for at a time
  Window(const FeatureMap& x, const StreamStage& stage, const ChannelAffine& affine, at::ScalarType dtype,
         std::int64_t most)
      : x_(x), stage_(stage), affine_(affine), size_(resampled(x, stage.resample)), dtype_(dtype), most_(most) {}

  /// As (1, C, planes, rows, columns), channels-last, until the next call.
  at::Tensor at(const Reach& reach) {
    const bool as_it_lies = stage_.norm == nullptr && stage_.resample == Resample::None && dtype_ == x_.dtype();
    if (as_it_lies && reach.from >= 0 && reach.to <= size_[0]) return x_.read(reach.from, reach.to);

    const std::int64_t shared = move_to(reach);
    const std::int64_t from = std::clamp<std::int64_t>(reach.from + shared, 0, size_[0]);
    const std::int64_t to = std::clamp<std::int64_t>(reach.to, from, size_[0]);
    const at::Tensor all = planes_.narrow(0, 0, reach.to - reach.from);
    if (reach.from + shared < from) all.narrow(0, shared, from - reach.from - shared).zero_();
    if (to < reach.to) all.narrow(0, to - reach.from, reach.to - to).zero_();
    if (from < to) fill(from, all.narrow(0, from - reach.from, to - from));
    return all.permute({3, 0, 1, 2}).unsqueeze(0);
  }

 private:
  /// Returns how many planes at the front of `reach` are there already.
  std::int64_t move_to(const Reach& reach) {
    if (!planes_.defined() || planes_.size(0) < reach.to - reach.from) {
      const std::int64_t planes = std::max(most_, reach.to - reach.from);
      planes_ = at::empty({planes, size_[1], size_[2], x_.channels()}, at::TensorOptions().dtype(dtype_));
      filled_ = {0, 0};
    }
    const std::int64_t moved = reach.from - filled_.from;
    const std::int64_t wanted = reach.to - reach.from;
    const std::int64_t shared = moved < 0 ? 0 : std::clamp<std::int64_t>(filled_.to - reach.from, 0, wanted);
    filled_ = reach;
    // Overlapping memory cannot be copied.
    if (shared > moved) return 0;
    if (shared > 0) planes_.narrow(0, 0, shared).copy_(planes_.narrow(0, moved, shared));
    return shared;
  }

  void fill(std::int64_t from, const at::Tensor& slab) const {
    const std::int64_t to = from + slab.size(0);
    switch (stage_.resample) {
      case Resample::UpLinear: {
        const std::int64_t first = std::max<std::int64_t>((from - 1) / 2, 0);
        const std::int64_t last = std::min((to + 2) / 2, x_.planes());
        return upsample_linear(as_planes(x_.read(first, last)).to(dtype_), first, x_.planes(), from, slab);
      }
      case Resample::PadEnd: {
        slab.zero_();
        const std::int64_t last = std::min(to, x_.planes());
        if (last <= from) return;
        slab.narrow(0, 0, last - from)
            .narrow(1, 0, x_.size()[1])
            .narrow(2, 0, x_.size()[2])
            .copy_(as_planes(x_.read(from, last)));
        return;
      }
      case Resample::None:
        break;
    }
    const at::Tensor planes = as_planes(x_.read(from, to)).to(dtype_);
    if (stage_.norm == nullptr) {
      slab.copy_(planes);
    } else {
      normalize(planes, affine_.factor.data(), affine_.offset.data(), stage_.with_silu, slab);
    }
  }

  const FeatureMap& x_;
  const StreamStage& stage_;
  const ChannelAffine& affine_;
  Size size_;
  at::ScalarType dtype_;
  std::int64_t most_;
  at::Tensor planes_;
  Reach filled_{0, 0};
};

/// The planes [from, to) of `result` with what the layer's convolution is added to.
at::Tensor start(const FeatureMap& result, const StreamStage& stage, std::int64_t from, std::int64_t to) {
  if (stage.in_place) return result.read(from, to);
  at::Tensor planes = result.room(from, to);
  if (stage.residual != nullptr && stage.shortcut == nullptr) return planes.copy_(stage.residual->read(from, to));
  planes.zero_();
  if (stage.residual != nullptr) stage.shortcut->add_slab(stage.residual->read(from, to), planes);
  return planes;
}

}  // namespace

Stream::Stream(StreamOptions options, double total_flops)
    : options_(std::move(options)),
      memory_(std::make_shared<MapMemory>(options_.memory, options_.scratch)),
      total_flops_(total_flops) {}

Stream Stream::planned(StreamOptions options) {
  Stream stream(std::move(options));
  stream.planned_ = true;
  return stream;
}

FeatureMap Stream::make(std::int64_t channels, Size size, at::ScalarType dtype) {
  return FeatureMap(memory_, channels, size, dtype, options_.parts, !planned_);
}

FeatureMap Stream::input(const at::Tensor& x, at::ScalarType dtype) {
  FeatureMap map = make(x.size(1), {x.size(2), x.size(3), x.size(4)}, dtype);
  if (planned_) return map;
  const std::int64_t step = std::max<std::int64_t>(1, options_.slab_bytes / map.plane_bytes());
  for (std::int64_t from = 0; from < map.planes(); from += step) {
    const std::int64_t count = std::min(step, map.planes() - from);
    map.write(from, x.narrow(2, from, count));
  }
  return map;
}

FeatureMap Stream::conv(const Conv& conv, const FeatureMap& x, at::ScalarType dtype, const StreamStage& stage) {
  const Size size = output_size(conv, resampled(x, stage.resample));
  TORCH_CHECK(!stage.in_place || (stage.residual != nullptr && stage.shortcut == nullptr && stage.residual != &x &&
                                  stage.residual->dtype() == dtype),
              "no residual whose memory the result could take");
  FeatureMap result = stage.in_place ? *stage.residual : make(conv.options().out, size, dtype);
  run(conv, x, stage, size,
      {.open = [&](std::int64_t from, std::int64_t to) { return start(result, stage, from, to); },
       .close = [&](std::int64_t from, const at::Tensor& planes) { result.write(from, planes); }});
  return result;
}

void Stream::conv_into(const Conv& conv, const FeatureMap& x, const at::Tensor& out, const StreamStage& stage) {
  const Size size = output_size(conv, resampled(x, stage.resample));
  const auto open = [&](std::int64_t from, std::int64_t to) {
    const at::Tensor planes = at::zeros({to - from, size[1], size[2], conv.options().out}, at::kFloat);
    return planes.permute({3, 0, 1, 2}).unsqueeze(0);
  };
  run(conv, x, stage, size, {.open = open, .close = [&](std::int64_t from, const at::Tensor& planes) {
                               out.narrow(2, from, planes.size(2)).copy_(planes);
                             }});
}

FeatureMap Stream::whole(const FeatureMap& x, const std::function<at::Tensor(const at::Tensor&)>& layer) {
  FeatureMap result = make(x.channels(), x.size(), x.dtype());
  slab_peak_ = std::max(slab_peak_, 4 * x.plane_bytes() * x.planes());
  if (!planned_) result.write(0, layer(x.read(0, x.planes())));
  return result;
}

void Stream::run(const Conv& conv, const FeatureMap& x, const StreamStage& stage, Size size, const Target& target) {
  const ConvOptions& o = conv.options();
  const Size in = resampled(x, stage.resample);
  // What an exact layer takes is not rounded on its way.
  const at::ScalarType dtype = o.role == Role::Exact ? at::kFloat : x.dtype();
  const std::int64_t plane_bytes = in[1] * in[2] * x.channels() * static_cast<std::int64_t>(c10::elementSize(dtype));
  const std::int64_t out_bytes = size[1] * size[2] * o.out * static_cast<std::int64_t>(c10::elementSize(dtype));
  // Output planes at a time: an even number, which a transposed convolution needs.
  const std::int64_t per_output = std::max<std::int64_t>(plane_bytes * in[0] / std::max<std::int64_t>(size[0], 1), 1);
  const std::int64_t step = std::max<std::int64_t>(2, options_.slab_bytes / per_output / 2 * 2);
  const double voxels =
      o.transposed ? static_cast<double>(x.voxels()) : static_cast<double>(size[0] * size[1] * size[2]);
  const double flops = conv.flops_per_voxel() * voxels;
  const std::int64_t reach = std::min(step * in[0] / std::max<std::int64_t>(size[0], 1) + o.kernel, in[0] + 2);
  slab_peak_ = std::max(slab_peak_, static_cast<std::int64_t>(options_.parts) *
                                        (reach * plane_bytes + std::min(step, size[0]) * out_bytes));
  if (planned_) {
    flops_ += flops;
    return;
  }
  const ChannelAffine affine = stage.norm == nullptr ? ChannelAffine{} : stage.norm->affine(x.sums(), x.voxels());
  std::mutex mutex;
  const auto work = [&](std::int64_t from, std::int64_t to) {
    const at::NoGradGuard no_grad;
    Window window(x, stage, affine, dtype, reach);
    for (std::int64_t first = from; first < to; first += step) {
      const std::int64_t last = std::min(first + step, to);
      const at::Tensor planes = target.open(first, last);
      conv.add_slab(window.at(reach_of(conv, first, last)), planes);
      target.close(first, planes);
      const std::lock_guard lock(mutex);
      finished(flops * static_cast<double>(last - first) / static_cast<double>(size[0]));
    }
  };
  if (options_.parts == 1) return work(0, size[0]);

  std::vector<std::exception_ptr> failures(options_.parts);
  std::vector<std::jthread> threads;
  for (std::size_t part = 0; part < options_.parts; ++part) {
    threads.emplace_back([&, part] {
      try {
        const auto [from, to] = part_of(size[0] / 2, part, options_.parts);
        work(2 * from, part + 1 == options_.parts ? size[0] : 2 * to);
      } catch (...) {
        failures[part] = std::current_exception();
      }
    });
  }
  threads.clear();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

void Stream::finished(double flops) {
  flops_ += flops;
  if (options_.progress && total_flops_ > 0) options_.progress(std::min(flops_ / total_flops_, 1.0));
}

StreamCost Stream::cost() const {
  return {memory_->peak_in_memory() + slab_peak_, memory_->peak_in_files(), flops_};
}

}  // namespace medgen::nn
