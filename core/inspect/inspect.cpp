// SPDX-License-Identifier: Apache-2.0
#include "core/inspect/inspect.h"

#include "core/base/text.h"
#include "core/config/parse.h"
#include "core/pipeline/model.h"

#include <medgen/abi/component.h>

#include <nlohmann/json.hpp>

#include <filesystem>

namespace medgen {
namespace {

namespace fs = std::filesystem;

/// JSON text that a manifest carried; the reader of manifests has parsed it once already.
Json embedded(const std::string& text) {
  return parse_config(text.empty() ? "{}" : text, "manifest").json();
}

Json one_line(const ComponentInfo& component) {
  Json line = {{"id", component.id}, {"kind", component.kind}, {"summary", component.summary}};
  if (!component.usable()) line["usable"] = false;
  return line;
}

Json plugin_document(const PluginInfo& plugin) {
  Json components = Json::array();
  for (const ComponentInfo& component : plugin.components) components.push_back(one_line(component));
  Json methods = Json::array();
  const Json defined = embedded(plugin.methods_json);
  for (const auto& [id, method] : defined.items()) methods.push_back(id);
  return {{"id", plugin.id},
          {"version", plugin.version},
          {"vendor", plugin.vendor},
          {"license", plugin.license},
          {"summary", plugin.summary},
          {"abi", fmt::format("{}.{}", plugin.abi_major, plugin.abi_minor)},
          {"manifest", plugin.manifest.string()},
          {"library", plugin.library.string()},
          {"runtime", embedded(plugin.runtime_json)},
          {"components", std::move(components)},
          {"methods", std::move(methods)}};
}

/// What every scheduler can be asked (`medgen probe`): its functions take numbers, so they are the same for all.
constexpr const char* kSchedulerFunctions = R"json({
  "timesteps": {
    "summary": "the times of the evaluations",
    "params": {"num_inference_steps": "integer, 30", "shape": "latent shape, channels first", "start": "part of the times that is run, 1",
               "timesteps": "the times themselves, instead of a number"},
    "out": {"timesteps": {"shape": ["evaluations"], "dtype": "F64"}}},
  "updates": {
    "summary": "the coefficients of every update (medgen_update_t)",
    "params": {"num_inference_steps": "integer, 30", "shape": "as for timesteps", "start": "as for timesteps", "timesteps": "as for timesteps"},
    "out": {"timesteps, x, m, x0, x0_x, x0_m, noise_scale, ...": {"shape": ["evaluations"], "dtype": "F64"},
            "history": {"shape": ["evaluations", 8], "dtype": "F64"},
            "flags, keep_x, keep_m, keep_x0, completes_step": {"shape": ["evaluations"], "dtype": "I64"}}},
  "levels": {
    "summary": "signal and noise at given times (medgen_level_t)",
    "in": {"timesteps": {"shape": ["times"], "dtype": "F64"}},
    "out": {"alpha, sigma, target_x0, target_eps, x0_x, x0_m": {"shape": ["times"], "dtype": "F64"}}},
  "training_times": {
    "summary": "uniform numbers in [0, 1) to the times that training draws",
    "in": {"u": {"shape": ["draws"], "dtype": "F64"}},
    "params": {"shape": "latent shape, channels first"},
    "out": {"timesteps": {"shape": ["draws"], "dtype": "F64"}}},
  "step": {
    "summary": "one update of the sampling loop",
    "in": {"x": {"shape": ["N", "..."], "dtype": "F32"}, "model_output": {"shape": ["N", "..."], "dtype": "F32"},
           "noise": {"shape": ["N", "..."], "dtype": "F32", "optional": true, "description": "where the update adds noise"}},
    "params": {"num_inference_steps": "integer", "i": "which evaluation, 0", "shape": "of x without N", "start": "1", "timesteps": "as for timesteps"},
    "out": {"x": {"shape": ["N", "..."], "dtype": "F32"}}},
  "add_noise": {
    "summary": "x0 at the noise level of a time",
    "in": {"x0": {"shape": ["N", "..."], "dtype": "F32"}, "noise": {"shape": ["N", "..."], "dtype": "F32"},
           "timesteps": {"shape": ["N or 1"], "dtype": "F64"}},
    "out": {"x": {"shape": ["N", "..."], "dtype": "F32"}}},
  "target": {
    "summary": "what the denoiser is trained to predict",
    "in": {"x0": {"shape": ["N", "..."], "dtype": "F32"}, "noise": {"shape": ["N", "..."], "dtype": "F32"},
           "timesteps": {"shape": ["N or 1"], "dtype": "F64"}},
    "out": {"target": {"shape": ["N", "..."], "dtype": "F32"}}}
})json";

Json component_document(const ComponentInfo& component, const PluginInfo& plugin) {
  Json document = {{"what", "component"}};
  document.update(one_line(component));
  document["plugin"] = plugin.id;
  document["version"] = plugin.version;
  const Json io = embedded(component.io);
  const bool scheduler = component.kind == MEDGEN_SCHEDULER_1;
  document["functions"] = scheduler ? Json::parse(kSchedulerFunctions) : io.value("functions", Json::object());
  document["config"] = embedded(component.config_schema);
  if (!component.train_options.empty()) document["train_options"] = embedded(component.train_options);
  return document;
}

