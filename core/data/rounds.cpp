// SPDX-License-Identifier: Apache-2.0
#include "core/data/rounds.h"

#include "core/random/noise.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace medgen {

Rounds::Rounds(std::uint64_t seed, std::string purpose, std::size_t n)
    : seed_(seed), purpose_(std::move(purpose)), n_(n) {}

std::size_t Rounds::at(std::uint64_t place) const {
  const std::uint64_t round = place / n_;
  const std::lock_guard lock(mutex_);
  Order& kept = kept_[round % 2];
  if (kept.numbers.empty() || kept.round != round) kept = {round, order_of(round)};
  return kept.numbers[place % n_];
}

std::vector<std::size_t> Rounds::order_of(std::uint64_t round) const {
  Tensor uniform(DType::F64, {1, static_cast<std::int64_t>(n_)});
  fill_noise(uniform, {seed_, static_cast<std::uint32_t>(round >> 32), purpose_, static_cast<std::uint32_t>(round)},
             Distribution::Uniform);
  const auto keys = uniform.values<double>();
  std::vector<std::size_t> order(n_);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  return order;
}

}  // namespace medgen
