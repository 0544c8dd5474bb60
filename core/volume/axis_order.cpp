// SPDX-License-Identifier: Apache-2.0
#include "core/volume/axis_order.h"

#include "core/base/error.h"

#include <algorithm>

namespace medgen {

Size3 xyz_of(const Shape& shape) {
  if (shape.size() < 3) throw DataError("a volume has at least three axes, not the shape {}", to_string(shape));
  return {shape[shape.size() - 1], shape[shape.size() - 2], shape[shape.size() - 3]};
}

Shape zyx_of(const Size3& size) {
  return {size[2], size[1], size[0]};
}

Shape zyx_of(const Shape& leading, const Size3& size) {
  Shape shape = leading;
  shape.insert(shape.end(), {size[2], size[1], size[0]});
  return shape;
}

medgen_space_t abi_space(const Affine<Ras>& affine) {
  medgen_space_t space{};
  space.struct_size = sizeof(space);
  space.frame = MEDGEN_FRAME_RAS;
  std::copy(affine.rows().begin(), affine.rows().end(), space.affine);
  return space;
}

Affine<Ras> affine_of(const medgen_space_t& space) {
  Matrix4 rows{};
  std::copy(std::begin(space.affine), std::end(space.affine), rows.begin());
  if (space.frame == MEDGEN_FRAME_RAS) return Affine<Ras>(rows);
  if (space.frame == MEDGEN_FRAME_LPS) return to_ras(Affine<Lps>(rows));
  throw DataError("a volume's affine has the unknown world frame {}; RAS is {}, LPS is {}", space.frame,
                  MEDGEN_FRAME_RAS, MEDGEN_FRAME_LPS);
}

}  // namespace medgen
