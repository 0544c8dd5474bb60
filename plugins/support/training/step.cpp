// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/step.h"

#include "plugins/support/bridge.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <nlohmann/json.hpp>

namespace medgen::support {

nlohmann::json parsed_options(std::string_view options_json) {
  return options_json.empty() ? nlohmann::json::object() : nlohmann::json::parse(options_json);
}

bool learns() {
  return at::GradMode::is_enabled();
}

void emit_scalar(sdk::Outputs& out, const char* name, const at::Tensor& value) {
  emit(out, name, value.detach().to(at::kFloat).reshape({1}));
}

at::Tensor host_noise(const sdk::Context& context, at::IntArrayRef shape, at::Device device, std::string_view purpose,
                      std::int32_t distribution) {
  const at::Tensor noise = at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(at::kCPU));
  medgen_tensor_t view{};
  view.data = noise.data_ptr();
  view.device = {MEDGEN_DEVICE_CPU, 0};
  view.ndim = static_cast<std::int32_t>(noise.dim());
  view.dtype = sdk::kFloat32;
  view.shape = const_cast<std::int64_t*>(noise.sizes().data());
  view.strides = const_cast<std::int64_t*>(noise.strides().data());
  context.fill_noise(sdk::Tensor(view, "noise"), purpose, distribution);
  return noise.to(device);
}

}  // namespace medgen::support
