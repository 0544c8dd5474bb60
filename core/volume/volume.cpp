// SPDX-License-Identifier: Apache-2.0
#include "core/volume/volume.h"

#include "core/base/error.h"
#include "core/volume/axis_order.h"
#include "core/volume/element.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace medgen {
namespace {

/// Where element (c, z, y, x) of a result comes from: an offset into the source plus these steps, in elements.
struct Walk {
  std::int64_t offset = 0;
  std::int64_t channel = 0;
  Size3 step{};  ///< along x, y, z of the result
};

template <typename Word>
void gather(const void* source, void* target, const Walk& walk, std::int64_t channels, const Size3& size) {
  const auto* from = static_cast<const Word*>(source) + walk.offset;
  auto* to = static_cast<Word*>(target);
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t z = 0; z < size[2]; ++z) {
      for (std::int64_t y = 0; y < size[1]; ++y) {
        const Word* row = from + c * walk.channel + z * walk.step[2] + y * walk.step[1];
        for (std::int64_t x = 0; x < size[0]; ++x) *to++ = row[x * walk.step[0]];
      }
    }
  }
}

Shape shape_like(const Volume& volume, const Size3& size) {
  return volume.has_channels() ? zyx_of(Shape{volume.channels()}, size) : zyx_of(size);
}

/// A tensor of `fill`. @throws DataError when the element type cannot hold it.
Tensor filled(DType dtype, const Shape& shape, double fill) {
  if (is_half(dtype)) return filled(DType::F32, shape, fill).to(dtype);
  Tensor tensor(dtype, shape);
  with_element_type(dtype, [&]<typename T>(T) {
    const T value = element_of<T>(fill, "the fill value");
    std::fill_n(static_cast<T*>(tensor.data()), tensor.size(), value);
  });
  return tensor;
}

}  // namespace

Volume::Volume(Tensor voxels, Affine<Ras> affine) : voxels_(std::move(voxels)), affine_(std::move(affine)) {
  const Shape& shape = voxels_.shape();
  if (shape.size() != 3 && shape.size() != 4) {
    throw DataError("a volume has the axes (z, y, x) or (c, z, y, x), not the shape {}", to_string(shape));
  }
  if (voxels_.size() == 0) throw DataError("a volume of shape {} has no voxels", to_string(shape));
}

Size3 Volume::size() const {
  return xyz_of(voxels_.shape());
}

Volume Volume::with_voxels(Tensor voxels) const {
  Volume other(std::move(voxels), affine_);
  if (other.size() != size()) {
    throw DataError("voxels of shape {} do not fit the grid of a volume of shape {}", to_string(other.voxels().shape()),
                    to_string(voxels_.shape()));
  }
  return other;
}

Volume reorient(const Volume& volume, const Reorientation& reorientation) {
  if (reorientation == Reorientation{}) return volume;
  const Size3 old = volume.size();
  const Size3 old_step = {1, old[0], old[0] * old[1]};
  const Geometry target = reorient(volume.geometry(), reorientation);
  Walk walk;
  walk.channel = old[0] * old[1] * old[2];
  for (std::size_t d = 0; d < 3; ++d) {
    const std::int64_t step = old_step[reorientation.from[d]];
    walk.step[d] = reorientation.flipped[d] ? -step : step;
    if (reorientation.flipped[d]) walk.offset += step * (target.size[d] - 1);
  }
  Tensor voxels(volume.dtype(), shape_like(volume, target.size));
  const auto run = [&]<typename Word>(Word) {
    gather<Word>(volume.voxels().data(), voxels.data(), walk, volume.channels(), target.size);
  };
  switch (size_of(volume.dtype())) {
    case 1:
      run(std::uint8_t{});
      break;
    case 2:
      run(std::uint16_t{});
      break;
    case 4:
      run(std::uint32_t{});
      break;
    default:
      run(std::uint64_t{});
      break;
  }
  return Volume(std::move(voxels), target.affine);
}

Volume reorient(const Volume& volume, std::string_view code) {
  return reorient(volume, reorientation(volume.affine(), code));
}

Volume center_crop_or_pad(const Volume& volume, const Size3& size, double fill) {
  const Geometry target = with_size(volume.geometry(), size);
  const Size3 old = volume.size();
  Shape from, to, extent;
  if (volume.has_channels()) {
    from = to = {0};
    extent = {volume.channels()};
  }
  for (std::size_t d = 3; d-- > 0;) {
    from.push_back(std::max<std::int64_t>(0, (old[d] - size[d]) / 2));
    to.push_back(std::max<std::int64_t>(0, (size[d] - old[d]) / 2));
    extent.push_back(std::min(old[d], size[d]));
  }
  const Tensor kept = crop(volume.voxels(), from, extent);
  if (target.size == xyz_of(kept.shape())) return Volume(kept, target.affine);
  Tensor voxels = filled(volume.dtype(), shape_like(volume, size), fill);
  paste(voxels, kept, to);
  return Volume(std::move(voxels), target.affine);
}

}  // namespace medgen
