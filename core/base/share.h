// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace medgen {

/// One of `count` nearly equal parts of a row of things; parts are contiguous, their sizes differ by one at most.
struct Part {
  std::size_t index = 0;
  std::size_t count = 1;

  std::size_t begin(std::size_t things) const { return things / count * index + std::min(index, things % count); }

  std::size_t end(std::size_t things) const { return Part{index + 1, count}.begin(things); }

  bool whole() const { return count == 1; }

  bool operator==(const Part&) const = default;
};

/// The rows of every global batch that one process computes.
struct BatchShare {
  std::uint64_t first = 0;  ///< row of the batch
  std::uint64_t rows = 1;
  std::uint64_t batch = 1;  ///< rows of the global batch

  static BatchShare of(std::uint64_t batch, const Part& part) {
    const std::uint64_t first = part.begin(batch);
    return {first, part.end(batch) - first, batch};
  }

  /// Of the batch's mean.
  double weight() const { return static_cast<double>(rows) / static_cast<double>(batch); }

  /// Rows of all batches are numbered one after the other; those of this share by themselves. @{
  bool has(std::uint64_t row) const { return row % batch >= first && row % batch - first < rows; }

  std::uint64_t own_number(std::uint64_t row) const { return row / batch * rows + row % batch - first; }

  std::uint64_t row_of(std::uint64_t own) const { return own / rows * batch + first + own % rows; }

  /// @}
};

/// "2/8" is the second of eight. @throws UsageError
Part parse_part(const std::string& text);

/// "2/8"
std::string to_string(const Part& part);

}  // namespace medgen
