// SPDX-License-Identifier: Apache-2.0
// medgen probe

#include "core/base/text.h"
#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/cli/probe_scheduler.h"
#include "core/cli/probe_train.h"
#include "core/cli/signals.h"
#include "core/config/override.h"
#include "core/config/parse.h"
#include "core/config/schema.h"
#include "core/inspect/failure.h"
#include "core/pipeline/model.h"
#include "core/plugin/host.h"
#include "core/weights/safetensors.h"
#include "core/weights/state.h"
#include "core/weights/weight_store.h"

#include <nlohmann/json.hpp>

#include <chrono>

namespace medgen::cli {
namespace {

struct ProbeOptions {
  std::string component, function;
  std::string config, weights, in, out, params, state;
  std::vector<std::string> settings, peers;
  LoadOptions load;
  std::string key;
  std::uint64_t seed = 0;
  int threads = 0;
  Precision precision = Precision::Fp32;
  bool describe = false;
  bool gradients = false;

  bool trains() const { return function == kTrainFunction; }
};

/// The component's configuration, checked where the user can still be told the place of a mistake.
std::string config_json(const ProbeOptions& options, const Registry& registry) {
  const ConfigNode file =
      options.config.empty() ? ConfigNode::make(Json::object(), "configuration") : read_config(options.config);
  const ComponentInfo& info = registry.component(options.component);
  const Schema schema = Schema::parse(info.config_schema, "config schema of " + info.id);
  return dump_compact(schema.resolve(apply_overrides(file, options.settings)).json());
}

std::shared_ptr<WeightStore> open_weights(const ProbeOptions& options, Reporter& reporter) {
  if (options.weights.empty()) return nullptr;
  State state = load_state(options.weights, options.load);
  reporter.log(LogLevel::Debug, fmt::format("{}: {}, state dict at '{}', {} tensors", options.weights, state.format,
                                            state.key, state.tensors.size()));
  for (const std::string& entry : state.skipped) {
    reporter.log(LogLevel::Warning, fmt::format("{}: no tensor, ignored: {}", options.weights, entry));
  }
  return std::make_shared<WeightStore>(std::move(state.tensors));
}

std::shared_ptr<Component> create(Host& host, const ProbeOptions& options, const std::string& config,
                                  const std::shared_ptr<WeightStore>& weights) {
  try {
    return host.create(options.component, config, weights);
  } catch (const PluginError& error) {
    if (weights) blame_weights(host, options.component, parse_config(config, "configuration"), options.weights, error);
    throw;
  }
}

CallContext context(const ProbeOptions& options, Reporter& reporter, const CancelToken& cancel) {
  CallContext context;
  context.seed = options.seed;
  context.progress = [&](std::string_view phase, std::uint64_t done, std::uint64_t total) {
    reporter.progress({options.component, phase, "", done, total, ""});
    return !cancel.cancelled();
  };
  return context;
}

/// Components that learn hold their weights in fp32; the precision is that of their activations.
Inputs training_inputs(Inputs inputs, const ProbeOptions& options) {
  Json trainer = inputs.params_json.empty() ? Json::object() : Json::parse(inputs.params_json);
  if (options.precision == Precision::Bf16 && trainer.is_object() && !trainer.contains("precision"))
    trainer["precision"] = "bf16";
  inputs.params_json = dump_compact(trainer);
  return inputs;
}

TensorMap train(Host& host, const std::shared_ptr<Component>& component, const ProbeOptions& options, Inputs inputs,
                const CallContext& context) {
  TrainProbe probe;
  probe.gradients = options.gradients;
  if (!options.state.empty()) probe.state = SafetensorsFile(options.state).tensors();
  for (const std::string& peer : options.peers) probe.peers.push_back(open_peer(host, peer));
  return probe_train(component, std::move(probe), training_inputs(std::move(inputs), options), context);
}

/// @throws DataError for a component that computes nothing without its weights
void check_weights_given(const Component& component, const ProbeOptions& options) {
  if (!options.weights.empty() || options.trains() || !takes_weights(component)) return;
  throw DataError("{} has no weights to compute {} with; give them with --weights FILE", options.component,
                  options.function);
}

TensorMap call(Host& host, const std::shared_ptr<Component>& component, const ProbeOptions& options,
               const CallContext& context) {
  Inputs inputs;
  if (!options.in.empty()) inputs.tensors = SafetensorsFile(options.in).tensors();
  if (!options.params.empty()) inputs.params_json = dump_compact(parse_config(options.params, "--params").json());
  if (options.trains()) return train(host, component, options, std::move(inputs), context);
  auto* scheduler = dynamic_cast<Scheduler*>(component.get());
  if (scheduler != nullptr) check_scheduler_params(inputs.params_json);
  if (scheduler != nullptr && is_scheduler_arithmetic(options.function)) {
    return probe_scheduler(*scheduler, options.function, inputs);
  }
  return component->call(options.function, context, inputs);
}

std::vector<std::vector<std::string>> output_rows(const TensorMap& outputs) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, tensor] : outputs) {
    rows.push_back({name, std::string(medgen::name_of(tensor.dtype())), to_string(tensor.shape())});
  }
  return rows;
}

Json output_document(const TensorMap& outputs) {
  Json document = Json::object();
  for (const auto& [name, tensor] : outputs) {
    document[name] = {{"dtype", medgen::name_of(tensor.dtype())}, {"shape", tensor.shape()}};
  }
  return document;
}

