// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace medgen {

/// A number over the iterations, in ascending order of the first.
using Curve = std::vector<std::pair<double, double>>;

/// Mean of what lies in each of at most `points` equal parts of the range: as much as a screen shows. The last point
/// stays as it is.
Curve thinned(const Curve& curve, std::size_t points);

/// Exponential mean over about a twentieth of the curve, without the pull of its beginning towards zero.
Curve smoothed(const Curve& curve);

/// One curve as an SVG element that scales with its place; a noisy one faintly as it is, and smoothed. Numbers that are
/// not finite are left out. A logarithmic axis where all values are positive and span more than a factor of 50.
std::string svg_chart(const std::string& title, const Curve& curve, bool noisy = true);

}  // namespace medgen