/// Nothing when no plugin has such a method.
std::optional<Json> method_document(const Registry& registry, const std::string& id) {
  for (const PluginInfo& plugin : registry.plugins()) {
    const Json methods = embedded(plugin.methods_json);
    if (!methods.contains(id)) continue;
    return Json{{"what", "method"}, {"id", id}, {"plugin", plugin.id}, {"method", methods.at(id)}};
  }
  return {};
}

Json model_document(const Registry& registry, const fs::path& folder) {
  const ModelPackage package = ModelPackage::load(folder, registry);
  Json parts = Json::array();
  for (const ComponentSpec& part : package.all()) {
    Json entry = {{"role", part.role}, {"component", part.component}};
    if (!part.weights.empty()) {
      std::error_code missing;
      const auto bytes = fs::file_size(part.weights, missing);
      entry["weights"] = part.weights.string();
      entry["bytes"] = missing ? Json() : Json(bytes);
    }
    parts.push_back(std::move(entry));
  }
  return {{"what", "model"},
          {"name", package.name()},
          {"folder", folder.string()},
          {"license", package.license()},
          {"credit", package.credit()},
          {"parts", std::move(parts)},
          {"model", package.json()}};
}

bool is_model_folder(const std::string& subject) {
  std::error_code ignored;
  return fs::is_directory(subject, ignored) || fs::path(subject).filename() == "model.json";
}

[[noreturn]] void fail_unknown(const Registry& registry, const std::string& subject) {
  std::vector<std::string> known;
  const Json catalogue = catalogue_document(registry);
  for (const char* list : {"components", "methods"}) {
    for (const Json& entry : catalogue.at(list)) known.push_back(entry.at("id").get<std::string>());
  }
  for (const PluginInfo& plugin : registry.plugins()) known.push_back(plugin.id);
  throw ConfigError("no component, method, plugin or model folder '{}'{}; see `medgen plugins --why {}`", subject,
                    did_you_mean(subject, known), subject);
}

}  // namespace

Json plugins_document(const Registry& registry) {
  Json document = {{"plugins", Json::array()}, {"rejected", Json::array()}, {"searched", Json::array()}};
  for (const PluginInfo& plugin : registry.plugins()) document["plugins"].push_back(plugin_document(plugin));
  for (const Rejected& rejected : registry.rejected()) {
    document["rejected"].push_back(
        {{"id", rejected.id}, {"manifest", rejected.manifest.string()}, {"reason", rejected.reason}});
  }
  for (const fs::path& folder : registry.searched()) document["searched"].push_back(folder.string());
  return document;
}

Json catalogue_document(const Registry& registry) {
  Json document = {{"components", Json::array()}, {"methods", Json::array()}};
  for (const PluginInfo& plugin : registry.plugins()) {
    for (const ComponentInfo& component : plugin.components) document["components"].push_back(one_line(component));
    const Json methods = embedded(plugin.methods_json);
    for (const auto& [id, method] : methods.items()) {
      const bool told = method.is_object() && method.contains("summary");
      document["methods"].push_back(
          {{"id", id}, {"plugin", plugin.id}, {"summary", told ? method["summary"] : Json("")}});
    }
  }
  return document;
}

Json describe_document(const Registry& registry, const std::string& subject) {
  for (const PluginInfo& plugin : registry.plugins()) {
    for (const ComponentInfo& component : plugin.components) {
      if (component.id == subject) return component_document(component, plugin);
    }
  }
  if (auto method = method_document(registry, subject)) return *std::move(method);
  if (const PluginInfo* plugin = registry.plugin(subject)) {
    Json document = {{"what", "plugin"}};
    document.update(plugin_document(*plugin));
    return document;
  }
  if (is_model_folder(subject)) {
    const fs::path path = fs::absolute(subject);
    return model_document(registry, path.filename() == "model.json" ? path.parent_path() : path);
  }
  fail_unknown(registry, subject);
}

Json plan_document(const Plan& plan, std::uint64_t seed) {
  const auto known = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json steps = Json::array();
  for (const StepPlan& step : plan.steps) {
    steps.push_back({{"step", step.step},
                     {"verb", step.verb},
                     {"samples", step.samples},
                     {"text", step.text},
                     {"warnings", step.warnings},
                     {"memory_bytes", step.memory > 0 ? Json(step.memory) : Json(nullptr)},
                     {"device_memory_bytes", step.device_memory},
                     {"weights_bytes", step.weights},
                     {"scratch_bytes", step.scratch},
                     {"output_bytes", step.output},
                     {"output_least_bytes", step.output_least},
                     {"seconds", known(step.seconds)},
                     {"precision", step.precision},
                     {"notes", step.notes},
                     {"unknown", step.unknown},
                     {"folder", step.folder},
                     {"files", step.files},
                     {"more_files", step.more_files}});
  }
  return {{"seed", seed},
          {"memory_bytes", plan.memory},
          {"device_memory_bytes", plan.device_memory},
          {"allowed_bytes", plan.allowed},
          {"budget_bytes", known(plan.budget)},
          {"component_budget_bytes", plan.component_budget},
          {"disk_bytes", plan.disk},
          {"seconds", known(plan.seconds)},
          {"complete", plan.complete},
          {"steps", std::move(steps)}};
}

}  // namespace medgen
