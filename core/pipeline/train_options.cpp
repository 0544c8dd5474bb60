// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/train_options.h"

#include "core/base/file.h"
#include "core/base/text.h"
#include "core/config/paths.h"
#include "core/config/schema.h"
#include "core/pipeline/case_modalities.h"
#include "core/pipeline/loss_weights.h"
#include "core/pipeline/patch_options.h"
#include "core/pipeline/read_component.h"
#include "core/run/resources.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen {
namespace {

constexpr std::uint64_t kEncodedBytes = std::uint64_t{4} << 30;
constexpr const char* kControlNetInput = "controlnet_cond";
constexpr std::uint64_t kCacheBytes = std::uint64_t{100} << 30;

/// The budget that the plan gives a process, or its part of the machine.
std::uint64_t memory_for(const TrainStep& step, const Host& host) {
  const std::uint64_t budget = host.options().memory_budget;
  return budget > 0 ? budget : machine_memory().available / static_cast<std::uint64_t>(step.group->local_size());
}

/// That of a run, as options and records have it.
const char* precision_name(const Host& host) {
  return host.options().precision == Precision::Bf16 ? "bf16" : "fp32";
}

LearningRate schedule_of(const std::string& name) {
  if (name == "cosine") return LearningRate::Cosine;
  return name == "polynomial" ? LearningRate::Polynomial : LearningRate::Constant;
}

WatchOptions watch_of(const ConfigNode& step) {
  const ConfigNode watch = step.at("watch");
  return {watch.get<double>("explode"), watch.get<double>("flat")};
}

/// Whatever decides the weights, but for their rounding: not where things are, how often it is looked at, or what is
/// done with the result; nor what the data's fingerprint tells.
Json deciding(const ConfigNode& step) {
  Json options = step.json();
  const auto leave_out = [&options](std::initializer_list<const char*> keys) {
    for (const char* key : keys) options.erase(key);
  };
  leave_out({"data", "train", "to", "cache", "loader", "checkpoint_every", "log_every", "samples", "minutes"});
  leave_out({"name", "license", "credit", "weights_type", "keep", "watch"});
  leave_out({"channel", "resample_mm", "labels", "body", "case_conditions", "skip_bad", "split", "validation"});
  for (const char* key : {"optimizer_state", "checkpoint_activations"}) options["options"].erase(key);
  if (options.contains("perceptual")) options["perceptual"].erase("weights");  // what they hold is in the identity
  if (options.contains("validate")) options["validate"].erase("patience");
  return options;
}

}  // namespace

std::optional<CacheOptions> CacheOptions::read(const ConfigNode& step) {
  if (!step.contains("cache")) return std::nullopt;
  const ConfigNode cache = step.at("cache");
  if (!cache.is_object()) return CacheOptions{resolve_path(cache), kCacheBytes};
  return CacheOptions{resolve_path(cache.at("folder")),
                      cache.contains("size") ? cache.at("size").as_bytes() : kCacheBytes};
}

ValidateOptions ValidateOptions::read(const ConfigNode& step) {
  ValidateOptions options;
  if (!step.contains("validate")) return options;
  const ConfigNode node = step.at("validate");
  options.every = node.get<std::uint64_t>("every");
  options.cases = node.get<std::size_t>("cases");
  options.times = node.get<std::size_t>("times");
  options.patience = node.get<std::uint64_t>("patience", std::uint64_t{0});
  return options;
}

std::optional<ComponentSpec> perceptual_network(const TrainStep& step) {
  if (!step.node.contains("perceptual")) return std::nullopt;
  const ConfigNode node = step.node.at("perceptual");
  if (step.node.get<std::string>("component") != "compressor")
    node.fail("is for a compressor; this step trains a {}", step.node.get<std::string>("component"));
  return read_component("perceptual", node);
}

