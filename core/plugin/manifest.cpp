// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/manifest.h"

#include "core/base/error.h"
#include "core/config/parse.h"
#include "core/config/schema.h"

#include <medgen/abi/medgen.h>

#include <algorithm>
#include <array>
#include <set>
#include <system_error>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifestSchema = R"({
  "type": "object",
  "additionalProperties": false,
  "required": ["medgen_plugin", "id", "version", "abi", "library", "components"],
  "properties": {
    "$schema": {"type": "string"},
    "medgen_plugin": {"const": 1},
    "id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]*$", "maxLength": 100},
    "version": {"type": "string", "pattern": "^[0-9]+([.][0-9]+)*([-+.][0-9A-Za-z.+-]+)?$", "maxLength": 100},
    "vendor": {"type": "string", "default": ""},
    "license": {"type": "string", "default": ""},
    "summary": {"type": "string", "default": ""},
    "abi": {
      "type": "object",
      "additionalProperties": false,
      "required": ["major", "minor"],
      "properties": {"major": {"type": "integer", "minimum": 1}, "minor": {"type": "integer", "minimum": 0}}
    },
    "library": {"type": "string", "minLength": 1, "maxLength": 500},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "runtime": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
    "components": {
      "type": "array",
      "maxItems": 1000,
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "kind"],
        "properties": {
          "id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*([.][a-z0-9][a-z0-9_-]*)+$", "maxLength": 200},
          "kind": {"type": "string", "pattern": "^[a-z0-9_.-]+/[0-9]+$", "maxLength": 200},
          "summary": {"type": "string", "default": ""},
          "config_schema": {"type": "object", "default": {"type": "object", "additionalProperties": false}},
          "io": {"type": "object", "default": {}},
          "train_options": {"type": "object"}
        }
      }
    },
    "methods": {"type": "object", "additionalProperties": {"type": "object"}, "default": {}}
  }
})";

const Schema& manifest_schema() {
  static const Schema schema = Schema::parse(kManifestSchema, "schema of plugin manifests");
  return schema;
}

ComponentInfo read_component(const ConfigNode& node) {
  ComponentInfo info;
  info.id = node.get<std::string>("id");
  info.kind = node.get<std::string>("kind");
  info.summary = node.get<std::string>("summary");
  info.config_schema = dump_compact(node.at("config_schema").json());
  info.io = dump_compact(node.at("io").json());
  if (node.contains("train_options")) info.train_options = dump_compact(node.at("train_options").json());
  return info;
}

bool is_inside(const fs::path& path, const fs::path& folder) {
  const auto [end, unused] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end();
}

/// The library beside the manifest; links are followed and must not lead out of the manifest's folder.
fs::path resolve_library(const ConfigNode& node, const fs::path& folder) {
  const fs::path relative = node.as<std::string>();
  const bool climbs = std::find(relative.begin(), relative.end(), "..") != relative.end();
  if (relative.is_absolute() || climbs) node.fail("must lie in the manifest's folder, got \"{}\"", relative.string());
  std::error_code error;
  const fs::path library = fs::canonical(folder / relative, error);
  if (error) node.fail("is \"{}\", which cannot be opened: {}", relative.string(), error.message());
  if (!is_inside(library, fs::canonical(folder, error)) || error) {
    node.fail("is a link out of the manifest's folder, to {}", library.string());
  }
  if (!fs::is_regular_file(library, error)) node.fail("is \"{}\", which is no regular file", relative.string());
  return library;
}

}  // namespace

std::string_view noun_of(std::string_view kind) {
  const std::size_t dot = kind.find('.') + 1;
  return kind.substr(dot, kind.find('/') - dot);
}

bool ComponentInfo::usable() const {
  static constexpr std::array<std::string_view, 5> kKinds{MEDGEN_SCHEDULER_1, MEDGEN_DENOISER_1, MEDGEN_CONDITIONER_1,
                                                          MEDGEN_COMPRESSOR_1, MEDGEN_PROPAGATOR_1};
  return std::find(kKinds.begin(), kKinds.end(), kind) != kKinds.end();
}

PluginInfo read_manifest(const fs::path& path) {
  PluginInfo info;
  info.manifest = fs::absolute(path);
  const ConfigNode node = manifest_schema().resolve(read_config(info.manifest));
  info.id = node.get<std::string>("id");
  info.version = node.get<std::string>("version");
  info.vendor = node.get<std::string>("vendor");
  info.license = node.get<std::string>("license");
  info.summary = node.get<std::string>("summary");
  info.abi_major = node.at("abi").get<int>("major");
  info.abi_minor = node.at("abi").get<int>("minor");
  if (info.abi_major != MEDGEN_ABI_MAJOR) {
    node.at("abi").at("major").fail("is {}, this medgen speaks ABI {}: install a build of the plugin for it",
                                    info.abi_major, MEDGEN_ABI_MAJOR);
  }
  info.library = resolve_library(node.at("library"), info.manifest.parent_path());
  info.sha256 = node.get<std::string>("sha256", "");
  info.runtime_json = dump_compact(node.at("runtime").json());
  info.methods_json = dump_compact(node.at("methods").json());
  std::set<std::string> ids;
  for (const ConfigNode& component : node.at("components").items()) {
    info.components.push_back(read_component(component));
    if (!ids.insert(info.components.back().id).second) component.at("id").fail("is given twice");
  }
  return info;
}

}  // namespace medgen
