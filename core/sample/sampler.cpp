// SPDX-License-Identifier: Apache-2.0
#include "core/sample/sampler.h"

#include "core/random/noise.h"
#include "core/sample/update.h"
#include "core/tensor/finite.h"

#include <algorithm>

namespace medgen {
namespace {

/// The same window of every sample of the batch.
struct WindowBatch {
  std::vector<Window> windows;

  const Window& front() const { return windows.front(); }

  bool starts_from_known() const { return (front().flags & MEDGEN_WINDOW_START_KNOWN) != 0; }

  bool has_known() const { return front().known_rule != MEDGEN_KNOWN_NONE; }
};

bool alike(const Window& a, const Window& b) {
  return a.flags == b.flags && a.known_rule == b.known_rule && a.origin == b.origin && a.extent == b.extent &&
         a.order == b.order && a.noise_stream == b.noise_stream;
}

Tensor stack(const std::vector<Window>& windows, Tensor Window::*member) {
  std::vector<Tensor> rows;
  for (const Window& window : windows) {
    const Tensor& tensor = window.*member;
    if (tensor.empty()) return {};
    Shape shape = tensor.shape();
    shape.insert(shape.begin(), 1);
    rows.push_back(tensor.reshape(shape));
  }
  return concat_rows(rows);
}

/// The tensor with its last axes reordered: of those, axis i of the result is axis order[i] of the input.
Tensor permute_last(const Tensor& tensor, const std::vector<int>& order) {
  if (tensor.empty() || std::is_sorted(order.begin(), order.end())) return tensor;
  const Shape& from = tensor.shape();
  const auto lead = static_cast<std::ptrdiff_t>(from.size() - order.size());
  const auto stride = [&](std::ptrdiff_t axis) { return element_count({from.begin() + axis + 1, from.end()}); };
  Shape shape(from.begin(), from.begin() + lead);
  Shape strides;
  for (std::ptrdiff_t axis = 0; axis < lead; ++axis) strides.push_back(stride(axis));
  for (const int axis : order) {
    shape.push_back(from[static_cast<std::size_t>(lead + axis)]);
    strides.push_back(stride(lead + axis));
  }
  medgen_tensor_t view = tensor.abi();
  view.shape = shape.data();
  view.strides = strides.data();
  return Tensor::from_abi(view);
}

/// The loop over windows and evaluations of one batch.
class SamplingRun {
 public:
  SamplingRun(const SamplerParts& parts, const SampleRequest& request, const SampleHooks& hooks)
      : parts_(parts), request_(request), hooks_(hooks), spatial_(request.latent.begin() + 1, request.latent.end()) {
    context_.seed = request.seed;
    context_.sample = request.first_sample;
    if (hooks.progress) {
      context_.progress = [this](std::string_view, std::uint64_t, std::uint64_t) {
        return hooks_.progress(done_, total_);
      };
    }
  }

  Tensor run() {
    const CoverRequest cover_request = this->cover_request();
    const std::uint64_t windows = std::max<std::uint64_t>(parts_.propagator->count(cover_request), 1);
    total_ = windows * schedule(spatial_)->timesteps().size();

    std::vector<std::unique_ptr<Cover>> covers;
    for (int n = 0; n < request_.batch; ++n) covers.push_back(parts_.propagator->begin(context_, cover_request));
    while (const auto batch = next_windows(covers)) {
      const Tensor result = sample_window(*batch);
      for (std::size_t n = 0; n < covers.size(); ++n) {
        const Tensor row = result.rows(static_cast<std::int64_t>(n), 1);
        covers[n]->accept(context_, batch->windows[n], row.reshape({row.shape().begin() + 1, row.shape().end()}));
      }
    }
    std::vector<Tensor> rows;
    for (const auto& cover : covers) rows.push_back(finished(*cover));
    return concat_rows(rows);
  }

 private:
  CoverRequest cover_request() const { return {request_.latent.at(0), spatial_, request_.inputs}; }

  std::unique_ptr<Schedule> schedule(const Shape& extent) const {
    ScheduleRequest request;
    request.steps = request_.steps;
    request.timesteps = request_.timesteps;
    request.latent_shape = extent;
    request.latent_shape.insert(request.latent_shape.begin(), request_.latent[0]);
    return parts_.scheduler->begin(request);
  }

  std::optional<WindowBatch> next_windows(std::vector<std::unique_ptr<Cover>>& covers) const {
    WindowBatch batch;
    for (const auto& cover : covers) {
      auto window = cover->next(context_);
      if (!window) break;
      batch.windows.push_back(std::move(*window));
    }
    if (batch.windows.empty()) return std::nullopt;
    const bool together = batch.windows.size() == covers.size() &&
                          std::all_of(batch.windows.begin(), batch.windows.end(),
                                      [&](const Window& window) { return alike(window, batch.windows.front()); });
    if (!together) {
      throw PluginError("{}: the windows of the samples of one batch differ; run this propagator with batch 1",
                        parts_.propagator->id());
    }
    return batch;
  }

