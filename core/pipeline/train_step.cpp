// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/train_step.h"

#include "core/base/file.h"
#include "core/config/json.h"
#include "core/config/paths.h"
#include "core/pipeline/case_conditions.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/model.h"
#include "core/pipeline/package_writer.h"
#include "core/pipeline/selftest.h"
#include "core/pipeline/train_options.h"
#include "core/pipeline/training_batches.h"
#include "core/pipeline/training_data.h"
#include "core/pipeline/training_record.h"
#include "core/pipeline/training_samples.h"
#include "core/run/resources.h"
#include "core/train/loop.h"
#include "core/train/shared_mean.h"

#include <medgen/abi/version.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <mutex>
#include <utility>

namespace medgen {
namespace {

DType weights_type(const std::string& name) {
  if (name == "fp16") return DType::F16;
  return name == "bf16" ? DType::BF16 : DType::F32;
}

/// Warnings from threads that prepare patches, told by the one that runs.
class LateWarnings {
 public:
  void add(const std::string& text) {
    const std::lock_guard lock(mutex_);
    texts_.push_back(text);
  }

  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(texts_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> texts_;
};

/// Components that learn are made in fp32: they hold the master weights.
HostOptions master_options(const Host& host) {
  HostOptions options = host.options();
  options.precision = Precision::Fp32;
  return options;
}

/// Without what is said of the model, of how it came to be, and of another one that goes with it.
Json described_alone(Json model) {
  for (const char* key : {"name", "title", "license", "credit", "summary", "provenance", "mask_generator"})
    model.erase(key);
  return model;
}

class TrainRun {
 public:
  TrainRun(const TrainStep& step, Host& host, const RunObserver& observer)
      : step_(step),
        host_(host),
        master_host_(host.registry(), master_options(host)),
        observer_(observer),
        package_(ModelPackage::load(step.model, host.registry())),
        role_(step.node.get<std::string>("component")),
        share_(batch_share(step)),
        cache_(open_cache()) {}

  std::filesystem::path run() {
    check_conditions(step_.node, package_, host_.registry());
    check_train_keys(step_.node, step_.preparation, package_, host_.registry());
    check_lora(step_.node, package_);
    PatchOptions patches = PatchOptions::read(step_.node, package_.contract().labels, step_.seed);
    conditions_ = CaseConditions::read(step_.node);
    conditions_.check_columns(package_, host_.registry());
    loss_weights_ = LossWeights::read(step_.node, package_.contract().labels);
    modalities_ = CaseModalities::read(step_.node, package_.contract().labels);
    if (patches.augment) tell(mirror_warning(*patches.augment, package_.contract().labels));
    for (const CaseModalities::Modality& modality : modalities_.all()) {
      if (modality.augment) tell(mirror_warning(*modality.augment, package_.contract().labels));
    }
    open_parts();
    patches.multiple_of = granularity();
    check_crop(step_.node, patches, patches.multiple_of);
    // Before the data: what its trainer refuses is told before hours of reading.
    Trainer trainer(learner_, peers_, step_.node.at("options").with_value(trainer_options(step_.node, host_)),
                    step_.seed);
    options_ = trainer.options();
    data_.emplace(step_.data, package_.contract(), patches, data_options(), observer_);
    if (role_ == "denoiser") tell(data_->scale_warning());
    if (measures_labels()) package_ = package_.with_label_volumes(data_->label_volumes_ml());
    batches_.emplace(*data_, parts_, batch_options());
    batches_->check_case_conditions(observer_);
    latent_scale_ = role_ == "denoiser" ? scale() : package_.latent_scale();
    if (batches_->validation_rows() > 0 && !trainer.can_evaluate())
      step_.node.at("component").fail("cannot be validated: {} has no evaluate; hold no cases out", learner_->id());
    LoopOptions options = read_loop_options(step_, identity());
    options.scales_gradients = options_.value("precision", "") == "fp16";
    const LoopResult result = train_loop(
        trainer, [&](std::uint64_t batch) { return make_batch(batch); }, options, observer_, hooks(trainer));
    if (step_.group->first()) write_package(trainer, result);
    return resolve_path(step_.node.at("to"));
  }

