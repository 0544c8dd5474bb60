// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/plugin_object.h"

#include "core/plugin/descriptor.h"
#include "core/weights/weight_store.h"

namespace medgen {
namespace {

const medgen_component_desc_t& describe(const PluginSession& session, const ComponentInfo& info) {
  const medgen_component_desc_t* description = find_component(session.plugin(), info.id);
  check(description != nullptr, "a loaded plugin has the components of its manifest");
  return *description;
}

}  // namespace

PluginObject::PluginObject(std::shared_ptr<PluginSession> session, const ComponentInfo& info,
                           std::string_view config_json, std::shared_ptr<const WeightStore> weights)
    : session_(std::move(session)), info_(info), weights_(std::move(weights)), description_(describe(*session_, info)) {
  const HostOptions& options = services().host().options();
  medgen_create_t create{};
  create.struct_size = sizeof create;
  create.precision = static_cast<std::uint32_t>(options.precision);
  create.host = services().table();
  if (weights_) {
    weights_table_ = weights_->abi();
    create.weights = &weights_table_;
  }
  create.config_json = abi_text(config_json);
  create.device = options.device;
  create.memory_budget = options.memory_budget;
  call("create", base().create, &create, &object_);
  if (object_ == nullptr) fail_defect("create", "reported success and gave no object");
}

PluginObject::~PluginObject() {
  const auto held = lock();
  try {
    call_plugin(name_of("destroy"), base().destroy, object_);
  } catch (const std::exception& error) {
    services().host().log(MEDGEN_LOG_ERROR, error.what());
  }
}

std::unique_lock<std::recursive_mutex> PluginObject::lock() const {
  const std::uint32_t flags = base().flags;
  if ((flags & MEDGEN_THREADS_REENTRANT) != 0) return {};
  if ((flags & MEDGEN_THREADS_INSTANCE) != 0) return std::unique_lock(mutex_);
  return std::unique_lock(session_->mutex());
}

void PluginObject::fail_missing(std::string_view function) const {
  throw PluginError("{} offers no '{}': another component or version of the plugin is needed", id(), function);
}

}  // namespace medgen
