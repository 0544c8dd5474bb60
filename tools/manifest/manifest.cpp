// SPDX-License-Identifier: Apache-2.0
#include "tools/manifest/manifest.h"

#include <medgen/abi/draft/train.h>

#include <dlfcn.h>
#include <nlohmann/json.hpp>

#include <set>
#include <stdexcept>

namespace medgen::manifest {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(medgen_str_t text) {
  return text.len == 0 ? std::string() : std::string(text.ptr, text.len);
}

std::string required_text(medgen_str_t text, const std::string& field) {
  if (text.ptr == nullptr || text.len == 0) throw std::runtime_error(field + " is empty; every plugin states it");
  return text_of(text);
}

/// The JSON object a plugin gave as text; `{}` when it gave none.
Json object_of(medgen_str_t text, const std::string& field) {
  if (text.len == 0) return Json::object();
  Json value;
  try {
    value = Json::parse(text_of(text));
  } catch (const Json::parse_error& error) {
    throw std::runtime_error(field + " is not valid JSON: " + error.what());
  }
  if (!value.is_object())
    throw std::runtime_error(field + " is JSON, but not an object: " + value.dump().substr(0, 80));
  return value;
}

/// The options of a component's training, where it can be trained.
void describe_training(const medgen_component_t& base, const std::string& id, Json& description) {
  if (!MEDGEN_HAS_FN(medgen_component_t, &base, get_extension)) return;
  const auto* train = static_cast<const medgen_train_t*>(base.get_extension(MEDGEN_TRAIN_1));
  if (train == nullptr || !MEDGEN_HAS(medgen_train_t, train, options_schema_json)) return;
  description["train_options"] = object_of(train->options_schema_json, id + ".train options_schema_json");
}

Json describe_component(const medgen_component_desc_t* component, const std::string& where) {
  if (component == nullptr) throw std::runtime_error(where + " is NULL");
  if (!MEDGEN_HAS(medgen_component_desc_t, component, interface)) {
    throw std::runtime_error(where + ": struct_size is " + std::to_string(component->struct_size) +
                             ", too small for medgen_component_desc_t; set it to sizeof(medgen_component_desc_t)");
  }
  const std::string id = required_text(component->id, where + ".id");
  if (component->base == nullptr || component->base->create == nullptr || component->base->destroy == nullptr) {
    throw std::runtime_error(id + ": `base` with `create` and `destroy` is required");
  }
  if (component->interface == nullptr) throw std::runtime_error(id + ": `interface`, the table of its kind, is NULL");
  Json description = {{"id", id},
                      {"kind", required_text(component->kind, id + ".kind")},
                      {"summary", required_text(component->summary, id + ".summary")},
                      {"config_schema", object_of(component->config_schema_json, id + ".config_schema_json")},
                      {"io", object_of(component->io_json, id + ".io_json")}};
  describe_training(*component->base, id, description);
  return description;
}

Json describe_components(const medgen_plugin_t& plugin) {
  Json components = Json::array();
  std::set<std::string> seen;
  for (std::uint64_t i = 0; i < plugin.component_count; ++i) {
    Json component = describe_component(plugin.components[i], "components[" + std::to_string(i) + "]");
    if (!seen.insert(component["id"]).second) {
      throw std::runtime_error("two components have the id '" + component["id"].get<std::string>() + "'");
    }
    components.push_back(std::move(component));
  }
  return components;
}

}  // namespace

Json describe(const medgen_plugin_t& plugin) {
  if (!MEDGEN_HAS(medgen_plugin_t, &plugin, shutdown)) {
    throw std::runtime_error("struct_size of medgen_plugin_t is " + std::to_string(plugin.struct_size) +
                             ", too small; set it to sizeof(medgen_plugin_t)");
  }
  if (plugin.component_count > 0 && plugin.components == nullptr) throw std::runtime_error("`components` is NULL");
  return {{"medgen_plugin", 1},
          {"id", required_text(plugin.id, "id")},
          {"version", required_text(plugin.version, "version")},
          {"vendor", required_text(plugin.vendor, "vendor")},
          {"license", required_text(plugin.license, "license")},
          {"summary", required_text(plugin.summary, "summary")},
          {"abi", {{"major", MEDGEN_ABI_MAJOR}, {"minor", plugin.abi_minor}}},
          {"runtime", object_of(plugin.runtime_json, "runtime_json")},
          {"components", describe_components(plugin)},
          {"methods", object_of(plugin.methods_json, "methods_json")}};
}

const medgen_plugin_t& load(const std::filesystem::path& library) {
  void* handle = dlopen(std::filesystem::absolute(library).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw std::runtime_error("cannot be loaded: " + std::string(reason != nullptr ? reason : "unknown reason"));
  }
  const auto entry = reinterpret_cast<decltype(&medgen_plugin_v1)>(dlsym(handle, "medgen_plugin_v1"));
  if (entry == nullptr) throw std::runtime_error("exports no symbol medgen_plugin_v1: it is no medgen plugin");
  const medgen_query_t query{sizeof(medgen_query_t), MEDGEN_ABI_MAJOR, MEDGEN_ABI_MINOR, 0, nullptr};
  const medgen_plugin_t* plugin = entry(&query);
  if (plugin == nullptr) throw std::runtime_error("does not speak ABI major " + std::to_string(MEDGEN_ABI_MAJOR));
  return *plugin;
}

}  // namespace medgen::manifest
