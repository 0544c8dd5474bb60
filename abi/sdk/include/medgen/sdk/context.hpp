// SPDX-License-Identifier: Apache-2.0
// What comes with a call and with the creation of a component, as C++ objects.
#pragma once

#include <medgen/abi/component.h>
#include <medgen/sdk/tensor.hpp>

#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace medgen::sdk {

/// A named range in traces, ended by its destructor. Ranges nest.
class Range {
 public:
  explicit Range(std::string_view name) : host_(sdk::host()) {
    active_ = host_ != nullptr && MEDGEN_HAS_FN(medgen_host_t, host_, range_push) &&
              MEDGEN_HAS_FN(medgen_host_t, host_, range_pop);
    if (active_) host_->range_push(host_->host, to_abi(name));
  }

  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

  ~Range() {
    if (active_) host_->range_pop(host_->host);
  }

 private:
  const medgen_host_t* host_;
  bool active_ = false;
};

/// Sends a line to the host's log; dropped when the host has none. `level` is MEDGEN_LOG_*.
inline void log(std::int32_t level, std::string_view message) noexcept {
  const medgen_host_t* services = host();
  if (services != nullptr && MEDGEN_HAS_FN(medgen_host_t, services, log)) {
    services->log(services->host, level, to_abi(message));
  }
}

/// Threads a component may use inside a call, at least 1.
inline std::uint32_t thread_count() noexcept {
  const medgen_host_t* services = host();
  if (services == nullptr || !MEDGEN_HAS_FN(medgen_host_t, services, thread_count)) return 1;
  const std::uint32_t count = services->thread_count(services->host);
  return count == 0 ? 1 : count;
}

/// Runs body(i) for i in [0, n) on the host's threads and waits; in order on this thread when the host has no threads
/// to lend. The first exception a body throws is thrown again here.
template <typename Body>
void parallel_for(std::uint64_t n, Body&& body) {
  const medgen_host_t* services = host();
  if (services == nullptr || !MEDGEN_HAS_FN(medgen_host_t, services, parallel_for)) {
    for (std::uint64_t i = 0; i < n; ++i) body(i);
    return;
  }

  struct Shared {
    std::remove_reference_t<Body>* body;
    std::mutex mutex;
    std::exception_ptr failure;
  } shared{&body, {}, nullptr};

  const auto run = [](void* arg, std::uint64_t i) noexcept {
    auto& state = *static_cast<Shared*>(arg);
    try {
      (*state.body)(i);
    } catch (...) {
      const std::lock_guard lock(state.mutex);
      if (state.failure == nullptr) state.failure = std::current_exception();
    }
  };
  const medgen_status_t status = services->parallel_for(services->host, n, run, &shared);
  if (shared.failure != nullptr) std::rethrow_exception(shared.failure);
  require_ok(status, "parallel_for");
}

/// The call: seed, device, progress, noise, scratch memory. Borrowed for the call.
class Context {
 public:
  explicit Context(const medgen_context_t& context) : context_(&context) {}

  medgen_device_t device() const noexcept { return context_->device; }

  bool on_cpu() const noexcept { return context_->device.type != MEDGEN_DEVICE_CUDA; }

  /// cudaStream_t; NULL on the CPU.
  void* stream() const noexcept { return context_->stream; }

  std::uint64_t seed() const noexcept { return context_->seed; }

  std::uint32_t sample() const noexcept { return context_->sample; }

  std::uint32_t step() const noexcept { return context_->step; }

  bool deterministic() const noexcept { return (context_->flags & MEDGEN_CALL_DETERMINISTIC) != 0; }

  bool training() const noexcept { return (context_->flags & MEDGEN_CALL_TRAINING) != 0; }

  bool unconditional() const noexcept { return (context_->flags & MEDGEN_CALL_UNCONDITIONAL) != 0; }

  const medgen_context_t& abi() const noexcept { return *context_; }

  /// Says how far a long call is. @throws Error (MEDGEN_E_CANCELLED) when the host wants it to stop.
  void progress(std::string_view phase, std::uint64_t done, std::uint64_t total) const {
    const medgen_host_t* services = host();
    if (services == nullptr || !MEDGEN_HAS_FN(medgen_host_t, services, progress)) return;
    if (services->progress(context_, to_abi(phase), done, total) == 0) {
      throw Error(MEDGEN_E_CANCELLED, text("cancelled in ", phase));
    }
  }

