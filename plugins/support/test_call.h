// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <medgen/sdk/draft/train.hpp>
#include <medgen/sdk/sdk.hpp>

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

// For tests: a host that calls a component's class directly, with torch tensors in and out.

namespace medgen::support::testing {

using Tensors = std::map<std::string, at::Tensor>;

inline medgen_tensor_t view_of(const at::Tensor& tensor, medgen_dtype_t dtype) {
  medgen_tensor_t view{};
  view.data = tensor.data_ptr();
  view.device = {MEDGEN_DEVICE_CPU, 0};
  view.ndim = static_cast<std::int32_t>(tensor.dim());
  view.dtype = dtype;
  view.shape = const_cast<std::int64_t*>(tensor.sizes().data());
  view.strides = const_cast<std::int64_t*>(tensor.strides().data());
  return view;
}

/// Named float32 tensors, and scalars as JSON, as a call gets them; keeps them alive.
class Given {
 public:
  explicit Given(Tensors tensors, std::string params = "") : params_(std::move(params)) {
    for (auto& [name, tensor] : tensors) tensors_[name] = tensor.to(at::kFloat);
    views_.reserve(tensors_.size());
    for (const auto& [name, tensor] : tensors_) {
      views_.push_back(view_of(tensor, sdk::kFloat32));
      items_.push_back({sdk::to_abi(name), &views_.back(), nullptr});
    }
    binds_ = {sizeof binds_, static_cast<std::uint32_t>(items_.size()), items_.data(), sdk::to_abi(params_)};
  }

  Given(const Given&) = delete;
  Given& operator=(const Given&) = delete;

  sdk::Binds binds() const { return sdk::Binds(binds_); }

 private:
  std::string params_;
  Tensors tensors_;
  std::vector<medgen_tensor_t> views_;
  std::vector<medgen_bind_t> items_;
  medgen_binds_t binds_{};
};

/// Copies of what `save(sink)` puts.
template <typename Save>
Tensors saved_by(const Save& save) {
  Tensors saved;
  medgen_state_sink_t sink{sizeof sink, 0, reinterpret_cast<medgen_hobj_t*>(&saved), nullptr};
  sink.put = [](medgen_hobj_t* host, medgen_str_t name, const medgen_tensor_t* tensor) noexcept {
    const auto axes = static_cast<std::size_t>(tensor->ndim);
    const at::Tensor lent = at::from_blob(tensor->data, at::IntArrayRef(tensor->shape, axes),
                                          at::IntArrayRef(tensor->strides, axes), at::kFloat);
    (*reinterpret_cast<Tensors*>(host))[std::string(sdk::from_abi(name))] = lent.clone();
    return medgen_status_t{MEDGEN_OK};
  };
  save(sdk::StateSink(sink));
  return saved;
}

/// A source of tensors that a trainer loads; keeps them alive.
class Restored {
 public:
  explicit Restored(Tensors tensors) : tensors_(std::move(tensors)) {}

  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

  sdk::StateSource source() const { return sdk::StateSource(source_); }

 private:
  static medgen_status_t get(medgen_hobj_t* host, medgen_str_t name, medgen_tensor_t* out) noexcept {
    const auto& tensors = reinterpret_cast<Restored*>(host)->tensors_;
    const auto found = tensors.find(std::string(sdk::from_abi(name)));
    if (found == tensors.end()) return MEDGEN_E_NOT_FOUND;
    *out = view_of(found->second, sdk::kFloat32);
    return MEDGEN_OK;
  }

  Tensors tensors_;
  medgen_state_source_t source_{sizeof source_, 0, reinterpret_cast<medgen_hobj_t*>(this), &get};
};

/// One host at a time. `noise` is what it gives for fill_noise, zeros while it is empty.
class TestHost {
 public:
  std::function<at::Tensor(at::IntArrayRef shape)> noise;
  std::function<bool(std::uint64_t done, std::uint64_t total)> progress;  ///< told how far a call is; false stops it
  std::uint32_t flags = 0;                                                ///< MEDGEN_CALL_* of its calls
  /// Where gradients are exchanged; null in one process.
  const medgen_gradients_t* gradients = nullptr;

  TestHost() {
    services_.struct_size = sizeof services_;
    services_.host = reinterpret_cast<medgen_hobj_t*>(this);
    services_.progress = [](const medgen_context_t* call, medgen_str_t, std::uint64_t done,
                            std::uint64_t total) noexcept {
      const auto& told = of(call->host).progress;
      return std::int32_t{!told || told(done, total)};
    };
    services_.fill_noise = [](const medgen_context_t* call, std::int32_t, medgen_str_t,
                              medgen_tensor_t* tensor) noexcept { return of(call->host).fill(*tensor); };
    services_.get_extension = [](medgen_hobj_t* host, const char*) noexcept {
      return static_cast<const void*>(of(host).gradients);
    };
    sdk::detail::host_pointer = &services_;
  }

  TestHost(const TestHost&) = delete;
  TestHost& operator=(const TestHost&) = delete;

  ~TestHost() { sdk::detail::host_pointer = nullptr; }

  /// What a component without weights is created from.
  static medgen_create_t create(const std::string& config) {
    medgen_create_t request{};
    request.struct_size = sizeof request;
    request.config_json = sdk::to_abi(config);
    request.device = {MEDGEN_DEVICE_CPU, 0};
    return request;
  }

  /// Runs `function(context, outputs)` and returns what it wrote.
  template <typename Function>
  Tensors call(Function&& function) {
    results_.clear();
    medgen_context_t context{};
    context.struct_size = sizeof context;
    context.host = services_.host;
    context.device = {MEDGEN_DEVICE_CPU, 0};
    context.flags = flags;
    medgen_outputs_t sink{sizeof sink, 0, services_.host, &allocate};
    sdk::Outputs outputs(sink);
    function(sdk::Context(context), outputs);
    return results_;
  }

 private:
  static TestHost& of(medgen_hobj_t* host) { return *reinterpret_cast<TestHost*>(host); }

  static medgen_status_t allocate(medgen_hobj_t* host, medgen_str_t name, medgen_dtype_t dtype, std::int32_t ndim,
                                  const std::int64_t* shape, const medgen_space_t*, medgen_tensor_t* out) noexcept {
    if (!sdk::same(dtype, sdk::kFloat32)) return MEDGEN_E_UNSUPPORTED;
    at::Tensor& result = of(host).results_[std::string(sdk::from_abi(name))];
    result = at::empty(at::IntArrayRef(shape, static_cast<std::size_t>(ndim)));
    *out = view_of(result, dtype);
    return MEDGEN_OK;
  }

  medgen_status_t fill(const medgen_tensor_t& tensor) const {
    const at::IntArrayRef shape(tensor.shape, static_cast<std::size_t>(tensor.ndim));
    const at::Tensor values = noise ? noise(shape).contiguous() : at::empty(shape).zero_();
    std::memcpy(tensor.data, values.data_ptr(), values.nbytes());
    return MEDGEN_OK;
  }

  medgen_host_t services_{};
  Tensors results_;
};

/// A component without weights.
template <typename T>
T made(const std::string& config) {
  const medgen_create_t request = TestHost::create(config);
  return T(sdk::Create(request));
}

}  // namespace medgen::support::testing
