// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/share.h"
#include "core/component/compressor.h"
#include "core/component/conditioner.h"
#include "core/component/scheduler.h"
#include "core/config/node.h"
#include "core/data/made_ahead.h"
#include "core/pipeline/case_conditions.h"
#include "core/pipeline/encoded_cases.h"
#include "core/pipeline/loss_weights.h"
#include "core/pipeline/training_data.h"
#include "core/run/observer.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace medgen {

/// What conditioners get the label map of the whole case as, beside "mask" of a patch that is a part of it.
inline constexpr const char* kWholeMask = "whole_mask";

/// What makes the batches of a denoiser; all empty for a compressor, whose batches are images.
struct TrainingParts {
  std::shared_ptr<Compressor> compressor;  ///< null: the denoiser works on the image itself
  std::shared_ptr<Scheduler> scheduler;
  std::vector<std::shared_ptr<Conditioner>> conditioners;
};

struct BatchOptions {
  BatchShare share;  ///< the rows of every batch that this process makes
  std::uint64_t seed = 0;
  CaseConditions conditions;
  Json label_volumes_ml;  ///< by label id, what conditioners that ask for it are told; null: none asks
  LossWeights loss_weights;
  bool null_conditions = false;      ///< also what they are in the null condition of guidance, as "null/<name>"
  PrefetchOptions loader;            ///< in patches
  std::size_t encoded_bytes = 0;     ///< of latents and conditions that are kept in memory
  std::shared_ptr<CaseCache> cache;  ///< of the same on disk; may be null
  std::string encoding;              ///< everything that decides them, beside the case
  std::size_t validation_cases = 0;  ///< at most
  std::size_t validation_times = 1;  ///< of each case
};

/// The batches of a training. Each is a function of the data, the seed and its number alone. One thread.
class TrainingBatches {
 public:
  /// @param data, parts  outlive this.
  TrainingBatches(const TrainingData& data, const TrainingParts& parts, BatchOptions options);

  /// Whether the conditioners take what the table of conditions says, one case of each kind. @throws Error at its line.
  void check_case_conditions(const RunObserver& observer) const;

  /// 1 / standard deviation of the latents of some cases. @throws DataError when they do not vary, Cancelled.
  double measure_latent_scale(const RunObserver& observer);

  void set_latent_scale(double scale) { latent_scale_ = scale; }

  /// This process's rows.
  TensorMap batch(std::uint64_t number);
  /// Names of their cases, for messages.
  std::string describe(std::uint64_t number) const;

  /// Rows to validate on: the middle of every held-out case, with noise and times that are always the same, the times
  /// spread evenly. @{
  std::size_t validation_rows() const;
  TensorMap validation_row(std::size_t row);
  /// @}

 private:
  /// Which noise.
  struct Draw {
    std::uint64_t number;
    std::string purpose;  ///< "train" or "validate"
  };

  TensorMap row(std::uint64_t draw);
  TensorMap denoiser_row(const Encoded& known, const Draw& draw, double u) const;
  Tensor noise(const Shape& shape, const Draw& draw, const char* of) const;
  double uniform(const Draw& draw) const;
  Tensor latent_of(const Encoded& encoded, const Draw& draw) const;
  double time(const Tensor& x0, double u) const;
  Encoded encode(const TrainingData::Item& item) const;
  bool keeps(std::uint64_t draw) const;
  std::shared_ptr<const Encoded> encoded(std::uint64_t draw);
  std::shared_ptr<const Encoded> encoded_still(std::size_t number, const std::function<TrainingData::Item()>& item);
  TensorMap conditions_of(const TrainingData::Item& item, std::uint32_t flags) const;
  std::size_t validation_cases() const;

  const TrainingData& data_;
  const TrainingParts& parts_;
  BatchOptions options_;
  MadeAhead<TrainingData::Item> patches_;
  double latent_scale_ = 1.0;
  EncodedCases encoded_;
};

}  // namespace medgen
