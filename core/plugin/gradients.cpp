// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/gradients.h"

#include "core/component/gradient_exchange.h"
#include "core/plugin/call_frame.h"

namespace medgen {
namespace {

/// Runs `work` with the exchange of the call. What it throws comes out when the plugin has returned.
template <typename Work>
medgen_status_t with_exchange(const medgen_context_t* ctx, const Work& work) noexcept {
  CallFrame* const frame = CallFrame::of(ctx);
  if (frame == nullptr || frame->gradients() == nullptr) return MEDGEN_E_INVALID;
  try {
    work(*frame->gradients());
    return MEDGEN_OK;
  } catch (const Error& error) {
    set_error_text(error.what());
    frame->keep_callback_error();
    return error.kind() == ErrorKind::Cancelled ? MEDGEN_E_CANCELLED : MEDGEN_E_INVALID;
  } catch (const std::exception& error) {
    set_error_text(error.what());
    frame->keep_callback_error();
    return MEDGEN_E_INTERNAL;
  }
}

double share(const medgen_context_t* ctx) noexcept {
  const CallFrame* const frame = CallFrame::of(ctx);
  return frame == nullptr || frame->gradients() == nullptr ? 0.0 : frame->gradients()->share();
}

medgen_status_t begin_sum(const medgen_context_t* ctx, medgen_tensor_t* inout) noexcept {
  if (inout == nullptr) return MEDGEN_E_INVALID;
  return with_exchange(ctx, [&](GradientExchange& exchange) { exchange.begin_sum(*inout, ctx->stream); });
}

medgen_status_t finish(const medgen_context_t* ctx) noexcept {
  return with_exchange(ctx, [](GradientExchange& exchange) { exchange.finish(); });
}

}  // namespace

const medgen_gradients_t& gradients_table() {
  static const medgen_gradients_t table{sizeof(medgen_gradients_t), 0, &share, &begin_sum, &finish};
  return table;
}

}  // namespace medgen
