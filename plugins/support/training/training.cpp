// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/training.h"

#include "kernels/adam.h"
#include "kernels/group_norm.h"
#include "plugins/support/bridge.h"
#include "plugins/support/error.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/training/step.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/addcdiv.h>
#include <ATen/ops/full.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/variable.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace medgen::support {

namespace {

at::ScalarType precision(const std::string& name) {
  if (name == "fp16") return at::kHalf;
  return name == "bf16" ? at::kBFloat16 : at::kFloat;
}

}  // namespace

TrainingOptions TrainingOptions::read(std::string_view options_json, at::ScalarType compute, at::Device device) {
  const nlohmann::json json = parsed_options(options_json);
  TrainingOptions options;
  options.beta1 = json.value("beta1", options.beta1);
  options.beta2 = json.value("beta2", options.beta2);
  options.eps = json.value("eps", options.eps);
  options.weight_decay = json.value("weight_decay", options.weight_decay);
  options.ema = json.value("ema", options.ema);
  options.clip_norm = json.value("clip_norm", options.clip_norm);
  options.compute = compute;
  options.device = device;
  if (json.contains("precision")) options.compute = precision(json["precision"].get<std::string>());
  options.checkpoint_activations = json.value("checkpoint_activations", options.checkpoint_activations);
  options.state_on_disk = json.value("optimizer_state", "memory") == "disk";
  return options;
}

void TrainingOptions::check(std::string_view options_json) {
  if (!read(options_json, at::kFloat, at::kCPU).state_on_disk) return;
  const KeptFile tried(disk_folder());
}

namespace {

void initialize(const TrainedModules::Member& member, at::Device device, std::uint64_t seed) {
  member.module->initialize(seed);
  member.module->to(device);
  if (member.copy_of != nullptr) nn::copy_matching_parameters(*member.copy_of, *member.module);
}

}  // namespace

TrainedModules::TrainedModules(std::vector<Member> members, const TrainingOptions& options, std::uint64_t seed)
    : options_(options), scale_(options.compute == at::kHalf), members_(std::move(members)) {
  if (options.state_on_disk) file_ = std::make_shared<KeptFile>(disk_folder());
  for (const Member& member : members_) {
    const auto parameters = member.module->parameters();
    const bool has_weights = !parameters.empty() && parameters.front().parameter->value.defined();
    require(has_weights || member.trained, "{}: a frozen network needs weights", member.role);
    if (!has_weights) initialize(member, options.device, seed);
    member.module->set_compute_dtype(options.compute);
    member.module->checkpoint_activations(options.checkpoint_activations);
    member.module->train(member.trained);
    collect(member);
  }
  require(!trained_.empty(), "nothing to train");
}

void TrainedModules::collect(const Member& member) {
  const std::string prefix = member.role.empty() ? "" : member.role + "/";
  for (const auto& [name, value] : member.adapters) add(prefix + name, value);
  if (!member.trained) return;
  for (const nn::NamedParameter& named : member.module->parameters()) {
    if (named.parameter->trainable()) add(prefix + named.name, named.parameter->value);
  }
}

void TrainedModules::add(std::string name, at::Tensor value) {
  require(value.scalar_type() == at::kFloat, "{}: training wants float32 weights, this component holds {}", name,
          c10::toString(value.scalar_type()));
  value.requires_grad_(true);
  Trained trained{std::move(name), value, {value, file_}, {value, file_}, {}};
  if (options_.ema > 0) {
    trained.average = {value, file_};
    trained.average.put(value.detach());
  }
  trained_.push_back(std::move(trained));
}

void TrainedModules::swap_averages() {
  const at::NoGradGuard no_grad;
  for (Trained& each : trained_) {
    if (!each.average.defined()) continue;
    at::Tensor value = each.value.detach();
    const at::Tensor kept = value.clone();
    value.copy_(each.average.get());
    each.average.put(kept);
  }
}

void TrainedModules::set_evaluating(bool on) {
  if (on == evaluating_) return;
  swap_averages();
  for (const Member& member : members_) member.module->train(!on && member.trained);
  evaluating_ = on;
}

void TrainedModules::backward(const at::Tensor& loss) {
  if (evaluating_) return;
  scale_.scaled(loss).backward();
  ++gathered_;
}

