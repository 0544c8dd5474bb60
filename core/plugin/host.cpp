// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/host.h"

#include "core/base/error.h"
#include "core/config/parse.h"
#include "core/config/schema.h"
#include "core/plugin/cuda_driver.h"
#include "core/plugin/invoke.h"
#include "core/plugin/plugin_component.h"
#include "core/plugin/plugin_session.h"

#include <map>

namespace medgen {

struct Host::State {
  State(Registry known, HostOptions options)
      : registry(std::move(known)), services(std::make_shared<HostServices>(std::move(options))) {}

  std::shared_ptr<PluginSession> session(const PluginInfo& info) {
    const std::lock_guard lock(mutex);
    std::shared_ptr<PluginSession>& session = sessions[info.id];
    if (!session) session = std::make_shared<PluginSession>(info, services);
    return session;
  }

  Registry registry;
  std::shared_ptr<HostServices> services;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<PluginSession>> sessions;
};

namespace {

ConfigNode resolve_config(const PluginInfo& plugin, const ComponentInfo& info, const ConfigNode& config) {
  const std::string name = fmt::format("{}: config schema of {}", plugin.manifest.string(), info.id);
  return Schema::parse(info.config_schema, name).resolve(config);
}

ConfigNode parse_text(std::string_view component_id, const std::string& config_json) {
  return parse_config(config_json.empty() ? "{}" : config_json, fmt::format("config of {}", component_id));
}

}  // namespace

Host::Host(Registry registry, HostOptions options)
    : state_(std::make_shared<State>(std::move(registry), std::move(options))) {
  require_device(this->options().device);
}

Host::~Host() {
  state_->services->set_log({});
}

const Registry& Host::registry() const {
  return state_->registry;
}

const HostOptions& Host::options() const {
  return state_->services->options();
}

void Host::set_log(LogSink log) {
  state_->services->set_log(std::move(log));
}

void Host::load(std::string_view plugin_id) {
  const PluginInfo* info = registry().plugin(plugin_id);
  if (info == nullptr) throw PluginError("no plugin '{}':\n{}", plugin_id, registry().why(plugin_id));
  state_->session(*info);
}

std::shared_ptr<Component> Host::create(std::string_view component_id, const ConfigNode& config,
                                        std::shared_ptr<const WeightStore> weights) {
  const ComponentInfo& info = registry().component(component_id);
  if (!info.usable()) {
    throw ConfigError("component '{}' is a {}, which this medgen does not know: a newer one is needed", info.id,
                      info.kind);
  }
  const PluginInfo& plugin = registry().plugin_of(component_id);
  const std::string text = dump_compact(resolve_config(plugin, info, config).json());
  std::shared_ptr<PluginSession> session = state_->session(plugin);
  try {
    return adapt(std::make_shared<PluginObject>(std::move(session), info, text, weights));
  } catch (const InvalidError& error) {
    if (weights != nullptr) throw;  // those may be what is wrong
    config.fail("does not suit the component: {}", error.what());
  }
}

std::shared_ptr<Component> Host::create(std::string_view component_id, const std::string& config_json,
                                        std::shared_ptr<const WeightStore> weights) {
  return create(component_id, parse_text(component_id, config_json), std::move(weights));
}

void Host::check_kind(std::string_view component_id, std::string_view kind) const {
  const ComponentInfo& info = registry().component(component_id);
  if (info.kind == kind) return;
  throw ConfigError("component '{}' is a {}, a {} is needed here", info.id, noun_of(info.kind), noun_of(kind));
}

}  // namespace medgen
