// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/label_names.h"

#include "core/base/error.h"
#include "core/base/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <vector>

namespace medgen {
namespace {

std::optional<std::int64_t> number(const std::string& text) {
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return id;
}

/// A label of the data set, by its name or id.
std::int64_t id_in(const LabelTable& table, const std::string& label) {
  if (const auto named = table.find_alike(label)) return *named;
  if (const auto id = number(label)) return *id;
  std::vector<std::string> known;
  for (const auto& entry : table.names()) known.push_back(entry.second);
  throw DataError("\"labels\" of the step names '{}', which the data set does not{}; it names: {}", label,
                  did_you_mean(label, known),
                  known.empty() ? "none, so give ids" : fmt::format("{}", fmt::join(known, ", ")));
}

}  // namespace

LabelNames::LabelNames(const Dataset& dataset, const LabelTable& model, const SaidLabels& said) {
  std::set<std::int64_t> ids;
  for (const auto& [id, name] : dataset.labels.names()) {
    if (id != 0) ids.insert(id);
  }
  if (!ids.empty() && !model.empty()) description_ = dataset.description;
  for (const auto& [label, id] : said) {
    const std::int64_t here = id_in(dataset.labels, label);
    mapping_[here] = id;
    ids.erase(here);
  }
  if (description_.empty()) return;
  try {
    mapping_.merge(map_by_name(ids, dataset.labels, model));
  } catch (const DataError& error) {
    throw DataError(
        "{}: {}; say in the step what they are in the model, \"labels\": {{\"NAME IN THE DATA\": \"NAME IN THE "
        "MODEL\"}}, or 0 for what is to be background",
        description_.string(), error.what());
  }
}

Volume LabelNames::in_model(const Volume& labels, std::string_view name) const {
  if (mapping_.empty()) return labels;
  LabelMapping mapping = mapping_;
  mapping.emplace(0, 0);
  std::vector<std::int64_t> nameless;
  bool same = true;
  for (const std::int64_t id : label_ids(labels.voxels())) {
    const auto known = mapping.emplace(id, id);
    if (known.second && !description_.empty()) nameless.push_back(id);
    same = same && known.first->second == id;
  }
  if (nameless.empty()) return same ? labels : relabel(labels, mapping);
  throw DataError(
      "{}: label {} has no name in {}; name it there, or say in the step what it is, \"labels\": {{\"{}\": "
      "\"NAME IN THE MODEL\"}}",
      name, fmt::join(nameless, ", "), description_.string(), nameless.front());
}

std::string LabelNames::text() const {
  std::string text = mapping_.empty() ? "" : "\nlabels";
  for (const auto& [from, to] : mapping_) text += fmt::format(" {}>{}", from, to);
  return text;
}

}  // namespace medgen
