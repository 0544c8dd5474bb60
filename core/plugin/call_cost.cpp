// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/call_cost.h"

#include "core/base/error.h"
#include "core/config/json.h"
#include "core/config/parse.h"
#include "core/plugin/training_cost.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace medgen {
namespace {

/// Beyond what any machine has; sums of a few of them do not overflow.
constexpr double kMost = 1e18;

double number(const ConfigNode& reply, const char* key) {
  if (!reply.contains(key)) return 0;
  const Json& value = reply.at(key).json();
  const double number = value.is_number() ? value.get<double>() : -1.0;
  if (std::isfinite(number) && number >= 0) return number;
  throw ConfigError("\"{}\" is {}, expected a number from 0", key, excerpt(value));
}

std::uint64_t bytes(const ConfigNode& reply, const char* key) {
  const double value = number(reply, key);
  if (value <= kMost) return static_cast<std::uint64_t>(value);
  throw ConfigError("\"{}\" is {}, which no machine has", key, excerpt(reply.at(key).json()));
}

Shape shape(const std::string& name, const Json& value) {
  const auto fits = [](const Json& axis) {
    return axis.is_number_integer() && axis.get<std::int64_t>() >= 0 && axis.get<std::int64_t>() <= INT32_MAX;
  };
  Shape axes;
  double elements = 1;
  for (const Json& axis : value) {
    if (!fits(axis)) throw ConfigError("the shape of output '{}' is {}", name, excerpt(value));
    axes.push_back(axis.get<std::int64_t>());
    elements *= static_cast<double>(axes.back());
  }
  if (!value.is_array() || elements > kMost) throw ConfigError("the shape of output '{}' is {}", name, excerpt(value));
  return axes;
}

std::string text(const ConfigNode& reply, const char* key) {
  return reply.contains(key) && reply.at(key).is_string() ? reply.get<std::string>(key) : "";
}

}  // namespace

std::string estimate_request(std::string_view function, const ShapeMap& inputs) {
  Json request = {{"function", function}, {"inputs", Json::object()}};
  for (const auto& [name, shape] : inputs) request["inputs"][name] = shape;
  return dump_compact(request);
}

CallCost read_call_cost(const std::string& text_of_reply) {
  const ConfigNode reply = parse_config(text_of_reply, "estimate");
  if (!reply.is_object()) throw ConfigError("it is no object");
  if (!reply.contains("peak_bytes")) throw ConfigError("it has no \"peak_bytes\"");
  CallCost cost;
  cost.peak_bytes = bytes(reply, "peak_bytes");
  cost.host_bytes = bytes(reply, "host_bytes");
  cost.kept_bytes = bytes(reply, "kept_bytes");
  cost.weights_bytes = bytes(reply, "weights_bytes");
  cost.scratch_bytes = bytes(reply, "scratch_bytes");
  cost.flops = number(reply, "flops");
  cost.flops_per_second = number(reply, "flops_per_second");
  cost.precision = text(reply, "precision");
  cost.note = text(reply, "note");
  if (!reply.contains("outputs")) return cost;
  if (!reply.at("outputs").is_object()) throw ConfigError("\"outputs\" is no object");
  for (const auto& [name, value] : reply.at("outputs").json().items()) cost.outputs[name] = shape(name, value);
  return cost;
}

std::string training_request(const TrainingShape& shape) {
  Json request = Json::parse(estimate_request("train", shape.inputs));
  request["options"] = shape.options_json.empty() ? Json::object() : Json::parse(shape.options_json);
  request["trained"] = shape.trained;
  request["accumulate"] = shape.accumulate;
  return dump_compact(request);
}

TrainingCost read_training_cost(const std::string& reply) {
  TrainingCost cost;
  static_cast<CallCost&>(cost) = read_call_cost(reply);
  cost.copied_bytes = bytes(parse_config(reply, "estimate"), "copied_bytes");
  return cost;
}

}  // namespace medgen
