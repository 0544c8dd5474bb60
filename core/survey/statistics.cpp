// SPDX-License-Identifier: Apache-2.0
#include "core/survey/statistics.h"

#include "core/volume/element.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace medgen {
namespace {

/// Calls `value_at(rank)` for the ranks of the percentiles, in ascending order.
template <typename ValueAt>
void take_percentiles(IntensityFacts& facts, std::size_t count, const ValueAt& value_at) {
  for (std::size_t i = 0; i < kPercents.size(); ++i) {
    const double rank = kPercents[i] / 100 * static_cast<double>(count - 1);
    const auto low = static_cast<std::size_t>(rank);
    const double below = value_at(low);
    const double above = low + 1 < count ? value_at(low + 1) : below;
    facts.percentiles[i] = below + (above - below) * (rank - static_cast<double>(low));
  }
}

template <typename T>
std::optional<IntensityFacts> from_counts(std::span<const T> voxels) {
  constexpr int kLow = std::numeric_limits<T>::min();
  std::vector<std::size_t> counts(std::size_t{std::numeric_limits<T>::max()} - kLow + 1);
  for (const T voxel : voxels) ++counts[static_cast<std::size_t>(voxel - kLow)];
  const auto value = [](std::size_t index) { return static_cast<double>(index) + kLow; };
  IntensityFacts facts;
  const auto occurs = [](std::size_t n) { return n > 0; };
  facts.minimum = value(static_cast<std::size_t>(std::find_if(counts.begin(), counts.end(), occurs) - counts.begin()));
  facts.maximum =
      value(static_cast<std::size_t>(counts.rend() - std::find_if(counts.rbegin(), counts.rend(), occurs)) - 1);
  take_percentiles(facts, voxels.size(), [&](std::size_t rank) {
    std::size_t index = 0;
    for (std::size_t seen = counts[0]; seen <= rank; seen += counts[++index]) {
    }
    return value(index);
  });
  return facts;
}

template <typename T>
std::optional<IntensityFacts> from_copy(std::span<const T> voxels) {
  std::vector<float> values;
  values.reserve(voxels.size());
  for (const T voxel : voxels) {
    const auto value = static_cast<float>(voxel);
    if (std::isfinite(value)) values.push_back(value);
  }
  if (values.empty()) return std::nullopt;
  IntensityFacts facts;
  facts.not_finite = voxels.size() - values.size();
  const auto [minimum, maximum] = std::minmax_element(values.begin(), values.end());
  facts.minimum = *minimum;
  facts.maximum = *maximum;
  take_percentiles(facts, values.size(), [&](std::size_t rank) {
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(values.begin(), at, values.end());
    return static_cast<double>(*at);
  });
  return facts;
}

}  // namespace

std::optional<IntensityFacts> intensity_facts(const Tensor& voxels) {
  if (is_half(voxels.dtype())) return intensity_facts(voxels.to(DType::F32));
  return with_element_type(voxels.dtype(), [&]<typename T>(T) -> std::optional<IntensityFacts> {
    if constexpr (std::is_integral_v<T> && sizeof(T) <= 2) return from_counts(voxels.values<T>());
    return from_copy(voxels.values<T>());
  });
}

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {values.front(), values[(values.size() - 1) / 2], values.back()};
}

}  // namespace medgen
