// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/codec.h"

#include "core/config/json.h"
#include "core/tensor/finite.h"

#include <nlohmann/json.hpp>

#include <map>

namespace medgen {
namespace {

CallContext call_context(std::uint64_t seed, std::size_t sample, const CodecProgress& progress) {
  CallContext context;
  context.seed = seed;
  context.sample = static_cast<std::uint32_t>(sample);
  context.progress = [progress](std::string_view, std::uint64_t done, std::uint64_t total) {
    return progress(done, total);
  };
  return context;
}

/// Everything that decoding must know to give the image back on its own grid: recorded beside the latent.
Json grid_record(const Volume& image, const IntensityTransform& intensity) {
  return {{"size", image.size()},          {"affine", image.affine().rows()}, {"low", intensity.low},
          {"high", intensity.high},        {"clip_low", intensity.clip_low},  {"clip_high", intensity.clip_high},
          {"type", name_of(image.dtype())}};
}

struct DecodedRecord {
  Geometry geometry;
  IntensityTransform intensity;
  DType type;
  std::string compressor;  ///< sha256 of the weights that encoded it; empty when it is not recorded
};

/// What a decoded image is written as: the type it came in, so that no value is rounded away. Floats stay floats.
DType decoded_type(const Json& record, const DataContract& contract) {
  const std::string type = record.value("type", std::string(name_of(contract.output)));
  if (contract.output == DType::F32) return DType::F32;
  for (const DType integer : {DType::U8, DType::I8, DType::U16, DType::I16, DType::U32, DType::I32}) {
    if (type == name_of(integer)) return integer;
  }
  return DType::F32;
}

DecodedRecord read_record(const Sample& sample, const DataContract& contract, const std::string& origin) {
  try {
    const Json facts = Json::parse(sample.facts);
    const Json& record = facts.at("grid");
    return {{record.at("size").get<Size3>(), Affine<Ras>(record.at("affine").get<Matrix4>())},
            {record.at("low"), record.at("high"), record.at("clip_low"), record.at("clip_high")},
            decoded_type(record, contract),
            facts.value("compressor", "")};
  } catch (const nlohmann::json::exception&) {
    throw DataError(
        "'{}': the latent has no record of the grid it was encoded from; encode the image with an encode step", origin);
  }
}

void check_channels(const Model& model, std::int64_t channels, const std::string& origin) {
  if (model.image_channels == 0 || channels == model.image_channels) return;
  throw DataError("'{}' has {} channels, the compressor encodes images of {}; give one that it was made for", origin,
                  channels, model.image_channels);
}

/// @throws DataError naming the image that the compressor refuses
Compressor::Latent encoded(const Model& model, const CallContext& context, const Tensor& x, const std::string& origin) {
  try {
    return model.compressor->encode(context, {{"x", x}});
  } catch (const InvalidError& error) {
    throw DataError("'{}': {}", origin, error.what());
  }
}

/// What the compressor tells, else as many as there are.
std::int64_t channels_to_decode(const Model& model, const Shape& latent) {
  return component_fact(*model.compressor, "latent_channels",
                        latent.size() > 1 ? std::max<std::int64_t>(latent[1], 1) : 1);
}

[[noreturn]] void refuse_latent(const Shape& found, const std::string& expected, const std::string& origin) {
  throw DataError("'{}' holds a latent of shape {}, the compressor decodes {}; was it encoded with another one?",
                  origin, to_string(found), expected);
}

Tensor scaled_by(const Tensor& tensor, double factor) {
  if (factor == 1.0) return tensor;
  Tensor result = tensor.clone();
  for (float& value : result.values<float>()) value = static_cast<float>(value * factor);
  return result;
}

}  // namespace

Tensor image_to_model(const Volume& image, const ModelGrid& grid, const IntensityTransform& intensity) {
  const Volume scaled_image = image.with_voxels(scaled(intensity, image.voxels()));
  return grid.to_model(scaled_image, 0.0);
}

Volume image_from_model(const Tensor& values, const ModelGrid& grid, const DataContract& contract,
                        const IntensityTransform& intensity, DType type, const Volume* labels) {
  const Volume image = grid.from_model(values.to(DType::F32));
  Tensor voxels = unscaled(intensity, image.voxels(), DType::F32);
  if (contract.background && labels != nullptr) {
    const Tensor ids = labels->voxels().to(DType::I64);
    const auto out = voxels.values<float>();
    const auto id = ids.values<std::int64_t>();
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (id[i % id.size()] == contract.background->label) out[i] = static_cast<float>(contract.background->value);
    }
  }
  return image.with_voxels(voxels.to(type));
}

