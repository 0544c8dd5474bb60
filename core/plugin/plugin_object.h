// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"
#include "core/plugin/call_frame.h"
#include "core/plugin/invoke.h"
#include "core/plugin/plugin_session.h"
#include "core/plugin/ranges.h"

#include <medgen/abi/component.h>

#include <memory>
#include <mutex>
#include <string>

namespace medgen {

class WeightStore;

/// One object a plugin has made, with its lock; the plugin stays initialised and the weights stay mapped as long as it
/// lives.
class PluginObject {
 public:
  /// @throws PluginError and the other errors of throw_status() when the plugin refuses.
  PluginObject(std::shared_ptr<PluginSession> session, const ComponentInfo& info, std::string_view config_json,
               std::shared_ptr<const WeightStore> weights);
  ~PluginObject();
  PluginObject(const PluginObject&) = delete;
  PluginObject& operator=(const PluginObject&) = delete;

  const std::string& id() const { return info_.id; }

  const ComponentInfo& info() const { return info_; }

  medgen_obj_t* get() const { return object_; }

  const medgen_component_t& base() const { return *description_.base; }

  PluginServices& services() const { return session_->services(); }

  template <typename Table>
  const Table& table() const {
    return *static_cast<const Table*>(description_.interface);
  }

  /// A slot of the interface table, nullptr when it is absent: `slot(&medgen_denoiser_t::predict)`.
  template <typename Table, typename Slot>
  Slot slot(Slot Table::*member) const {
    return slot_of(table<Table>(), member);
  }

  /// What a call must hold: nothing, this object's mutex or the plugin's, as the component's flags say.
  std::unique_lock<std::recursive_mutex> lock() const;

  /// "maisi.unet: predict"
  std::string name_of(std::string_view function) const { return info_.id + ": " + std::string(function); }

  /// Calls `entry` under the lock. @throws as check_plugin_call()
  template <typename... Parameters, typename... Arguments>
  void call(std::string_view function, medgen_status_t (*entry)(Parameters...) noexcept, Arguments... arguments) const {
    const auto held = lock();
    const std::string name = name_of(function);
    const CallRange range(services(), name);
    check_plugin_call(name, entry, arguments...);
  }

  /// @throws PluginError "maisi.unet offers no 'prior'"
  [[noreturn]] void fail_missing(std::string_view function) const;

  /// @throws PluginError "maisi.unet: predict <what>, which is a defect of the plugin"
  template <typename... Args>
  [[noreturn]] void fail_defect(std::string_view function, fmt::format_string<Args...> format, Args&&... args) const {
    throw PluginError("{} {}, which is a defect of the plugin", name_of(function),
                      fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  std::shared_ptr<PluginSession> session_;
  ComponentInfo info_;
  std::shared_ptr<const WeightStore> weights_;
  medgen_weights_t weights_table_{};  // the plugin may keep its address
  const medgen_component_desc_t& description_;
  medgen_obj_t* object_ = nullptr;
  mutable std::recursive_mutex mutex_;
};

}  // namespace medgen
