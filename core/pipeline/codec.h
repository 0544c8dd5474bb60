// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/model.h"
#include "core/pipeline/sample.h"

#include <functional>

namespace medgen {

/// (done, total) of a long call; false cancels.
using CodecProgress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

/// (1, C, spatial...) float32 as the model wants it.
Tensor image_to_model(const Volume& image, const ModelGrid& grid, const IntensityTransform& intensity);

/// The model's image on the source grid, in the contract's units, of element type `type`. Where `labels` has the
/// contract's background label, the image has its background value.
Volume image_from_model(const Tensor& values, const ModelGrid& grid, const DataContract& contract,
                        const IntensityTransform& intensity, DType type, const Volume* labels);

/// Decodes a latent of the sampler's scale. @throws Cancelled, PluginError
/// @param sample  noise index of the sample, for compressors that draw noise.
Tensor decode_latent(const Model& model, const Tensor& latent, std::uint64_t seed, std::size_t sample,
                     const CodecProgress& progress);

/// A step that puts every sample of another through a compressor, which is opened when the first sample is wanted.
class CodecSource : public SampleSource {
 public:
  CodecSource(std::string step, const ModelPackage& package, Host& host, std::shared_ptr<SampleSource> input,
              std::uint64_t seed);

  std::size_t count() const override { return input_->count(); }

  std::string name(std::size_t index) const override { return input_->name(index); }

  std::optional<Geometry> grid(std::size_t index) const override { return input_->grid(index); }

  std::vector<std::string> check_inputs(std::size_t from, std::size_t to) const override;

  Demand demand(Host& planner, const WhatIf& what_if) const override;

  void produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) override;

 protected:
  /// Context of the compressor's call on one sample; `task` is told with its progress.
  CallContext call(const RunObserver& observer, const char* task, std::size_t index, const Sample& sample) const;

  /// The compressor without its weights; null when it does not exist without them.
  const Model* outline() const;

  const SampleSource& input() const { return *input_; }

  /// Of the weights that encode and decode, as the package records it; empty when it does not.
  const std::string& compressor_hash() const;

  std::string step_;
  ModelPackage package_;

 private:
  /// What samples with this one's shape take, `samples` of them; nothing when its shape is not known.
  virtual Demand demand_of(const Model& model, std::size_t index, bool on_device, const WhatIf& what_if,
                           double samples) const = 0;

  /// Whether the model takes what is known of a sample beforehand. @throws DataError naming where it comes from
  virtual void check_input(const Model& model, std::size_t index) const = 0;

  /// Replaces what the sample holds by what the compressor makes of it.
  virtual void convert(const Model& model, std::size_t index, const RunObserver& observer, Sample& sample) const = 0;

  Host& host_;
  std::shared_ptr<SampleSource> input_;
  std::uint64_t seed_;
  std::optional<Model> model_;
  mutable std::optional<Model> outline_;
  mutable bool outlined_ = false;
};

/// Images to latents: each sample keeps "mean" and "sigma" (unscaled), and in its facts what decoding needs to give an
/// image of the same grid and units.
class EncodeSource final : public CodecSource {
 public:
  using CodecSource::CodecSource;

  std::optional<Shape> latent(std::size_t index) const override;
  SampleBytes bytes(std::size_t index) const override;

 private:
  Demand demand_of(const Model& model, std::size_t index, bool on_device, const WhatIf& what_if,
                   double samples) const override;
  void check_input(const Model& model, std::size_t index) const override;
  void convert(const Model& model, std::size_t index, const RunObserver& observer, Sample& sample) const override;
};

/// Latents back to images, from the mean.
class DecodeSource final : public CodecSource {
 public:
  using CodecSource::CodecSource;

  SampleBytes bytes(std::size_t index) const override;

 private:
  Demand demand_of(const Model& model, std::size_t index, bool on_device, const WhatIf& what_if,
                   double samples) const override;
  void check_input(const Model& model, std::size_t index) const override;
  void convert(const Model& model, std::size_t index, const RunObserver& observer, Sample& sample) const override;
};

}  // namespace medgen