namespace {

void check_trainer_options(const ConfigNode& step, const ComponentSpec& learner, const Registry& registry) {
  const std::string& schema = info_of(learner, registry).train_options;
  if (schema.empty()) step.at("component").fail("cannot be trained: {} offers no training", learner.component);
  Schema::parse(schema, learner.component + " training options").validate(step.at("options"));
}

/// Its batches are images: no noise, no conditions.
void check_compressor_keys(const ConfigNode& step) {
  const auto refuse = [&](const char* key, bool given) {
    if (given) step.at(key).fail("is for a denoiser; this step trains a compressor");
  };
  refuse("with", !step.at("with").json().empty());
  refuse("loss_weights", step.contains("loss_weights"));
  refuse("case_conditions", step.contains("case_conditions"));
  refuse("conditions", !step.at("conditions").json().empty());
  refuse("latent_scale", step.at("latent_scale").is_number());
}

/// Other images beside those of the contract: one that a denoiser makes would have no units.
void check_modalities(const ConfigNode& step, const DataContract& contract) {
  if (!step.contains("modalities")) return;
  const ConfigNode node = step.at("modalities");
  if (step.get<std::string>("component") != "compressor")
    node.fail("is for a compressor; a denoiser makes images of one modality, that of the model's \"data\"");
  if (contract.makes_labels()) node.fail("is for images; this model makes label maps");
  CaseModalities::read(step, contract.labels);
}

/// The contrast compares a label map with its null condition, which is to be the same map without tumours.
void check_contrast(const ConfigNode& step, const ModelPackage& package, const Registry& registry) {
  constexpr const char* kKey = "null_labels";
  if (!step.at("options").contains("contrast")) return;
  const ConfigNode contrast = step.at("options").at("contrast");
  for (const ComponentSpec& spec : package.conditioners()) {
    const Json schema = Json::parse(info_of(spec, registry).config_schema);
    if (!schema.value("properties", Json::object()).contains(kKey)) continue;
    const Json config = spec.config ? spec.config->json() : Json::object();
    if (config.value("output", kControlNetInput) != kControlNetInput || !config.value(kKey, Json()).empty()) continue;
    contrast.fail(
        "compares label maps with and without tumours, but conditioner '{}' ({}) does not know what tumours become, so "
        "that its null condition has no labels at all: give its config \"{}\": {{\"TUMOUR ID\": ORGAN ID}}",
        spec.role, spec.component, kKey);
  }
}

/// Only what works at every step learns along.
void check_with(const ConfigNode& step, const ModelPackage& package, const Registry& registry) {
  std::vector<std::string> known;
  for (const ComponentSpec& spec : package.conditioners()) {
    const Json io = Json::parse(info_of(spec, registry).io);
    if (io.value("functions", Json::object()).contains("step")) known.push_back(spec.role);
  }
  for (const ConfigNode& node : step.at("with").items()) {
    const auto name = node.as<std::string>();
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    node.fail("is {}, but model '{}' has no such conditioner that can learn{}; it has: {}", excerpt(node.json()),
              package.name(), did_you_mean(name, known),
              known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", ")));
  }
}

void check_lora_keys(const ConfigNode& step) {
  const ConfigNode options = step.at("options");
  if (!options.contains("lora")) return;
  if (!step.at("with").json().empty())
    step.at("with").fail("trains other networks in full, which no adapter holds; leave it or \"lora\" out");
  if (!options.get<bool>("train_denoiser", true))
    options.at("train_denoiser").fail("is false, but adapters belong to the denoiser; leave it or \"lora\" out");
  if (step.get<std::string>("weights_type") != "fp32")
    step.at("weights_type").fail("is for whole networks; adapters are small, and are stored as fp32");
  if (step.contains("samples"))
    step.at("samples").fail("cannot be made while adapters learn; leave it or \"lora\" out");
}

/// What weighs nothing is not computed: what belongs to it would be passed over.
void check_loss_keys(const ConfigNode& step) {
  const ConfigNode options = step.at("options");
  const auto refuse = [&](const ConfigNode& parent, const char* key, const char* weight) {
    if (!parent.contains(key) || options.get<double>(weight, 0.0) > 0) return;
    parent.at(key).fail("means nothing while \"{}\" of the options is {}; give that, or leave \"{}\" out", weight,
                        options.contains(weight) ? "0" : "missing, which is 0", key);
  };
  refuse(step, "perceptual", "perceptual_weight");
  refuse(options, "perceptual_slices", "perceptual_weight");
  refuse(options, "adversarial_start", "adversarial_weight");
  refuse(options, "discriminator_rate", "adversarial_weight");
}

}  // namespace

std::vector<std::string> train_warnings(const ConfigNode& step) {
  const auto warmup = step.get<std::uint64_t>("warmup");
  const auto iterations = step.get<std::uint64_t>("iterations");
  if (warmup == 0 || warmup < iterations) return {};
  return {
      fmt::format("the learning rate rises over {} iterations (\"warmup\"), but the training ends after {}: it is "
                  "never what \"learning_rate\" says",
                  warmup, iterations)};
}

