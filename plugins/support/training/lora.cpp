// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/lora.h"

#include "plugins/support/error.h"

#include <ATen/ops/mm.h>
#include <ATen/TensorOperators.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace medgen::support {
namespace {

constexpr std::string_view kWeight = ".weight";

/// A linear layer from `in` to `rank` and one back to `out`, whose starts depend on the seed and their names alone.
struct Factors : nn::Module {
  Factors(const std::string& layer, std::int64_t out, std::int64_t rank, std::int64_t in)
      : a(add_parameter(layer + ".lora_A", {rank, in},
                        {nn::Init::Kind::Uniform, 1.0 / std::sqrt(static_cast<double>(in)), 0})),
        b(add_parameter(layer + ".lora_B", {out, rank}, {nn::Init::Kind::Constant, 0, 0})) {}

  const at::Tensor& a;
  const at::Tensor& b;
};

/// Of what multiplies: a matrix or a kernel.
bool is_layer(const nn::NamedParameter& named) {
  return named.name.ends_with(kWeight) && named.parameter->shape.size() >= 2;
}

bool chosen(const nn::NamedParameter& named, const LoraOptions& options) {
  if (!is_layer(named)) return false;
  if (options.convolutions && named.parameter->shape.size() > 2) return true;
  return std::any_of(options.names.begin(), options.names.end(),
                     [&](const std::string& part) { return named.name.find(part) != std::string::npos; });
}

}  // namespace

std::optional<LoraOptions> LoraOptions::read(std::string_view options_json) {
  const auto json = options_json.empty() ? nlohmann::json::object() : nlohmann::json::parse(options_json);
  if (!json.contains("lora")) return std::nullopt;
  const nlohmann::json& lora = json["lora"];
  LoraOptions options;
  options.rank = lora.value("rank", options.rank);
  options.alpha = lora.value("alpha", static_cast<double>(options.rank));
  options.convolutions = lora.value("convolutions", options.convolutions);
  options.names = lora.value("names", options.names);
  return options;
}

void require_adaptable(nn::Module& network, const LoraOptions& options) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> layers;
  for (const nn::NamedParameter& named : network.parameters()) {
    if (chosen(named, options)) return;
    if (is_layer(named)) layers.push_back(named.name.substr(0, named.name.size() - kWeight.size()));
  }
  const std::size_t step = std::max<std::size_t>(layers.size() / kShown, 1);
  std::vector<std::string> some;
  for (std::size_t i = 0; i < layers.size() && some.size() < kShown; i += step) some.push_back(layers[i]);
  require(false, "lora: no layer of the network has one of {} in its name; of its {} layers some are: {}",
          fmt::join(options.names, ", "), layers.size(), fmt::join(some, ", "));
}

LowRankAdapters::LowRankAdapters(nn::Module& network, const LoraOptions& options, std::uint64_t seed)
    : scale_(options.alpha / static_cast<double>(options.rank)) {
  for (const nn::NamedParameter& named : network.parameters()) {
    if (chosen(named, options)) adapt(named, options, seed);
  }
  if (adapters_.empty()) require_adaptable(network, options);
}

void LowRankAdapters::adapt(const nn::NamedParameter& weight, const LoraOptions& options, std::uint64_t seed) {
  const at::Tensor& value = weight.parameter->value;
  require(value.defined(), "lora: adapters need a network with weights to start from");
  const std::string layer = weight.name.substr(0, weight.name.size() - kWeight.size());
  const std::int64_t out = value.size(0);
  Factors factors(layer, out, options.rank, value.numel() / out);
  factors.initialize(seed);
  adapters_.push_back({layer, weight.parameter, value.detach(), factors.a.to(value.device()).contiguous(),
                       factors.b.to(value.device()).contiguous()});
}

std::vector<std::pair<std::string, at::Tensor>> LowRankAdapters::tensors() const {
  std::vector<std::pair<std::string, at::Tensor>> all;
  for (const Adapter& each : adapters_) {
    all.emplace_back(each.layer + ".lora_A", each.a);
    all.emplace_back(each.layer + ".lora_B", each.b);
  }
  return all;
}

void LowRankAdapters::merge() const {
  for (const Adapter& each : adapters_)
    each.parameter->value = each.base + scale_ * at::mm(each.b, each.a).view(each.base.sizes());
}

}  // namespace medgen::support
