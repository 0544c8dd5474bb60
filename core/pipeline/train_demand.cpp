// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/train_demand.h"

#include "core/augment/crop.h"
#include "core/config/json.h"
#include "core/pipeline/patch_options.h"
#include "core/pipeline/train_options.h"
#include "core/plugin/training_cost.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

class Training {
 public:
  Training(const TrainStep& step, Host& planner, const CaseSizes& cases, const TrainWhatIf& what_if)
      : step_(step),
        planner_(planner),
        cases_(cases),
        what_if_(what_if),
        package_(ModelPackage::load(step.model, planner.registry())),
        parts_(package_.without_weights()),
        role_(step.node.get<std::string>("component")),
        patches_(PatchOptions::read(step.node, package_.contract().labels, step.seed)) {}

  Demand run() {
    options_ = trainer_options(step_.node, planner_);
    if (what_if_.recompute) options_["checkpoint_activations"] = true;
    if (what_if_.on_disk) options_["optimizer_state"] = "disk";
    rows_ = what_if_.one_at_a_time ? 1 : static_cast<std::int64_t>(batch_share(step_).rows);
    auto learner = create_component(planner_, *parts_.part(role_));
    role_ == "compressor" ? add_compressor(*learner) : add_denoiser(*learner);
    return total();
  }

 private:
  /// The patch that the networks see, in voxels.
  Shape patch(std::int64_t multiple_of) {
    check_crop(step_.node, patches_, multiple_of);
    const Size3 size = crop_size(patches_.crop, cases_.largest);
    Shape patch;
    for (const std::int64_t axis : size) {
      const std::int64_t whole = std::max<std::int64_t>(axis, multiple_of);
      patch.push_back(scaled_axis(whole, what_if_.scale, multiple_of));
    }
    std::copy(patch.begin(), patch.end(), demand_.patch.begin());
    return patch;
  }

  Shape batch_of(std::int64_t channels, const Shape& spatial, std::int64_t divisor = 1) const {
    Shape shape{rows_, channels};
    for (const std::int64_t axis : spatial) shape.push_back(axis / divisor);
    return shape;
  }

  /// What it encodes: a label map is one, however many planes the network makes of it.
  std::int64_t image_channels(const Component& compressor) const {
    return package_.contract().makes_labels() ? 1 : component_fact(compressor, "in_channels", 1);
  }

  void add_compressor(const Component& learner) {
    const Shape image = patch(volume_multiple(&learner, nullptr));
    const Shape x = batch_of(image_channels(learner), image);
    add_patches(image);
    batch_ = bytes_of(x);
    learn(learner, {{"x", x}}, true);
  }

  void add_denoiser(const Component& learner) {
    std::int64_t compression = 1, channels = component_fact(learner, "out_channels", 1);
    std::shared_ptr<Component> compressor;
    if (const auto& spec = parts_.part("compressor")) {
      compressor = create_component(planner_, *spec);
      compression = component_fact(*compressor, "compression", 1);
      channels = component_fact(*compressor, "latent_channels", 1);
    }
    const Shape image = patch(volume_multiple(compressor.get(), &learner));
    const Shape latent = batch_of(channels, image, compression);
    add_patches(image);
    if (compressor) pass_by(*compressor, "encode", {{"x", batch_of(image_channels(*compressor), image)}});
    constexpr std::uint64_t kOfLatents = 5;  // mean, deviation, noise, noisy, target
    for (const ComponentSpec& spec : parts_.conditioners()) add_conditioner(spec, image, latent);
    if (step_.node.at("options").contains("contrast")) conditions_ *= 2;  // those of the null condition
    if (step_.node.contains("loss_weights")) conditions_ += bytes_of(latent) / static_cast<std::uint64_t>(channels);
    batch_ += kOfLatents * bytes_of(latent) + conditions_;
    data_ += kept_latents((compressor ? 2 : 1) * bytes_of(latent) + conditions_);  // mean, deviation
    ShapeMap inputs = made_;
    inputs["x"] = inputs["target"] = latent;
    learn(learner, inputs, true);
  }

  void add_conditioner(const ComponentSpec& spec, const Shape& image, const Shape& latent) {
    const auto conditioner = std::dynamic_pointer_cast<Conditioner>(create_component(planner_, spec));
    if (conditioner->has_encode()) {
      const ShapeMap made = pass_by(*conditioner, "encode", {{"mask", batch_of(1, image)}});
      for (const auto& [name, shape] : made) conditions_ += bytes_of(shape);
      made_.insert(made.begin(), made.end());
    }
    if (!conditioner->has_step()) return;
    const auto with = step_.node.get<std::vector<std::string>>("with");
    learn(*conditioner, {{"x", latent}}, std::find(with.begin(), with.end(), spec.role) != with.end());
  }

  /// Cases, and patches that are prepared ahead: cut out, changed, and in a batch.
  void add_patches(const Shape& image) {
    std::uint64_t voxels = 1;
    for (const std::int64_t axis : image) voxels *= static_cast<std::uint64_t>(axis);
    const ConfigNode loader = step_.node.at("loader");
    const auto threads = loader.get<std::uint64_t>("threads");
    const std::uint64_t ahead = threads > 0 ? loader.get<std::uint64_t>("ahead") : 0;
    const std::uint64_t patches = 2 * threads + (ahead + 1) * static_cast<std::uint64_t>(rows_);
    const auto most = what_if_.read_again ? 0.0 : static_cast<double>(case_bytes(step_, planner_));
    data_ = static_cast<std::uint64_t>(std::min(cases_.bytes, most)) + patches * voxels * cases_.voxel_bytes();
  }

