// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/generate.h"

#include "core/pipeline/codec.h"
#include "core/pipeline/conditions.h"
#include "core/tensor/finite.h"
#include "core/volume/grid_difference.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>

namespace medgen {
namespace {

/// @throws DataError naming the file when a voxel is no label.
std::set<std::int64_t> labels_of(const Volume& mask, const std::string& origin) {
  try {
    return label_ids(mask.voxels());
  } catch (const DataError& error) {
    throw DataError("{}: {}", origin, error.what());
  }
}

/// What the conditioners are told: the user's conditions, and the grid in the model's orientation.
std::string scalars(const std::string& conditions, const Geometry& grid, std::size_t samples) {
  Json params = conditions.empty() ? Json::object() : Json::parse(conditions);
  params["spacing_mm"] = grid.affine.spacing_mm();
  params["size"] = grid.size;
  params["samples"] = samples;
  return params.dump();
}

}  // namespace

GenerateSource::GenerateSource(ModelPackage package, Host& host, std::shared_ptr<SampleSource> masks,
                               GenerateOptions options)
    : package_(std::move(package)), host_(host), masks_(std::move(masks)), options_(std::move(options)) {
  check(masks_ != nullptr || options_.grid.has_value(), "generate has masks or a grid");
}

std::size_t GenerateSource::count() const {
  return static_cast<std::size_t>(options_.count) * (masks_ ? masks_->count() : 1);
}

std::string GenerateSource::name(std::size_t index) const {
  const auto count = static_cast<std::size_t>(options_.count);
  if (!masks_) return fmt::format("{}_{:04}", options_.step, index + 1);
  const std::string base = masks_->name(index / count);
  return count == 1 ? base : fmt::format("{}_{:04}", base, index % count + 1);
}

std::optional<Geometry> GenerateSource::grid(std::size_t index) const {
  if (!masks_) return options_.grid;
  const std::size_t mask = index / static_cast<std::size_t>(options_.count);
  const auto grid = masks_->grid(mask);
  return grid && options_.mask_spacing_mm ? resampled(*grid, masks_->origin(mask)) : grid;
}

Geometry GenerateSource::resampled(const Geometry& grid, const std::string& origin) const {
  constexpr double kMostVoxels = 1LL << 33;
  const Vec3& wanted = *options_.mask_spacing_mm;
  const Vec3 spacing = grid.affine.spacing_mm();
  double voxels = 1;
  for (std::size_t axis = 0; axis < 3; ++axis)
    voxels *= static_cast<double>(grid.size[axis]) * spacing[axis] / wanted[axis];
  if (voxels <= kMostVoxels) return with_spacing(grid, wanted);
  throw DataError("{}: steps.{}.spacing_mm ({}) makes {:.3g} voxels of it; choose larger ones", origin, options_.step,
                  fmt::join(wanted, ", "), voxels);
}

SampleBytes GenerateSource::bytes(std::size_t index) const {
  const auto grid = this->grid(index);
  if (!grid) return {};
  SampleBytes bytes;
  const std::uint64_t made = voxels_of(*grid) * size_of(package_.contract().output);
  (package_.contract().makes_labels() ? bytes.label : bytes.image) = made;
  if (!masks_) return bytes;
  const std::size_t mask = index / static_cast<std::size_t>(options_.count);
  const auto source = masks_->grid(mask);
  if (source) bytes.label = masks_->bytes(mask).label / voxels_of(*source) * voxels_of(*grid);
  return bytes;
}

Demand GenerateSource::demand(Host& planner, const WhatIf& what_if) const {
  const Model model = Model::open(package_.without_weights(), planner);
  model.require_sampler(package_);
  const auto per_mask = static_cast<std::size_t>(options_.count);
  std::map<Shape, GenerateShape> shapes;
  for (std::size_t i = 0; i < count(); i += per_mask) {
    auto grid = this->grid(i);
    if (!grid) continue;
    const SampleBytes bytes = this->bytes(i);
    for (std::int64_t& axis : grid->size) axis = scaled_axis(axis, what_if.scale, model.multiple_of);
    const Shape spatial = ModelGrid(*grid, model.contract, model.multiple_of).shape();
    GenerateShape& shape = shapes[spatial];
    if (shape.spatial.empty()) shape.samples = 0;
    shape.spatial = spatial;
    shape.kept = static_cast<std::uint64_t>(static_cast<double>(bytes.label) * std::pow(what_if.scale, 3));
    shape.samples += static_cast<double>(std::min(per_mask, count() - i));
  }
  Demand all;
  for (auto& [spatial, shape] : shapes) {
    const double together = what_if.one_at_a_time ? 1 : std::min<double>(options_.batch, shape.samples);
    shape.batch = static_cast<std::int64_t>(together);
    shape.with_mask = masks_ != nullptr;
    shape.steps = options_.steps;
    shape.timesteps = options_.timesteps;
    shape.guidance = options_.guidance;
    shape.batched_guidance = options_.batched_guidance;
    all.then(demand_to_generate(model, package_, on_device(planner), shape));
  }
  if (options_.makes_masks) all.then_with_more_models(masks_->demand(planner, what_if));
  return all;
}

std::vector<std::string> GenerateSource::check_inputs(std::size_t from, std::size_t to) const {
  check_scalars();
  std::map<std::string, std::vector<std::string>> samples;  // alike ones are told once
  const DataContract& contract = package_.contract();
  const auto count = static_cast<std::size_t>(options_.count);
  const std::size_t first = from / count, last = (to + count - 1) / count;  // masks
  std::vector<std::string> warnings = masks_ ? masks_->check_inputs(first, last) : std::vector<std::string>{};
  const std::string step = "steps." + options_.step;
  if (masks_ && contract.makes_labels())
    warnings.push_back(fmt::format("{}: model '{}' makes its own label maps; \"mask\" gives it the grids alone", step,
                                   package_.name()));
  for (std::size_t mask = first; mask < last; ++mask) {
    const std::size_t i = mask * count;
    const auto grid = this->grid(i);
    if (!grid) continue;
    if (masks_ && masks_->at_hand()) {
      if (const auto problem = labels_problem(mask_labels(mask), masks_->origin(mask)))
        samples[*problem].push_back(name(i));
    }
    const Geometry oriented = ModelGrid(*grid, contract, 1).oriented();
    if (!options_.beyond_contract) contract.check_grid(oriented, masks_ ? masks_->origin(mask) : step);
    for (const std::string& text : contract.grid_warnings(oriented, options_.beyond_contract)) {
      samples[text].push_back(masks_ ? name(i) : step);
    }
  }
  for (const auto& [text, names] : samples) {
    const std::string more = names.size() > 1 ? fmt::format(" and {} more", names.size() - 1) : "";
    warnings.push_back(fmt::format("{}{}: {}", names.front(), more, text));
  }
  return warnings;
}

/// Conditioners that need no more than scalars are asked before anything is computed; the others when the mask is
/// there.
void GenerateSource::check_scalars() const {
  if (!options_.conditions) return;
  const auto grid = this->grid(0);
  if (!grid) return;
  const std::string params = scalars(options_.conditions_json, ModelGrid(*grid, package_.contract(), 1).oriented(), 1);
  const ModelPackage empty = package_.without_weights();
  for (const ComponentSpec& spec : empty.conditioners()) {
    if (!takes_scalars_alone(spec, host_.registry(), masks_ != nullptr)) continue;
    try {
      dynamic_cast<Conditioner&>(*create_component(host_, spec)).encode({}, {{}, params});
    } catch (const InvalidError& error) {
      options_.conditions->fail("does not suit the model: {}", error.what());
    }
  }
}

/// Of a map that is read for this alone. @throws DataError for one that holds no labels
std::set<std::int64_t> GenerateSource::mask_labels(std::size_t index) const {
  const Sample sample = masks_->get(index, RunObserver{});
  return sample.label ? labels_of(*sample.label, masks_->origin(index)) : std::set<std::int64_t>{};
}

/// Labels that the model does not know. @throws DataError for them, unless it is to be told only
std::optional<std::string> GenerateSource::labels_problem(const std::set<std::int64_t>& labels,
                                                          const std::string& origin) const {
  const auto problem = package_.contract().labels_problem(labels);
  if (problem && !options_.beyond_contract) throw DataError("{}: {}; {}", origin, *problem, kOutsideContractHint);
  return problem;
}

/// What can only be known with the mask at hand.
void GenerateSource::check_case(const std::set<std::int64_t>& labels, const ModelGrid& grid, const std::string& name,
                                const RunObserver& observer) const {
  const DataContract& contract = model_->contract;
  if (!options_.beyond_contract) contract.check_grid(grid.oriented(), name);
  if (const auto text = contract.labels_warning(labels))
    observer.say(LogLevel::Warning, fmt::format("{}: {}", name, *text));
  if (const auto problem = labels_problem(labels, name))
    observer.say(LogLevel::Warning, fmt::format("{}: {}", name, *problem));
}

const Model& GenerateSource::model() {
  if (!model_) {
    model_ = Model::open(package_, host_);
    model_->require_sampler(package_);
  }
  return *model_;
}

void GenerateSource::produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) {
  if (wanted.empty()) return;
  model();
  std::vector<Case> batch;
  for (const std::size_t index : wanted) {
    observer.check_cancelled();
    Case next = open_case(index, observer);
    if (!batch.empty() && !joins(batch, next)) {
      make_batch(batch, observer, sink);
      batch.clear();
    }
    batch.push_back(std::move(next));
  }
  make_batch(batch, observer, sink);
}

