// SPDX-License-Identifier: Apache-2.0
// Where patches are cut out: anywhere, or round voxels of chosen labels.
#pragma once

#include "core/volume/volume.h"

#include <cstdint>
#include <map>
#include <vector>

namespace medgen {

/// How often every label occurs in every slice of a label map, so that its n-th voxel is found without a list of all.
class LabelIndex {
 public:
  LabelIndex() = default;
  /// O(voxels). The voxels are shared, not copied. @throws DataError as label_ids.
  explicit LabelIndex(Volume label);

  /// Voxels with that label; 0 where there are none.
  std::int64_t count(std::int64_t label) const;
  /// The `rank`-th of them (x, y, z), in the order of memory. Reads one slice. `rank` is below `count`.
  Size3 voxel(std::int64_t label, std::int64_t rank) const;
  /// Every label there is.
  std::vector<std::int64_t> labels() const;

 private:
  Volume label_;
  std::map<std::int64_t, std::vector<std::int64_t>> below_;  ///< voxels before slice z; one more entry: all
};

struct CropOptions {
  Size3 size{};  ///< voxels (x, y, z); 0: the whole axis
  /// How often a patch is centred on a voxel of a label; the rest lies anywhere. Labels that a case lacks leave their
  /// share to the others; when it has none of them, the patch lies anywhere.
  std::map<std::int64_t, double> label_probability;
};

/// Size of a patch of an image of `whole` voxels.
Size3 crop_size(const CropOptions& options, const Size3& whole);

/// The first voxel of patch `number`. Patches stay inside where they fit; an axis that is shorter than the patch lies
/// in its middle. A function of the arguments alone.
/// @param index  may be null without label_probability.
Size3 crop_corner(const CropOptions& options, const Size3& whole, const LabelIndex* index, std::uint64_t seed,
                  std::uint64_t number);

}  // namespace medgen
