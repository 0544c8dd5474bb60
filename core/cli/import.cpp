// SPDX-License-Identifier: Apache-2.0
// medgen import

#include "core/pipeline/import.h"

#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/cli/signals.h"
#include "core/config/parse.h"
#include "core/inspect/failure.h"
#include "core/pipeline/import_adapter.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen::cli {
namespace {

struct ImportArguments {
  ImportOptions options;
  std::optional<double> alpha;
  std::vector<std::string> files;     // ROLE=FILE
  std::vector<std::string> configs;   // ROLE=FILE
  std::vector<std::string> keys;      // ROLE=KEY
  std::vector<std::string> prefixes;  // ROLE=PREFIX
};

/// "role=value" pairs; every role once. @throws UsageError
std::map<std::string, std::string> by_role(const std::vector<std::string>& pairs, const char* what) {
  std::map<std::string, std::string> map;
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string::npos) {
      throw UsageError("{} wants ROLE=VALUE, such as compressor=autoencoder.pt, got '{}'", what, pair);
    }
    if (!map.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second) {
      throw UsageError("{} names the role '{}' twice", what, pair.substr(0, equals));
    }
  }
  return map;
}

ImportOptions complete_options(const ImportArguments& arguments) {
  ImportOptions options = arguments.options;
  for (const auto& [role, file] : by_role(arguments.files, "FILE")) options.files[role] = file;
  for (const auto& [role, file] : by_role(arguments.configs, "--config")) {
    options.configs[role] = dump_compact(read_config(file).json());
  }
  options.keys = by_role(arguments.keys, "--key");
  options.prefixes = by_role(arguments.prefixes, "--prefix");
  return options;
}

/// A folder in place of a method is a model, for which the file is an adapter.
bool names_model(const std::string& method, const Registry& registry) {
  const auto offers = [&](const PluginInfo& plugin) { return Json::parse(plugin.methods_json).contains(method); };
  return std::ranges::none_of(registry.plugins(), offers) && std::filesystem::is_directory(method);
}

/// @throws UsageError for options that make sense for whole models only
AdapterImportOptions adapter_options(const ImportOptions& options, std::optional<double> alpha) {
  if (options.files.size() != 1)
    throw UsageError("'{}' is a model, and takes one adapter at a time, ROLE=FILE; {} files are given", options.method,
                     options.files.size());
  if (!options.configs.empty() || options.latent_scale)
    throw UsageError("an adapter has no {}; '{}' is a model", options.latent_scale ? "--latent-scale" : "--config",
                     options.method);
  const auto& [role, file] = *options.files.begin();
  return {options.method,  role,           file,      options.load_options(role), alpha, options.name,
          options.license, options.credit, options.to};
}

std::string import(Host& host, const ImportOptions& options, std::optional<double> alpha, const RunObserver& observer) {
  if (names_model(options.method, host.registry()))
    return import_adapter(host.registry(), adapter_options(options, alpha));
  if (alpha)
    throw UsageError("--alpha is for adapters, which are imported for a model: '{}' is no folder", options.method);
  return import_model(host, options, observer);
}

void import(const ImportArguments& arguments, const Invocation& call) {
  const ImportOptions options = complete_options(arguments);
  Reporter reporter(call.progress_style(), call.log_level());
  HostOptions host_options;
  host_options.log = [&reporter](int level, std::string_view text) { reporter.log(log_level(level), text); };
  Host host(call.registry(), std::move(host_options));
  const std::string report =
      import(host, options, arguments.alpha, reporter.observer(&cancel_on_signals(call.talks())));
  reporter.clear();
  if (call.json) return print_json({{"status", "done"}, {"model", options.to.string()}, {"report", report}});
  if (!call.quiet) print(printable(report));
}

void configure_import(CLI::App& app, Invocation& call) {
  const auto arguments = std::make_shared<ImportArguments>();
  ImportOptions& options = arguments->options;
  app.add_option("METHOD", options.method,
                 "What the checkpoints are for (medgen describe lists methods); a model's folder: the file is a "
                 "low-rank adapter for it")
      ->required();
  app.add_option("FILE", arguments->files, "ROLE=FILE: compressor=autoencoder.pt denoiser=unet.pt ...")->required();
  app.add_option("--to", options.to, "Folder of the model package to write")->type_name("DIR")->required();
  app.add_option("--config", arguments->configs, "ROLE=FILE: constructor arguments laid over the method's")
      ->type_name("ROLE=FILE")
      ->allow_extra_args(false);
  app.add_option("--key", arguments->keys, "Where the state dict is in the file, when it is not found by itself")
      ->type_name("ROLE=KEY")
      ->allow_extra_args(false);
  app.add_option("--prefix", arguments->prefixes, "A prefix that all keys lose")
      ->type_name("ROLE=PREFIX")
      ->allow_extra_args(false);
  app.add_option("--latent-scale", options.latent_scale,
                 "In place of the scale_factor that the denoiser's file records")
      ->type_name("NUMBER")
      ->check(number_above_0());
  app.add_option("--alpha", arguments->alpha, "Of an adapter that does not tell it: W becomes W + alpha / rank B A")
      ->type_name("NUMBER")
      ->check(number_above_0());
  app.add_option("--name", options.name, "Name of the model")->type_name("NAME");
  app.add_option("--license", options.license, "Licence of the weights, an SPDX expression")->type_name("LICENSE");
  app.add_option("--credit", options.credit, "Whom to name when the weights or samples are used")->type_name("TEXT");
  add_plugin_dir_option(app, call);
  add_json_option(app, call);
  add_progress_options(app, call);
  app.callback([arguments, &call] { import(*arguments, call); });
}

}  // namespace

const Command kImportCommand = {
    "import",
    "Turn published checkpoints (.pt, .pth, .ckpt, .safetensors) into a model package, or a low-rank adapter into "
    "an adapter package; nothing in them is executed.",
    "% maisi.rflow-ct-from-mask compressor=autoencoder.pt denoiser=unet.pt controlnet=controlnet.pt --to "
    "models/maisi-ct\n"
    "% maisi.rflow-ct-from-mask compressor=last.ckpt --key compressor=model.state_dict --prefix compressor=module. "
    "--to out\n"
    "% models/maisi-ct denoiser=adapter_model.safetensors --to adapters/mine",
    configure_import};

}  // namespace medgen::cli
