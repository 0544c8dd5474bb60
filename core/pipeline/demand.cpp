// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/demand.h"

#include "core/base/error.h"

#include <medgen/abi/medgen.h>

#include <algorithm>

namespace medgen {
namespace {

constexpr std::uint64_t kFloat = 4;
/// Arrays of the latent's size that the sampling loop has at a time: x, the next x, the model's output, noise, and what
/// multistep schedulers keep.
constexpr std::uint64_t kLatentsWhileSampling = 6;

std::uint64_t file_bytes(const ComponentSpec& spec) {
  std::error_code error;
  const auto bytes = spec.weights.empty() ? 0 : std::filesystem::file_size(spec.weights, error);
  return error ? 0 : bytes;
}

std::uint64_t bytes_of_all(const ShapeMap& shapes) {
  std::uint64_t bytes = 0;
  for (const auto& [name, shape] : shapes) bytes += bytes_of(shape);
  return bytes;
}

/// Asks components what their calls cost and adds it up.
class Meter {
 public:
  explicit Meter(bool on_device) : on_device_(on_device) {}

  /// One kind of call, made `calls` times while `alive` bytes of the host are taken by other things.
  CallCost call(const Component& component, std::string_view function, const ShapeMap& inputs, double calls,
                std::uint64_t alive) {
    const CallCost cost = ask(component, function, inputs);
    const std::uint64_t outputs = bytes_of_all(cost.outputs);
    std::uint64_t& weights = weights_[component.id()];
    weights = std::max(weights, cost.weights_bytes);
    std::uint64_t& kept = kept_[component.id()];
    kept = std::max(kept, cost.kept_bytes);
    working(alive + outputs + (on_device_ ? cost.host_bytes : cost.peak_bytes));
    if (on_device_) demand_.device_working = std::max(demand_.device_working, cost.peak_bytes);
    demand_.scratch = std::max(demand_.scratch, cost.scratch_bytes);
    count_time(cost, calls);
    tell(cost);
    return cost;
  }

  void working(std::uint64_t bytes) { demand_.working = std::max(demand_.working, bytes); }

  void cannot_time() { demand_.timed = false; }

  /// Models are loaded one after the other; each takes its file and its copy, of which the copy stays, and while it is
  /// made about a quarter more, for the tensors that are being converted.
  Demand finish(const std::vector<ComponentSpec>& specs) {
    for (const ComponentSpec& spec : specs) {
      const auto asked = weights_.find(spec.component);
      const std::uint64_t file = file_bytes(spec);
      const std::uint64_t copy = asked == weights_.end() ? 0 : asked->second;
      demand_.loading = std::max(demand_.loading, demand_.held + file + copy / 4 + (on_device_ ? 0 : copy));
      (on_device_ ? demand_.device_held : demand_.held) += copy;
    }
    for (const auto& [id, kept] : kept_) (on_device_ ? demand_.device_held : demand_.held) += kept;
    return demand_;
  }

 private:
  CallCost ask(const Component& component, std::string_view function, const ShapeMap& inputs) {
    try {
      if (const auto cost = component.estimate(function, inputs)) return *cost;
    } catch (const Error& error) {
      demand_.complaints.emplace_back(error.what());
    }
    demand_.unknown.insert(component.id());
    demand_.timed = false;
    return {};
  }

  void count_time(const CallCost& cost, double calls) {
    demand_.flops += cost.flops * calls;
    if (cost.flops > 0 && cost.flops_per_second <= 0) demand_.timed = false;
    if (cost.flops_per_second > 0) demand_.seconds += cost.flops / cost.flops_per_second * calls;
  }

  void tell(const CallCost& cost) {
    if (!cost.note.empty()) demand_.notes.insert(cost.note);
    if (cost.precision.empty() || demand_.precision.find(cost.precision) != std::string::npos) return;
    demand_.precision += (demand_.precision.empty() ? "" : "+") + cost.precision;
  }

