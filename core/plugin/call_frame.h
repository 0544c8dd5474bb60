// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/component/component.h"
#include "core/plugin/services.h"

#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace medgen {

/// Named tensors as the C side sees them. Borrows the map, which must stay as it is.
class AbiBinds {
 public:
  explicit AbiBinds(const TensorMap& tensors, std::string_view params_json = {});
  AbiBinds(const AbiBinds&) = delete;
  AbiBinds& operator=(const AbiBinds&) = delete;

  const medgen_binds_t* get() const { return &binds_; }

 private:
  std::vector<medgen_tensor_t> tensors_;
  std::vector<medgen_bind_t> items_;
  medgen_binds_t binds_{};
};

/// One call into a plugin: its context, and what lives until it returns (outputs, scratch memory).
/// Thread: the calling one, but for noise, scratch memory and logs.
class CallFrame {
 public:
  CallFrame(PluginServices& services, const CallContext& context);
  CallFrame(const CallFrame&) = delete;
  CallFrame& operator=(const CallFrame&) = delete;

  const medgen_context_t* context() const { return &abi_context_; }

  const medgen_outputs_t* outputs() const { return &abi_outputs_; }

  /// Runs `call`, which calls the plugin with this frame. What the progress callback threw comes out again, in place of
  /// the plugin's own complaint about having been stopped.
  template <typename Call>
  void run(const Call& call) {
    try {
      call();
    } catch (const Error&) {
      rethrow_callback_error();
      throw;
    }
    rethrow_callback_error();
  }

  void rethrow_callback_error();

  /// Why the last allocation was refused, or empty.
  const std::string& complaint() const { return complaint_; }

  TensorMap take_outputs() { return std::move(allocated_); }

  GradientExchange* gradients() const { return context_.gradients; }

  /// Keeps the exception being handled: `run` throws it again when the plugin has returned.
  void keep_callback_error() { callback_error_ = std::current_exception(); }

  /// Of the context that a plugin hands back; null when it is none of ours.
  static CallFrame* of(const medgen_context_t* ctx);

  /// Slots of medgen_host_t. @{
  static std::int32_t progress(const medgen_context_t* ctx, medgen_str_t phase, std::uint64_t done,
                               std::uint64_t total) noexcept;
  static medgen_status_t fill_noise(const medgen_context_t* ctx, std::int32_t distribution, medgen_str_t purpose,
                                    medgen_tensor_t* inout) noexcept;
  static medgen_status_t scratch(const medgen_context_t* ctx, std::uint64_t bytes, void** ptr) noexcept;
  /// @}

 private:
  static medgen_status_t allocate(medgen_hobj_t* host, medgen_str_t name, medgen_dtype_t dtype, std::int32_t ndim,
                                  const std::int64_t* shape, const medgen_space_t* space,
                                  medgen_tensor_t* out) noexcept;
  void allocate_output(std::string_view name, medgen_dtype_t dtype, std::span<const std::int64_t> shape,
                       medgen_tensor_t* out);
  void check_memory(std::uint64_t bytes, std::string_view what) const;
  /// Runs `work`; an exception becomes a status with its text.
  template <typename Work>
  medgen_status_t guarded(const Work& work) noexcept;

  PluginServices& services_;
  const CallContext context_;  // a copy: callers may give a temporary
  HostHandle handle_;
  medgen_context_t abi_context_{};
  medgen_outputs_t abi_outputs_{};
  TensorMap allocated_;
  std::mutex scratch_mutex_;
  std::vector<Tensor> scratch_;
  std::string complaint_;
  std::exception_ptr callback_error_;
};

}  // namespace medgen