GenerateSource::Case GenerateSource::open_case(std::size_t index, const RunObserver& observer) const {
  const DataContract& contract = model_->contract;
  if (!masks_) {
    return {index, std::nullopt, std::nullopt, "{}", ModelGrid(*options_.grid, contract, model_->multiple_of)};
  }
  const std::size_t source = index / static_cast<std::size_t>(options_.count);
  Sample sample = masks_->get(source, observer);
  if (!sample.label) throw DataError("steps.{}: '{}' has no label map to generate from", options_.step, sample.name);
  const std::string origin = masks_->origin(source);
  Volume mask = *sample.label;
  std::set<std::int64_t> labels = labels_of(mask, origin);
  if (options_.mask_spacing_mm) {
    mask = resample(mask, resampled(mask.geometry(), origin), Interpolation::Nearest);
    labels = labels_of(mask, origin);
  }
  ModelGrid grid(mask.geometry(), contract, model_->multiple_of);
  check_case(labels, grid, origin, observer);
  std::optional<Volume> image;
  if (options_.images) image = image_for(source, mask, observer);
  return {index, std::move(mask), std::move(image), std::move(sample.facts), std::move(grid)};
}

/// As the file has it. @throws DataError when it is not on the mask's grid
Volume GenerateSource::image_for(std::size_t source, const Volume& mask, const RunObserver& observer) const {
  const Sample sample = options_.images->get(source, observer);
  if (!sample.image) throw DataError("steps.{}: '{}' has no image to start from", options_.step, sample.name);
  if (const auto bad = count_non_finite(sample.image->voxels()); bad > 0)
    throw DataError("steps.{}: '{}' has {} voxels that are NaN or infinite; repair the image first", options_.step,
                    options_.images->origin(source), bad);
  const Volume image = reorient(reorient(*sample.image, "RAS"), inverse(reorientation(mask.affine(), "RAS")));
  if (const auto difference = grid_difference(image.geometry(), mask.geometry(), "the mask")) {
    if (!difference->usable) throw DataError("{}: {}", options_.images->origin(source), difference->message);
    observer.say(LogLevel::Warning, fmt::format("{}: {}", options_.images->origin(source), difference->message));
  }
  if (image.channels() != 1)
    throw DataError("{} has {} channels, one is wanted", options_.images->origin(source), image.channels());
  return mask.with_voxels(image.voxels());
}

