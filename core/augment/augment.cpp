// SPDX-License-Identifier: Apache-2.0
#include "core/augment/augment.h"

#include "core/augment/intensity.h"
#include "core/augment/warp.h"
#include "core/base/error.h"

#include <fmt/ranges.h>

namespace medgen {
namespace {

/// Ids of a mirror image.
Volume mirrored(const Volume& label, const AugmentOptions& options) {
  LabelMapping mapping;
  for (const std::int64_t id : label_ids(label.voxels())) mapping[id] = id;
  for (const auto& [a, b] : options.mirrored_labels) {
    if (mapping.contains(a)) mapping[a] = b;
    if (mapping.contains(b)) mapping[b] = a;
  }
  const Volume renamed = relabel(label, mapping);
  return renamed.with_voxels(renamed.voxels().to(label.dtype()));
}

}  // namespace

Patch augment(const Patch& whole, const Size3& corner, const Size3& size, const AugmentOptions& options,
              std::uint64_t seed, std::uint64_t number) {
  if (whole.label && whole.label->size() != whole.image.size()) {
    throw DataError("the label map has {} voxels, the image {}", fmt::join(whole.label->size(), "x"),
                    fmt::join(whole.image.size(), "x"));
  }
  const augmentation::Warp warp =
      augmentation::draw_warp(options, whole.image.spacing_mm(), corner, size, seed, number);
  Matrix4 shift = geometry::kIdentity;
  for (std::size_t d = 0; d < 3; ++d) shift[4 * d + 3] = static_cast<double>(corner[d]);
  const Affine<Ras> place = whole.image.affine().of_grid(shift);
  const Displacement* bent = warp.displacement ? &*warp.displacement : nullptr;
  Patch result;
  Tensor image = resample(whole.image.with_voxels(whole.image.voxels().to(DType::F32)), size, warp.map, bent,
                          Interpolation::Linear);
  augmentation::change_intensity(image, options, seed, number);
  result.image = Volume(std::move(image), place);
  if (!whole.label) return result;
  result.label = Volume(resample(*whole.label, size, warp.map, bent, Interpolation::Nearest), place);
  if (warp.mirrored && !options.mirrored_labels.empty()) result.label = mirrored(*result.label, options);
  return result;
}

Patch augment(const Patch& patch, const AugmentOptions& options, std::uint64_t seed, std::uint64_t number) {
  return augment(patch, {0, 0, 0}, patch.image.size(), options, seed, number);
}

}  // namespace medgen
