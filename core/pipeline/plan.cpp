// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/plan.h"

#include <fmt/format.h>

#include <array>

namespace medgen {

std::string size_text(std::uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int digits = unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, digits, kUnits[unit]);
}

std::string duration_text(double seconds) {
  constexpr double kMinute = 60;
  constexpr double kHour = 60 * kMinute;
  constexpr double kDay = 24 * kHour;
  const auto in = [seconds](double unit, const char* name) {
    const double value = seconds / unit;
    return fmt::format("{:.{}f} {}", value, value < 10 && unit > 1 ? 1 : 0, name);
  };
  if (seconds < 1) return "1 s";
  if (seconds < 2 * kMinute) return in(1, "s");
  if (seconds < 2 * kHour) return in(kMinute, "min");
  return seconds < 2 * kDay ? in(kHour, "h") : in(kDay, "days");
}

}  // namespace medgen