  /// What is encoded once: patches that lie still, and cases to validate on. @param batch  bytes of a batch of them
  std::uint64_t kept_latents(std::uint64_t batch) const {
    const double held_out = SplitOptions::read(step_.split, step_.seed).fractions.validation;
    const auto validated = static_cast<std::uint64_t>(std::ceil(held_out * static_cast<double>(cases_.count)));
    const std::uint64_t most = ValidateOptions::read(step_.node).cases;
    const std::uint64_t cases = patches_.lie_still() ? cases_.count : std::min(validated, most);
    return std::min(encoded_bytes(step_, planner_), cases * (batch / static_cast<std::uint64_t>(rows_)));
  }

  /// A network of the graph that gradients pass through. @throws ConfigError when it cannot take its inputs
  void learn(const Component& component, const ShapeMap& inputs, bool trained) {
    const auto accumulate = step_.node.get<std::uint64_t>("accumulate");
    try {
      if (const auto cost = estimate_training(component, {inputs, dump_compact(options_), trained, accumulate})) {
        held_ += cost->weights_bytes + cost->kept_bytes;
        step_peak_ += cost->peak_bytes;
        copied_ += cost->copied_bytes;
        demand_.scratch += cost->scratch_bytes;
        if (trained) state_ += cost->weights_bytes + cost->scratch_bytes;
        if (trained) demand_.precision = cost->precision;
        return;
      }
    } catch (const InvalidError& error) {
      step_.node.at("train").fail("has parts that do not fit one another: {}", error.what());
    } catch (const Error& error) {
      demand_.complaints.emplace_back(error.what());
    }
    demand_.unknown.insert(component.id());
  }

  /// A call that makes the batch, before the step. @return the shapes of its outputs
  ShapeMap pass_by(const Component& component, std::string_view function, const ShapeMap& inputs) {
    try {
      if (const auto cost = component.estimate(function, inputs)) {
        held_ += cost->weights_bytes + cost->kept_bytes;
        std::uint64_t outputs = 0;
        for (const auto& [name, shape] : cost->outputs) outputs += bytes_of(shape);
        making_ = std::max(making_, cost->peak_bytes + outputs + bytes_of(inputs.begin()->second));
        return cost->outputs;
      }
    } catch (const Error& error) {
      demand_.complaints.emplace_back(error.what());
    }
    demand_.unknown.insert(component.id());
    return {};
  }

  /// The package, and checkpoints: a new one appears complete beside the old one, the best state stays.
  std::uint64_t written() const {
    const std::filesystem::path folder = training_folder(step_);
    std::uint64_t checkpoints = 1;
    for (const auto& [name, is_made] :
         {std::pair{kCheckpointFile, step_.node.get<std::uint64_t>("checkpoint_every") > 0},
          {kBestFile, SplitOptions::read(step_.split, step_.seed).fractions.validation > 0}})
      checkpoints += is_made && !std::filesystem::exists(folder / name) ? 1 : 0;
    return checkpoints * state_ + copied_;
  }

  Demand total() {
    demand_.timed = false;
    demand_.written = written();
    const std::uint64_t computing = held_ + std::max(step_peak_, making_);
    std::uint64_t files = 0;
    for (const ComponentSpec& spec : package_.all()) {
      std::error_code error;
      const auto bytes = spec.weights.empty() ? 0 : std::filesystem::file_size(spec.weights, error);
      if (!error) files = std::max<std::uint64_t>(files, bytes);
    }
    if (on_device(planner_)) {
      demand_.device_working = computing + batch_;
      demand_.loading = files + held_ / 4;
      demand_.working = data_ + batch_ + copied_;
    } else {
      demand_.loading = files + held_;
      demand_.working = data_ + std::max(computing + batch_, held_ + copied_);
    }
    return demand_;
  }

  const TrainStep& step_;
  Host& planner_;
  const CaseSizes& cases_;
  TrainWhatIf what_if_;
  ModelPackage package_, parts_;
  std::string role_;
  PatchOptions patches_;
  Json options_;
  std::int64_t rows_ = 1;
  std::uint64_t data_ = 0;        ///< cases, patches and latents
  std::uint64_t conditions_ = 0;  ///< of a batch
  ShapeMap made_;                 ///< by the conditioners, for a batch
  std::uint64_t batch_ = 0;       ///< what a step is given
  std::uint64_t held_ = 0;        ///< networks, from the first step to the last
  std::uint64_t step_peak_ = 0;   ///< of a step, beside them
  std::uint64_t making_ = 0;      ///< of a batch, before it
  std::uint64_t copied_ = 0;      ///< of the weights, to write them
  std::uint64_t state_ = 0;       ///< of a checkpoint
  Demand demand_;
};

}  // namespace

Demand demand_to_train(const TrainStep& step, Host& planner, const CaseSizes& cases, const TrainWhatIf& what_if) {
  return Training(step, planner, cases, what_if).run();
}

}  // namespace medgen
