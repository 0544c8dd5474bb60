// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

namespace medgen::nn {

/// Pages of memory between two uses. The kernel moves them from array to array, which spares it clearing others: a
/// tenth of the time of a decode. Places and sizes are multiples of kLargePage, in private memory that nobody reads or
/// writes meanwhile. Thread: one at a time.
class SparePages {
 public:
  SparePages() = default;
  ~SparePages();
  SparePages(const SparePages&) = delete;
  SparePages& operator=(const SparePages&) = delete;

  /// Takes the pages of an array from `from` on, where fresh ones come into being when it is written again. Those that
  /// cannot be moved are given back to the system.
  void keep(std::byte* from, std::size_t bytes);

  /// Puts kept pages in the place of those at `to`, as far as they go; what they hold is anything.
  /// @throws c10::OutOfMemoryError
  void lend(std::byte* to, std::size_t bytes);

  /// Gives back to the system what is more than so much.
  void shrink(std::size_t bytes);

  std::size_t bytes() const { return bytes_; }

 private:
  struct Range {
    std::byte* address;
    std::size_t bytes;
  };

  std::vector<Range> ranges_;
  std::size_t bytes_ = 0;
};

}  // namespace medgen::nn