  bool on_device_;
  Demand demand_;
  std::map<std::string, std::uint64_t> weights_, kept_;  ///< of each component
};

Shape joined(std::int64_t batch, std::int64_t channels, const Shape& spatial) {
  Shape shape{batch, channels};
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  return shape;
}

/// From the model's array to a volume of the contract's type: `image` bytes of float32, of which a turned copy, a
/// rescaled one and the result are made.
std::uint64_t finishing(std::uint64_t image, const DataContract& contract) {
  const std::uint64_t result = image / kFloat * size_of(contract.output);
  const std::uint64_t labels = contract.background ? 2 * image : 0;  // 64-bit ids
  return 2 * image + std::max(result, labels);
}

class Generate {
 public:
  Generate(const Model& model, bool on_device, const GenerateShape& shape)
      : model_(model), shape_(shape), meter_(on_device), guided_(shape.guidance != 1.0) {
    Shape latent;
    for (const std::int64_t axis : shape.spatial) latent.push_back(axis / model.compression);
    latent_ = joined(shape.batch, model.latent_channels, latent);
    kept_ = shape.kept * static_cast<std::uint64_t>(shape.batch);
    batches_ = shape.samples / static_cast<double>(shape.batch);
  }

  Demand run(const ModelPackage& package) {
    condition();
    sample();
    decode();
    return meter_.finish(package.all());
  }

 private:
  /// The mask of the batch, and what conditioners make of it.
  void condition() {
    if (shape_.with_mask) {
      const Shape mask = joined(shape_.batch, 1, shape_.spatial);
      conditions_["mask"] = mask;
      alive_ = kept_ + 2 * bytes_of(mask);  // joined, and cut to the window
      meter_.working(alive_);
    } else {
      alive_ = kept_;
    }
    const double times = guided_ ? 2 : 1;
    for (const auto& conditioner : model_.parts.conditioners) {
      if (!conditioner->has_encode()) continue;
      const CallCost cost = meter_.call(*conditioner, "encode", conditions_, times * batches_, alive_);
      alive_ += static_cast<std::uint64_t>(times) * bytes_of_all(cost.outputs);
      for (const auto& [name, shape] : cost.outputs) conditions_[name] = shape;
    }
    conditions_.erase("mask");
  }

  double evaluations() {
    ScheduleRequest request;
    request.steps = shape_.steps;
    request.timesteps = shape_.timesteps;
    request.latent_shape = {latent_.begin() + 1, latent_.end()};
    if (model_.parts.propagator && model_.parts.propagator->count({latent_[1], spatial_of_latent(), {}}) > 1) {
      meter_.cannot_time();  // how large its windows are shows only when they come
    }
    return static_cast<double>(model_.parts.scheduler->begin(request)->timesteps().size());
  }

  Shape spatial_of_latent() const { return {latent_.begin() + 2, latent_.end()}; }

  void sample() {
    const bool together = guided_ && shape_.batched_guidance;
    const double calls = evaluations() * batches_ * (guided_ && !together ? 2 : 1);
    ShapeMap in = conditions_;
    in["x"] = latent_;
    if (together) {
      for (auto& [name, shape] : in) shape.at(0) *= shape.at(0) == shape_.batch ? 2 : 1;
      alive_ += bytes_of_all(in);
    }
    in["timesteps"] = {in["x"][0]};
    std::uint64_t alive = alive_ + kLatentsWhileSampling * bytes_of(in["x"]);
    for (const auto& conditioner : model_.parts.conditioners) {
      if (!conditioner->has_step()) continue;
      const CallCost cost = meter_.call(*conditioner, "step", in, calls, alive);
      alive += bytes_of_all(cost.outputs);
      for (const auto& [name, shape] : cost.outputs) in[name] = shape;
    }
    meter_.call(*model_.parts.denoiser, "predict", in, calls, alive);
  }