Tensor decode_latent(const Model& model, const Tensor& latent, std::uint64_t seed, std::size_t sample,
                     const CodecProgress& progress) {
  return model.compressor->decode(call_context(seed, sample, progress),
                                  {{"z", scaled_by(latent, 1.0 / model.latent_scale)}});
}

CodecSource::CodecSource(std::string step, const ModelPackage& package, Host& host, std::shared_ptr<SampleSource> input,
                         std::uint64_t seed)
    : step_(std::move(step)),
      package_(package.compressor_alone()),
      host_(host),
      input_(std::move(input)),
      seed_(seed) {}

std::vector<std::string> CodecSource::check_inputs(std::size_t from, std::size_t to) const {
  for (std::size_t i = from; i < to; ++i) {
    input_->grid(i);
    if (const Model* model = outline()) check_input(*model, i);
  }
  const std::vector<std::string> warnings = input_->check_inputs(from, to);
  return input_->at_hand() ? warnings : std::vector<std::string>{};  // those of a step are told by itself
}

const Model* CodecSource::outline() const {
  if (!outlined_) {
    outlined_ = true;
    try {
      outline_ = Model::open(package_.without_weights(), host_);
    } catch (const PluginError&) {  // what is wrong, if anything is, shows when it is opened with its weights
      return nullptr;
    }
    outline_->require_compressor(package_);
  }
  return outline_ ? &*outline_ : nullptr;
}

Demand CodecSource::demand(Host& planner, const WhatIf& what_if) const {
  const Model model = Model::open(package_.without_weights(), planner);
  model.require_compressor(package_);
  std::map<std::pair<Shape, std::uint64_t>, std::pair<std::size_t, double>> alike;  // first sample, how many
  for (std::size_t i = 0; i < count(); ++i) {
    const auto grid = this->grid(i);
    const auto latent = input_->latent(i);
    Shape shape = latent.value_or(Shape{});
    if (grid) shape.insert(shape.end(), grid->size.begin(), grid->size.end());
    ++alike.try_emplace({shape, input_->bytes(i).total()}, i, 0.0).first->second.second;
  }
  Demand all;
  for (const auto& [shape, samples] : alike)
    all.then(demand_of(model, samples.first, on_device(planner), what_if, samples.second));
  return all;
}

void CodecSource::produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) {
  if (!model_) model_ = Model::open(package_, host_);
  model_->require_compressor(package_);
  input_->produce(wanted, observer, [&](std::size_t index, Sample sample) {
    std::optional<TraceRange> range(std::in_place, observer.trace, "convert " + sample.name, "step");
    convert(*model_, index, observer, sample);
    range.reset();
    sink(index, std::move(sample));
  });
}

CallContext CodecSource::call(const RunObserver& observer, const char* task, std::size_t index,
                              const Sample& sample) const {
  return call_context(seed_, index, [&observer, task, step = step_, item = sample.name](auto done, auto total) {
    observer.report({step, task, item, done, total, {}});
    return !observer.cancelled();
  });
}

void EncodeSource::check_input(const Model& model, std::size_t index) const {
  if (const auto channels = input().channels(index)) check_channels(model, *channels, input().origin(index));
}

const std::string& CodecSource::compressor_hash() const {
  return package_.part("compressor")->sha256;
}

std::optional<Shape> EncodeSource::latent(std::size_t index) const {
  const auto grid = this->grid(index);
  const Model* model = outline();
  if (!grid || model == nullptr) return std::nullopt;
  Shape shape{1, model->latent_channels};
  for (const std::int64_t axis : ModelGrid(*grid, model->contract, model->compression).shape())
    shape.push_back(axis / model->compression);
  return shape;
}

SampleBytes EncodeSource::bytes(std::size_t index) const {
  SampleBytes bytes = input().bytes(index);
  const auto shape = latent(index);
  return {0, bytes.label, shape ? 2 * bytes_of(*shape) : 0};  // mean and sigma
}

Demand EncodeSource::demand_of(const Model& model, std::size_t index, bool on_device, const WhatIf& what_if,
                               double samples) const {
  auto grid = this->grid(index);
  if (!grid) return {};
  for (std::int64_t& axis : grid->size) axis = scaled_axis(axis, what_if.scale, model.compression);
  return demand_to_encode(model, package_, on_device, ModelGrid(*grid, model.contract, model.compression).shape(),
                          input().bytes(index).image, samples);
}