void TrainedModules::backward(const sdk::Context& context, const at::Tensor& loss, bool same_passes) {
  if (evaluating_) return;
  const sdk::Gradients exchange(context);
  if (!exchange.shared()) return backward(loss);
  if (!buckets_) {
    std::vector<at::Tensor> parameters;
    for (const Trained& each : trained_) parameters.push_back(each.value);
    buckets_ = std::make_unique<GradientBuckets>(parameters);
  }
  // Of checkpointed segments each pass adds to the gradients by itself: how many will come is not known beforehand.
  const bool overlapped = same_passes || !options_.checkpoint_activations;
  buckets_->backward(scale_.scaled(loss), exchange, overlapped);
  ++gathered_;
}

namespace {

/// In one order whatever the threads: the tensor's beginning as planes of sixteen channels, the rest one by one.
double sum_of_squares(const at::Tensor& x) {
  constexpr std::int64_t kChannels = 16, kVoxels = 1 << 11;
  const std::int64_t planes = x.numel() / (kChannels * kVoxels);
  const auto* const values = x.const_data_ptr<float>();
  std::vector<double> sums(static_cast<std::size_t>(2 * planes * kChannels));
  double* const squares = sums.data() + planes * kChannels;
  kernels::launch(nn::on_torch_threads(),
                  kernels::ChannelSums<float>{{values, planes, 1, kVoxels, kChannels}, sums.data(), squares});
  double sum = std::accumulate(squares, squares + planes * kChannels, 0.0);
  for (std::int64_t i = planes * kChannels * kVoxels; i < x.numel(); ++i) sum += double{values[i]} * double{values[i]};
  return sum;
}

bool kernel_reads(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_non_overlapping_and_dense();
}

}  // namespace

namespace {

[[noreturn]] void refuse_gradients() {
  throw sdk::Error(MEDGEN_E_INVALID,
                   "the gradients are not finite; lower the learning rate, clip the gradients, or look for bad input");
}

}  // namespace

double TrainedModules::gradient_norm() const {
  double sum = 0;
  for (const Trained& each : trained_) {
    const at::Tensor& gradient = each.value.grad();
    if (!gradient.defined()) continue;
    sum += kernel_reads(gradient) ? sum_of_squares(gradient) : gradient.square().sum(at::kDouble).item<double>();
  }
  return std::sqrt(sum) / (static_cast<double>(gathered_) * scale_.factor());
}

double TrainedModules::apply(double learning_rate) {
  require(gathered_ > 0, "there are no gradients to apply: no step came before");
  set_evaluating(false);
  const at::NoGradGuard no_grad;
  const double norm = gradient_norm();
  if (!std::isfinite(norm)) {
    leave_out_step();
    return norm;
  }
  const double clip = options_.clip_norm > 0 && norm > options_.clip_norm ? options_.clip_norm / norm : 1.0;
  Step step{.scale = clip / (static_cast<double>(gathered_) * scale_.factor()),
            .rate = learning_rate,
            .correction1 = 1,
            .correction2 = 1};
  gathered_ = 0;
  scale_.passed();
  ++steps_;
  step.correction1 -= std::pow(options_.beta1, static_cast<double>(steps_));
  step.correction2 -= std::pow(options_.beta2, static_cast<double>(steps_));
  for (Trained& each : trained_) {
    if (!each.value.grad().defined()) continue;
    update(each, step);
    // The next backward pass leaves its gradient here as it is, instead of adding it to zeros.
    each.value.mutable_grad().reset();
  }
  return norm;
}

void TrainedModules::update(Trained& each, const Step& step) const {
  const at::Tensor& gradient = each.value.grad();
  Moments moments{each.m.get(), each.v.get(), each.average.get()};
  if (kernel_reads(gradient) && kernel_reads(each.value) && gradient.strides() == each.value.strides()) {
    update_by_kernel(each.value, moments, gradient, step);
  } else {
    update_by_operators(each.value, moments, gradient, step);
  }
  each.m.put(moments.m);
  each.v.put(moments.v);
  if (each.average.defined()) each.average.put(moments.average);
}

void TrainedModules::require_sound_gradients() const {
  const at::NoGradGuard no_grad;
  if (gathered_ > 0 && !scale_.active() && !std::isfinite(gradient_norm())) refuse_gradients();
}

void TrainedModules::leave_out_step() {
  if (!scale_.reduce()) refuse_gradients();
  for (Trained& each : trained_) each.value.mutable_grad().reset();
  gathered_ = 0;
}

