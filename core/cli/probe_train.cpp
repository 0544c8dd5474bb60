// SPDX-License-Identifier: Apache-2.0
#include "core/cli/probe_train.h"

#include "core/base/error.h"
#include "core/cli/command.h"
#include "core/config/parse.h"
#include "core/config/schema.h"
#include "core/pipeline/read_component.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>

namespace medgen::cli {
namespace {

constexpr const char* kPeerSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["component"],
  "properties": {
    "component": {"type": "string"},
    "config": {"type": "object", "default": {}},
    "weights": {"type": "string", "description": "relative to the file"},
    "trained": {"type": "boolean", "default": false}
  }
})json";

constexpr std::string_view kGradients = "gradients/";

/// The network a gradient belongs to: of "gradients/controlnet/conv.weight" and of "controlnet/gradients/conv.weight"
/// "controlnet", of "gradients/conv.weight" nothing. Published names have no slash.
std::optional<std::string> owner_of(const std::string& name) {
  const auto at = name.find(kGradients);
  if (at == std::string::npos) return std::nullopt;
  const std::string path = name.substr(0, at) + name.substr(at + kGradients.size());
  const auto slash = path.find('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

double sum_of_squares(const Tensor& tensor) {
  double sum = 0;
  for (const float value : tensor.values<float>()) sum += static_cast<double>(value) * value;
  return sum;
}

void restore(Trainer& trainer, const TensorMap& state) {
  if (state.empty()) return;
  const bool weights =
      std::any_of(state.begin(), state.end(), [](const auto& entry) { return entry.first.starts_with("weights/"); });
  trainer.load(MEDGEN_TRAIN_OPTIMIZER | (weights ? MEDGEN_TRAIN_WEIGHTS : 0U),
               [&](const std::string& name) { return find_tensor(state, name); });
}

Tensor number(double value) {
  const std::array<double, 1> values = {value};
  return Tensor::from<double>(values, {1});
}

}  // namespace

Trainer::Peer open_peer(Host& host, const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError("--peer wants ROLE=FILE, such as controlnet=net.json; it is '{}'", text);
  const Schema schema = Schema::parse(kPeerSchema, "peer");
  const ConfigNode node = schema.resolve(read_config(text.substr(equals + 1)));
  const ComponentSpec spec = read_component(text.substr(0, equals), node);
  return {spec.role, create_component(host, spec), node.get<bool>("trained")};
}

TensorMap probe_train(const std::shared_ptr<Component>& component, TrainProbe probe, const Inputs& in,
                      CallContext context) {
  const ConfigNode options = parse_config(in.params_json.empty() ? "{}" : in.params_json, "--params");
  Trainer trainer(component, std::move(probe.peers), options, context.seed);
  restore(trainer, probe.state);
  context.flags |= MEDGEN_CALL_TRAINING;
  TensorMap result;
  for (const auto& [name, value] : trainer.step(context, in.tensors)) {
    if (!std::isfinite(value)) throw PluginError("{}: {} is {}", component->id(), name, value);
    result[name] = number(value);
  }
  std::map<std::string, double> squares;
  trainer.save(MEDGEN_TRAIN_GRADIENTS, [&](const std::string& name, const Tensor& tensor) {
    const auto owner = owner_of(name);
    if (!owner) return;
    squares[*owner] += sum_of_squares(tensor);
    if (probe.gradients) result[name] = tensor.clone();
  });
  for (const auto& [owner, sum] : squares)
    result[owner.empty() ? "gradient_norm" : "gradient_norm/" + owner] = number(std::sqrt(sum));
  return result;
}

}  // namespace medgen::cli
