// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/module.h"

#include "plugins/support/error.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/winograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <fmt/ranges.h>

#include <unordered_map>
#include <unordered_set>

namespace medgen::nn {
namespace {

using support::InvalidInput;
using support::require;

/// FNV-1a of the name, mixed with the seed by the finaliser of SplitMix64: neighbouring seeds and names share nothing.
uint64_t seed_of(uint64_t seed, std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  uint64_t z = hash + (seed + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

at::Tensor filled(const Parameter& parameter, uint64_t seed) {
  const at::TensorOptions options = at::TensorOptions().dtype(parameter.dtype).device(at::kCPU);
  at::Tensor value = at::empty(parameter.shape, options);
  // ATen draws serially from this generator, so the numbers do not depend on the threads.
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const Init& init = parameter.init;
  switch (init.kind) {
    case Init::Kind::Constant:
      return value.fill_(init.mean);
    case Init::Kind::Uniform:
      return value.uniform_(init.mean - init.scale, init.mean + init.scale, generator);
    case Init::Kind::Normal:
      return value.normal_(init.mean, init.scale, generator);
  }
  return value;
}

/// Convolution weights live channels-last, like the activations they meet.
at::Tensor in_layout(const at::Tensor& value) {
  if (value.dim() == 5) return value.contiguous(at::MemoryFormat::ChannelsLast3d);
  if (value.dim() == 4) return value.contiguous(at::MemoryFormat::ChannelsLast);
  return value.contiguous();
}

at::ScalarType dtype_of(const Parameter& parameter, at::ScalarType stored, at::ScalarType wide) {
  if (parameter.role == Role::Compute) return stored;
  return parameter.role == Role::Wide ? wide : parameter.dtype;
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

/// Collects what is wrong with a weight file, and throws it as one message that stays readable.
class Complaints {
 public:
  void add(std::string line) {
    if (++count_ <= kShown) text_ += "\n  " + std::move(line);
  }

  void throw_if_any(size_t wanted) const {
    if (count_ == 0) return;
    const std::string more = count_ > kShown ? fmt::format("\n  and {} more", count_ - kShown) : "";
    throw InvalidInput("the weights do not fit the network, which has {} tensors:{}{}", wanted, text_, more);
  }

 private:
  static constexpr int kShown = 8;
  int count_ = 0;
  std::string text_;
};

}  // namespace

int64_t Parameter::numel() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

const at::Tensor& Module::add_parameter(std::string name, Shape shape, Init init, Role role, at::ScalarType dtype) {
  parameters_.push_back(
      std::make_unique<Parameter>(Parameter{std::move(name), std::move(shape), init, role, dtype, {}}));
  return parameters_.back()->value;
}

void Module::collect(const std::string& prefix, std::vector<NamedParameter>& out) {
  for (const auto& parameter : parameters_) out.push_back({prefix + parameter->name, parameter.get()});
  for (const Child& child : children_) {
    child.module->collect(child.name.empty() ? prefix : prefix + child.name + ".", out);
  }
}

void Module::for_each_module(const std::function<void(Module&)>& visit) {
  visit(*this);
  for (const Child& child : children_) child.module->for_each_module(visit);
}

std::string Module::path() const {
  const std::string outer = parent_ == nullptr ? "" : parent_->path();
  return outer.empty() || name_.empty() ? outer + name_ : outer + '.' + name_;
}

std::vector<NamedParameter> Module::parameters() {
  std::vector<NamedParameter> all;
  collect("", all);
  return all;
}

int64_t Module::parameter_count() {
  int64_t count = 0;
  for (const NamedParameter& named : parameters()) {
    if (named.parameter->trainable()) count += named.parameter->numel();
  }
  return count;
}

void Module::load(const WeightSource& source) {
  const std::vector<NamedParameter> wanted = parameters();
  std::unordered_set<std::string_view> unclaimed(source.names.begin(), source.names.end());
  std::vector<at::Tensor> found;
  found.reserve(wanted.size());
  Complaints complaints;
  for (const auto& [name, parameter] : wanted) {
    found.emplace_back();
    if (unclaimed.erase(name) == 0) {
      complaints.add(fmt::format("'{}' {} is missing", name, shape_text(parameter->shape)));
      continue;
    }
    found.back() = source.tensor(name);
    const at::Tensor& tensor = found.back();
    if (tensor.sizes() != at::IntArrayRef(parameter->shape)) {
      complaints.add(fmt::format("'{}' has shape {}, {} is wanted", name, shape_text(tensor.sizes()),
                                 shape_text(parameter->shape)));
    } else if (parameter->role != Role::Buffer && !tensor.is_floating_point()) {
      complaints.add(fmt::format("'{}' holds {}, floating point is wanted", name, c10::toString(tensor.scalar_type())));
    }
  }
  for (const std::string& name : source.names) {
    if (unclaimed.erase(name) > 0 && !ignores(name))
      complaints.add(fmt::format("'{}' is not part of the network", name));
  }
  complaints.throw_if_any(wanted.size());
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < wanted.size(); ++i) {
    Parameter& parameter = *wanted[i].parameter;
    const at::ScalarType dtype = dtype_of(parameter, stored_dtype_, wide_dtype_);
    parameter.value = in_layout(found[i].to(dtype, /*non_blocking=*/false, /*copy=*/true));
    found[i].reset();
  }
}

at::ScalarType stored_type(Role role, at::ScalarType compute, at::Device device) {
  if (role == Role::Wide && device.is_cpu() && prefers_float(compute)) return at::kFloat;
  return role == Role::Compute || role == Role::Wide ? product_type(compute, device) : at::kFloat;
}

void Module::initialize(uint64_t seed) {
  at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters()) {
    parameter->value =
        in_layout(filled(*parameter, seed_of(seed, name)).to(dtype_of(*parameter, stored_dtype_, wide_dtype_)));
  }
}

void Module::set_compute_dtype(at::ScalarType compute) {
  require(compute == at::kFloat || compute == at::kBFloat16 || compute == at::kHalf,
          "compute precision {} is not known; use float32, bfloat16 or float16", c10::toString(compute));
  for_each_module([&](Module& module) { module.compute_dtype_ = compute; });
}

void Module::set_precision(at::ScalarType compute, at::Device device) {
  set_compute_dtype(compute);
  stored_dtype_ = stored_type(Role::Compute, compute, device);
  wide_dtype_ = stored_type(Role::Wide, compute, device);
  at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters()) {
    if (!parameter->value.defined()) continue;
    parameter->value = parameter->value.to(dtype_of(*parameter, stored_dtype_, wide_dtype_));
  }
}

void Module::to(at::Device device) {
  at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters()) {
    if (parameter->value.defined()) parameter->value = parameter->value.to(device);
  }
}

void Module::train(bool on) {
  for_each_module([&](Module& module) { module.training_ = on; });
}

void Module::checkpoint_activations(bool on) {
  for_each_module([&](Module& module) { module.checkpoints_activations_ = on; });
}

int64_t copy_matching_parameters(Module& from, Module& to) {
  at::NoGradGuard no_grad;
  std::unordered_map<std::string, const Parameter*> sources;
  for (const auto& [name, parameter] : from.parameters()) sources.emplace(name, parameter);
  int64_t copied = 0;
  for (const auto& [name, parameter] : to.parameters()) {
    const auto source = sources.find(name);
    if (source == sources.end() || source->second->shape != parameter->shape) continue;
    parameter->value.copy_(source->second->value);
    ++copied;
  }
  return copied;
}

}  // namespace medgen::nn
