// SPDX-License-Identifier: Apache-2.0
#include "core/view/chart.h"

#include "core/view/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

constexpr double kWidth = 360, kHeight = 200;
constexpr double kLeft = 48, kRight = 350, kTop = 12, kBottom = 178;

/// Numbers onto pixels along one axis.
struct Axis {
  double low = 0, high = 1;  // logarithms when `logarithmic`
  double first = 0, last = 1;
  bool logarithmic = false;

  double place(double value) const {
    const double position = logarithmic ? std::log10(value) : value;
    return first + (position - low) / (high - low) * (last - first);
  }
};

/// Where ticks go: 1, 2 or 5 times a power of ten apart, or the powers of ten themselves.
std::vector<double> ticks_of(const Axis& axis) {
  std::vector<double> ticks;
  if (axis.logarithmic) {
    const double step = std::max(1.0, std::ceil((axis.high - axis.low) / 6));
    for (double power = std::ceil(axis.low - 1e-9); power <= axis.high + 1e-9; power += step)
      ticks.push_back(std::pow(10.0, power));
    return ticks;
  }
  const double rough = (axis.high - axis.low) / 4;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double step = power * (rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10);
  for (double k = std::ceil(axis.low / step - 1e-9); k * step <= axis.high + 1e-9 * step; ++k)
    ticks.push_back(k * step);
  return ticks;
}

Axis axis_over(double low, double high, double first, double last) {
  const double size = std::max(std::abs(low), std::abs(high));
  if (!(high - low > 1e-12 * size)) {  // a constant, but for rounding, lies in the middle
    const double room = size == 0 ? 1 : size / 2;
    low -= room;
    high += room;
  }
  return {low, high, first, last};
}

Axis value_axis(const Curve& curve) {
  constexpr double kWideRange = 50;
  const auto [least, most] =
      std::minmax_element(curve.begin(), curve.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (least->second <= 0 || most->second / least->second < kWideRange)
    return axis_over(least->second, most->second, kBottom, kTop);
  return {std::log10(least->second), std::log10(most->second), kBottom, kTop, true};
}

/// "0.0123", "80k", "1.5M"
std::string number(double value) {
  const double size = std::abs(value);
  if (size >= 1e6 && size < 1e9) return fmt::format("{:.4g}M", value / 1e6);
  return size >= 1e4 && size < 1e6 ? fmt::format("{:.4g}k", value / 1e3) : fmt::format("{:.4g}", value);
}

std::string grid_lines(const Axis& across, const Axis& up) {
  std::string svg;
  for (const double tick : ticks_of(up)) {
    const double y = up.place(tick);
    svg += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft, kRight, y, y);
    svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 4, y + 3, number(tick));
  }
  for (const double tick : ticks_of(across)) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", across.place(tick),
                       kBottom + 14, number(tick));
  }
  return svg;
}

std::string polyline(const Curve& curve, const Axis& across, const Axis& up, const char* kind) {
  std::string points;
  for (const auto& [x, y] : curve) points += fmt::format("{:.1f},{:.1f} ", across.place(x), up.place(y));
  return fmt::format("<polyline class=\"{}\" points=\"{}\"/>\n", kind, points);
}

}  // namespace

Curve thinned(const Curve& curve, std::size_t points) {
  if (curve.size() <= points || points < 2) return curve;
  Curve result;
  const std::size_t parts = points - 1;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t first = part * (curve.size() - 1) / parts;
    const std::size_t last = (part + 1) * (curve.size() - 1) / parts;
    double x = 0;
    double y = 0;
    for (std::size_t i = first; i < last; ++i) {
      x += curve[i].first;
      y += curve[i].second;
    }
    const auto count = static_cast<double>(last - first);
    result.emplace_back(x / count, y / count);
  }
  result.push_back(curve.back());
  return result;
}

Curve smoothed(const Curve& curve) {
  constexpr double kShare = 0.05;
  const double window = kShare * static_cast<double>(curve.size());
  const double weight = window > 1 ? 2 / (window + 1) : 1;
  Curve result = curve;
  double sum = 0;
  double weights = 0;
  for (auto& [x, y] : result) {
    sum = (1 - weight) * sum + weight * y;
    weights = (1 - weight) * weights + weight;
    y = sum / weights;
  }
  return result;
}

std::string svg_chart(const std::string& title, const Curve& curve, bool noisy) {
  constexpr std::size_t kPoints = 400;
  Curve finite;
  std::copy_if(curve.begin(), curve.end(), std::back_inserter(finite),
               [](const auto& point) { return std::isfinite(point.first) && std::isfinite(point.second); });
  if (finite.empty()) return "";
  finite = thinned(finite, kPoints);
  const Axis across = axis_over(finite.front().first, finite.back().first, kLeft, kRight);
  const Axis up = value_axis(finite);
  const std::string last = number(finite.back().second);
  std::string svg = fmt::format("<figure><figcaption><b>{}</b> {}{}</figcaption>\n", html::escaped(title), last,
                                up.logarithmic ? " (logarithmic)" : "");
  svg += fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}, last value {}\">\n", kWidth, kHeight,
                     html::escaped(title), last);
  svg += grid_lines(across, up);
  if (noisy) svg += polyline(finite, across, up, "raw");
  svg += polyline(noisy ? smoothed(finite) : finite, across, up, "mean");
  return svg + "</svg></figure>\n";
}

}  // namespace medgen
