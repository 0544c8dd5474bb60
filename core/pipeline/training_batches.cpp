// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/training_batches.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/random/noise.h"
#include "core/sample/update.h"
#include "core/tensor/moments.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <set>

namespace medgen {
namespace {

constexpr std::size_t kScaleCases = 32;  // cases whose latents measure the scale

TensorMap packed(const Encoded& encoded) {
  TensorMap entry = {{"mean", encoded.latent.mean}};
  if (!encoded.latent.sigma.empty()) entry["sigma"] = encoded.latent.sigma;
  for (const auto& [name, tensor] : encoded.conditions) entry["condition/" + name] = tensor;
  return entry;
}

bool alike(const std::vector<Tensor>& rows) {
  return std::all_of(rows.begin(), rows.end(), [&](const Tensor& row) { return row.shape() == rows.front().shape(); });
}

Encoded unpacked(const TensorMap& entry) {
  constexpr std::string_view kCondition = "condition/";
  Encoded encoded;
  for (const auto& [name, tensor] : entry) {
    if (name == "mean") encoded.latent.mean = tensor;
    if (name == "sigma") encoded.latent.sigma = tensor;
    if (name.starts_with(kCondition)) encoded.conditions[name.substr(kCondition.size())] = tensor;
  }
  return encoded;
}

}  // namespace

TrainingBatches::TrainingBatches(const TrainingData& data, const TrainingParts& parts, BatchOptions options)
    : data_(data),
      parts_(parts),
      options_(std::move(options)),
      patches_([&data](std::uint64_t draw) { return data.item(draw); }, options_.loader, options_.share,
               [this](std::uint64_t draw) { return !keeps(draw); }),
      encoded_(options_.encoded_bytes) {}

Tensor TrainingBatches::noise(const Shape& shape, const Draw& draw, const char* of) const {
  Tensor tensor(DType::F32, shape);
  fill_noise(tensor, {options_.seed, static_cast<std::uint32_t>(draw.number >> 32), draw.purpose + of,
                      static_cast<std::uint32_t>(draw.number)});
  return tensor;
}

double TrainingBatches::uniform(const Draw& draw) const {
  Tensor u(DType::F64, {1, 1});
  fill_noise(u,
             {options_.seed, static_cast<std::uint32_t>(draw.number >> 32), draw.purpose + ".time",
              static_cast<std::uint32_t>(draw.number)},
             Distribution::Uniform);
  return u.values<double>()[0];
}

Encoded TrainingBatches::encode(const TrainingData::Item& item) const {
  Encoded result;
  if (parts_.compressor) {
    result.latent = parts_.compressor->encode(CallContext{}, {{"x", item.image}});
  } else {
    result.latent.mean = item.image;
  }
  result.conditions = conditions_of(item, 0);
  if (options_.null_conditions) {
    for (auto& [name, tensor] : conditions_of(item, MEDGEN_CALL_UNCONDITIONAL))
      result.conditions["null/" + name] = std::move(tensor);
  }
  if (!options_.loss_weights.empty()) {
    const Shape& latent = result.latent.mean.shape();
    result.conditions["weight"] = options_.loss_weights.on(item.mask, {latent.begin() + 2, latent.end()});
  }
  return result;
}

/// In memory, so that its patch is not asked for again.
bool TrainingBatches::keeps(std::uint64_t draw) const {
  return parts_.scheduler && data_.patches_lie_still() && encoded_.has(data_.case_of(draw));
}

/// Patches that lie still are encoded once: in memory as long as that lasts, and on disk where there is a cache.
std::shared_ptr<const Encoded> TrainingBatches::encoded(std::uint64_t draw) {
  if (!data_.patches_lie_still()) return std::make_shared<Encoded>(encode(patches_.take(draw)));
  return encoded_still(data_.case_of(draw), [&] { return patches_.take(draw); });
}

std::shared_ptr<const Encoded> TrainingBatches::encoded_still(std::size_t number,
                                                              const std::function<TrainingData::Item()>& item) {
  return encoded_.get(number, [&] {
    if (!options_.cache) return encode(item());
    const std::string key = sha256(fmt::format("encoded 2\n{}\n{}\n{}", options_.encoding,
                                               options_.conditions.of(data_.name(number)), data_.identity(number)));
    return unpacked(options_.cache->get(key, [&] { return packed(encode(item())); }));
  });
}

/// mean + sigma eps, unscaled, with the noise of this draw.
Tensor TrainingBatches::latent_of(const Encoded& encoded, const Draw& draw) const {
  const Compressor::Latent& latent = encoded.latent;
  Tensor z = latent.mean.clone();
  if (latent.sigma.empty()) return z;
  const Tensor eps = noise(z.shape(), draw, ".posterior");
  const auto out = z.values<float>();
  const auto sigma = latent.sigma.values<float>();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += sigma[i] * eps.values<float>()[i];
  return z;
}

double TrainingBatches::measure_latent_scale(const RunObserver& observer) {
  Moments moments;
  for (std::uint64_t draw = 0; draw < std::min(kScaleCases, data_.training().size()); ++draw) {
    observer.check_cancelled();
    moments.add(latent_of(*encoded(draw), {draw, "train"}));
  }
  const double variance = moments.variance();
  if (!(variance > 0)) throw DataError("the latents of the data do not vary; train the compressor first");
  return latent_scale_ = 1.0 / std::sqrt(variance);
}

TensorMap TrainingBatches::batch(std::uint64_t number) {
  std::map<std::string, std::vector<Tensor>> columns;
  const BatchShare& share = options_.share;
  for (std::uint64_t k = 0; k < share.rows; ++k) {
    for (auto& [name, tensor] : row(number * share.batch + share.first + k)) columns[name].push_back(std::move(tensor));
  }
  TensorMap joined;
  for (const auto& [name, rows] : columns) {
    if (!alike(rows))
      throw DataError("{} differ in size, and a batch has one: give the step \"crop\", or \"batch\": 1",
                      describe(number));
    joined[name] = concat_rows(rows);
  }
  return joined;
}

std::string TrainingBatches::describe(std::uint64_t number) const {
  std::set<std::string> names;
  const BatchShare& share = options_.share;
  for (std::uint64_t k = 0; k < share.rows; ++k)
    names.insert(data_.name(data_.case_of(number * share.batch + share.first + k)));
  return fmt::format("{} {}", names.size() == 1 ? "case" : "cases", fmt::join(names, ", "));
}

TensorMap TrainingBatches::row(std::uint64_t draw) {
  if (!parts_.scheduler) return {{"x", patches_.take(draw).image}};
  const Draw number{draw, "train"};
  return denoiser_row(*encoded(draw), number, uniform(number));
}

TensorMap TrainingBatches::denoiser_row(const Encoded& known, const Draw& draw, double u) const {
  Tensor x0 = latent_of(known, draw);
  for (float& value : x0.values<float>()) value = static_cast<float>(value * latent_scale_);
  const double t = time(x0, u);
  const NoiseLevel level = parts_.scheduler->level(t);
  const Tensor eps = noise(x0.shape(), draw, ".noise");
  TensorMap row = known.conditions;
  row["x"] = add_noise(level, x0, eps);
  row["timesteps"] = Tensor::scalar(static_cast<float>(t));
  row["target"] = training_target(level, x0, eps);
  return row;
}

double TrainingBatches::time(const Tensor& x0, double u) const {
  ScheduleRequest request;
  request.steps = 1;
  request.latent_shape.assign(x0.shape().begin() + 1, x0.shape().end());
  return parts_.scheduler->training_time(request, u);
}

TensorMap TrainingBatches::conditions_of(const TrainingData::Item& item, std::uint32_t flags) const {
  const std::string& name = data_.name(item.number);
  Json params = Json::parse(options_.conditions.of(name));
  params["spacing_mm"] = item.spacing_mm;
  if (!options_.label_volumes_ml.is_null()) params[kLabelVolumes] = options_.label_volumes_ml;
  CallContext context;
  context.flags = flags;
  TensorMap known = {{"image", item.image}};
  if (!item.mask.empty()) known["mask"] = item.mask;
  if (!item.whole_mask.empty()) known[kWholeMask] = item.whole_mask;
  TensorMap made;
  try {
    for (const auto& conditioner : parts_.conditioners) {
      if (!conditioner->has_encode()) continue;
      for (auto& [of, tensor] : conditioner->encode(context, {known, params.dump()})) made[of] = known[of] = tensor;
    }
  } catch (const PluginError& error) {
    throw PluginError("{}: {}", options_.conditions.describe(name), error.what());
  }
  return made;
}

void TrainingBatches::check_case_conditions(const RunObserver& observer) const {
  if (!options_.conditions.has_table()) return;
  std::set<std::string> seen;
  const auto is_new = [&](std::size_t number) {
    observer.check_cancelled();
    return seen.insert(options_.conditions.of(data_.name(number))).second;
  };
  for (std::uint64_t draw = 0; draw < data_.training().size(); ++draw) {  // the first round
    if (is_new(data_.case_of(draw))) conditions_of(data_.item(draw), 0);
  }
  for (std::size_t i = 0; i < validation_cases(); ++i) {
    const std::size_t number = data_.validation()[i];
    if (is_new(number)) conditions_of(data_.still_item(number), 0);
  }
}

std::size_t TrainingBatches::validation_cases() const {
  return std::min(options_.validation_cases, data_.validation().size());
}

std::size_t TrainingBatches::validation_rows() const {
  return parts_.scheduler ? validation_cases() * options_.validation_times : validation_cases();
}

TensorMap TrainingBatches::validation_row(std::size_t row) {
  const std::size_t number = data_.validation()[row % validation_cases()];
  if (!parts_.scheduler) return {{"x", data_.still_item(number).image}};
  const double u = (static_cast<double>(row) + 0.5) / static_cast<double>(validation_rows());
  const auto known = encoded_still(number, [&] { return data_.still_item(number); });
  return denoiser_row(*known, {row, "validate"}, u);
}

}  // namespace medgen
