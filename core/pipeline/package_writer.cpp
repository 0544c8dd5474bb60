// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/package_writer.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/config/paths.h"
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

constexpr const char* kMaskGenerator = "mask_generator";

/// model.json and the weights beside it; what a training left in the folder stays behind.
void copy_package(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (std::filesystem::weakly_canonical(from) == std::filesystem::weakly_canonical(to)) return;
  if (!std::filesystem::exists(from / "model.json"))
    throw DataError("'{}' holds no model package; make the mask generator before the model that takes it",
                    from.string());
  make_folder(to);
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const auto& file = entry.path();
    if (file.extension() == ".safetensors") write_file(to / file.filename(), read_file(file, ~std::uint64_t{0}));
  }
  write_file(to / "model.json", read_file(from / "model.json", ~std::uint64_t{0}));
}

}  // namespace

PackageNames PackageNames::read(const ConfigNode& step) {
  return {step.get<std::string>("name", ""), step.get<std::string>("license", ""), step.get<std::string>("credit", "")};
}

void PackageNames::apply(Json& description) const {
  if (!name.empty()) description["name"] = name;
  if (!license.empty()) description["license"] = license;
  if (credit.empty()) return;
  const std::string before = description.value("credit", "");
  description["credit"] = before.empty() || before == credit ? credit : before + "; " + credit;
}

void write_model_package(const ModelPackage& package, const std::filesystem::path& folder,
                         const std::map<std::string, TensorMap>& weights, double latent_scale, const std::string& event,
                         const Json& provenance, const PackageNames& names) {
  make_folder(folder);
  Json description = package.json();
  names.apply(description);
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
  if (package.mask_generator()) {
    copy_package(resolve_path(*package.mask_generator()), folder / kMaskGenerator);
    description["mask_generator"] = kMaskGenerator;
  }
  description["provenance"][event] = provenance;
  write_file(folder / "model.json", dump_pretty(description));
}

void write_adapter_package(const ModelPackage& base, const std::filesystem::path& folder, const Adapter& adapter,
                           const Json& provenance, const PackageNames& names) {
  make_folder(folder);
  write_adapter(folder / kAdapterFile, adapter);
  Json description = {
      {"medgen_adapter", 1},
      {"role", adapter.facts.role},
      {"rank", adapter.facts.rank},
      {"alpha", adapter.facts.alpha},
      {"sha256", sha256_file(folder / kAdapterFile)},
      {"base", {{"name", base.name()}, {"license", base.license()}, {"sha256", adapter.facts.base_sha256}}},
      {"provenance", provenance}};
  names.apply(description);
  write_file(folder / kAdapterDescription, dump_pretty(description));
}

}  // namespace medgen