bool GenerateSource::joins(const std::vector<Case>& batch, const Case& next) const {
  const Case& last = batch.back();
  // One spacing, and one of every other condition, for the whole batch: they are scalars of the call.
  return static_cast<int>(batch.size()) < options_.batch && next.index == last.index + 1 &&
         next.grid.shape() == last.grid.shape() && conditions(next) == conditions(last) &&
         next.grid.oriented().affine.spacing_mm() == last.grid.oriented().affine.spacing_mm();
}

const std::string& GenerateSource::conditions(const Case& item) const {
  return options_.conditions_of_each.empty() ? options_.conditions_json : options_.conditions_of_each.at(item.index);
}

SampleRequest GenerateSource::request(const std::vector<Case>& batch) const {
  const ModelGrid& grid = batch.front().grid;
  SampleRequest request;
  request.latent = {model_->latent_channels};
  for (const std::int64_t axis : grid.shape()) request.latent.push_back(axis / model_->compression);
  request.batch = static_cast<int>(batch.size());
  request.seed = options_.seed;
  request.first_sample = static_cast<std::uint32_t>(batch.front().index);
  request.steps = options_.steps;
  request.guidance = options_.guidance;
  request.batched_guidance = options_.batched_guidance;
  request.timesteps = options_.timesteps;
  request.threads = static_cast<unsigned>(host_.options().threads);
  request.params_json = scalars(conditions(batch.front()), grid.oriented(), batch.size());
  if (masks_) {
    std::vector<Tensor> rows;
    for (const Case& item : batch) rows.push_back(item.grid.to_model(*item.mask, 0).to(DType::I32));
    request.inputs["mask"] = concat_rows(rows);
  }
  if (options_.images) {
    std::vector<Tensor> rows;
    for (const Case& item : batch) {
      const IntensityTransform intensity = model_->contract.intensity.for_input(item.image->voxels());
      rows.push_back(image_to_model(*item.image, item.grid, intensity));
    }
    request.inputs["image"] = concat_rows(rows);
  }
  return request;
}

