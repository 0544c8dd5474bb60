// SPDX-License-Identifier: Apache-2.0
#include "core/augment/crop.h"

#include "core/augment/draws.h"
#include "core/base/error.h"
#include "core/volume/element.h"
#include "core/volume/labels.h"

#include <algorithm>
#include <optional>

namespace medgen {
namespace {

/// A whole number in [0, count).
std::int64_t pick(augmentation::Draws& draws, std::int64_t count) {
  const auto number = static_cast<std::int64_t>(draws.next() * static_cast<double>(count));
  return std::min(number, count - 1);
}

/// The label to centre on, if any.
std::optional<std::int64_t> draw_label(const CropOptions& options, const LabelIndex& index,
                                       augmentation::Draws& draws) {
  double wanted = 0, present = 0;
  for (const auto& [label, probability] : options.label_probability) {
    wanted += probability;
    if (index.count(label) > 0) present += probability;
  }
  // What the labels want together is shared by those that are there.
  double place = draws.next();
  if (present == 0 || place >= wanted) return std::nullopt;
  place *= present / wanted;
  std::optional<std::int64_t> last;
  for (const auto& [label, probability] : options.label_probability) {
    if (index.count(label) == 0 || probability == 0) continue;
    last = label;
    if (place < probability) break;
    place -= probability;
  }
  return last;
}

}  // namespace

LabelIndex::LabelIndex(Volume label) : label_(as_labels(label)) {
  const Size3 size = label_.size();
  const Tensor slices = label_.voxels().reshape({size[2], size[1], size[0]});
  for (std::int64_t z = 0; z < size[2]; ++z) {
    std::map<std::int64_t, std::int64_t> here;
    with_element_type(slices.dtype(), [&]<typename T>(T) {
      const Tensor slice = slices.rows(z, 1);
      for (const T id : slice.values<T>()) ++here[static_cast<std::int64_t>(id)];
    });
    for (const auto& [id, count] : here) below_.try_emplace(id, static_cast<std::size_t>(size[2]) + 1, 0);
    for (auto& [id, below] : below_) {
      const auto found = here.find(id);
      const auto at = static_cast<std::size_t>(z);
      below[at + 1] = below[at] + (found == here.end() ? 0 : found->second);
    }
  }
}

std::int64_t LabelIndex::count(std::int64_t label) const {
  const auto known = below_.find(label);
  return known == below_.end() ? 0 : known->second.back();
}

std::vector<std::int64_t> LabelIndex::labels() const {
  std::vector<std::int64_t> all;
  for (const auto& entry : below_) all.push_back(entry.first);
  return all;
}

Size3 LabelIndex::voxel(std::int64_t label, std::int64_t rank) const {
  check(rank >= 0 && rank < count(label), "a voxel of a label is asked for that it has");
  const auto& below = below_.at(label);
  const auto after = std::upper_bound(below.begin(), below.end(), rank);
  const std::int64_t z = after - below.begin() - 1;
  std::int64_t left = rank - below[static_cast<std::size_t>(z)];
  const Size3 size = label_.size();
  const Tensor slice = label_.voxels().reshape({size[2], size[1], size[0]}).rows(z, 1);
  std::int64_t at = 0;
  with_element_type(slice.dtype(), [&]<typename T>(T) {
    const auto values = slice.values<T>();
    while (static_cast<std::int64_t>(values[static_cast<std::size_t>(at)]) != label || left-- > 0) ++at;
  });
  return {at % size[0], at / size[0], z};
}

Size3 crop_size(const CropOptions& options, const Size3& whole) {
  Size3 size = whole;
  for (std::size_t d = 0; d < 3; ++d) {
    if (options.size[d] > 0) size[d] = options.size[d];
  }
  return size;
}

Size3 crop_corner(const CropOptions& options, const Size3& whole, const LabelIndex* index, std::uint64_t seed,
                  std::uint64_t number) {
  const Size3 size = crop_size(options, whole);
  augmentation::Draws draws(seed, number, "augment.crop", 5);
  const auto label = index == nullptr ? std::nullopt : draw_label(options, *index, draws);
  Size3 corner{};
  if (label) {
    const Size3 centre = index->voxel(*label, pick(draws, index->count(*label)));
    for (std::size_t d = 0; d < 3; ++d) corner[d] = centre[d] - size[d] / 2;
  } else {
    for (std::size_t d = 0; d < 3; ++d) corner[d] = pick(draws, std::max<std::int64_t>(1, whole[d] - size[d] + 1));
  }
  for (std::size_t d = 0; d < 3; ++d) {
    const std::int64_t room = whole[d] - size[d];
    corner[d] = room < 0 ? -((-room) / 2) : std::clamp<std::int64_t>(corner[d], 0, room);
  }
  return corner;
}

}  // namespace medgen
