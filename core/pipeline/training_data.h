// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/io/dataset.h"
#include "core/pipeline/contract.h"
#include "core/pipeline/patch_options.h"
#include "core/run/observer.h"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace medgen {

/// Labelled images of a data folder as a model sees them: in its orientation, intensities scaled by its contract. Cases
/// are read once and kept in memory.
class TrainingData {
 public:
  struct Item {
    Tensor image;  ///< (1, C, spatial...) float32, scaled; of a model that makes label maps the label ids
    Tensor mask;   ///< (1, 1, spatial...) int32; empty where the case has no label map
    Vec3 spacing_mm;
  };

  /// @throws DataError naming every case that cannot be used, and why.
  TrainingData(const std::filesystem::path& folder, const DataContract& contract, const PatchOptions& patches,
               bool labels_needed, const RunObserver& observer);

  std::size_t cases() const { return cases_.size(); }

  /// Names, grids and voxels of all cases: what a checkpoint belongs to.
  const std::string& fingerprint() const { return fingerprint_; }

  /// Patch number `draw`: every case once in each round, in an order shuffled by the seed. A function of (seed, draw)
  /// alone.
  Item item(std::uint64_t draw) const;

  /// The case that patch number `draw` is of.
  std::size_t case_of(std::uint64_t draw) const;

  /// Whether a case gives the same patch whenever it is drawn.
  bool patches_lie_still() const { return patches_.lie_still(); }

 private:
  struct Loaded {
    Volume image;  ///< oriented, scaled, float32
    std::optional<Volume> label;
    std::optional<LabelIndex> index;  ///< of the label, where patches are cut round some
  };

  Loaded load(const Case& entry, bool labels_needed, const RunObserver& observer);
  Loaded load_map(const Case& entry);
  Volume load_label(const Case& entry, const Volume& image, const RunObserver& observer);
  void identify(const Volume& volume);
  Size3 corner_of(const Loaded& loaded, std::uint64_t draw) const;

  DataContract contract_;
  PatchOptions patches_;
  std::vector<Loaded> cases_;
  std::string identity_;  ///< of the cases read so far
  std::string fingerprint_;
};

}  // namespace medgen
