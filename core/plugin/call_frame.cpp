// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/call_frame.h"

#include "core/base/error.h"
#include "core/plugin/abi_text.h"
#include "core/random/noise.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace medgen {
namespace {

constexpr std::size_t kMaxOutputs = 65536;

std::uint64_t physical_memory() {
  static const auto bytes =
      static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE));
  return bytes;
}

std::uint64_t next_call_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::uint64_t byte_count(const Shape& shape, DType dtype) {
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(element_count(shape)), size_of(dtype), &bytes)) {
    throw DataError("impossible tensor shape {}", to_string(shape));
  }
  return bytes;
}

/// The plugin's own memory as a tensor, for the duration of a call.
Tensor borrow_dense(const medgen_tensor_t& tensor) {
  const Shape shape = checked_shape(tensor);
  if (tensor.device.type == MEDGEN_DEVICE_CUDA) throw DataError("noise is filled into a tensor on the CPU");
  if (shape.empty() || !is_dense(tensor))
    throw DataError("noise is filled into a dense tensor; this one is {}", shape.empty() ? "a scalar" : "strided");
  auto* data = static_cast<std::byte*>(tensor.data) + tensor.byte_offset;
  return Tensor(dtype_of(tensor.dtype), shape, data, nullptr);
}

}  // namespace

AbiBinds::AbiBinds(const TensorMap& tensors, std::string_view params_json) {
  tensors_.reserve(tensors.size());
  items_.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    tensors_.push_back(tensor.abi());
    items_.push_back({abi_text(name), &tensors_.back(), nullptr});
  }
  binds_.struct_size = sizeof binds_;
  binds_.count = static_cast<std::uint32_t>(items_.size());
  binds_.items = items_.data();
  binds_.params_json = abi_text(params_json);
}

CallFrame::CallFrame(PluginServices& services, const CallContext& context)
    : services_(services), context_(context), handle_{&services, this} {
  abi_context_.struct_size = sizeof abi_context_;
  abi_context_.flags = context.flags;
  abi_context_.host = handle_.opaque();
  abi_context_.device = {MEDGEN_DEVICE_CPU, 0};
  abi_context_.seed = context.seed;
  abi_context_.sample = context.sample;
  abi_context_.step = context.step;
  abi_context_.call_id = next_call_id();
  abi_outputs_.struct_size = sizeof abi_outputs_;
  abi_outputs_.host = handle_.opaque();
  abi_outputs_.allocate = allocate;
}

CallFrame* CallFrame::of(const medgen_context_t* ctx) {
  return ctx == nullptr || ctx->host == nullptr ? nullptr : HostHandle::of(ctx->host).frame;
}

void CallFrame::rethrow_callback_error() {
  if (callback_error_) std::rethrow_exception(std::exchange(callback_error_, nullptr));
}

template <typename Work>
medgen_status_t CallFrame::guarded(const Work& work) noexcept {
  try {
    work();
    return MEDGEN_OK;
  } catch (const Error& error) {
    set_error_text(error.what());
    return error.kind() == ErrorKind::OutOfMemory ? MEDGEN_E_OUT_OF_MEMORY : MEDGEN_E_INVALID;
  } catch (const std::exception& error) {
    set_error_text(error.what());
    return MEDGEN_E_OUT_OF_MEMORY;
  }
}

std::int32_t CallFrame::progress(const medgen_context_t* ctx, medgen_str_t phase, std::uint64_t done,
                                 std::uint64_t total) noexcept {
  CallFrame* frame = of(ctx);
  if (frame == nullptr || !frame->context_.progress) return 1;
  if (frame->callback_error_) return 0;
  try {
    return frame->context_.progress(message_text(phase), done, total) ? 1 : 0;
  } catch (...) {
    frame->keep_callback_error();
    return 0;
  }
}

