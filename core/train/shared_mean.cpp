// SPDX-License-Identifier: Apache-2.0
#include "core/train/shared_mean.h"

#include <vector>

namespace medgen {

Scalars shared_mean(std::size_t rows, Group& group, const std::function<Scalars(std::size_t row)>& of) {
  const Part part = group.part();
  Scalars mean;
  for (std::size_t row = part.begin(rows); row < part.end(rows); ++row) {
    for (const auto& [name, value] : of(row)) mean[name] += value / static_cast<double>(rows);
  }
  if (group.alone()) return mean;
  if (part.begin(rows) == part.end(rows)) {  // without rows of its own, a process still has to know the names
    for (const auto& [name, value] : of(0)) mean[name] = 0;
  }
  std::vector<double> all;
  for (const auto& [name, value] : mean) all.push_back(value);
  group.sum(all);
  std::size_t next = 0;
  for (auto& [name, value] : mean) value = all[next++];
  return mean;
}

}  // namespace medgen
