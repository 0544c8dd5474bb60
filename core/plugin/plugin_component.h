// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"
#include "core/plugin/plugin_object.h"

#include <memory>
#include <vector>

namespace medgen {

/// What the adapters of all five kinds share.
class PluginComponent : public virtual Component {
 public:
  explicit PluginComponent(std::shared_ptr<PluginObject> object);

  std::string id() const override;
  std::string describe() const override;
  TensorMap call(std::string_view function, const CallContext& context, const Inputs& in) override;
  std::optional<CallCost> estimate(std::string_view function, const ShapeMap& inputs) const override;
  const void* extension(const char* extension_id) const override;
  medgen_obj_t* object() const override;

  const std::shared_ptr<PluginObject>& plugin_object() const { return object_; }

 protected:
  /// A computing function by its name; `slot` is null when the plugin left it out.
  struct Function {
    std::string_view name;
    medgen_compute_fn slot;
  };

  virtual std::vector<Function> functions() const = 0;

  /// Runs a computing function and returns what it allocated. @throws as check_plugin_call(), what context.progress
  /// threw, and PluginError for an output that is not finite.
  TensorMap compute(const Function& function, const CallContext& context, const TensorMap& in,
                    std::string_view params_json = {}) const;
  /// Takes output `name` out of a result. @throws PluginError when the plugin reported success without it.
  Tensor take(TensorMap& outputs, std::string_view function, const std::string& name) const;
  /// @throws UsageError naming the functions there are.
  [[noreturn]] void fail_unknown_function(std::string_view function, const std::vector<std::string>& known) const;

  PluginObject& self() const { return *object_; }

 private:
  void check_finite(std::string_view function, const TensorMap& in, const TensorMap& outputs) const;

  std::shared_ptr<PluginObject> object_;
};

/// Makes the adapter for the object's kind. @throws ConfigError for a kind that this medgen does not know.
std::shared_ptr<Component> adapt(std::shared_ptr<PluginObject> object);

/// One per kind. @{
std::shared_ptr<Component> adapt_denoiser(std::shared_ptr<PluginObject> object);
std::shared_ptr<Component> adapt_conditioner(std::shared_ptr<PluginObject> object);
std::shared_ptr<Component> adapt_compressor(std::shared_ptr<PluginObject> object);
std::shared_ptr<Component> adapt_scheduler(std::shared_ptr<PluginObject> object);
std::shared_ptr<Component> adapt_propagator(std::shared_ptr<PluginObject> object);
/// @}

}  // namespace medgen
