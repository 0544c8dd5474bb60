// SPDX-License-Identifier: Apache-2.0
// medgen validate

#include "core/base/file.h"
#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/config/parse.h"
#include "core/config/schema.h"
#include "core/inspect/failure.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/model.h"
#include "core/pipeline/pipeline.h"

#include <nlohmann/json.hpp>

namespace medgen::cli {
namespace {

namespace fs = std::filesystem;

struct ValidateOptions {
  std::vector<std::string> files;
  std::vector<std::string> settings;
  bool resolved = false;
};

enum class FileKind { Pipeline, Model, Manifest };

std::string_view name_of(FileKind kind) {
  return kind == FileKind::Pipeline ? "pipeline" : kind == FileKind::Model ? "model" : "manifest";
}

/// By name where names are fixed, else by what only one kind has.
FileKind kind_of_file(const fs::path& file) {
  if (file.filename().string().ends_with(kManifestSuffix)) return FileKind::Manifest;
  if (file.filename() == "model.json" || fs::is_directory(file)) return FileKind::Model;
  const ConfigNode document = read_config(file);
  if (document.contains("medgen_plugin")) return FileKind::Manifest;
  if (document.contains("medgen_model")) return FileKind::Model;
  return FileKind::Pipeline;
}

void check_manifest(const fs::path& file) {
  const PluginInfo info = read_manifest(file);
  const ConfigNode document = read_config(file);
  for (std::size_t i = 0; i < info.components.size(); ++i) {
    const ComponentInfo& component = info.components[i];
    if (!component.usable()) {
      document.at("components").at(i).at("kind").fail("is \"{}\", which this medgen does not know", component.kind);
    }
    Schema::parse(component.config_schema, fmt::format("{}: config schema of {}", file.string(), component.id));
  }
  if (info.sha256.empty()) return;
  if (const std::string found = sha256_file(info.library); found != info.sha256) {
    document.at("sha256").fail("is \"{}\", but that of {} is {}: install the plugin again", info.sha256,
                               info.library.string(), found);
  }
}

ModelPackage load_model(const fs::path& file, const Registry& registry) {
  if (fs::is_directory(file)) return ModelPackage::load(file, registry);
  if (file.filename() == "model.json") return ModelPackage::load(fs::absolute(file).parent_path(), registry);
  return ModelPackage::load(read_config(file), registry);
}

/// Components are created on the CPU, without weights: their plugins are asked, nothing is computed.
Pipeline load_pipeline(const fs::path& file, const std::vector<std::string>& settings, const Registry& registry) {
  Pipeline pipeline = Pipeline::load(file, settings);
  pipeline.host_options();  // throws what is wrong with "runtime"
  Host host(registry);
  pipeline.check_models(host);
  return pipeline;
}

/// Throws what is wrong with the file; gives it with all defaults filled in.
std::string resolve(const fs::path& file, FileKind kind, const ValidateOptions& options, const Invocation& call) {
  switch (kind) {
    case FileKind::Pipeline:
      return load_pipeline(file, options.settings, call.registry()).resolved();
    case FileKind::Manifest:
      check_manifest(file);
      return dump_pretty(read_config(file).json());
    case FileKind::Model: {
      Host host(call.registry());
      const ModelPackage package = load_model(file, host.registry());
      check_configs(host, package);
      mask_maker(package, host.registry());
      package.verify_weights();
      return dump_pretty(package.json());
    }
  }
  return "";
}

/// Checks one file and tells about it. Returns its entry of the JSON document.
Json check_file(const std::string& file, const ValidateOptions& options, Reporter& reporter, Invocation& call) {
  Json entry = {{"file", file}};
  try {
    if (!fs::exists(file)) throw ConfigError("{}: there is no such file", file);
    const FileKind kind = kind_of_file(file);
    entry["kind"] = name_of(kind);
    const std::string document = resolve(file, kind, options, call);
    entry["ok"] = true;
    if (options.resolved) entry["resolved"] = Json::parse(document);
    if (call.json) return entry;
    print(options.resolved ? document : fmt::format("{}: a valid {}\n", printable(file), name_of(kind)));
  } catch (const OutputClosed&) {
    throw;
  } catch (...) {
    const Failure failure = current_failure();
    entry["ok"] = false;
    entry["error"] = {{"kind", medgen::name_of(failure.kind)},
                      {"code", static_cast<int>(failure.kind)},
                      {"message", failure.message}};
    if (call.exit_code == 0) call.exit_code = static_cast<int>(failure.kind);
    reporter.log(LogLevel::Error, failure.message);
  }
  return entry;
}

void validate(const ValidateOptions& options, Invocation& call) {
  Reporter reporter(ProgressStyle::None, call.log_level());
  Json files = Json::array();
  for (const std::string& file : options.files) files.push_back(check_file(file, options, reporter, call));
  if (call.json) print_json({{"ok", call.exit_code == 0}, {"files", std::move(files)}});
}

void configure_validate(CLI::App& app, Invocation& call) {
  const auto options = std::make_shared<ValidateOptions>();
  app.add_option("FILE", options->files, "Pipelines, model packages (folder or model.json), plugin manifests")
      ->required();
  app.add_flag("--resolved", options->resolved, "Print the document with every default filled in");
  add_set_option(app, options->settings, "Override a value of the pipelines first");
  add_plugin_dir_option(app, call);
  add_json_option(app, call);
  app.callback([options, &call] { validate(*options, call); });
}

}  // namespace

const Command kValidateCommand = {"validate", "Check pipelines, models and manifests without running anything.",
                                  "% pipeline.json\n"
                                  "% examples/pipelines/*.json\n"
                                  "% examples/models/hippocampus-mr --resolved",
                                  configure_validate};

}  // namespace medgen::cli
