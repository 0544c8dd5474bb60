// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/codec.h"

#include "core/config/json.h"

#include <nlohmann/json.hpp>

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

CodecProgress reporter(const RunObserver& observer, const std::string& step, const char* task,
                       const std::string& item) {
  return [&observer, step, task, item](std::uint64_t done, std::uint64_t total) {
    observer.report({step, task, item, done, total, {}});
    return !observer.cancelled();
  };
}

/// Everything that decoding must know to give the image back on its own grid: recorded beside the latent.
Json grid_record(const Volume& image, const IntensityTransform& intensity) {
  return {{"size", image.size()},   {"affine", image.affine().rows()}, {"low", intensity.low},
          {"high", intensity.high}, {"clip_low", intensity.clip_low},  {"clip_high", intensity.clip_high}};
}

struct DecodedRecord {
  Geometry geometry;
  IntensityTransform intensity;
};

DecodedRecord read_record(const Sample& sample) {
  try {
    const Json facts = Json::parse(sample.facts);
    const Json& record = facts.at("grid");
    return {{record.at("size").get<Size3>(), Affine<Ras>(record.at("affine").get<Matrix4>())},
            {record.at("low"), record.at("high"), record.at("clip_low"), record.at("clip_high")}};
  } catch (const nlohmann::json::exception&) {
    throw DataError(
        "{}: the latent has no record of the grid it was encoded from; encode the image with an encode step",
        sample.name);
  }
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
                        const IntensityTransform& intensity, const Volume* labels) {
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
  return image.with_voxels(voxels.to(contract.output));
}

Tensor decode_latent(const Model& model, const Tensor& latent, std::uint64_t seed, std::size_t sample,
                     const CodecProgress& progress) {
  return model.compressor->decode(call_context(seed, sample, progress),
                                  {{"z", scaled_by(latent, 1.0 / model.latent_scale)}});
}

EncodeSource::EncodeSource(std::string step, ModelPackage package, Host& host, std::shared_ptr<SampleSource> images,
                           std::uint64_t seed)
    : step_(std::move(step)), package_(std::move(package)), host_(host), images_(std::move(images)), seed_(seed) {}

void EncodeSource::produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) {
  if (!model_) model_ = Model::open(package_, host_);
  model_->require_compressor(package_);
  images_->produce(wanted, observer, [&](std::size_t index, Sample sample) {
    if (!sample.image) throw DataError("steps.{}: '{}' has no image to encode", step_, sample.name);
    const ModelGrid grid(sample.image->geometry(), model_->contract, model_->compression);
    const IntensityTransform intensity = model_->contract.intensity.for_input(sample.image->voxels());
    const Tensor x = image_to_model(*sample.image, grid, intensity);
    const auto report = reporter(observer, step_, "encoding", sample.name);
    const Compressor::Latent latent = model_->compressor->encode(call_context(seed_, index, report), {{"x", x}});
    sample.latent = {{"mean", latent.mean}};
    if (!latent.sigma.empty()) sample.latent["sigma"] = latent.sigma;
    Json facts = Json::parse(sample.facts);
    facts["grid"] = grid_record(*sample.image, intensity);
    sample.facts = dump_compact(facts);
    sample.image.reset();
    sink(index, std::move(sample));
  });
}

DecodeSource::DecodeSource(std::string step, ModelPackage package, Host& host, std::shared_ptr<SampleSource> latents,
                           std::uint64_t seed)
    : step_(std::move(step)), package_(std::move(package)), host_(host), latents_(std::move(latents)), seed_(seed) {}

void DecodeSource::produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) {
  if (!model_) model_ = Model::open(package_, host_);
  model_->require_compressor(package_);
  latents_->produce(wanted, observer, [&](std::size_t index, Sample sample) {
    const auto mean = sample.latent.find("mean");
    if (mean == sample.latent.end()) throw DataError("steps.{}: '{}' has no latent to decode", step_, sample.name);
    const DecodedRecord record = read_record(sample);
    const ModelGrid grid(record.geometry, model_->contract, model_->compression);
    const auto report = reporter(observer, step_, "decoding", sample.name);
    const Tensor x = model_->compressor->decode(call_context(seed_, index, report), {{"z", mean->second}});
    sample.image = image_from_model(x, grid, model_->contract, record.intensity, nullptr);
    sample.latent.clear();
    sink(index, std::move(sample));
  });
}

}  // namespace medgen
