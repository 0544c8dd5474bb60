// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/train_step.h"

#include "core/base/file.h"
#include "core/config/json.h"
#include "core/config/paths.h"
#include "core/data/made_ahead.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/encoded_cases.h"
#include "core/pipeline/loss_weights.h"
#include "core/pipeline/model.h"
#include "core/pipeline/package_writer.h"
#include "core/pipeline/read_component.h"
#include "core/pipeline/selftest.h"
#include "core/pipeline/training_data.h"
#include "core/random/noise.h"
#include "core/run/resources.h"
#include "core/sample/update.h"
#include "core/train/loop.h"

#include <medgen/abi/version.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace medgen {
namespace {

constexpr std::size_t kScaleCases = 32;                          // cases whose latents measure the scale
constexpr std::uint64_t kEncodedBytes = std::uint64_t{4} << 30;  // of latents and conditions that are kept, at most

/// A quarter of the budget, or of the memory there is. Keeping less changes no result.
std::size_t encoded_bytes(const Host& host) {
  const std::uint64_t budget = host.options().memory_budget;
  return std::min(kEncodedBytes, (budget > 0 ? budget : machine_memory().available) / 4);
}

DType weights_type(const std::string& name) {
  if (name == "fp16") return DType::F16;
  return name == "bf16" ? DType::BF16 : DType::F32;
}

LearningRate schedule_of(const std::string& name) {
  if (name == "cosine") return LearningRate::Cosine;
  return name == "polynomial" ? LearningRate::Polynomial : LearningRate::Constant;
}

/// Components that learn are made in fp32: they hold the master weights.
HostOptions master_options(const Host& host) {
  HostOptions options = host.options();
  options.precision = Precision::Fp32;
  return options;
}

/// The feature network of a compressor's perceptual loss.
std::optional<ComponentSpec> perceptual_network(const TrainStep& step) {
  if (!step.node.contains("perceptual")) return std::nullopt;
  const ConfigNode node = step.node.at("perceptual");
  if (step.node.get<std::string>("component") != "compressor")
    node.fail("is for a compressor; this step trains a {}", step.node.get<std::string>("component"));
  return read_component("perceptual", node);
}

Json trainer_options(const TrainStep& step, const Host& host) {
  Json options = step.node.at("options").json();
  if (!options.contains("precision"))
    options["precision"] = host.options().precision == Precision::Bf16 ? "bf16" : "fp32";
  return options;
}

/// What adapters are added to must be there, and stay.
void check_lora(const ConfigNode& step, const ModelPackage& package) {
  const ConfigNode options = step.at("options");
  if (!options.contains("lora")) return;
  const auto& base = package.part(step.get<std::string>("component"));
  if (base && base->weights.empty())
    options.at("lora").fail("adds to weights, but the {} of model '{}' has none yet", base->role, package.name());
  if (!step.at("with").json().empty())
    step.at("with").fail("trains other networks in full, which no adapter holds; leave it or \"lora\" out");
}

class TrainRun {
 public:
  TrainRun(const TrainStep& step, Host& host, const RunObserver& observer)
      : step_(step),
        host_(host),
        master_host_(host.registry(), master_options(host)),
        observer_(observer),
        package_(ModelPackage::load(step.model, host.registry())),
        role_(step.node.get<std::string>("component")) {}

