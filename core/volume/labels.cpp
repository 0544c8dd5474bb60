// SPDX-License-Identifier: Apache-2.0
#include "core/volume/labels.h"

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/volume/element.h"

#include <array>
#include <cmath>
#include <utility>

namespace medgen {
namespace {

template <typename T>
std::int64_t id_of_voxel(T voxel) {
  if constexpr (std::is_floating_point_v<T>) {
    if (!(std::fabs(voxel) < T(0x1p63)) || voxel != std::trunc(voxel)) {
      throw DataError("a label map holds the value {:g}; labels are whole numbers (is this an image?)", voxel);
    }
  } else if (!std::in_range<std::int64_t>(static_cast<std::conditional_t<std::is_same_v<T, bool>, int, T>>(voxel))) {
    throw DataError("a label map holds the id {}, which is beyond 64-bit signed integers", voxel);
  }
  return static_cast<std::int64_t>(voxel);
}

/// Calls use(id, position) for every voxel.
template <typename Use>
void for_each_id(const Tensor& voxels, Use use) {
  if (is_half(voxels.dtype())) return for_each_id(voxels.to(DType::F32), use);
  with_element_type(voxels.dtype(), [&]<typename T>(T) {
    const auto values = voxels.values<T>();
    for (std::size_t i = 0; i < values.size(); ++i) use(id_of_voxel(values[i]), i);
  });
}

/// As names are compared where capitals and blanks do not count.
std::string plain(std::string_view name) {
  std::string result(name);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '_' || c == '-') c = ' ';
  }
  return result;
}

/// The names that could be meant instead, for the end of a message.
std::string or_rather(std::string_view name, const std::vector<std::string>& known) {
  constexpr std::size_t kShown = 3;
  return known.empty() ? "" : fmt::format(" (nearest: '{}')", fmt::join(nearest(name, known, kShown), "', '"));
}

bool holds(DType dtype, std::int64_t id) {
  return with_element_type(dtype, [id]<typename T>(T) {
    if constexpr (std::is_same_v<T, bool>) {
      return id == 0 || id == 1;
    } else if constexpr (std::is_integral_v<T>) {
      return std::in_range<T>(id);
    } else {
      return false;
    }
  });
}

template <typename Convert>
Volume converted(const Volume& labels, DType dtype, Convert convert) {
  Tensor voxels(dtype, labels.voxels().shape());
  with_element_type(dtype, [&]<typename T>(T) {
    auto* out = static_cast<T*>(voxels.data());
    for_each_id(labels.voxels(), [&](std::int64_t id, std::size_t i) { out[i] = static_cast<T>(convert(id)); });
  });
  return labels.with_voxels(std::move(voxels));
}

}  // namespace

DType label_type(const std::set<std::int64_t>& ids, DType preferred) {
  constexpr std::array kBySize = {DType::U8, DType::I8, DType::U16, DType::I16, DType::U32, DType::I32};
  const auto fits = [&ids](DType dtype) {
    return !is_half(dtype) && (ids.empty() || (holds(dtype, *ids.begin()) && holds(dtype, *ids.rbegin())));
  };
  if (fits(preferred) && !is_float(preferred)) return preferred;
  for (const DType dtype : kBySize) {
    if (fits(dtype)) return dtype;
  }
  return DType::I64;
}

LabelTable::LabelTable(const std::map<std::int64_t, std::string>& names) {
  for (const auto& [id, name] : names) add(id, name);
}

void LabelTable::add(std::int64_t id, const std::string& name) {
  if (name.empty()) throw DataError("label {} has an empty name", id);
  if (const auto known = names_.find(id); known != names_.end()) {
    throw DataError("label {} has two names, '{}' and '{}'", id, known->second, name);
  }
  if (const auto known = ids_.find(name); known != ids_.end()) {
    throw DataError("the label name '{}' has two ids, {} and {}", name, known->second, id);
  }
  names_.emplace(id, name);
  ids_.emplace(name, id);
}

std::optional<std::int64_t> LabelTable::find(std::string_view name) const {
  const auto known = ids_.find(name);
  return known == ids_.end() ? std::nullopt : std::optional(known->second);
}