  Tensor finished(Cover& cover) const {
    Tensor covered = cover.finish(context_);
    if (covered.shape() != request_.latent) {
      throw PluginError("{}: covered an array of shape {}, {} was asked for", parts_.propagator->id(),
                        to_string(covered.shape()), to_string(request_.latent));
    }
    Shape shape = covered.shape();
    shape.insert(shape.begin(), 1);
    return covered.reshape(shape);
  }

  Tensor noise(const Window& window, std::string_view purpose, std::uint32_t step) const {
    const TraceRange range(hooks_.trace, "noise", "loop");
    Shape shape{request_.batch, request_.latent[0]};
    shape.insert(shape.end(), window.extent.begin(), window.extent.end());
    Tensor tensor(DType::F32, shape);
    const std::string stream =
        window.noise_stream == 0 ? std::string(purpose) : fmt::format("{}.{}", purpose, window.noise_stream);
    Shape origin = window.origin;
    origin.insert(origin.begin(), 0);
    fill_noise_box(tensor, request_.latent, origin, {request_.seed, request_.first_sample, stream, step},
                   Distribution::Normal, request_.threads);
    return permute_last(tensor, window.order);
  }

  /// The user's inputs as this window sees them: spatial ones cropped to it and turned its way.
  TensorMap window_inputs(const WindowBatch& batch) const {
    const Window& window = batch.front();
    TensorMap inputs;
    for (const auto& [name, tensor] : request_.inputs) inputs[name] = window_input(tensor, window);
    for (const auto& [name, first] : window.conditions) {
      std::vector<Tensor> rows;
      for (const Window& each : batch.windows) rows.push_back(each.conditions.at(name));
      inputs[name] = concat_rows(rows);
    }
    return inputs;
  }

  Tensor window_input(const Tensor& tensor, const Window& window) const {
    const std::size_t axes = spatial_.size();
    if (tensor.shape().size() != axes + 2) return tensor;
    Shape origin;
    Shape extent;
    for (std::size_t i = 0; i < axes; ++i) {
      const std::int64_t factor = tensor.shape()[2 + i] / std::max<std::int64_t>(spatial_[i], 1);
      if (factor < 1 || factor * spatial_[i] != tensor.shape()[2 + i]) return tensor;
      origin.push_back(factor * window.origin[i]);
      extent.push_back(factor * window.extent[i]);
    }
    return permute_last(crop(tensor, origin, extent), window.order);
  }

  TensorMap conditions(const TensorMap& inputs, bool unconditional) {
    TensorMap known = inputs;
    TensorMap made;
    CallContext context = context_;
    if (unconditional) context.flags |= MEDGEN_CALL_UNCONDITIONAL;
    for (const auto& conditioner : parts_.conditioners) {
      if (!conditioner->has_encode()) continue;
      for (auto& [name, tensor] : encoded(*conditioner, context, {known, request_.params_json})) {
        known[name] = tensor;
        made[name] = tensor;
      }
    }
    return made;
  }

  static TensorMap encoded(Conditioner& conditioner, const CallContext& context, const Inputs& in) {
    try {
      return conditioner.encode(context, in);
    } catch (const InvalidError& error) {
      throw ConditionError("{}", error.what());
    }
  }

  bool guided() const { return request_.guidance != 1.0; }

  Tensor sample_window(const WindowBatch& batch) {
    const TraceRange whole(hooks_.trace, "window", "loop");
    context_.step = 0;
    const Window& window = batch.front();
    const auto plan = schedule(window.extent);
    const TensorMap inputs = window_inputs(batch);
    const TensorMap with = conditions(inputs, false);
    const TensorMap without = guided() ? conditions(inputs, true) : TensorMap{};
    if (!guided()) parts_.denoiser->prepare(context_, with);

    const Tensor known = stack(batch.windows, &Window::known);
    const Tensor known_mask = stack(batch.windows, &Window::known_mask);
    const auto& t = plan->timesteps();
    Tensor x = noise(window, "initial", 0);
    if (batch.starts_from_known()) x = add_noise(plan->level(t.at(0)), known, x, request_.threads);

    History history;
    for (std::size_t i = 0; i < t.size(); ++i) {
      context_.step = static_cast<std::uint32_t>(i);
      const TraceRange evaluation(hooks_.trace, "evaluation", "loop");
      if (batch.has_known()) impose(x, known, known_mask, window, *plan, t[i], i);
      const Prediction m = evaluate(x, t[i], with, without);
      if (hooks_.preview) hooks_.preview(i, clean_estimate(plan->level(t[i]), x, m, request_.threads));
      const Update update = plan->update(i);
      const bool noisy = (update.flags & MEDGEN_UPDATE_NOISE) != 0;
      const Tensor eps = noisy ? noise(window, "step", context_.step) : Tensor{};
      {
        const TraceRange range(hooks_.trace, "update", "loop");
        x = apply_update(update, x, m, eps, history, request_.threads);
      }
      check_finite(x, i, t[i]);
      ++done_;
      if (hooks_.progress && !hooks_.progress(done_, total_))
        throw Cancelled("cancelled after evaluation {} of {}", done_, total_);
    }
    if (batch.has_known()) replace_known(x, known, known_mask);
    return x;
  }