void report_unused(const WeightStore* weights, Reporter& reporter, Json& document) {
  document["unused_weights"] = Json::array();
  if (weights == nullptr) return;
  const std::vector<std::string> unused = weights->unused();
  document["unused_weights"] = unused;
  if (unused.empty()) return;
  reporter.log(LogLevel::Warning, fmt::format("{} of the weights were not used: {}", unused.size(), first_of(unused)));
}

Json facts_of(const Component& component) {
  const std::string text = component.describe();
  return text.empty() ? Json::object() : parse_config(text, "description of " + component.id()).json();
}

std::string facts_text(const Json& facts) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : facts.items())
    rows.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  return table(rows);
}

void check_usage(const ProbeOptions& options) {
  if (options.function.empty() && !options.describe) {
    throw UsageError("probe wants a FUNCTION (`medgen describe {}` lists them), or --describe", options.component);
  }
  if (!options.function.empty() && options.out.empty())
    throw UsageError("probe wants --out FILE for what {} gives", options.function);
  if (!options.trains() && (options.gradients || !options.peers.empty() || !options.state.empty()))
    throw UsageError("--peer, --state and --gradients belong to the function {}", kTrainFunction);
}

void probe(ProbeOptions& options, const Invocation& invocation) {
  check_usage(options);
  if (!options.key.empty()) options.load.key = options.key;
  Reporter reporter(invocation.progress_style(), invocation.log_level());
  const CancelToken& cancel = cancel_on_signals(invocation.talks());
  const Registry registry = invocation.registry();
  const std::string config = config_json(options, registry);
  HostOptions host_options;
  host_options.threads = options.threads;
  host_options.precision = options.trains() ? Precision::Fp32 : options.precision;
  host_options.log = [&reporter](int level, std::string_view text) { reporter.log(log_level(level), text); };
  Host host(registry, std::move(host_options));
  const auto weights = open_weights(options, reporter);
  const auto component = create(host, options, config, weights);

  Json document = {{"component", options.component}, {"function", options.function}};
  report_unused(weights.get(), reporter, document);
  if (options.describe) document["facts"] = facts_of(*component);
  TensorMap outputs;
  if (!options.function.empty()) {
    const auto start = std::chrono::steady_clock::now();
    check_weights_given(*component, options);
    try {
      outputs = call(host, component, options, context(options, reporter, cancel));
    } catch (const InvalidError& error) {  // what the component was given is the user's
      throw DataError("{}: {}", options.in.empty() ? "without --in" : options.in, error.what());
    }
    document["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (outputs.empty()) throw PluginError("{}: {} gave no output", options.component, options.function);
    document["outputs"] = output_document(outputs);
    write_safetensors(options.out, outputs);
  }
  reporter.clear();
  if (invocation.json) return print_json(document);
  if (options.describe) print(printable(facts_text(document["facts"])));
  print(printable(table(output_rows(outputs))));
}

void configure_probe(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<ProbeOptions>();
  app.add_option("COMPONENT", options->component, "Which component, such as maisi.unet")->required();
  app.add_option("FUNCTION", options->function, "Which of its functions, such as predict");
  app.add_option("--config", options->config, "JSON file with the component's configuration")->type_name("FILE");
  add_set_option(app, options->settings, "Set a value of the configuration; may be given again");
  app.add_option("--weights", options->weights, ".safetensors, or a torch checkpoint")->type_name("FILE");
  app.add_option("--key", options->key, "Where the state dict is in the checkpoint")->type_name("KEY");
  app.add_option("--prefix", options->load.strip_prefix, "A prefix that all weights lose")->type_name("PREFIX");
  app.add_option("--in", options->in, "Input tensors, .safetensors")->type_name("FILE");
  app.add_option("--out", options->out, "Where the outputs go, .safetensors")->type_name("FILE");
  app.add_option("--params", options->params, "Scalars of the call, a JSON object")->type_name("JSON");
  app.add_option("--peer", options->peers, "train: a component that takes part, ROLE=FILE; may be given again")
      ->type_name("ROLE=FILE");
  app.add_option("--state", options->state, "train: state to begin with, such as checkpoint.safetensors")
      ->type_name("FILE");
  app.add_flag("--gradients", options->gradients, "train: write every gradient, not only their norms");
  app.add_flag("--describe", options->describe, "Print what the component says of itself: parameters, channels ...");
  app.add_option("--seed", options->seed, "Seed of its noise")->type_name("N")->check(seed_range());
  app.add_option("--threads", options->threads, "Threads to compute with")->type_name("N")->check(CLI::Range(1, 4096));
  const std::map<std::string, Precision> precisions = {{"fp32", Precision::Fp32}, {"bf16", Precision::Bf16}};
  app.add_option("--precision", options->precision, "What it computes in; fp32 when not given")
      ->transform(one_of(precisions));
  add_plugin_dir_option(app, invocation);
  add_json_option(app, invocation);
  add_progress_options(app, invocation);
  app.callback([options, &invocation] { probe(*options, invocation); });
}

}  // namespace

const Command kProbeCommand = {
    "probe", "Run one function of one component on tensors, to compare numbers.",
    "% maisi.unet predict --config unet.json --weights unet.pt --in x.safetensors --out y.safetensors\n"
    "% scheduler.ddim timesteps --params '{\"num_inference_steps\": 30}' --out t.safetensors\n"
    "% maisi.autoencoder train --config vae.json --weights vae.pt --in batch.safetensors --out losses.safetensors\n"
    "% maisi.unet --describe --config unet.json",
    configure_probe};

}  // namespace medgen::cli
