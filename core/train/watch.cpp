// SPDX-License-Identifier: Apache-2.0
#include "core/train/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

constexpr std::uint64_t kIterations = 50;  // that the mean is over
constexpr std::uint64_t kFlatSamples = 2;

}  // namespace

/// Losses that may be zero or negative (an adversarial one) have no factor to grow by.
bool Watch::above(double factor) const {
  return options_.explode > 0 && state_.seen > kIterations && state_.lowest > 0 && state_.mean > factor * state_.lowest;
}

bool Watch::doubtful() const {
  return above(std::sqrt(options_.explode));
}

std::optional<std::string> Watch::loss(double value) {
  // One batch alone does not move the mean over the limit: it takes about 35 that are above it.
  const bool known = state_.seen >= kIterations && state_.lowest > 0;
  const double counted = known ? std::min(value, 2 * options_.explode * state_.lowest) : value;
  if (state_.seen++ == 0) state_.first = value;
  state_.mean += (counted - state_.mean) / static_cast<double>(std::min(state_.seen, kIterations));
  if (state_.seen == kIterations || (state_.seen > kIterations && state_.mean < state_.lowest))
    state_.lowest = state_.mean;
  // One that diverges at once is its own lowest mean. A first loss is one batch's, which may be a lucky one.
  const double hopeless = options_.explode * options_.explode;
  if (options_.explode > 0 && state_.seen > kIterations && state_.first > 0 && state_.mean > hopeless * state_.first)
    return fmt::format("the loss is more than {:g} times the {:.4g} that it began with", hopeless, state_.first);
  if (!above(options_.explode)) return std::nullopt;
  return fmt::format("the loss has grown to more than {:g} times the {:.4g} it had been down to", options_.explode,
                     state_.lowest);
}

std::optional<std::string> Watch::spread(const std::map<std::string, double>& spreads) {
  if (options_.flat <= 0) return std::nullopt;
  const auto flat = std::find_if(spreads.begin(), spreads.end(),
                                 [this](const auto& each) { return !(each.second >= options_.flat); });
  state_.flat = flat == spreads.end() ? 0 : state_.flat + 1;
  if (state_.flat < kFlatSamples) return std::nullopt;
  return fmt::format("{} is {:.3g}, below {:g}, in {} samples in a row: they are as good as constant", flat->first,
                     flat->second, options_.flat, state_.flat);
}

}  // namespace medgen
