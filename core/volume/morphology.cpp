// SPDX-License-Identifier: Apache-2.0
#include "core/volume/morphology.h"

#include "core/base/error.h"

#include <algorithm>

namespace medgen {
namespace {

using Byte = std::uint8_t;

void check_mask(const Tensor& mask) {
  if (mask.dtype() != DType::U8 || mask.shape().size() != 3) throw RuntimeError("a mask is (z, y, x) uint8");
}

/// Along one axis of (outer, length, inner).
Tensor dilate_axis(const Tensor& mask, std::size_t axis, std::int64_t radius) {
  const std::int64_t length = mask.shape()[axis];
  std::int64_t inner = 1;
  for (std::size_t i = axis + 1; i < 3; ++i) inner *= mask.shape()[i];
  Tensor result = mask.clone();
  const Byte* in = mask.values<Byte>().data();
  Byte* out = result.values<Byte>().data();
  const std::int64_t block = length * inner;
  for (std::int64_t first = 0; first < mask.size(); first += block) {
    for (std::int64_t distance = 1; distance <= std::min(radius, length - 1); ++distance) {
      const std::int64_t step = distance * inner;
      for (std::int64_t i = first; i < first + block - step; ++i) out[i] |= in[i + step];
      for (std::int64_t i = first; i < first + block - step; ++i) out[i + step] |= in[i];
    }
  }
  return result;
}

Tensor inverted(const Tensor& mask) {
  Tensor result = mask.clone();
  for (Byte& voxel : result.values<Byte>()) voxel ^= 1U;
  return result;
}

}  // namespace

Tensor dilate(const Tensor& mask, std::int64_t edge) {
  check_mask(mask);
  Tensor result = mask;
  for (const std::size_t axis : {0, 1, 2}) result = dilate_axis(result, axis, edge / 2);
  return result;
}

Tensor erode(const Tensor& mask, std::int64_t edge) {
  check_mask(mask);
  return inverted(dilate(inverted(mask), edge));
}

Tensor close(const Tensor& mask, std::int64_t edge) {
  return erode(dilate(mask, edge), edge);
}

ConnectedComponents::ConnectedComponents(const Tensor& mask) : shape_(mask.shape()) {
  check_mask(mask);
  const std::int64_t width = shape_[2], lines = shape_[1], rows = shape_[0] * lines;
  const Byte* voxels = mask.values<Byte>().data();
  std::vector<std::size_t> first{0};  // run of each row
  for (std::int64_t row = 0; row < rows; ++row) {
    const Byte *begin = voxels + row * width, *end = begin + width;
    for (const Byte* at = std::find(begin, end, Byte{1}); at != end;) {
      const Byte* stop = std::find(at, end, Byte{0});
      runs_.push_back({row, at - begin, stop - begin, runs_.size(), stop - at});
      at = std::find(stop, end, Byte{1});
    }
    first.push_back(runs_.size());
    const auto join_with = [&](std::int64_t other) {
      const auto mine = static_cast<std::size_t>(row), theirs = static_cast<std::size_t>(other);
      join_rows(first[mine], first[mine + 1], first[theirs], first[theirs + 1]);
    };
    const std::int64_t line = row % lines;
    if (line > 0) join_with(row - 1);
    if (row < lines) continue;
    for (std::int64_t other = std::max<std::int64_t>(line - 1, 0); other <= std::min(line + 1, lines - 1); ++other)
      join_with(row - line - lines + other);
  }
  for (std::size_t i = 0; i < runs_.size(); ++i) runs_[i].parent = root(i);
}

std::size_t ConnectedComponents::root(std::size_t run) {
  while (runs_[run].parent != run) {
    runs_[run].parent = runs_[runs_[run].parent].parent;
    run = runs_[run].parent;
  }
  return run;
}

void ConnectedComponents::join(std::size_t a, std::size_t b) {
  a = root(a), b = root(b);
  if (a == b) return;
  const std::size_t earlier = std::min(a, b), later = std::max(a, b);
  runs_[later].parent = earlier;
  runs_[earlier].voxels += runs_[later].voxels;
}

/// Runs of two rows that touch, across a corner too.
void ConnectedComponents::join_rows(std::size_t first, std::size_t end, std::size_t other, std::size_t other_end) {
  while (first < end && other < other_end) {
    if (runs_[first].begin <= runs_[other].end && runs_[other].begin <= runs_[first].end) join(first, other);
    ++(runs_[first].end < runs_[other].end ? first : other);
  }
}

template <typename Wanted>
Tensor ConnectedComponents::picked(Wanted wanted) const {
  Tensor result = Tensor::zeros(DType::U8, shape_);
  Byte* voxels = result.values<Byte>().data();
  for (const Run& run : runs_) {
    if (wanted(run.parent))
      std::fill(voxels + run.row * shape_[2] + run.begin, voxels + run.row * shape_[2] + run.end, 1);
  }
  return result;
}

std::size_t ConnectedComponents::largest_root() const {
  std::size_t best = 0;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (runs_[i].parent == i && runs_[i].voxels > runs_[best].voxels) best = i;
  }
  return best;
}

std::int64_t ConnectedComponents::most_voxels() const {
  return runs_.empty() ? 0 : runs_[largest_root()].voxels;
}

Tensor ConnectedComponents::largest() const {
  return picked([best = largest_root()](std::size_t root) { return root == best; });
}

Tensor ConnectedComponents::of_at_least(std::int64_t voxels) const {
  return picked([&](std::size_t root) { return runs_[root].voxels >= voxels; });
}

}  // namespace medgen
