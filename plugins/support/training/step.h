// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <medgen/sdk/sdk.hpp>
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string_view>

// What the training steps of all components need.

namespace medgen::support {

/// The trainer's options; no text is an empty object.
nlohmann::json parsed_options(std::string_view options_json);

/// Whether a step learns: `evaluate` records nothing for gradients, and leaves out what is for learning alone.
bool learns();

/// One number for the log: an output (1) float32.
void emit_scalar(sdk::Outputs& out, const char* name, const at::Tensor& value);

/// Random numbers of the host, float32 on `device`: the same for any number of threads.
at::Tensor host_noise(const sdk::Context& context, at::IntArrayRef shape, at::Device device, std::string_view purpose,
                      std::int32_t distribution = MEDGEN_NOISE_NORMAL);

}  // namespace medgen::support