void TrainedModules::update_by_kernel(const at::Tensor& weight, Moments& moments, const at::Tensor& gradient,
                                      const Step& step) const {
  const auto narrow = [](double value) { return static_cast<float>(value); };
  const kernels::AdamStep kernel{
      .scale = narrow(step.scale),
      .keep1 = narrow(options_.beta1),
      .take1 = narrow(1.0 - options_.beta1),
      .keep2 = narrow(options_.beta2),
      .take2 = narrow(1.0 - options_.beta2),
      .eps = narrow(options_.eps),
      .shrink = narrow(1.0 - step.rate * options_.weight_decay),
      .rate = narrow(step.rate / step.correction1),
      .root = narrow(1.0 / std::sqrt(step.correction2)),
      .follow = narrow(1.0 - options_.ema),
      .count = gradient.numel(),
      .gradient = gradient.const_data_ptr<float>(),
      .value = weight.detach().mutable_data_ptr<float>(),
      .m = moments.m.mutable_data_ptr<float>(),
      .v = moments.v.mutable_data_ptr<float>(),
      .average = moments.average.defined() ? moments.average.mutable_data_ptr<float>() : nullptr};
  kernels::launch(nn::on_torch_threads(), kernel);
  // Written behind LibTorch's back: packed copies of weights go by the version.
  torch::autograd::impl::bump_version(weight);
}

void TrainedModules::update_by_operators(const at::Tensor& weight, Moments& moments, at::Tensor gradient,
                                         const Step& step) const {
  if (step.scale != 1.0) gradient = gradient.mul(step.scale);
  at::Tensor value = weight.detach();
  if (options_.weight_decay > 0) value.mul_(1.0 - step.rate * options_.weight_decay);
  moments.m.lerp_(gradient, 1.0 - options_.beta1);
  moments.v.mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);
  const at::Tensor denominator = (moments.v / step.correction2).sqrt_().add_(options_.eps);
  value.addcdiv_(moments.m, denominator, -step.rate / step.correction1);
  if (moments.average.defined()) moments.average.lerp_(value, 1.0 - options_.ema);
}

void TrainedModules::save(std::uint32_t what, const sdk::StateSink& to, const std::string& prefix) {
  set_evaluating(false);
  if ((what & MEDGEN_TRAIN_GRADIENTS) != 0) save_gradients(to, prefix);
  for (const Trained& each : trained_) {
    if ((what & MEDGEN_TRAIN_WEIGHTS) != 0) put(to, prefix + "weights/" + each.name, each.value.detach());
    if ((what & MEDGEN_TRAIN_EMA) != 0 && each.average.defined())
      put(to, prefix + "ema/" + each.name, each.average.get());
    if ((what & MEDGEN_TRAIN_OPTIMIZER) != 0) {
      put(to, prefix + "optimizer/" + each.name + "/m", each.m.get());
      put(to, prefix + "optimizer/" + each.name + "/v", each.v.get());
    }
  }
  if ((what & MEDGEN_TRAIN_OPTIMIZER) == 0) return;
  put(to, prefix + "optimizer/step", at::full({1}, static_cast<double>(steps_), at::kFloat));
  if (scale_.active()) put(to, prefix + "optimizer/loss_scale", scale_.state());
}

void TrainedModules::save_gradients(const sdk::StateSink& to, const std::string& prefix) const {
  const double factor = static_cast<double>(std::max<std::int64_t>(gathered_, 1)) * scale_.factor();
  for (const Trained& each : trained_) {
    const at::Tensor& gradient = each.value.grad();
    if (gradient.defined()) put(to, prefix + "gradients/" + each.name, gradient.div(factor));
  }
}

void TrainedModules::load(std::uint32_t what, const sdk::StateSource& from, const std::string& prefix) {
  set_evaluating(false);
  const at::NoGradGuard no_grad;
  const auto found = [&](const std::string& name, const at::Tensor& like) {
    const at::Tensor source = to_torch(from.get(prefix + name));
    require(source.sizes() == like.sizes(), "checkpoint: {} has the wrong shape", prefix + name);
    return source;
  };
  for (Trained& each : trained_) {
    at::Tensor value = each.value.detach();
    if ((what & MEDGEN_TRAIN_WEIGHTS) != 0) value.copy_(found("weights/" + each.name, value));
    if ((what & MEDGEN_TRAIN_EMA) != 0 && each.average.defined()) each.average.put(found("ema/" + each.name, value));
    if ((what & MEDGEN_TRAIN_OPTIMIZER) != 0) {
      each.m.put(found("optimizer/" + each.name + "/m", value));
      each.v.put(found("optimizer/" + each.name + "/v", value));
    }
  }
  if ((what & MEDGEN_TRAIN_OPTIMIZER) == 0) return;
  steps_ = static_cast<std::int64_t>(to_torch(from.get(prefix + "optimizer/step")).item<float>());
  if (scale_.active()) scale_.restore(to_torch(from.get(prefix + "optimizer/loss_scale")));
}

}  // namespace medgen::support