 private:
  bool trains(const std::string& role) const {
    const auto with = step_.node.get<std::vector<std::string>>("with");
    return role == role_ || std::find(with.begin(), with.end(), role) != with.end();
  }

  void tell(const std::optional<std::string>& warning) const {
    if (warning) observer_.say(LogLevel::Warning, fmt::format("steps.{}: {}", step_.name, *warning));
  }

  /// What the axes of a patch have to be multiples of.
  std::int64_t granularity() const {
    return role_ == "compressor" ? volume_multiple(learner_.get(), nullptr)
                                 : volume_multiple(parts_.compressor.get(), learner_.get());
  }

  std::shared_ptr<CaseCache> open_cache() {
    const auto options = CacheOptions::read(step_.node);
    if (!options) return nullptr;
    return std::make_shared<CaseCache>(options->folder, options->size,
                                       [this](const std::string& text) { warnings_.add(text); });
  }

  /// 0: nobody tells.
  std::int64_t image_channels() const {
    if (role_ == "compressor") return component_fact(*learner_, "in_channels", 0);
    return parts_.compressor ? component_fact(*parts_.compressor, "in_channels", 0)
                             : component_fact(*learner_, "out_channels", 0);
  }

  /// Whether a conditioner asks for what the model does not know yet.
  bool measures_labels() const {
    return role_ == "denoiser" && package_.contract().label_volumes_ml.empty() &&
           takes_condition(kLabelVolumes, package_, host_.registry());
  }

  TrainingDataOptions data_options() const {
    TrainingDataOptions options;
    options.needs_labels = !what_needs_labels(step_, package_, host_.registry()).empty();
    options.labels = step_.preparation.labels(package_.contract());
    options.channels = image_channels();
    options.channel = step_.preparation.channel();
    options.wants_whole_map = conditioner_with_input(package_, host_.registry(), kWholeMask) != nullptr;
    options.measures_labels = measures_labels();
    options.split = SplitOptions::read(step_.split, step_.seed);
    options.modalities = modalities_;
    options.skip_bad = step_.preparation.skips_bad();
    options.most_bytes = case_bytes(step_, host_);
    options.cache = cache_;
    options.body = step_.preparation.body(package_.contract());
    options.spacing = step_.preparation.spacing();
    options.contract_text = dump_compact(package_.json().value("data", Json::object()));
    return options;
  }

  BatchOptions batch_options() const {
    const ConfigNode& node = step_.node;
    const ValidateOptions validate = ValidateOptions::read(node);
    BatchOptions options;
    options.share = share_;
    options.seed = step_.seed;
    options.conditions = conditions_;
    if (takes_condition(kLabelVolumes, package_, host_.registry()))
      options.label_volumes_ml = package_.contract().label_volumes_ml.by_id();
    options.loss_weights = loss_weights_;
    options.null_conditions = node.at("options").contains("contrast");  // the trainer compares label maps with them
    options.loader.threads = node.at("loader").get<unsigned>("threads");
    options.loader.ahead = node.at("loader").get<std::size_t>("ahead") * share_.rows;
    options.encoded_bytes = encoded_bytes(step_, host_);
    options.cache = cache_;
    if (cache_) options.encoding = encoding();
    options.validation_cases = validate.cases;
    options.validation_times = validate.times;
    return options;
  }

  /// Everything that decides what becomes of a case before noise: the key of what is kept of it.
  std::string encoding() const {
    Json text = {{"medgen", MEDGEN_VERSION},
                 {"precision", static_cast<int>(host_.options().precision)},
                 {"data", package_.json().value("data", Json::object())}};
    if (step_.node.contains("loss_weights")) text["loss_weights"] = step_.node.at("loss_weights").json();
    text["null_conditions"] = step_.node.at("options").contains("contrast");
    if (step_.node.contains("crop")) text["crop"] = step_.node.at("crop").json();
    for (const ComponentSpec& spec : package_.all()) {
      if (spec.role == "denoiser" || spec.role == "scheduler" || spec.role == "propagator") continue;
      Json& component = text["components"][spec.role] = {{"component", spec.component}};
      if (spec.config) component["config"] = spec.config->json();
      if (!spec.weights.empty()) component["sha256"] = sha256_of_weights(spec);
    }
    return dump_compact(text);
  }

