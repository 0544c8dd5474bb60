// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/model.h"
#include "core/pipeline/sample.h"

#include <optional>
#include <set>

namespace medgen {

/// What a `generate` step asks for.
struct GenerateOptions {
  std::string step;  ///< its name, for progress and for samples without an input
  std::uint64_t seed = 0;
  int count = 1;  ///< samples for each mask, or in all
  int steps = 30;
  double guidance = 1.0;
  bool batched_guidance = false;
  int batch = 1;
  std::vector<double> timesteps;
  std::optional<Vec3> mask_spacing_mm;   ///< the mask is first brought to this spacing
  std::optional<Geometry> grid;          ///< for generation without a mask
  std::shared_ptr<SampleSource> images;  ///< one for each mask, for models that put something into an image
  bool keep_outside = true;              ///< images: where the mask is 0, the result is the image itself
  bool beyond_contract = false;          ///< masks and grids outside the model's contract are used, with a warning
  bool makes_masks = false;              ///< the masks are no other step's, but made for these images
  std::string conditions_json;           ///< scalars for the conditioners, a JSON object
  std::optional<ConfigNode> conditions;  ///< where the user gave them, for messages
  std::vector<std::string> conditions_of_each;  ///< of each sample, in place of `conditions_json`; may be empty
};

/// Samples of a model: one for each mask (times count), or `count` on a given grid. The noise of a sample is a function
/// of the seed and its index alone, so batches, interruptions and other samples do not change it.
class GenerateSource : public SampleSource {
 public:
  /// @param masks  null: generation without masks, options.grid must be there.
  GenerateSource(ModelPackage package, Host& host, std::shared_ptr<SampleSource> masks, GenerateOptions options);
  std::size_t count() const override;
  std::string name(std::size_t index) const override;
  std::optional<Geometry> grid(std::size_t index) const override;
  SampleBytes bytes(std::size_t index) const override;
  Demand demand(Host& planner, const WhatIf& what_if) const override;
  std::vector<std::string> check_inputs(std::size_t from, std::size_t to) const override;
  void produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) override;

 private:
  struct Case {
    std::size_t index = 0;
    std::optional<Volume> mask;   ///< on the grid the image will have
    std::optional<Volume> image;  ///< that the mask is for, on the same grid
    std::string source_facts;
    ModelGrid grid;
  };

  void check_case(const std::set<std::int64_t>& labels, const ModelGrid& grid, const std::string& name,
                  const RunObserver& observer) const;
  void check_scalars() const;
  std::set<std::int64_t> mask_labels(std::size_t index) const;
  std::optional<std::string> labels_problem(const std::set<std::int64_t>& labels, const std::string& origin) const;
  Geometry resampled(const Geometry& grid, const std::string& origin) const;
  Case open_case(std::size_t index, const RunObserver& observer) const;
  Volume image_for(std::size_t source, const Volume& mask, const RunObserver& observer) const;
  bool joins(const std::vector<Case>& batch, const Case& next) const;
  Tensor latents_of(const std::vector<Case>& batch, const SampleHooks& hooks) const;
  void make_batch(const std::vector<Case>& batch, const RunObserver& observer, const Sink& sink);
  SampleRequest request(const std::vector<Case>& batch) const;
  const std::string& conditions(const Case& item) const;
  Volume decode(const Tensor& latent, const Case& item, const RunObserver& observer) const;
  Volume inpainted(const Tensor& values, const Case& item) const;
  Sample finish(const Case& item, Volume image) const;
  const Model& model();

  ModelPackage package_;
  Host& host_;
  std::shared_ptr<SampleSource> masks_;
  GenerateOptions options_;
  std::optional<Model> model_;
};

}  // namespace medgen