  /// Row by row, when the conditions are gone.
  void decode() {
    const std::uint64_t latents = bytes_of(latent_);
    std::uint64_t image = latents;
    if (model_.compressor) {
      const Shape row = joined(1, latent_[1], spatial_of_latent());
      const CallCost cost =
          meter_.call(*model_.compressor, "decode", {{"z", row}}, shape_.samples, kept_ + latents + bytes_of(row));
      image = cost.outputs.contains("x") ? bytes_of(cost.outputs.at("x")) : bytes_of(joined(1, 1, shape_.spatial));
      meter_.working(kept_ + latents + image);
    }
    meter_.working(kept_ + latents + image + finishing(image, model_.contract));
  }

  const Model& model_;
  const GenerateShape& shape_;
  Meter meter_;
  bool guided_;
  Shape latent_;
  std::uint64_t kept_ = 0;
  double batches_ = 1;
  std::uint64_t alive_ = 0;
  ShapeMap conditions_;
};

}  // namespace

void Demand::then(const Demand& other) {
  for (auto member : {&Demand::loading, &Demand::held, &Demand::working, &Demand::device_held, &Demand::device_working,
                      &Demand::scratch}) {
    this->*member = std::max(this->*member, other.*member);
  }
  flops += other.flops;
  seconds += other.seconds;
  timed = timed && other.timed;
  if (precision.empty()) precision = other.precision;
  notes.insert(other.notes.begin(), other.notes.end());
  unknown.insert(other.unknown.begin(), other.unknown.end());
  for (const std::string& complaint : other.complaints) {
    if (std::find(complaints.begin(), complaints.end(), complaint) == complaints.end()) complaints.push_back(complaint);
  }
}

void Demand::then_with_more_models(const Demand& other) {
  Demand sum = other;
  sum.loading += held;
  sum.held += held;
  sum.device_held += device_held;
  then(sum);
}

std::uint64_t bytes_of(const Shape& shape) {
  double bytes = kFloat;
  for (const std::int64_t axis : shape) bytes *= static_cast<double>(axis);
  constexpr double kMost = 1e18;
  return static_cast<std::uint64_t>(std::min(bytes, kMost));
}

std::int64_t scaled_axis(std::int64_t axis, double scale, std::int64_t multiple_of) {
  if (scale == 1.0) return axis;
  const auto multiples = static_cast<std::int64_t>(static_cast<double>(axis) * scale) / multiple_of;
  return std::max<std::int64_t>(multiples, 1) * multiple_of;
}

bool on_device(const Host& host) {
  return host.options().device.type == MEDGEN_DEVICE_CUDA;
}

Demand demand_to_generate(const Model& model, const ModelPackage& package, bool on_device, const GenerateShape& shape) {
  return Generate(model, on_device, shape).run(package);
}

Demand demand_to_encode(const Model& model, const ModelPackage& package, bool on_device, const Shape& spatial,
                        std::uint64_t image_bytes, double samples) {
  Meter meter(on_device);
  const Shape x = joined(1, 1, spatial);
  meter.working(image_bytes + 3 * bytes_of(x));  // scaled, turned, padded
  meter.call(*model.compressor, "encode", {{"x", x}}, samples, image_bytes + bytes_of(x));
  return meter.finish({*package.part("compressor")});
}

Demand demand_to_decode(const Model& model, const ModelPackage& package, bool on_device, const Shape& latent,
                        double samples) {
  Meter meter(on_device);
  // The mean, and as a rule sigma beside it.
  const CallCost cost = meter.call(*model.compressor, "decode", {{"z", latent}}, samples, 2 * bytes_of(latent));
  Shape x = latent;
  for (std::size_t axis = 1; axis < x.size(); ++axis) x[axis] = axis == 1 ? 1 : x[axis] * model.compression;
  const std::uint64_t image = cost.outputs.contains("x") ? bytes_of(cost.outputs.at("x")) : bytes_of(x);
  meter.working(2 * bytes_of(latent) + image + finishing(image, model.contract));
  return meter.finish({*package.part("compressor")});
}

}  // namespace medgen