void EncodeSource::convert(const Model& model, std::size_t index, const RunObserver& observer, Sample& sample) const {
  if (!sample.image) throw DataError("steps.{}: '{}' has no image to encode", step_, sample.name);
  if (const auto bad = count_non_finite(sample.image->voxels()); bad > 0) {
    throw DataError("steps.{}: '{}' has {} voxels that are NaN or infinite; repair the image first", step_,
                    input().origin(index), bad);
  }
  check_channels(model, sample.image->channels(), input().origin(index));
  const ModelGrid grid(sample.image->geometry(), model.contract, model.compression);
  const IntensityTransform intensity =
      model.contract.intensity.for_input(sample.image->voxels(), fmt::format("'{}'", input().origin(index)));
  const Tensor x = image_to_model(*sample.image, grid, intensity);
  const Compressor::Latent latent = encoded(model, call(observer, "encoding", index, sample), x, input().origin(index));
  sample.latent = {{"mean", latent.mean}};
  if (!latent.sigma.empty()) sample.latent["sigma"] = latent.sigma;
  Json facts = Json::parse(sample.facts);
  facts["grid"] = grid_record(*sample.image, intensity);
  if (!compressor_hash().empty()) facts["compressor"] = compressor_hash();
  sample.facts = dump_compact(facts);
  sample.image.reset();
}

void DecodeSource::check_input(const Model& model, std::size_t index) const {
  const auto shape = input().latent(index);
  if (!shape) return;
  const std::int64_t channels = channels_to_decode(model, *shape);
  const bool fits = shape->size() == 5 && shape->at(0) == 1 && shape->at(1) == channels;
  if (!fits) refuse_latent(*shape, fmt::format("1x{}, and three axes", channels), input().origin(index));
}

SampleBytes DecodeSource::bytes(std::size_t index) const {
  const std::uint64_t label = input().bytes(index).label;
  const std::uint64_t voxel = sizeof(float);  // at most: it gets the type of the image that was encoded
  if (const auto grid = this->grid(index)) return {voxels_of(*grid) * voxel, label, 0};
  const auto shape = input().latent(index);
  const Model* model = outline();
  if (!shape || shape->size() < 3 || model == nullptr) return {0, label, 0};
  std::uint64_t voxels = 1;
  for (std::size_t axis = 2; axis < shape->size(); ++axis)
    voxels *= static_cast<std::uint64_t>((*shape)[axis] * model->compression);
  return {voxels * voxel, label, 0};
}

Demand DecodeSource::demand_of(const Model& model, std::size_t index, bool on_device, const WhatIf& what_if,
                               double samples) const {
  auto shape = input().latent(index);
  if (!shape || shape->size() < 3) return {};
  for (std::size_t axis = 2; axis < shape->size(); ++axis)
    (*shape)[axis] = scaled_axis((*shape)[axis], what_if.scale, 1);
  shape->at(0) = 1;
  return demand_to_decode(model, package_, on_device, *shape, samples);
}

void DecodeSource::convert(const Model& model, std::size_t index, const RunObserver& observer, Sample& sample) const {
  const auto mean = sample.latent.find("mean");
  if (mean == sample.latent.end())
    throw DataError("steps.{}: '{}' has no latent to decode", step_, input().origin(index));
  if (const auto bad = count_non_finite(mean->second); bad > 0)
    throw DataError("'{}' has {} numbers that are NaN or infinite", input().origin(index), bad);
  const DecodedRecord record = read_record(sample, model.contract, input().origin(index));
  if (!record.compressor.empty() && !compressor_hash().empty() && record.compressor != compressor_hash())
    observer.say(LogLevel::Warning,
                 fmt::format("'{}' was encoded with weights of sha256 {}, and is decoded with others, {}",
                             input().origin(index), record.compressor, compressor_hash()));
  const ModelGrid grid(record.geometry, model.contract, model.compression);
  Shape expected{1, channels_to_decode(model, mean->second.shape())};
  for (const std::int64_t axis : grid.shape()) expected.push_back(axis / model.compression);
  if (mean->second.shape() != expected) refuse_latent(mean->second.shape(), to_string(expected), input().origin(index));
  const Tensor x = model.compressor->decode(call(observer, "decoding", index, sample), {{"z", mean->second}});
  sample.image = image_from_model(x, grid, model.contract, record.intensity, record.type, nullptr);
  sample.latent.clear();
}

}  // namespace medgen