  void open_parts() {
    const auto& spec = package_.part(role_);
    if (!spec) step_.node.at("component").fail("is \"{}\", but the model has no {}", role_, role_);
    learner_ = create_component(master_host_, *spec);
    if (const auto features = perceptual_network(step_))
      peers_.push_back({features->role, create_component(host_, *features), false});
    if (role_ != "denoiser") return;
    if (const auto& compressor = package_.part("compressor")) {
      if (compressor->weights.empty()) {
        step_.node.at("train").fail(
            "has a compressor without weights; train it in an earlier step, or give its weights");
      }
      parts_.compressor = std::dynamic_pointer_cast<Compressor>(create_component(host_, *compressor));
    }
    const auto& scheduler = package_.part("scheduler");
    if (!scheduler) step_.node.at("train").fail("has no scheduler; a denoiser needs one to be trained");
    parts_.scheduler = std::dynamic_pointer_cast<Scheduler>(create_component(host_, *scheduler));
    for (const ComponentSpec& spec_of : package_.conditioners()) {
      auto component = create_component(trains(spec_of.role) ? master_host_ : host_, spec_of);
      parts_.conditioners.push_back(std::dynamic_pointer_cast<Conditioner>(component));
      if (parts_.conditioners.back()->has_step()) peers_.push_back({spec_of.role, component, trains(spec_of.role)});
    }
  }

  double scale() {
    const ConfigNode node = step_.node.at("latent_scale");
    const bool learnt = !package_.part(role_)->weights.empty();  // on latents of the package's scale
    if (!node.is_number() && !learnt) return batches_->measure_latent_scale(observer_);
    const double scale = node.is_number() ? node.as<double>() : package_.latent_scale();
    batches_->set_latent_scale(scale);
    return scale;
  }

  TensorMap make_batch(std::uint64_t number) {
    for (const std::string& warning : warnings_.take()) tell(warning);
    return batches_->batch(number);
  }

  /// Of the training beside its options.
  Json identity() const {
    Json identity = {
        {"seed", step_.seed},
        {"data (voxels, labels, channel, which cases are held out)", data_->fingerprint()},
        {"cases to learn from and held out", {data_->training().size(), data_->validation().size()}},
        {"model (components and data contract)", content_hash(described_alone(package_.json_without_weights()))},
        {"weights", package_.weight_hashes()},
        {"precision", precisions_of(step_, host_)}};
    if (const auto features = perceptual_network(step_)) identity["perceptual"] = sha256_file(features->weights);
    if (conditions_.has_table()) identity["case_conditions"] = conditions_.fingerprint(data_->names());
    return identity;
  }

  LoopHooks hooks(Trainer& trainer) {
    LoopHooks hooks;
    hooks.describe = [this](std::uint64_t batch) { return batches_->describe(batch); };
    if (batches_->validation_rows() > 0) hooks.validate = [this, &trainer] { return validate(trainer); };
    if (step_.node.contains("samples"))
      hooks.sample = [this, &trainer](std::uint64_t iteration) { return sample(trainer, iteration); };
    return hooks;
  }

  /// Mean over the held-out cases.
  Scalars validate(Trainer& trainer) {
    return shared_mean(batches_->validation_rows(), *step_.group, [&](std::size_t row) {
      observer_.check_cancelled();
      CallContext context;
      context.seed = step_.seed;
      context.step = static_cast<std::uint32_t>(row);
      return trainer.evaluate(context, batches_->validation_row(row));
    });
  }

  TrainingSample sample(Trainer& trainer, std::uint64_t iteration) {
    TrainingSampleOptions options;
    options.step = step_.name;
    options.count = step_.node.at("samples").get<std::size_t>("count");
    options.steps = step_.node.at("samples").get<int>("steps", 0);
    options.conditions = conditions_;
    options.seed = step_.seed;
    options.folder = training_folder(step_) / "samples";
    return make_training_sample(package_.with_learnt(learnt(trainer), latent_scale_), role_ == "compressor", *data_,
                                iteration, options, host_, observer_);
  }