  /// The components gave finite numbers; what the loop makes of them may still overflow.
  void check_finite(const Tensor& x, std::size_t i, double t) const {
    if (count_non_finite(x) == 0) return;
    throw PluginError(
        "sampling with {} and {} overflows at evaluation {} (t = {}): the scheduler does not fit the denoiser, or "
        "guidance {} is too strong",
        parts_.denoiser->id(), parts_.scheduler->id(), i, t, request_.guidance);
  }

  Prediction evaluate(const Tensor& x, double t, const TensorMap& with, const TensorMap& without) {
    if (!guided()) return predict(x, t, with);
    if (!request_.batched_guidance) return {predict(x, t, with), predict(x, t, without), request_.guidance};
    TensorMap both;
    for (const auto& [name, tensor] : with) {
      const auto other = without.find(name);
      if (other == without.end()) throw PluginError("guidance: a conditioner gives '{}' only with conditions", name);
      both[name] = concat_rows(std::vector{rows_for_all(tensor), rows_for_all(other->second)});
    }
    const Tensor m = predict(concat_rows(std::vector{x, x}), t, both);
    return {m.rows(0, request_.batch), m.rows(request_.batch, request_.batch), request_.guidance};
  }

  /// A condition with one row for the whole batch, repeated.
  Tensor rows_for_all(const Tensor& tensor) const {
    if (tensor.shape().empty() || tensor.shape()[0] != 1 || request_.batch == 1) return tensor;
    return concat_rows(std::vector<Tensor>(static_cast<std::size_t>(request_.batch), tensor));
  }

  Tensor predict(const Tensor& x, double t, const TensorMap& conditions) {
    TensorMap in = conditions;
    in["x"] = x;
    const std::vector<float> times(static_cast<std::size_t>(x.shape()[0]), static_cast<float>(t));
    in["timesteps"] = Tensor::from<float>(times, {x.shape()[0]});
    for (const auto& conditioner : parts_.conditioners) {
      if (!conditioner->has_step()) continue;
      for (auto& [name, tensor] : conditioner->step(context_, in)) in[name] = tensor;
    }
    return parts_.denoiser->predict(context_, in);
  }

  /// Puts the known part into x: as it is, or at the noise level of this evaluation.
  void impose(Tensor& x, const Tensor& known, const Tensor& mask, const Window& window, const Schedule& plan, double t,
              std::size_t i) const {
    if (window.known_rule == MEDGEN_KNOWN_CLEAN) return replace_known(x, known, mask);
    const Tensor eps = noise(window, "known", static_cast<std::uint32_t>(i));
    replace_known(x, add_noise(plan.level(t), known, eps, request_.threads), mask);
  }

  void replace_known(Tensor& x, const Tensor& known, const Tensor& mask) const {
    if (known.shape() != x.shape() || mask.size() * x.shape()[1] != x.size()) {
      throw PluginError("{}: the known part has shape {} and its mask {}, the window {}", parts_.propagator->id(),
                        to_string(known.shape()), to_string(mask.shape()), to_string(x.shape()));
    }
    const std::int64_t samples = std::max<std::int64_t>(x.shape()[0], 1);
    const std::int64_t voxels = mask.size() / samples;
    const std::int64_t rows = samples * x.shape()[1];
    for (std::int64_t row = 0; row < rows; ++row) {
      float* const to = x.values<float>().data() + row * voxels;
      const float* const from = known.values<float>().data() + row * voxels;
      const std::uint8_t* const flags = mask.values<std::uint8_t>().data() + row / x.shape()[1] * voxels;
      for (std::int64_t i = 0; i < voxels; ++i) to[i] = flags[i] != 0 ? from[i] : to[i];
    }
  }

  const SamplerParts& parts_;
  const SampleRequest& request_;
  const SampleHooks& hooks_;
  Shape spatial_;
  CallContext context_;
  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace

Tensor sample_latents(const SamplerParts& parts, const SampleRequest& request, const SampleHooks& hooks) {
  check(request.latent.size() >= 2 && request.batch >= 1, "a latent with channels and spatial axes");
  return SamplingRun(parts, request, hooks).run();
}

}  // namespace medgen