  std::filesystem::path run() {
    check_conditions(step_.node, package_, host_.registry());
    check_lora(step_.node, package_);
    const PatchOptions patches = PatchOptions::read(step_.node, package_.contract().labels, step_.seed);
    loss_weights_ = LossWeights::read(step_.node, package_.contract().labels);
    if (patches.augment) tell(mirror_warning(*patches.augment, package_.contract().labels));
    open_parts();
    data_.emplace(step_.data, package_.contract(), patches, needs_labels(), observer_);
    patches_.emplace([this](std::uint64_t draw) { return data_->item(draw); }, loader_options());
    if (role_ == "denoiser") measure_latent_scale();
    Trainer trainer(learner_, peers_, step_.node.at("options").with_value(trainer_options(step_, host_)), step_.seed);
    const LoopOptions options = loop_options();
    train_loop(
        trainer, [&](std::uint64_t batch) { return make_batch(batch); }, options, observer_);
    write_package(trainer);
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

  bool needs_labels() const {
    return role_ == "denoiser" && (!package_.conditioners().empty() || !loss_weights_.empty());
  }

  /// Whether the trainer compares label maps with what they are in the null condition of guidance.
  bool needs_null_conditions() const { return step_.node.at("options").contains("contrast"); }

  PrefetchOptions loader_options() const {
    const ConfigNode loader = step_.node.at("loader");
    PrefetchOptions options;
    options.threads = loader.get<unsigned>("threads");
    options.ahead = loader.get<std::size_t>("ahead") * step_.node.get<std::size_t>("batch");
    return options;
  }

  void open_parts() {
    const auto& spec = package_.part(role_);
    if (!spec) step_.node.at("component").fail("is \"{}\", but the model has no {}", role_, role_);
    learner_ = create_component(master_host_, *spec);
    if (const auto features = perceptual_network(step_)) {
      peers_.push_back({features->role, create_component(host_, *features), false});
    }
    if (role_ != "denoiser") return;
    if (const auto& compressor = package_.part("compressor")) {
      if (compressor->weights.empty()) {
        step_.node.at("train").fail(
            "has a compressor without weights; train it in an earlier step, or give its weights");
      }
      compressor_ = std::dynamic_pointer_cast<Compressor>(create_component(host_, *compressor));
    }
    const auto& scheduler = package_.part("scheduler");
    if (!scheduler) step_.node.at("train").fail("has no scheduler; a denoiser needs one to be trained");
    scheduler_ = std::dynamic_pointer_cast<Scheduler>(create_component(host_, *scheduler));
    for (const ComponentSpec& spec_of : package_.conditioners()) {
      auto component = create_component(trains(spec_of.role) ? master_host_ : host_, spec_of);
      conditioners_.push_back(std::dynamic_pointer_cast<Conditioner>(component));
      if (conditioners_.back()->has_step()) peers_.push_back({spec_of.role, component, trains(spec_of.role)});
    }
  }

  Tensor noise(const Shape& shape, std::uint64_t sample, const char* purpose) const {
    Tensor tensor(DType::F32, shape);
    fill_noise(tensor,
               {step_.seed, static_cast<std::uint32_t>(sample >> 32), purpose, static_cast<std::uint32_t>(sample)});
    return tensor;
  }

  Encoded encode(std::uint64_t draw) {
    const TrainingData::Item item = patches_->take(draw);
    Encoded result;
    if (compressor_) {
      result.latent = compressor_->encode(CallContext{}, {{"x", item.image}});
    } else {
      result.latent.mean = item.image;
    }
    result.conditions = conditions_of(item, 0);
    if (needs_null_conditions()) {
      for (auto& [name, tensor] : conditions_of(item, MEDGEN_CALL_UNCONDITIONAL))
        result.conditions["null/" + name] = std::move(tensor);
    }
    if (!loss_weights_.empty()) {
      const Shape& latent = result.latent.mean.shape();
      result.conditions["weight"] = loss_weights_.on(item.mask, {latent.begin() + 2, latent.end()});
    }
    return result;
  }

  /// Patches that lie still are encoded once, as long as memory for them lasts.
  std::shared_ptr<const Encoded> encoded(std::uint64_t draw) {
    if (!data_->patches_lie_still()) return std::make_shared<Encoded>(encode(draw));
    return encoded_.get(data_->case_of(draw), [&] { return encode(draw); });
  }

  /// mean + sigma eps, unscaled, with the noise of this draw.
  Tensor latent_of(const Encoded& encoded, std::uint64_t draw) const {
    const Compressor::Latent& latent = encoded.latent;
    Tensor z = latent.mean.clone();
    if (latent.sigma.empty()) return z;
    const Tensor eps = noise(z.shape(), draw, "train.posterior");
    const auto out = z.values<float>();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += latent.sigma.values<float>()[i] * eps.values<float>()[i];
    return z;
  }

  void measure_latent_scale() {
    const ConfigNode node = step_.node.at("latent_scale");
    if (node.is_number()) {
      latent_scale_ = node.as<double>();
      return;
    }
    if (!package_.part(role_)->weights.empty()) {  // they were trained on latents of this scale
      latent_scale_ = package_.latent_scale();
      return;
    }
    double sum = 0;
    double squares = 0;
    double count = 0;
    for (std::uint64_t draw = 0; draw < std::min(kScaleCases, data_->cases()); ++draw) {
      observer_.check_cancelled();
      const Tensor z = latent_of(*encoded(draw), draw);
      for (const float value : z.values<float>()) {
        sum += value;
        squares += static_cast<double>(value) * value;
      }
      count += static_cast<double>(z.size());
    }
    const double variance = squares / count - (sum / count) * (sum / count);
    if (!(variance > 0))
      throw DataError("steps.{}: the latents of the data do not vary; train the compressor first", step_.name);
    latent_scale_ = 1.0 / std::sqrt(variance);
  }

  TensorMap make_batch(std::uint64_t batch) {
    const auto size = step_.node.get<std::uint64_t>("batch");
    std::map<std::string, std::vector<Tensor>> columns;
    for (std::uint64_t row = 0; row < size; ++row) {
      for (auto& [name, tensor] : make_row(batch * size + row)) columns[name].push_back(std::move(tensor));
    }
    TensorMap joined;
    for (const auto& [name, rows] : columns) joined[name] = concat_rows(rows);
    return joined;
  }

  TensorMap make_row(std::uint64_t draw) {
    if (role_ == "compressor") return {{"x", patches_->take(draw).image}};
    const std::shared_ptr<const Encoded> known = encoded(draw);
    Tensor x0 = latent_of(*known, draw);
    for (float& value : x0.values<float>()) value = static_cast<float>(value * latent_scale_);
    const double t = draw_time(x0, draw);
    const NoiseLevel level = scheduler_->level(t);
    const Tensor eps = noise(x0.shape(), draw, "train.noise");
    TensorMap row = known->conditions;
    row["x"] = add_noise(level, x0, eps);
    row["timesteps"] = Tensor::scalar(static_cast<float>(t));
    row["target"] = training_target(level, x0, eps);
    return row;
  }

  double draw_time(const Tensor& x0, std::uint64_t draw) const {
    Tensor u(DType::F64, {1, 1});
    fill_noise(u, {step_.seed, static_cast<std::uint32_t>(draw >> 32), "train.time", static_cast<std::uint32_t>(draw)},
               Distribution::Uniform);
    ScheduleRequest request;
    request.steps = 1;
    request.latent_shape.assign(x0.shape().begin() + 1, x0.shape().end());
    return scheduler_->training_time(request, u.values<double>()[0]);
  }

  TensorMap conditions_of(const TrainingData::Item& item, std::uint32_t flags) const {
    Json params = step_.node.at("conditions").json();
    params["spacing_mm"] = item.spacing_mm;
    CallContext context;
    context.flags = flags;
    TensorMap known = {{"image", item.image}};
    if (!item.mask.empty()) known["mask"] = item.mask;
    TensorMap made;
    for (const auto& conditioner : conditioners_) {
      if (!conditioner->has_encode()) continue;
      for (auto& [name, tensor] : conditioner->encode(context, {known, params.dump()}))
        made[name] = known[name] = tensor;
    }
    return made;
  }

  LoopOptions loop_options() const {
    const ConfigNode& node = step_.node;
    LoopOptions options;
    options.step = step_.name;
    options.iterations = node.get<std::uint64_t>("iterations");
    options.minutes = node.get<double>("minutes", 0.0);
    options.learning_rate = node.get<double>("learning_rate");
    options.schedule = schedule_of(node.get<std::string>("schedule"));
    options.power = node.get<double>("power");
    options.warmup = node.get<std::uint64_t>("warmup");
    options.accumulate = node.get<std::uint64_t>("accumulate");
    options.checkpoint_every = node.get<std::uint64_t>("checkpoint_every");
    options.log_every = node.get<std::uint64_t>("log_every");
    options.seed = step_.seed;
    options.folder = resolve_path(node.at("to")) / "training" / step_.name;
    Json identity = node.json();
    for (const char* key :
         {"to", "data", "train", "loader", "checkpoint_every", "log_every", "minutes", "weights_type"})
      identity.erase(key);
    if (const auto features = perceptual_network(step_))
      identity["perceptual"]["weights"] = sha256_file(features->weights);
    options.fingerprint = content_hash(Json{{"step", identity},
                                            {"seed", step_.seed},
                                            {"data", data_->fingerprint()},
                                            {"model", content_hash(package_.json())}});
    return options;
  }

  void write_package(Trainer& trainer) const {
    const bool averaged = step_.node.at("options").get<double>("ema", 0.0) > 0;
    const std::string prefix = averaged ? "ema/" : "weights/";
    const DType type = weights_type(step_.node.get<std::string>("weights_type"));
    if (step_.node.at("options").contains("lora")) {
      write_adapter_package(trainer.save(averaged ? MEDGEN_TRAIN_EMA : MEDGEN_TRAIN_WEIGHTS), prefix);
      return;
    }
    std::map<std::string, TensorMap> learnt;
    for (const auto& [name, tensor] : trainer.save(averaged ? MEDGEN_TRAIN_EMA : MEDGEN_TRAIN_WEIGHTS)) {
      std::string rest = name.substr(prefix.size());
      std::string role = role_;
      for (const Trainer::Peer& peer : peers_) {
        if (!rest.starts_with(peer.role + "/")) continue;
        role = peer.role;
        rest = rest.substr(peer.role.size() + 1);
        break;
      }
      learnt[role][rest] = tensor.to(type);
    }
    write_model_package(package_, resolve_path(step_.node.at("to")), learnt,
                        role_ == "denoiser" ? latent_scale_ : package_.latent_scale(), step_.name, provenance());
  }

  Json provenance() const {
    Json training = step_.node.json();
    training.erase("train");
    training.erase("to");
    training["data"] = step_.data.filename().string();
    if (const auto features = perceptual_network(step_))
      training["perceptual"]["weights"] = features->weights.filename().string();
    training["cases"] = data_->cases();
    training["seed"] = step_.seed;
    training["medgen_version"] = MEDGEN_VERSION;
    return training;
  }

  /// The adapters alone: the weights that they were trained on stay where they are, and are named by their hash.
  void write_adapter_package(TensorMap learnt, const std::string& prefix) const {
    const ComponentSpec& base = *package_.part(role_);
    const ConfigNode lora = step_.node.at("options").at("lora");
    const auto rank = lora.get<std::int64_t>("rank", 8);
    Adapter adapter;
    adapter.facts = {role_, base.sha256.empty() ? sha256_file(base.weights) : base.sha256,
                     lora.get<double>("alpha", static_cast<double>(rank)), rank};
    for (auto& [name, tensor] : learnt) adapter.tensors[name.substr(prefix.size())] = std::move(tensor);
    medgen::write_adapter_package(package_, resolve_path(step_.node.at("to")), adapter, provenance());
  }

  const TrainStep& step_;
  Host& host_;
  Host master_host_;
  const RunObserver& observer_;
  ModelPackage package_;
  std::string role_;
  std::shared_ptr<Component> learner_;
  std::vector<Trainer::Peer> peers_;
  std::shared_ptr<Compressor> compressor_;
  std::shared_ptr<Scheduler> scheduler_;
  std::vector<std::shared_ptr<Conditioner>> conditioners_;
  std::optional<TrainingData> data_;
  LossWeights loss_weights_;
  std::optional<MadeAhead<TrainingData::Item>> patches_;  ///< of the data, which outlive it
  double latent_scale_ = 1.0;
  EncodedCases encoded_{encoded_bytes(host_)};
};

}  // namespace

void check_train_step(const TrainStep& step, Host& host) {
  const ModelPackage package = ModelPackage::load(step.model, host.registry());
  for (const ComponentSpec& spec : package.all()) host.registry().component(spec.component);
  check_conditions(step.node, package, host.registry());
  const auto role = step.node.get<std::string>("component");
  if (!package.part(role)) step.node.at("component").fail("is \"{}\", but the model has no {}", role, role);
  if (const auto features = perceptual_network(step)) host.registry().component(features->component);
  PatchOptions::read(step.node, package.contract().labels, step.seed);
  LossWeights::read(step.node, package.contract().labels);
  check_lora(step.node, package);
  open_dataset(step.data);
}

namespace {

/// The training is worth more than its self-test.
void prove(const std::filesystem::path& package, const std::string& step, Host& host, const RunObserver& observer) {
  RunObserver quiet;
  quiet.cancel = observer.cancel;
  try {
    write_self_test(package, host.registry(), quiet);
  } catch (const Cancelled&) {
    throw;
  } catch (const std::exception& error) {
    observer.say(LogLevel::Warning, fmt::format("steps.{}: no self-test was written: {}", step, error.what()));
  }
}

}  // namespace

std::filesystem::path run_train_step(const TrainStep& step, Host& host, const RunObserver& observer) {
  const std::filesystem::path package = TrainRun(step, host, observer).run();  // its memory is given back here
  prove(package, step.name, host, observer);
  return package;
}

}  // namespace medgen