  /// Copies of the weights by role; of their averages where there are any.
  std::map<std::string, TensorMap> learnt(Trainer& trainer, DType type = DType::F32) const {
    const bool averaged = step_.node.at("options").get<double>("ema", 0.0) > 0;
    const std::string prefix = averaged ? "ema/" : "weights/";
    std::map<std::string, TensorMap> learnt;
    const auto keep = [&](const std::string& name, const Tensor& tensor) {
      std::string rest = name.substr(prefix.size());
      std::string role = role_;
      for (const Trainer::Peer& peer : peers_) {
        if (!rest.starts_with(peer.role + "/")) continue;
        role = peer.role;
        rest = rest.substr(peer.role.size() + 1);
        break;
      }
      learnt[role][rest] = type == tensor.dtype() ? tensor.clone() : tensor.to(type);
    };
    trainer.save(averaged ? MEDGEN_TRAIN_EMA : MEDGEN_TRAIN_WEIGHTS, keep);
    return learnt;
  }

  void write_package(Trainer& trainer, const LoopResult& result) const {
    if (step_.node.at("options").contains("lora")) return write_adapter(trainer, result);
    const DType type = weights_type(step_.node.get<std::string>("weights_type"));
    write_model_package(package_, resolve_path(step_.node.at("to")), learnt(trainer, type), latent_scale_, step_.name,
                        training_record(step_, *data_, conditions_, options_, result), PackageNames::read(step_.node));
  }

  /// The adapters alone: the weights that they were trained on stay where they are, and are named by their hash.
  void write_adapter(Trainer& trainer, const LoopResult& result) const {
    const ComponentSpec& base = *package_.part(role_);
    const ConfigNode lora = step_.node.at("options").at("lora");
    const auto rank = lora.get<std::int64_t>("rank", 8);
    Adapter adapter;
    adapter.facts = {role_, sha256_of_weights(base), lora.get<double>("alpha", static_cast<double>(rank)), rank};
    adapter.tensors = learnt(trainer).at(role_);
    write_adapter_package(package_, resolve_path(step_.node.at("to")), adapter,
                          training_record(step_, *data_, conditions_, options_, result),
                          PackageNames::read(step_.node));
  }

  const TrainStep& step_;
  Host& host_;
  Host master_host_;
  const RunObserver& observer_;
  ModelPackage package_;
  std::string role_;
  BatchShare share_;
  LateWarnings warnings_;
  std::shared_ptr<CaseCache> cache_;
  std::shared_ptr<Component> learner_;
  std::vector<Trainer::Peer> peers_;
  Json options_;  ///< of the trainer, all of them
  TrainingParts parts_;
  std::optional<TrainingData> data_;
  LossWeights loss_weights_;
  CaseConditions conditions_;
  CaseModalities modalities_;
  std::optional<TrainingBatches> batches_;  ///< of the data and parts, which outlive it
  double latent_scale_ = 1.0;
};

/// What the conditioners were told of the first case.
std::string some_conditions(const TrainStep& step) {
  const std::vector<Case> cases = cases_to_read(step);
  return cases.empty() ? "" : CaseConditions::read(step.node).of(cases.front().name);
}

/// The training is worth more than its self-test.
void prove(const std::filesystem::path& package, const TrainStep& step, Host& host, const RunObserver& observer) {
  RunObserver quiet;
  quiet.cancel = observer.cancel;
  try {
    if (step.node.at("options").contains("lora")) {
      write_adapter_self_test(package, resolve_path(step.model), some_conditions(step), host.registry(), quiet);
    } else {
      write_self_test(package, some_conditions(step), host.registry(), quiet);
    }
  } catch (const Cancelled&) {
    throw;
  } catch (const std::exception& error) {
    observer.say(LogLevel::Warning, fmt::format("steps.{}: no self-test was written: {}", step.name, error.what()));
  }
}

}  // namespace

std::filesystem::path run_train_step(const TrainStep& step, Host& host, const RunObserver& observer) {
  const std::filesystem::path package = TrainRun(step, host, observer).run();  // its memory is given back here
  if (step.group->first()) prove(package, step, host, observer);
  return package;
}

}  // namespace medgen