medgen_status_t CallFrame::fill_noise(const medgen_context_t* ctx, std::int32_t distribution, medgen_str_t purpose,
                                      medgen_tensor_t* inout) noexcept {
  CallFrame* frame = of(ctx);
  if (frame == nullptr || inout == nullptr) return MEDGEN_E_INVALID;
  return frame->guarded([&] {
    if (distribution != MEDGEN_NOISE_NORMAL && distribution != MEDGEN_NOISE_UNIFORM) {
      throw DataError("noise distribution {} is not known", distribution);
    }
    const auto kind = distribution == MEDGEN_NOISE_NORMAL ? Distribution::Normal : Distribution::Uniform;
    Tensor tensor = borrow_dense(*inout);
    const NoiseKey key{ctx->seed, ctx->sample, std::string(raw_text(purpose)), ctx->step};
    medgen::fill_noise(tensor, key, kind, frame->services_.host().threads());
  });
}

medgen_status_t CallFrame::scratch(const medgen_context_t* ctx, std::uint64_t bytes, void** ptr) noexcept {
  CallFrame* frame = of(ctx);
  if (frame == nullptr || ptr == nullptr) return MEDGEN_E_INVALID;
  return frame->guarded([&] {
    frame->check_memory(bytes, "scratch memory");
    Tensor memory(DType::U8, {static_cast<std::int64_t>(bytes)});
    *ptr = memory.data();
    const std::lock_guard lock(frame->scratch_mutex_);
    frame->scratch_.push_back(std::move(memory));
  });
}

void CallFrame::check_memory(std::uint64_t bytes, std::string_view what) const {
  const HostOptions& options = services_.host().options();
  const std::uint64_t most = options.memory_limit > 0 ? options.memory_limit : options.memory_budget;
  const std::uint64_t limit = most > 0 ? std::min(most, physical_memory()) : physical_memory();
  if (bytes > limit) {
    throw OutOfMemoryError("{} needs {} bytes, {} are allowed: use a smaller volume, or raise the memory limit", what,
                           bytes, limit);
  }
}

medgen_status_t CallFrame::allocate(medgen_hobj_t* host, medgen_str_t name, medgen_dtype_t dtype, std::int32_t ndim,
                                    const std::int64_t* shape, const medgen_space_t*, medgen_tensor_t* out) noexcept {
  CallFrame* frame = host == nullptr ? nullptr : HostHandle::of(host).frame;
  if (frame == nullptr || out == nullptr) return MEDGEN_E_INVALID;
  const medgen_status_t status = frame->guarded([&] {
    const std::string_view text = raw_text(name);
    if (text.empty() || text.size() > 1000) throw DataError("an output was asked for without a sensible name");
    if (ndim < 0 || ndim > kMostAxes || (ndim > 0 && shape == nullptr)) {
      throw DataError("output '{}' was asked for with {} axes, at most {} are possible", message_text(name), ndim,
                      kMostAxes);
    }
    frame->allocate_output(text, dtype, {shape, static_cast<std::size_t>(ndim)}, out);
  });
  if (status != MEDGEN_OK) frame->complaint_ = error_text();
  return status;
}

void CallFrame::allocate_output(std::string_view name, medgen_dtype_t dtype, std::span<const std::int64_t> axes,
                                medgen_tensor_t* out) {
  const Shape shape(axes.begin(), axes.end());
  const DType type = dtype_of(dtype);
  auto found = allocated_.find(std::string(name));
  if (found == allocated_.end()) {
    if (allocated_.size() >= kMaxOutputs) throw DataError("more than {} outputs were asked for", kMaxOutputs);
    check_memory(byte_count(shape, type), fmt::format("output '{}' of shape {}", name, to_string(shape)));
    found = allocated_.emplace(name, Tensor(type, shape)).first;
  } else if (found->second.shape() != shape || found->second.dtype() != type) {
    throw DataError("output '{}' was asked for as {} {} and again as {} {}", name, name_of(found->second.dtype()),
                    to_string(found->second.shape()), name_of(type), to_string(shape));
  }
  *out = found->second.abi();
}

}  // namespace medgen
