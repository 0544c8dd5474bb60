// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/package_writer.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/weights/safetensors.h"

#include <nlohmann/json.hpp>

namespace medgen {
namespace {

Json& component_json(Json& description, const ModelPackage& package, const std::string& role) {
  Json& components = description["components"];
  return package.part(role) ? components[role] : components["conditioners"][role];
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw RuntimeError("cannot make the folder '{}': {}", folder.string(), error.message());
}

}  // namespace

void write_model_package(const ModelPackage& package, const std::filesystem::path& folder,
                         const std::map<std::string, TensorMap>& weights, double latent_scale, const std::string& event,
                         const Json& provenance) {
  make_folder(folder);
  Json description = package.json();
  description["medgen_model"] = 1;
  if (!description.contains("name")) description["name"] = folder.filename().string();
  description["latent"]["scale"] = latent_scale;
  for (const ComponentSpec& spec : package.all()) {
    const std::string name = spec.role + ".safetensors";
    const auto given = weights.find(spec.role);
    if (given != weights.end()) {
      write_safetensors(folder / name, given->second);
    } else if (spec.weights.empty()) {
      continue;
    } else if (std::filesystem::weakly_canonical(spec.weights) != std::filesystem::weakly_canonical(folder / name)) {
      write_file(folder / name, read_file(spec.weights, ~std::uint64_t{0}));
    }
    Json& component = component_json(description, package, spec.role);
    component["weights"] = name;
    component["sha256"] = sha256_file(folder / name);
  }
  description["provenance"][event] = provenance;
  write_file(folder / "model.json", dump_pretty(description));
}

}  // namespace medgen
