// SPDX-License-Identifier: Apache-2.0
#include "core/parallel/group.h"

#include "core/base/file.h"

#include <array>

namespace medgen {

void Group::barrier() {
  double here = 1;
  sum({&here, 1});
}

bool Group::agrees(const std::string& text) {
  // Numbers are all alike when the mean of their squares is the square of their mean. 20 bits of the hash keep the sums
  // exact for thousands of processes.
  const auto hash = static_cast<double>(std::stoull(sha256(text).substr(0, 5), nullptr, 16));
  std::array<double, 2> sums = {hash, hash * hash};
  sum(sums);
  return sums[0] == hash * size() && sums[1] == hash * hash * size();
}

Group& Alone::instance() {
  static Alone alone;
  return alone;
}

}  // namespace medgen