void check_train_keys(const ConfigNode& step, const Preparation& preparation, const ModelPackage& package,
                      const Registry& registry) {
  const auto role = step.get<std::string>("component");
  const auto& learner = package.part(role);
  if (!learner) step.at("component").fail("is \"{}\", but the model has no {}", role, role);
  check_trainer_options(step, *learner, registry);
  if (role == "compressor") check_compressor_keys(step);
  check_modalities(step, package.contract());
  check_with(step, package, registry);
  check_contrast(step, package, registry);
  check_lora_keys(step);
  check_loss_keys(step);
  PatchOptions::read(step, package.contract().labels, 0);
  LossWeights::read(step, package.contract().labels);
  preparation.check(package.contract());
}

void check_lora(const ConfigNode& step, const ModelPackage& package) {
  const ConfigNode options = step.at("options");
  if (!options.contains("lora")) return;
  const auto& base = package.part(step.get<std::string>("component"));
  if (base && base->weights.empty())
    options.at("lora").fail("adds to weights, but the {} of model '{}' has none yet", base->role, package.name());
}

void check_validation(const ConfigNode& step, const SplitOptions& split) {
  if (split.fractions.validation > 0) return;
  constexpr const char* kNone = "needs cases to validate on: give the step \"validation\": 0.1, or a \"split\"";
  if (step.contains("validate")) step.at("validate").fail(kNone);
  if (step.get<std::string>("keep") == "best") step.at("keep").fail(kNone);
}

Json trainer_options(const ConfigNode& step, const Host& host) {
  Json options = step.at("options").json();
  if (!options.contains("precision")) options["precision"] = precision_name(host);
  return options;
}

BatchShare batch_share(const TrainStep& step) {
  const auto batch = step.node.get<std::uint64_t>("batch");
  const auto processes = static_cast<std::uint64_t>(step.group->size());
  if (batch < processes) {
    step.node.at("batch").fail(
        "is {}, which {} processes cannot share: start fewer of them, or take larger batches (a batch of 4 is what 4 "
        "gathered by \"accumulate\" are)",
        batch, processes);
  }
  return BatchShare::of(batch, step.group->part());
}

std::uint64_t case_bytes(const TrainStep& step, const Host& host) {
  const ConfigNode loader = step.node.at("loader");
  return loader.contains("memory") ? loader.at("memory").as_bytes() : memory_for(step, host) / 2;
}

std::uint64_t encoded_bytes(const TrainStep& step, const Host& host) {
  return std::min(kEncodedBytes, memory_for(step, host) / 4);
}

std::filesystem::path training_folder(const TrainStep& step) {
  return resolve_path(step.node.at("to")) / "training" / step.name;
}

Json precisions_of(const TrainStep& step, const Host& host) {
  return {precision_name(host), trainer_options(step.node, host)["precision"]};
}

std::optional<std::uint64_t> interrupted_at(const TrainStep& step, const Host& host) {
  const std::filesystem::path checkpoint = training_folder(step) / kCheckpointFile;
  if (!std::filesystem::exists(checkpoint)) return std::nullopt;
  return iteration_of_checkpoint(checkpoint, {{"/step", deciding(step.node)},
                                              {"/training/seed", step.seed},
                                              {"/training/precision", precisions_of(step, host)}});
}

LoopOptions read_loop_options(const TrainStep& step, const Json& identity) {
  const ConfigNode& node = step.node;
  const ValidateOptions validate = ValidateOptions::read(node);
  LoopOptions options;
  options.step = step.name;
  options.iterations = node.get<std::uint64_t>("iterations");
  options.minutes = node.get<double>("minutes", 0.0);
  options.learning_rate = node.get<double>("learning_rate");
  options.schedule = schedule_of(node.get<std::string>("schedule"));
  options.power = node.get<double>("power");
  options.warmup = node.get<std::uint64_t>("warmup");
  options.accumulate = node.get<std::uint64_t>("accumulate");
  options.checkpoint_every = node.get<std::uint64_t>("checkpoint_every");
  options.log_every = node.get<std::uint64_t>("log_every");
  options.validate_every = validate.every;
  options.patience = validate.patience;
  options.keep_best = node.get<std::string>("keep") == "best";
  if (node.contains("samples")) options.sample_every = node.at("samples").get<std::uint64_t>("every");
  options.watch = watch_of(node);
  options.seed = step.seed;
  options.group = step.group;
  options.share = batch_share(step);
  options.folder = training_folder(step);
  options.fingerprint = dump_canonical(Json{{"step", deciding(node)}, {"training", identity}});
  return options;
}

}  // namespace medgen
