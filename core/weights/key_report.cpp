// SPDX-License-Identifier: Apache-2.0
#include "core/weights/key_report.h"

#include "core/base/error.h"
#include "core/base/text.h"

#include <fnmatch.h>

#include <algorithm>
#include <set>

namespace medgen {
namespace {

constexpr std::size_t kMaxListed = 10;

bool is_real(DType dtype) {
  return dtype == DType::F16 || dtype == DType::BF16 || dtype == DType::F32 || dtype == DType::F64;
}

bool fits(const WeightSpec& expected, const Tensor& found) {
  return expected.shape == found.shape() && is_real(expected.dtype) == is_real(found.dtype());
}

std::string line_of(const WeightSpec& spec) {
  return fmt::format("{}  {} {}", spec.name, name_of(spec.dtype), to_string(spec.shape));
}

/// The unexpected name most like a missing one, of those with the same shape.
std::string renamed_from(const WeightSpec& missing, std::span<const WeightSpec> unexpected) {
  std::vector<std::string> names;
  for (const WeightSpec& spec : unexpected) {
    if (spec.shape == missing.shape) names.push_back(spec.name);
  }
  const auto closest = closest_match(missing.name, names);
  return closest ? fmt::format("  (renamed? the file has '{}')", *closest) : "";
}

template <typename Item, typename Line>
void list(std::string& text, std::string_view title, const std::vector<Item>& items, Line line) {
  if (items.empty()) return;
  text += fmt::format("\n{} {}:", items.size(), title);
  for (std::size_t i = 0; i < std::min(items.size(), kMaxListed); ++i) text += "\n  " + line(items[i]);
  if (items.size() > kMaxListed) text += fmt::format("\n  and {} more", items.size() - kMaxListed);
}

}  // namespace

std::string KeyReport::to_string() const {
  std::string text = fmt::format("{} tensors match, {} missing, {} unexpected, {} of another shape or type, {} ignored",
                                 matched, missing.size(), unexpected.size(), mismatched.size(), ignored.size());
  list(text, "missing from the file", missing,
       [this](const WeightSpec& spec) { return line_of(spec) + renamed_from(spec, unexpected); });
  list(text, "unexpected in the file", unexpected, line_of);
  list(text, "of another shape or type", mismatched, [](const WeightMismatch& pair) {
    return fmt::format("{}  needs {} {}, the file has {} {}", pair.expected.name, name_of(pair.expected.dtype),
                       medgen::to_string(pair.expected.shape), name_of(pair.found.dtype),
                       medgen::to_string(pair.found.shape));
  });
  return text;
}

KeyReport match_keys(std::span<const WeightSpec> expected, const TensorMap& found,
                     std::span<const std::string> ignore) {
  KeyReport report;
  std::set<std::string_view> needed;
  for (const WeightSpec& spec : expected) {
    needed.insert(spec.name);
    const auto place = found.find(spec.name);
    if (place == found.end()) {
      report.missing.push_back(spec);
    } else if (fits(spec, place->second)) {
      ++report.matched;
    } else {
      report.mismatched.push_back({spec, {spec.name, place->second.shape(), place->second.dtype()}});
    }
  }
  for (const auto& [name, tensor] : found) {
    if (needed.contains(name)) continue;
    const auto matches = [&](const std::string& pattern) { return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0; };
    auto& target = std::ranges::any_of(ignore, matches) ? report.ignored : report.unexpected;
    target.push_back({name, tensor.shape(), tensor.dtype()});
  }
  return report;
}

void require_match(const KeyReport& report, std::string_view what) {
  if (!report.ok()) throw DataError("{}: the weights do not fit: {}", what, report.to_string());
}

}  // namespace medgen
