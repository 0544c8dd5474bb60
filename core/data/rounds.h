// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace medgen {

/// The numbers 0 ... n-1 round after round, in every round once and in another order: a function of seed, purpose and
/// place alone. The orders of two rounds are kept, because what is made ahead reaches into the next one.
/// Thread: any.
class Rounds {
 public:
  /// @param n  at least 1
  Rounds(std::uint64_t seed, std::string purpose, std::size_t n);

  /// The number at a place of the endless row.
  std::size_t at(std::uint64_t place) const;

 private:
  struct Order {
    std::uint64_t round = 0;
    std::vector<std::size_t> numbers;  ///< empty: not made yet
  };

  std::vector<std::size_t> order_of(std::uint64_t round) const;

  std::uint64_t seed_;
  std::string purpose_;
  std::size_t n_;
  mutable std::mutex mutex_;
  mutable Order kept_[2];
};

}  // namespace medgen
