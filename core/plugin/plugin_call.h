// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"

#include <memory>

namespace medgen {

class AbiBinds;
class CallFrame;
class PluginComponent;

/// One call of an extension's function (medgen.train/1) on a component that came from a Host: the C structs the
/// function takes, the component's lock, and the outputs it allocates.
///
///     PluginCall call(*unet, "train step", context, batch);
///     call.run([&] { return train->step(call.context(), trainer, call.inputs(), call.outputs()); });
///     float loss = call.take_outputs().at("loss").values<float>()[0];
class PluginCall {
 public:
  /// `function` names the call in error messages. @throws ConfigError when `component` is not a plugin's.
  PluginCall(const Component& component, std::string_view function, const CallContext& context, Inputs in = {});
  ~PluginCall();
  PluginCall(const PluginCall&) = delete;
  PluginCall& operator=(const PluginCall&) = delete;

  const medgen_context_t* context() const;
  const medgen_binds_t* inputs() const;
  const medgen_outputs_t* outputs() const;

  /// Runs `function` under the component's lock. @throws Cancelled, OutOfMemoryError, DeviceError or PluginError as the
  /// status says, with the plugin's own text; what the progress callback threw.
  void run(const std::function<medgen_status_t()>& function);

  /// For a function of ours that the plugin calls meanwhile: keeps the exception being handled, which `run` throws
  /// again when the plugin has returned. @return what that function returns
  medgen_status_t keep_callback_error() noexcept;

  /// What the plugin allocated, by name.
  TensorMap take_outputs();

 private:
  const PluginComponent& component_;
  std::string function_;
  Inputs in_;
  std::unique_ptr<CallFrame> frame_;
  std::unique_ptr<AbiBinds> binds_;
};

}  // namespace medgen
