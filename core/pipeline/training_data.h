// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/data/rounds.h"
#include "core/pipeline/case_store.h"
#include "core/pipeline/contract.h"
#include "core/pipeline/data_split.h"
#include "core/pipeline/patch_options.h"
#include "core/run/observer.h"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

struct TrainingDataOptions {
  bool needs_labels = false;
  SaidLabels labels;
  std::int64_t channels = 0;     ///< of images; 0: any
  ChannelChoice channel;         ///< of those, or of a case's images
  bool wants_whole_map = false;  ///< Item::whole_mask
  bool measures_labels = false;  ///< TrainingData::label_volumes_ml
  SplitOptions split;
  std::optional<BodyRule> body;
  CaseModalities modalities;
  bool skip_bad = false;  ///< go on without the cases that cannot be used
  std::uint64_t most_bytes = std::numeric_limits<std::uint64_t>::max();  ///< of cases in memory
  std::shared_ptr<CaseCache> cache;                                      ///< may be null
  std::string contract_text;                                             ///< for the keys of the cache
  TargetSpacing spacing;                                                 ///< of all cases
};

/// Labelled images of a data folder as a model sees them: in its orientation, intensities scaled by its contract. Every
/// case but those for testing is read once to begin with, and stays in memory as far as it goes. Thread: any.
class TrainingData {
 public:
  struct Item {
    Tensor image;       ///< (1, C, spatial...) float32, scaled; of a model that makes label maps the label ids
    Tensor mask;        ///< (1, 1, spatial...) int32; empty where the case has no label map
    Tensor whole_mask;  ///< of the whole case, where that is wanted and the patch is a part of it; else empty
    Vec3 spacing_mm;
    std::size_t number = 0;  ///< of the case
  };

  /// A case that was left out, and why.
  struct Skipped {
    std::string name, reason;
  };

  /// @throws DataError naming every case that cannot be used, and why.
  TrainingData(const std::filesystem::path& folder, const DataContract& contract, const PatchOptions& patches,
               const TrainingDataOptions& options, const RunObserver& observer);

  /// Cases to learn from, and those to validate on: numbers for `name`, `patch` and `still_item`. @{
  const std::vector<std::size_t>& training() const { return training_; }

  const std::vector<std::size_t>& validation() const { return validation_; }

  /// @}

  const std::string& name(std::size_t number) const { return store_.name(number); }

  /// Of the cases to learn from and to validate on.
  std::vector<std::string> names() const;

  /// Names of the cases that were not looked at.
  const std::vector<std::string>& test() const { return test_; }

  const std::vector<Skipped>& skipped() const { return skipped_; }

  /// Names, grids and voxels of all cases: what a checkpoint belongs to.
  const std::string& fingerprint() const { return fingerprint_; }

  /// What the cases to learn from say of "label_volumes_ml", where that was wanted.
  Json label_volumes_ml() const { return label_volumes_.measured(contract_.labels); }

  /// Why images of the patches' size are not what the model is best at; nothing where they are, or it does not say.
  std::optional<std::string> scale_warning() const;

  /// What one case holds.
  const std::string& identity(std::size_t number) const { return store_.identity(number); }

  /// Patch number `draw`: every case to learn from once in each round, in an order shuffled by the seed. A function of
  /// (seed, draw) alone.
  Item item(std::uint64_t draw) const;

  /// The number of the case that patch number `draw` is of.
  std::size_t case_of(std::uint64_t draw) const;

  /// Whether a case gives the same patch whenever it is drawn.
  bool patches_lie_still() const;

  /// How a case's intensities are scaled.
  const IntensityRule& intensity(std::size_t number) const;

  /// The middle of a case, not augmented. @{
  Patch still_patch(std::size_t number) const;
  Item still_item(std::size_t number) const;
  /// @}

 private:
  /// Why cases are left out without being read, by name.
  using Bad = std::map<std::string, std::string>;

  TrainingData(const FoundCases& found, const std::filesystem::path& folder, const DataContract& contract,
               const PatchOptions& patches, const TrainingDataOptions& options, const RunObserver& observer);

  void read(const std::vector<Case>& cases, const std::vector<std::size_t>& part, const Bad& bad,
            std::vector<std::size_t>& numbers, LabelVolumeMeter* meter, const RunObserver& observer);
  void leave_out_unread(const std::vector<Case>& cases, const Split& split, Bad bad);
  void refuse_or_skip(const std::filesystem::path& folder, bool skip, const RunObserver& observer) const;
  void warn_of_spacings(const RunObserver& observer) const;
  void warn_of_padding(const RunObserver& observer) const;
  const AugmentOptions& augment_of(std::size_t number) const;
  Size3 corner_of(const TrainingCase& loaded, std::uint64_t draw) const;
  Patch still_patch_of(const TrainingCase& loaded) const;
  Item item_of(const Patch& patch, const TrainingCase& loaded, std::size_t number) const;

  DataContract contract_;
  PatchOptions patches_;
  CaseModalities modalities_;
  bool wants_whole_map_;
  CaseStore store_;
  std::vector<std::size_t> training_, validation_;
  std::optional<Rounds> rounds_;  ///< through `training_`
  std::vector<std::string> test_;
  std::vector<Skipped> skipped_;
  std::vector<Geometry> grids_;  ///< of all cases
  LabelVolumeMeter label_volumes_;
  std::string fingerprint_;
};

}  // namespace medgen