  /// Fills a float32 or float64 tensor, axis 0 the batch, with medgen's noise (docs/numerics.md).
  /// `distribution` is MEDGEN_NOISE_NORMAL or MEDGEN_NOISE_UNIFORM.
  void fill_noise(const Tensor& tensor, std::string_view purpose,
                  std::int32_t distribution = MEDGEN_NOISE_NORMAL) const {
    medgen_tensor_t view = tensor.abi();
    require_ok(services_with(&medgen_host_t::fill_noise, "fill_noise")
                   ->fill_noise(context_, distribution, to_abi(purpose), &view),
               "fill_noise");
  }

  /// Memory on the call's device that the host takes back when the call returns.
  void* scratch(std::uint64_t bytes) const {
    void* memory = nullptr;
    require_ok(services_with(&medgen_host_t::scratch, "scratch")->scratch(context_, bytes, &memory), "scratch");
    return memory;
  }

 private:
  template <typename Slot>
  static const medgen_host_t* services_with(Slot medgen_host_t::*slot, const char* name) {
    const medgen_host_t* services = host();
    const auto end = [&] {
      const auto* base = reinterpret_cast<const std::byte*>(services);
      return reinterpret_cast<const std::byte*>(&(services->*slot)) - base + static_cast<std::ptrdiff_t>(sizeof(Slot));
    };
    if (services == nullptr || services->struct_size < end() || services->*slot == nullptr) {
      throw Error(MEDGEN_E_UNSUPPORTED, text("this host offers no ", name));
    }
    return services;
  }

  const medgen_context_t* context_;
};

/// Weights from the host: CPU memory, read-only, valid until the component is destroyed. Empty when none were given.
class Weights {
 public:
  struct Info {
    std::string_view name;
    medgen_dtype_t dtype;
    ShapeView shape;
  };

  explicit Weights(const medgen_weights_t* weights) : weights_(weights) {}

  bool given() const noexcept { return weights_ != nullptr; }

  std::uint64_t count() const noexcept { return given() ? weights_->count(weights_->host) : 0; }

  Info info(std::uint64_t index) const {
    medgen_weight_info_t info{};
    info.struct_size = sizeof info;
    if (!given()) throw Error(MEDGEN_E_NOT_FOUND, "no weights were given");
    require_ok(weights_->info(weights_->host, index, &info), text("asking for weight number ", index));
    return {from_abi(info.name), info.dtype, ShapeView(info.shape, static_cast<std::size_t>(info.ndim))};
  }

  /// @throws Error (MEDGEN_E_NOT_FOUND) when there is no such weight.
  TensorView get(std::string_view name) const {
    if (!given()) throw Error(MEDGEN_E_NOT_FOUND, text("weight '", name, "' is needed, but no weights were given"));
    medgen_tensor_t tensor{};
    const medgen_status_t status = weights_->get(weights_->host, to_abi(name), &tensor);
    if (status != MEDGEN_OK) throw Error(status, text("weight '", name, "' is missing or cannot be read"));
    return TensorView(tensor, std::string(name));
  }

  /// Every name, in the provider's order.
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (std::uint64_t i = 0; i < count(); ++i) out.emplace_back(info(i).name);
    return out;
  }

  const medgen_weights_t* abi() const noexcept { return weights_; }

 private:
  const medgen_weights_t* weights_;
};

/// What a component is created from. Borrowed for the constructor; weights live as long as the component.
class Create {
 public:
  explicit Create(const medgen_create_t& create) : create_(&create) {}

  /// A JSON object, validated against the component's schema with the defaults filled in.
  std::string_view config() const noexcept { return from_abi(create_->config_json); }

  Weights weights() const noexcept { return Weights(create_->weights); }

  medgen_device_t device() const noexcept { return create_->device; }

  /// MEDGEN_PRECISION_*
  std::uint32_t precision() const noexcept { return create_->precision; }

  /// Bytes, 0 = no limit.
  std::uint64_t memory_budget() const noexcept { return create_->memory_budget; }

  const medgen_create_t& abi() const noexcept { return *create_; }

 private:
  const medgen_create_t* create_;
};

}  // namespace medgen::sdk
