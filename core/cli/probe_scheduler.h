// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/scheduler.h"

#include <string>
#include <string_view>

namespace medgen::cli {

/// Refuses parameters that no function of a scheduler has. @throws ConfigError at them, with one like them
void check_scheduler_params(const std::string& params_json);

/// Whether `probe_scheduler` has the function; the others are the component's own (timesteps, updates, levels ...).
bool is_scheduler_arithmetic(std::string_view function);

/// What a scheduler's numbers do to tensors, as published schedulers offer it:
///   step       in: x, model_output, noise where the update wants it. params: num_inference_steps, i (the evaluation, 0
///   = the
///              first), shape, start, timesteps. out: x
///   add_noise  in: x0, noise, timesteps (N or 1). out: x
///   target     in: x0, noise, timesteps (N or 1). out: target
/// `shape` is that of one sample (channels first), by default x's own.
/// @throws ConfigError for params, DataError for tensors that are missing or do not fit.
TensorMap probe_scheduler(Scheduler& scheduler, std::string_view function, const Inputs& in);

}  // namespace medgen::cli