std::optional<std::int64_t> LabelTable::find_alike(std::string_view name) const {
  if (const auto same = find(name)) return same;
  std::optional<std::int64_t> found;
  for (const auto& [id, known] : names_) {
    if (plain(known) != plain(name)) continue;
    if (found) return std::nullopt;
    found = id;
  }
  return found;
}

std::int64_t LabelTable::id_of(std::string_view name) const {
  if (const auto id = find(name)) return *id;
  std::vector<std::string> names;
  for (const auto& entry : ids_) names.push_back(entry.first);
  throw DataError("there is no label '{}'{} among the {} of the table", name, did_you_mean(name, names), names.size());
}

const std::string& LabelTable::name_of(std::int64_t id) const {
  const auto known = names_.find(id);
  if (known != names_.end()) return known->second;
  constexpr std::size_t kShown = 20;
  std::vector<std::int64_t> ids;
  for (const auto& entry : names_) ids.push_back(entry.first);
  const std::string more = ids.size() > kShown ? fmt::format(" and {} more", ids.size() - kShown) : "";
  ids.resize(std::min(ids.size(), kShown));
  throw DataError("there is no label with id {}; the table has {}{}", id, fmt::join(ids, ", "), more);
}

std::set<std::int64_t> label_ids(const Tensor& voxels) {
  std::set<std::int64_t> ids;
  // Neighbours are mostly alike: the set is asked only where the id changes.
  std::optional<std::int64_t> last;
  for_each_id(voxels, [&](std::int64_t id, std::size_t) {
    if (id == last) return;
    ids.insert(id);
    last = id;
  });
  return ids;
}

std::map<std::int64_t, std::uint64_t> label_counts(const Tensor& labels) {
  std::map<std::int64_t, std::uint64_t> counts;
  with_element_type(labels.dtype(), [&]<typename T>(T) {
    const auto voxels = labels.values<T>();
    for (auto run = voxels.begin(); run != voxels.end();) {
      const auto end = std::find_if(run, voxels.end(), [id = *run](T other) { return other != id; });
      counts[static_cast<std::int64_t>(*run)] += static_cast<std::uint64_t>(end - run);
      run = end;
    }
  });
  return counts;
}

LabelMapping map_by_name(const std::set<std::int64_t>& ids, const LabelTable& from, const LabelTable& to) {
  LabelMapping mapping;
  std::vector<std::string> problems;
  std::vector<std::string> known;
  for (const auto& entry : to.names()) known.push_back(entry.second);
  for (const std::int64_t id : ids) {
    const auto named = from.names().find(id);
    if (id == 0) {
      mapping[0] = 0;
    } else if (named == from.names().end()) {
      problems.push_back(fmt::format("id {} has no name", id));
    } else if (const auto target = to.find_alike(named->second)) {
      mapping[id] = *target;
    } else {
      problems.push_back(fmt::format("'{}' (id {}) is none of the {} labels to map to{}", named->second, id,
                                     known.size(), or_rather(named->second, known)));
    }
  }
  if (!problems.empty()) throw DataError("labels cannot be mapped by name: {}", fmt::join(problems, "; "));
  return mapping;
}

Volume relabel(const Volume& labels, const LabelMapping& mapping) {
  std::vector<std::int64_t> unknown;
  std::set<std::int64_t> results;
  for (const std::int64_t id : label_ids(labels.voxels())) {
    const auto entry = mapping.find(id);
    if (entry == mapping.end()) {
      unknown.push_back(id);
    } else {
      results.insert(entry->second);
    }
  }
  if (!unknown.empty()) throw DataError("the label map holds ids that have no mapping: {}", fmt::join(unknown, ", "));
  LabelMapping::const_iterator last = mapping.end();
  return converted(labels, label_type(results, labels.dtype()), [&](std::int64_t id) {
    if (last == mapping.end() || last->first != id) last = mapping.find(id);
    return last->second;
  });
}

Volume as_labels(const Volume& volume) {
  if (!is_float(volume.dtype())) return volume;
  return converted(volume, label_type(label_ids(volume.voxels()), volume.dtype()), [](std::int64_t id) { return id; });
}

}  // namespace medgen
