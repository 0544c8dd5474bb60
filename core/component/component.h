// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/component/cost.h"
#include "core/tensor/tensor.h"

#include <medgen/abi/component.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace medgen {

class GradientExchange;

/// A component's word that what it was given is wrong.
struct InvalidError : PluginError {
  using PluginError::PluginError;
};

/// What a call needs to know besides its tensors; the C side sees it as medgen_context_t.
struct CallContext {
  std::uint32_t flags = 0;  ///< MEDGEN_CALL_*
  std::uint64_t seed = 0;
  std::uint32_t sample = 0;  ///< index of the batch's first sample
  std::uint32_t step = 0;
  /// Called between pieces of long work with (phase, done, total); false asks the component to stop.
  std::function<bool(std::string_view phase, std::uint64_t done, std::uint64_t total)> progress;
  GradientExchange* gradients = nullptr;  ///< of a training step: where they meet those of other processes
};

/// Named tensors and scalars that go into a computing function.
struct Inputs {
  TensorMap tensors;
  std::string params_json;  ///< a JSON object, or empty
};

/// One object of one of the five kinds. Thread: one call at a time on one object unless `reentrant()`.
class Component {
 public:
  Component() = default;
  Component(const Component&) = delete;
  Component& operator=(const Component&) = delete;
  virtual ~Component() = default;

  /// "maisi.unet"
  virtual std::string id() const = 0;
  /// Facts resolved from the config, a JSON object (docs/abi.md): latent_channels, compression, parameters ...
  virtual std::string describe() const = 0;
  /// Runs the computing function of that name ("predict", "encode" ...): the door of `medgen probe`.
  /// @throws ConfigError when the component has no such function.
  virtual TensorMap call(std::string_view function, const CallContext& context, const Inputs& in) = 0;

  /// What a call of that function with inputs of these shapes would cost; nothing when the component cannot tell.
  /// @throws PluginError when its estimate fails or makes no sense.
  virtual std::optional<CallCost> estimate(std::string_view, const ShapeMap&) const { return std::nullopt; }

  /// Extension table by id, nullptr when there is none, and the object it takes.
  virtual const void* extension(const char* extension_id) const = 0;
  virtual medgen_obj_t* object() const = 0;
};

}  // namespace medgen
