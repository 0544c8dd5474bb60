// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/stream.h"

#include "plugins/support/nn/device.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/winograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <optional>
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

/// The first plane of x that the planes of the convolution's input from `from` on are made of.
std::int64_t source_from(const FeatureMap& x, Resample resample, std::int64_t from) {
  return std::clamp<std::int64_t>(resample == Resample::UpLinear ? (from - 1) / 2 : from, 0, x.planes());
}

/// One past the last plane of x that those before `to` are made of.
std::int64_t source_to(const FeatureMap& x, Resample resample, std::int64_t to) {
  return std::clamp<std::int64_t>(resample == Resample::UpLinear ? (to + 2) / 2 : to, 0, x.planes());
}

/// The convolution's input in a window of planes that moves over the volume: normalised and resampled (planes, rows,
/// columns, channels). The planes that two places of the window share are made once.
class Window {
 public:
  /// @param options  type of its planes, and where they lie
  /// @param most     planes that are asked for at a time
  Window(const FeatureMap& x, const StreamStage& stage, const ChannelAffine& affine, at::TensorOptions options,
         std::int64_t most)
      : x_(x), stage_(stage), affine_(affine), size_(resampled(x, stage.resample)), options_(options), most_(most) {}

  /// As (1, C, planes, rows, columns), channels-last, until the next call.
  at::Tensor at(const Reach& reach) {
    const bool as_it_lies = stage_.norm == nullptr && stage_.resample == Resample::None && dtype() == x_.dtype();
    if (as_it_lies && reach.from >= 0 && reach.to <= size_[0]) return read(reach.from, reach.to);

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
  at::ScalarType dtype() const { return c10::typeMetaToScalarType(options_.dtype()); }

  at::Tensor read(std::int64_t from, std::int64_t to) const { return on_device(x_.read(from, to), options_.device()); }

  /// What it does, for traces.
  std::string step_name() const {
    if (stage_.norm != nullptr) return stage_.norm->path();
    return stage_.resample == Resample::UpLinear ? "upsample" : "copy planes";
  }

  /// Returns how many planes at the front of `reach` are there already.
  std::int64_t move_to(const Reach& reach) {
    if (!planes_.defined() || planes_.size(0) < reach.to - reach.from) {
      const std::int64_t planes = std::max(most_, reach.to - reach.from);
      planes_ = at::empty({planes, size_[1], size_[2], x_.channels()}, options_);
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
    const std::int64_t first = source_from(x_, stage_.resample, from);
    const std::int64_t last = source_to(x_, stage_.resample, to);
    const sdk::Range range(step_name());
    switch (stage_.resample) {
      case Resample::UpLinear:
        return upsample_linear(as_planes(read(first, last)).to(dtype()), first, x_.planes(), from, slab);
      case Resample::PadEnd:
        slab.zero_();
        if (last <= from) return;
        slab.narrow(0, 0, last - from)
            .narrow(1, 0, x_.size()[1])
            .narrow(2, 0, x_.size()[2])
            .copy_(as_planes(read(from, last)));
        return;
      case Resample::None:
        break;
    }
    const at::Tensor planes = as_planes(read(from, to)).to(dtype());
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
  at::TensorOptions options_;
  std::int64_t most_;
  at::Tensor planes_;
  Reach filled_{0, 0};
};

/// (1, channels, planes, rows, columns), channels-last, to be filled.
at::Tensor empty_planes(const Size& size, std::int64_t channels, at::TensorOptions options) {
  return at::empty({size[0], size[1], size[2], channels}, options).permute({3, 0, 1, 2}).unsqueeze(0);
}

/// Room for planes [from, to) of a map on the device that computes them: the map's own where it can be.
at::Tensor room_for(FeatureMap& map, std::int64_t from, std::int64_t to, at::Device device) {
  if (device.is_cpu()) return map.room(from, to);
  return empty_planes({to - from, map.size()[1], map.size()[2]}, map.channels(),
                      at::TensorOptions().dtype(map.dtype()).device(device));
}

/// Calls `work` with each number below `parts`, each on a thread. @throws what the first of them threw
template <typename Work>
void at_once(std::size_t parts, const Work& work) {
  std::vector<std::exception_ptr> failures(parts);
  std::vector<std::jthread> threads;
  for (std::size_t part = 0; part < parts; ++part) {
    threads.emplace_back([&, part] {
      try {
        work(part);
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

}  // namespace

/// One layer over one map.
struct Stream::Layer {
  at::Device device;  ///< or those like it
  const Conv& conv;
  const StreamStage& stage;
  FeatureMap x;
  std::vector<FeatureMap> results;  ///< none: they go elsewhere
  /// Planes [from, to) that the convolution is put into, or added to, on the device that computes them: (1, C, planes,
  /// rows, columns), channels-last.
  std::function<at::Tensor(std::int64_t from, std::int64_t to, at::Device device)> open;
  bool adds = false;
  /// They are finished.
  std::function<void(std::int64_t from, const at::Tensor& planes)> close;
  double shortcut_flops = 0;      ///< for each voxel of the result
  std::int64_t filled_plane = 0;  ///< bytes of a plane of the caller's array, which takes memory as it is filled

  Size in = resampled(x, stage.resample);  ///< lengths that the convolution sees
  Size out = output_size(conv, in);
  /// What an exact layer takes is not rounded on its way.
  at::ScalarType dtype = conv.options().role == Role::Exact ? at::kFloat : x.dtype();
  PlaneForm planes{3, in[1], in[2]};
  /// Whether the convolution takes the window as it lies.
  bool in_place = device.is_cpu() && conv.by_winograd(planes, dtype);
  at::ScalarType products = in_place ? dtype : product_type(dtype, device);
  /// Slabs begin at multiples of so many output planes: even ones, which a transposed convolution needs.
  std::int64_t unit = in_place && filters_cubes(planes) ? kCubePlanes : 2;
  std::int64_t step = 0;   ///< output planes at a time
  std::int64_t reach = 0;  ///< planes of the convolution's input for these

  void cut(std::int64_t slab_bytes) {
    const std::int64_t outputs = std::max<std::int64_t>(out[0], 1);
    const std::int64_t multiplied = std::max(in_bytes() * in[0] / outputs, out_bytes());
    const std::int64_t per_output = std::max<std::int64_t>(multiplied / element(dtype) * element(products), 1);
    step = std::max(unit, slab_bytes / per_output / unit * unit);
    reach = std::min(step * in[0] / outputs + conv.options().kernel, in[0] + 2);
  }

  double flops() const {
    const auto voxels = static_cast<double>(out[0] * out[1] * out[2]);
    return conv.flops_per_voxel() * (conv.options().transposed ? static_cast<double>(x.voxels()) : voxels) +
           shortcut_flops * voxels;
  }

  /// What output planes [from, to) take beside maps: the window, planes read from files or converted, planes on their
  /// way to files; in float32 the input and the output in the order that the convolution's library works in, and both
  /// sides of a sum of two types; where bfloat16 is computed in float32, both again.
  std::int64_t slab_bytes(std::int64_t from, std::int64_t to) const {
    const Reach reached = reach_of(conv, from, to);
    const std::int64_t first = source_from(x, stage.resample, reached.from);
    const std::int64_t last = source_to(x, stage.resample, reached.to);
    std::int64_t bytes = reach * in_bytes();
    if (x.in_files(first, last)) bytes += (last - first) * x.plane_bytes();
    if (x.dtype() != dtype) bytes += (last - first) * x.plane_bytes() / element(x.dtype()) * element(dtype);
    for (const FeatureMap& result : results) {
      if (result.in_files(from, to)) bytes += (to - from) * result.plane_bytes();
      if (result.dtype() != dtype) bytes += 2 * (to - from) * out_bytes();
    }
    if (results.empty() || !device.is_cpu()) bytes += (to - from) * out_bytes();
    if (results.empty()) bytes += out_bytes();  // of a plane that is finished, in another order (labels of classes)
    if (products == at::kFloat && !in_place) {
      const std::int64_t both = (reach * in_bytes() + (to - from) * out_bytes()) / element(dtype) * element(products);
      bytes += dtype == products ? both : 2 * both;
      if (conv.options().transposed) bytes -= (to - from) * out_bytes() / element(dtype) * element(products);
    }
    if (conv.options().transposed) {
      // Planes of its own with those at the edges, which are cut off, and the library's sums of them in float32.
      const std::int64_t made = 2 * (reached.to - reached.from) + 1;
      bytes += made * out_bytes() / element(dtype) * (element(products) + element(at::kFloat));
    }
    return bytes;
  }

 private:
  static std::int64_t element(at::ScalarType type) { return static_cast<std::int64_t>(c10::elementSize(type)); }

  /// Of a plane that the convolution takes.
  std::int64_t in_bytes() const { return in[1] * in[2] * x.channels() * element(dtype); }

  /// Of a plane that it makes.
  std::int64_t out_bytes() const { return out[1] * out[2] * conv.options().out * element(dtype); }
};

Stream::Stream(StreamOptions options, double total_flops, bool planned)
    : options_(std::move(options)),
      planned_(planned),
      memory_(std::make_shared<MapMemory>(options_.memory, options_.scratch)),
      total_flops_(total_flops) {
  if (planned) return;
  release_kept_arrays();
  release_transformed_weights();
}

FeatureMap Stream::make(std::int64_t channels, Size size, at::ScalarType dtype) {
  return FeatureMap(memory_, channels, size, dtype, options_.devices.size(), !planned_);
}

FeatureMap Stream::input(const at::Tensor& x, at::ScalarType dtype) {
  FeatureMap map = make(x.size(1), {x.size(2), x.size(3), x.size(4)}, dtype);
  const std::int64_t step = std::max<std::int64_t>(1, options_.slab_bytes / map.plane_bytes());
  for (std::int64_t from = 0; from < map.planes(); from += step) {
    const std::int64_t to = std::min(from + step, map.planes());
    map.place(from, to);
    if (!planned_) map.write(from, x.narrow(2, from, to - from));
  }
  return map;
}

FeatureMap Stream::conv(const Conv& conv, const FeatureMap& x, at::ScalarType dtype, const StreamStage& stage) {
  const Size size = output_size(conv, resampled(x, stage.resample));
  const FeatureMap* residual = stage.residual;
  TORCH_CHECK(residual == nullptr || (residual != &x && residual->dtype() == dtype && residual->size() == size),
              "no residual whose memory the result could take");
  FeatureMap result = residual != nullptr ? *residual : make(conv.options().out, size, dtype);
  run({.device = options_.device(),
       .conv = conv,
       .stage = stage,
       .x = x,
       .results = {result},
       .open =
           [&](auto from, auto to, auto device) {
             return residual ? on_device(result.read(from, to), device) : room_for(result, from, to, device);
           },
       .adds = residual != nullptr,
       .close = [&](auto from, const at::Tensor& planes) { result.write(from, planes); }});
  return result;
}

std::pair<FeatureMap, FeatureMap> Stream::conv_with_shortcut(const Conv& conv, const Conv& shortcut,
                                                             const FeatureMap& x, at::ScalarType dtype,
                                                             const StreamStage& stage) {
  TORCH_CHECK(shortcut.options().kernel == 1 && output_size(conv, x.size()) == x.size() &&
                  stage.resample == Resample::None && stage.residual == nullptr,
              "a shortcut is of the size of the layer's result");
  FeatureMap result = make(conv.options().out, x.size(), dtype);
  FeatureMap beside = make(shortcut.options().out, x.size(), dtype);
  const auto close = [&](std::int64_t from, const at::Tensor& planes) {
    result.write(from, planes);
    const std::int64_t to = from + planes.size(2);
    const at::Tensor added = room_for(beside, from, to, planes.device());
    shortcut.put_slab(on_device(x.read(from, to), planes.device()), added, Result::Replace);
    beside.write(from, added);
  };
  run({.device = options_.device(),
       .conv = conv,
       .stage = stage,
       .x = x,
       .results = {result, beside},
       .open = [&](auto from, auto to, auto device) { return room_for(result, from, to, device); },
       .close = close,
       .shortcut_flops = shortcut.flops_per_voxel()});
  return {result, beside};
}

void copy_planes(const at::Tensor& planes, const at::Tensor& out) {
  out.copy_(planes);
}

void Stream::conv_into(const Conv& conv, const FeatureMap& x, const at::Tensor& out, const StreamStage& stage,
                       const FinishPlanes& finish) {
  const Size size = output_size(conv, resampled(x, stage.resample));
  const auto open = [&](std::int64_t from, std::int64_t to, at::Device device) {
    return empty_planes({to - from, size[1], size[2]}, conv.options().out,
                        at::TensorOptions().dtype(at::kFloat).device(device));
  };
  const auto close = [&](std::int64_t from, const at::Tensor& planes) {
    finish(planes.cpu(), out.narrow(2, from, planes.size(2)));
  };
  run({.device = options_.device(),
       .conv = conv,
       .stage = stage,
       .x = x,
       .results = {},
       .open = open,
       .close = close,
       .filled_plane = static_cast<std::int64_t>(out.nbytes()) / out.size(2)});
}

FeatureMap Stream::whole(FeatureMap x, const std::function<at::Tensor(const at::Tensor&)>& layer) {
  // Normalised, queries, keys, values and what is mixed of them; multiplied in float32, copies of the last four.
  const bool wide = options_.device().is_cpu() && prefers_float(x.dtype());
  const std::int64_t copies = wide ? 4 * sizeof(float) / c10::elementSize(x.dtype()) : 0;
  set_slabs((5 + copies) * x.plane_bytes() * x.planes());
  if (!planned_) x.write(0, layer(on_device(x.read(0, x.planes()), options_.device())));
  set_slabs(0);
  return x;
}

void Stream::run(Layer layer) {
  layer.cut(options_.slab_bytes);
  if (layer.device.is_cpu()) kept_ = std::max(kept_, layer.conv.kept_bytes(layer.planes, layer.out[0], layer.dtype));
  const GroupNorm* norm = layer.stage.norm;
  const ChannelAffine affine =
      norm == nullptr || planned_ ? ChannelAffine{} : norm->affine(layer.x.sums(), layer.x.voxels());
  const std::size_t parts = options_.devices.size();
  const auto work = [&](std::size_t part) {
    const auto [from, to] = part_of(layer.out[0] / layer.unit, part, parts);
    const std::int64_t end = part + 1 == parts ? layer.out[0] : layer.unit * to;
    run_part(layer, options_.devices[part], affine, layer.unit * from, end);
  };
  if (planned_ || parts == 1) {
    for (std::size_t part = 0; part < parts; ++part) work(part);
  } else {
    at_once(parts, work);
  }
  if (layer.stage.last_reader) layer.x.release(0, layer.x.planes());
  set_slabs(0);
}

void Stream::run_part(const Layer& layer, at::Device device, const ChannelAffine& affine, std::int64_t from,
                      std::int64_t to) {
  const at::NoGradGuard no_grad;
  std::optional<DeviceScope> scope;
  if (!planned_) scope.emplace(device);
  const Resample resample = layer.stage.resample;
  const double flops = layer.flops() / static_cast<double>(layer.out[0]);
  FeatureMap x = layer.x;
  std::vector<FeatureMap> results = layer.results;
  const auto options = at::TensorOptions().dtype(layer.dtype).device(device);
  Window window(x, layer.stage, affine, options, layer.reach);
  // The planes below are read by the device before.
  std::int64_t released = from == 0 ? 0 : source_to(x, resample, reach_of(layer.conv, from - 2, from).to);
  for (std::int64_t first = from; first < to; first += layer.step) {
    const std::int64_t last = std::min(first + layer.step, to);
    for (FeatureMap& result : results) result.place(first, last);
    const auto parts = static_cast<std::int64_t>(options_.devices.size());
    set_slabs(parts * layer.slab_bytes(first, last), parts * (last - from) * layer.filled_plane);
    if (!planned_) {
      const at::Tensor planes = layer.open(first, last, device);
      const Result result = layer.adds ? Result::Add : Result::Replace;
      layer.conv.put_slab(window.at(reach_of(layer.conv, first, last)), planes, result);
      layer.close(first, planes);
    }
    finished(flops * static_cast<double>(last - first));
    const std::int64_t next = source_from(x, resample, reach_of(layer.conv, last, last + 2).from);
    if (!layer.stage.last_reader || next <= released) continue;
    x.release(released, next);
    released = next;
  }
}

void Stream::set_slabs(std::int64_t bytes, std::int64_t filled) {
  memory_->set_beside(bytes + filled + kept_);
  const std::lock_guard lock(mutex_);
  slab_peak_ = std::max(slab_peak_, bytes + kept_);
}

void Stream::finished(double flops) {
  const std::lock_guard lock(mutex_);
  flops_ += flops;
  if (options_.progress && total_flops_ > 0) options_.progress(std::min(flops_ / total_flops_, 1.0));
}

StreamCost Stream::cost() const {
  return {memory_->peak_in_memory(), slab_peak_, memory_->peak_in_files(), flops_};
}

}  // namespace medgen::nn
