// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// Fewest insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal string
/// alignment), letters compared without case. O(|a| |b|).
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `name`, or nothing when none is near enough to be a likely typing error (a third of the
/// letters). Of equally near candidates the first.
std::optional<std::string> closest_match(std::string_view name, std::span<const std::string> candidates);

/// At most `most` of the candidates, the nearest to `name` first.
std::vector<std::string> nearest(std::string_view name, std::span<const std::string> candidates, std::size_t most);

/// "a, b, c and 4 more": the first `most` of a list, for messages.
std::string first_of(std::span<const std::string> names, std::size_t most = 3);

/// " (did you mean 'liver'?)" for the end of an error message, or "" when nothing is near.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace medgen
