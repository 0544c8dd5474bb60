// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/preparation.h"

#include "core/base/error.h"
#include "core/config/json.h"
#include "core/pipeline/reference.h"

#include <nlohmann/json.hpp>

namespace medgen {
namespace {

std::optional<ConfigNode> first(const std::vector<ConfigNode>& line, const char* key) {
  for (const ConfigNode& step : line) {
    if (step.contains(key)) return step.at(key);
  }
  return std::nullopt;
}

/// A label of the model, by name or id.
std::int64_t label_of(const ConfigNode& node, const LabelTable& table) {
  if (node.is_string()) {
    const auto name = node.as<std::string>();
    const auto alike = table.find_alike(name);
    return alike ? *alike : table.id_of(name);
  }
  const auto id = node.as<std::int64_t>();
  if (id != 0 && !table.empty()) table.name_of(id);
  return id;
}

}  // namespace

std::vector<ConfigNode> data_line(const ConfigNode& steps, const ConfigNode& step) {
  std::vector<ConfigNode> line = {step};
  while (is_reference(line.back().at("data"))) line.push_back(steps.at(referenced(line.back().at("data"))));
  return line;
}

Preparation::Preparation(const std::vector<ConfigNode>& line)
    : step_(line.front()),
      skip_bad_(first(line, "skip_bad")),
      channel_(first(line, "channel")),
      resample_mm_(first(line, "resample_mm")),
      labels_(first(line, "labels")),
      body_(first(line, "body")) {}

/// For messages about a key that another step has.
std::string Preparation::inherited(const ConfigNode& key) const {
  if (key.path().starts_with(step_.path() + '.')) return "";
  return fmt::format("; {} takes it over with its \"data\"", step_.path());
}

ChannelChoice Preparation::channel() const {
  return channel_ ? ChannelChoice(*channel_, inherited(*channel_)) : ChannelChoice();
}

TargetSpacing Preparation::spacing() const {
  return resample_mm_ ? TargetSpacing::read(*resample_mm_) : TargetSpacing();
}

SaidLabels Preparation::labels(const DataContract& contract) const {
  SaidLabels said;
  if (!labels_) return said;
  for (const auto& [label, node] : labels_->members()) {
    try {
      said[label] = label_of(node, contract.labels);
    } catch (const DataError& error) {
      node.fail("is no label of the model: {}{}", error.what(), inherited(*labels_));
    }
  }
  return said;
}

std::optional<BodyRule> Preparation::body(const DataContract& contract) const {
  if (!body_ || !body_->is_object()) return std::nullopt;
  const auto refuse = [&](const std::string& problem) {
    const std::string by = inherited(*body_);
    body_->fail("{}{}", problem, by.empty() ? "" : by + ", unless that says \"body\": false");
  };
  if (contract.modality != "ct") {
    refuse(fmt::format("is made of Hounsfield units, but the images of the model are \"{}\", not \"ct\"",
                       contract.modality));
  }
  try {
    return BodyRule{contract.labels.id_of(body_->get<std::string>("label")), body_->get<double>("air_below"),
                    body_->get<double>("least_part")};
  } catch (const DataError& error) {
    refuse(fmt::format("cannot be made: {}", error.what()));
  }
  return std::nullopt;
}

void Preparation::check(const DataContract& contract) const {
  labels(contract);
  body(contract);
  if (const auto problem = spacing().problem(contract.limits)) {
    resample_mm_->fail("is outside what the model's \"data\" allows: {}{}", *problem, inherited(*resample_mm_));
  }
}

Json Preparation::json() const {
  Json keys = Json::object();
  if (skip_bad_) keys["skip_bad"] = skip_bad_->json();
  if (channel_) keys["channel"] = channel_->json();
  if (const TargetSpacing to = spacing(); !to.empty()) keys["resample_mm"] = to.json();
  if (labels_) keys["labels"] = labels_->json();
  if (body_) keys["body"] = body_->json();
  return keys;
}

}  // namespace medgen
