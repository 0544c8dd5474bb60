// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"
#include "core/volume/geometry.h"

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace medgen {

/// A 3D image or label map: voxels (z, y, x) or (c, z, y, x) in the element type they came in, and where they lie.
/// Copies share the voxels.
class Volume {
 public:
  Volume() = default;
  /// @throws DataError unless the tensor has 3 or 4 axes, none of them empty.
  Volume(Tensor voxels, Affine<Ras> affine);

  const Tensor& voxels() const noexcept { return voxels_; }

  Tensor& voxels() noexcept { return voxels_; }

  const Affine<Ras>& affine() const noexcept { return affine_; }

  DType dtype() const noexcept { return voxels_.dtype(); }

  bool has_channels() const noexcept { return voxels_.shape().size() == 4; }

  std::int64_t channels() const noexcept { return has_channels() ? voxels_.shape()[0] : 1; }

  /// (x, y, z)
  Size3 size() const;

  Vec3 spacing_mm() const { return affine_.spacing_mm(); }

  std::string orientation() const { return affine_.orientation(); }

  Geometry geometry() const { return {size(), affine_}; }

  /// Other voxels of the same grid, such as a label map beside its image. @throws DataError when their (z, y, x)
  /// differs.
  Volume with_voxels(Tensor voxels) const;

 private:
  Tensor voxels_;
  Affine<Ras> affine_;
};

/// Axes permuted and flipped; nothing is interpolated and every voxel keeps its place in the world. Way back:
/// reorient(result, inverse(reorientation)). Shares the voxels when there is nothing to do.
Volume reorient(const Volume& volume, const Reorientation& reorientation);
/// To the orientation code, such as "RAS". @throws DataError for a code that is none.
Volume reorient(const Volume& volume, std::string_view code);

enum class Interpolation {
  Linear,   ///< images; integers are rounded to nearest
  Nearest,  ///< labels; half way the higher index; never a new value
};

/// The volume on another grid, element type kept. A voxel covers half a spacing around its centre: inside that field of
/// view the border voxels are repeated, outside the result is `outside`. Where the grids coincide the values are
/// exactly the old ones. Linear does not smooth before it thins out. @throws DataError for Linear on a boolean volume,
/// or when `outside` does not fit the element type. O(voxels of the result).
Volume resample(const Volume& volume, const Geometry& target, Interpolation interpolation, double outside = 0);
/// Fills `row` with displacements of the target voxels (0.., j, k), in target voxels.
using Displacement = std::function<void(std::int64_t j, std::int64_t k, std::span<Vec3> row)>;

/// The same by a map of indices, for deformations: target voxel v (x, y, z) of `size` is read at voxel
/// map (v + displacement) of `volume`. @param displacement  may be null.
Tensor resample(const Volume& volume, const Size3& size, const Matrix4& map, const Displacement* displacement,
                Interpolation interpolation, double outside = 0);
/// On the grid that `with_spacing` gives: same field of view, exact spacing.
Volume resample_to_spacing(const Volume& volume, const Vec3& spacing_mm, Interpolation interpolation);
/// An image on the grid that `with_spacing` gives, as float32. Along axes whose voxels become smaller this is linear
/// interpolation; where they become larger, each is a mean weighted by a tent that reaches one new voxel to each side,
/// so that detail and noise finer than the new voxels are averaged, not picked (no aliasing).
/// @throws DataError as `with_spacing`.
Volume rescale(const Volume& image, const Vec3& spacing_mm);

/// Cut or padded around the centre to (x, y, z) voxels, as `with_size` places it. @throws DataError when an axis is not
/// positive or `fill` does not fit the element type.
Volume center_crop_or_pad(const Volume& volume, const Size3& size, double fill = 0);

}  // namespace medgen
