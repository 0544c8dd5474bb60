// SPDX-License-Identifier: Apache-2.0
// The one place where the (x, y, z) of geometry and the (z, y, x) of tensors meet.
#pragma once

#include "core/tensor/tensor.h"
#include "core/volume/geometry.h"

#include <medgen/abi/tensor.h>

namespace medgen {

/// Voxels along x, y, z of a tensor (..., z, y, x). @throws DataError when it has fewer than three axes.
Size3 xyz_of(const Shape& shape);
/// (z, y, x)
Shape zyx_of(const Size3& size);
/// (c, z, y, x), or (z, y, x) when `leading` is empty.
Shape zyx_of(const Shape& leading, const Size3& size);

/// What plugins see beside a volume's tensor.
medgen_space_t abi_space(const Affine<Ras>& affine);
/// From either frame. @throws DataError for an unknown frame or an affine that is not valid.
Affine<Ras> affine_of(const medgen_space_t& space);

}  // namespace medgen
