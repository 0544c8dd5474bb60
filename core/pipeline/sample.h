// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/io/volume_file.h"
#include "core/pipeline/demand.h"
#include "core/run/observer.h"
#include "core/tensor/tensor.h"
#include "core/volume/volume.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// What flows between the steps of a pipeline.
struct Sample {
  std::string name;  ///< unique within its step; also the stem of its files
  std::optional<Volume> image;
  std::optional<Volume> label;
  TensorMap latent;   ///< "mean", and "sigma" where the latent is a distribution: (1, C, spatial...)
  std::string facts;  ///< a JSON object for the manifest: source file, seed, noise index ...
};

/// Bytes of a sample's parts in memory, and of their files before compression.
struct SampleBytes {
  std::uint64_t image = 0, label = 0, latent = 0;

  std::uint64_t total() const { return image + label + latent; }
};

std::uint64_t voxels_of(const Geometry& grid);

/// What a plan tries out, to say what would fit.
struct WhatIf {
  bool one_at_a_time = false;  ///< batch 1
  double scale = 1.0;          ///< of every axis of the volumes
};

/// A step that makes samples, one after the other, when a later step wants them.
class SampleSource {
 public:
  using Sink = std::function<void(std::size_t index, Sample sample)>;

  virtual ~SampleSource() = default;
  virtual std::size_t count() const = 0;
  virtual std::string name(std::size_t index) const = 0;

  /// Where a sample comes from, for messages: its file, else its name.
  virtual std::string origin(std::size_t index) const { return name(index); }

  /// Grid of a sample's volume when it is known before the sample is made. @throws DataError for a file that has none.
  virtual std::optional<Geometry> grid(std::size_t) const { return std::nullopt; }

  /// Whether samples are read from files, so that they can be looked at before anything is computed.
  virtual bool at_hand() const { return false; }

  /// Channels of a sample's image, when it has one and they are known before the sample is made.
  virtual std::optional<std::int64_t> channels(std::size_t) const { return std::nullopt; }

  /// Shape of a sample's latent, (1, C, spatial...), when it has one and it is known before the sample is made.
  virtual std::optional<Shape> latent(std::size_t) const { return std::nullopt; }

  /// As far as it is known before the sample is made.
  virtual SampleBytes bytes(std::size_t) const { return {}; }

  /// What making all samples takes, that of the sources it reads not included. Nothing is computed.
  /// @param planner  creates components, without their weights, to ask them.
  virtual Demand demand(Host& /*planner*/, const WhatIf&) const { return {}; }

  /// Whether what the source reads for samples [from, to) can be used, without computing. @throws the first problem.
  /// @return what can be used, but had better be otherwise: whole sentences.
  virtual std::vector<std::string> check_inputs(std::size_t /*from*/, std::size_t /*to*/) const { return {}; }

  /// Makes the wanted samples in this order; each goes to `sink` as soon as it is finished. What a sample is does not
  /// depend on which others are wanted. @throws Cancelled between samples or inside one; finished ones have gone to
  /// `sink`.
  virtual void produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) = 0;

  /// One sample.
  Sample get(std::size_t index, const RunObserver& observer);
};

/// Volumes or latents from files.
class FileSource : public SampleSource {
 public:
  enum class Kind { Image, Label, Latent };

  /// @throws DataError when two files would have the same name, or one that is no volume where a volume is wanted.
  FileSource(std::vector<std::filesystem::path> files, Kind kind);

  std::size_t count() const override { return files_.size(); }

  std::string name(std::size_t index) const override { return names_.at(index); }

  std::string origin(std::size_t index) const override { return files_.at(index).string(); }

  std::optional<Geometry> grid(std::size_t index) const override;

  bool at_hand() const override { return true; }

  std::vector<std::string> check_inputs(std::size_t from, std::size_t to) const override;

  std::optional<std::int64_t> channels(std::size_t index) const override;

  std::optional<Shape> latent(std::size_t index) const override;

  SampleBytes bytes(std::size_t index) const override;

  void produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) override;

 private:
  /// What the header says, which is read once.
  const VolumeInfo& info(std::size_t index) const;

  std::vector<std::filesystem::path> files_;
  std::vector<std::string> names_;
  Kind kind_;
  mutable std::vector<std::optional<VolumeInfo>> infos_;
};

/// Remembers what a source made, for steps that several others read.
class CachedSource : public SampleSource {
 public:
  explicit CachedSource(std::shared_ptr<SampleSource> source)
      : source_(std::move(source)), samples_(source_->count()) {}

  std::size_t count() const override { return source_->count(); }

  std::string name(std::size_t index) const override { return source_->name(index); }

  std::string origin(std::size_t index) const override { return source_->origin(index); }

  std::optional<Geometry> grid(std::size_t index) const override { return source_->grid(index); }

  std::optional<std::int64_t> channels(std::size_t index) const override { return source_->channels(index); }

  std::optional<Shape> latent(std::size_t index) const override { return source_->latent(index); }

  SampleBytes bytes(std::size_t index) const override { return source_->bytes(index); }

  Demand demand(Host& planner, const WhatIf& what_if) const override { return source_->demand(planner, what_if); }

  std::vector<std::string> check_inputs(std::size_t from, std::size_t to) const override {
    return source_->check_inputs(from, to);
  }

  void produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) override;

 private:
  std::shared_ptr<SampleSource> source_;
  std::vector<std::optional<Sample>> samples_;
};

}  // namespace medgen