/// Conditions that a conditioner refuses are the user's, or read off the masks.
Tensor GenerateSource::latents_of(const std::vector<Case>& batch, const SampleHooks& hooks) const {
  try {
    return sample_latents(model_->parts, request(batch), hooks);
  } catch (const ConditionError& error) {
    if (options_.conditions) options_.conditions->fail("does not suit the model: {}", error.what());
    const std::size_t index = batch.front().index;
    const auto per_mask = static_cast<std::size_t>(options_.count);
    throw DataError("{}: {}", masks_ ? masks_->origin(index / per_mask) : "steps." + options_.step, error.what());
  } catch (const InvalidError& error) {  // all that the denoiser is given is made by the model's other parts
    throw ConfigError("{}: the parts of model '{}' do not fit one another: {}", package_.part("denoiser")->where,
                      package_.name(), error.what());
  }
}

void GenerateSource::make_batch(const std::vector<Case>& batch, const RunObserver& observer, const Sink& sink) {
  const std::string item = name(batch.front().index);
  const std::string place = count() > 1 ? fmt::format("sample {} of {}", batch.back().index + 1, count()) : "";
  SampleHooks hooks;
  hooks.trace = observer.trace;
  hooks.progress = [&](std::uint64_t done, std::uint64_t total) {
    observer.report({options_.step, "sampling", item, done, total, place});
    return !observer.cancelled();
  };
  if (observer.preview) {
    hooks.preview = [&](std::uint64_t, const Tensor& x0) { observer.preview(options_.step, item, x0); };
  }
  const TraceRange range(observer.trace, "generate " + item, "step");
  const Tensor latents = latents_of(batch, hooks);
  for (std::size_t n = 0; n < batch.size(); ++n) {
    observer.check_cancelled();
    sink(batch[n].index, finish(batch[n], decode(latents.rows(static_cast<std::int64_t>(n), 1), batch[n], observer)));
  }
}

Volume GenerateSource::decode(const Tensor& latent, const Case& item, const RunObserver& observer) const {
  const std::string name = this->name(item.index);
  observer.report({options_.step, "decoding", name, 0, 1, {}});
  Tensor values = latent;
  if (model_->compressor) {
    values = decode_latent(*model_, latent, options_.seed, item.index, [&](std::uint64_t done, std::uint64_t total) {
      observer.report({options_.step, "decoding", name, done, total, {}});
      return !observer.cancelled();
    });
  }
  const DataContract& contract = model_->contract;
  if (item.image) return inpainted(values, item);
  const IntensityTransform intensity = contract.intensity.for_output();
  return image_from_model(values, item.grid, contract, intensity, contract.output, item.mask ? &*item.mask : nullptr);
}

/// In the type and the units of the image that it is put into.
Volume GenerateSource::inpainted(const Tensor& values, const Case& item) const {
  const Volume& image = *item.image;
  const IntensityTransform intensity = model_->contract.intensity.for_input(image.voxels());
  const Volume made = image_from_model(values, item.grid, model_->contract, intensity, image.voxels().dtype(), nullptr);
  if (!options_.keep_outside) return made;
  Tensor voxels = made.voxels().clone();
  const Tensor ids = item.mask->voxels().to(DType::I64);
  const auto id = ids.values<std::int64_t>();
  const std::size_t bytes = size_of(voxels.dtype());
  auto* const to = static_cast<std::byte*>(voxels.data());
  const auto* const from = static_cast<const std::byte*>(image.voxels().data());
  for (std::size_t i = 0; i < id.size(); ++i) {
    if (id[i] == 0) std::copy_n(from + i * bytes, bytes, to + i * bytes);
  }
  return made.with_voxels(std::move(voxels));
}

Sample GenerateSource::finish(const Case& item, Volume image) const {
  Sample sample;
  sample.name = name(item.index);
  if (model_->contract.makes_labels()) {
    sample.label = as_labels(image);
  } else {
    sample.image = std::move(image);
    sample.label = item.mask;
  }
  Json facts = Json::parse(item.source_facts);
  facts["seed"] = options_.seed;
  facts["sample"] = item.index;
  const Geometry& grid = item.grid.source();
  facts["grid"] = {{"size", grid.size}, {"affine", grid.affine.rows()}};
  sample.facts = dump_compact(facts);
  return sample;
}

}  // namespace medgen
