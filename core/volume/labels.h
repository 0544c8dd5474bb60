// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/volume/volume.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// The meaning of the ids of a label map: names and ids, each once. Id 0 is the background everywhere.
class LabelTable {
 public:
  LabelTable() = default;
  /// @throws DataError like `add`.
  explicit LabelTable(const std::map<std::int64_t, std::string>& names);

  /// @throws DataError when the id or the name is already there or the name is empty.
  void add(std::int64_t id, const std::string& name);

  bool empty() const noexcept { return names_.empty(); }

  std::size_t size() const noexcept { return names_.size(); }

  const std::map<std::int64_t, std::string>& names() const noexcept { return names_; }

  std::optional<std::int64_t> find(std::string_view name) const;
  /// The same; where no name is this one, the one that differs from it in capitals, and in "_" and "-" for blanks,
  /// alone. Nothing where several do.
  std::optional<std::int64_t> find_alike(std::string_view name) const;
  /// @throws DataError for an unknown name, with the nearest one.
  std::int64_t id_of(std::string_view name) const;
  /// @throws DataError for an unknown id, with those there are.
  const std::string& name_of(std::int64_t id) const;

  friend bool operator==(const LabelTable&, const LabelTable&) = default;

 private:
  std::map<std::int64_t, std::string> names_;
  std::map<std::string, std::int64_t, std::less<>> ids_;
};

using LabelMapping = std::map<std::int64_t, std::int64_t>;

/// The ids in a label map. Floating-point voxels are accepted when they are whole numbers, as many tools write them so.
/// @throws DataError for a fraction, a value that is not finite, or one beyond 64 bits. O(voxels).
std::set<std::int64_t> label_ids(const Tensor& voxels);

/// Voxels of each id of a label map of integers. O(voxels), quick where neighbours are equal.
std::map<std::int64_t, std::uint64_t> label_counts(const Tensor& labels);

/// `preferred` when it is an integer type that holds all ids, else the smallest that does.
DType label_type(const std::set<std::int64_t>& ids, DType preferred);

/// For each of `ids`, named in `from`, the id of that name in `to` (find_alike); 0 maps to 0.
/// @throws DataError that lists every id without a name, and every name that `to` lacks with the nearest ones.
LabelMapping map_by_name(const std::set<std::int64_t>& ids, const LabelTable& from, const LabelTable& to);

/// Every id replaced; the element type is kept when it holds the new ids, else the smallest integer type that does.
/// @throws DataError that lists the ids without an entry.
Volume relabel(const Volume& labels, const LabelMapping& mapping);

/// An integer volume from a label map in any type: float voxels become the smallest integer type that holds the ids.
/// @throws DataError as `label_ids`.
Volume as_labels(const Volume& volume);

}  // namespace medgen
