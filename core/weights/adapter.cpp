// SPDX-License-Identifier: Apache-2.0
#include "core/weights/adapter.h"

#include "core/base/error.h"
#include "core/weights/safetensors.h"

#include <charconv>
#include <string_view>

namespace medgen {
namespace {

template <typename T>
T number(const std::filesystem::path& file, const Metadata& metadata, const char* key) {
  T result{};
  const auto found = metadata.find(key);
  if (found != metadata.end()) {
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
    if (error == std::errc() && end == text.data() + text.size() && result > 0) return result;
  }
  throw DataError("'{}' is no adapter: its metadata have no {}", file.string(), key);
}

/// weight + factor B A, all as matrices.
Tensor merged(const Tensor& weight, const Tensor& a, const Tensor& b, double factor) {
  Tensor result = weight.dtype() == DType::F32 ? weight.clone() : weight.to(DType::F32);
  const auto rows = static_cast<std::size_t>(b.shape()[0]);
  const auto rank = static_cast<std::size_t>(b.shape()[1]);
  const auto columns = static_cast<std::size_t>(a.shape()[1]);
  const auto w = result.values<float>();
  const auto down = a.values<float>();
  const auto up = b.values<float>();
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t r = 0; r < rank; ++r) {
      const auto share = static_cast<float>(factor * up[row * rank + r]);
      for (std::size_t column = 0; column < columns; ++column)
        w[row * columns + column] += share * down[r * columns + column];
    }
  }
  return result;
}

}  // namespace

Adapter read_adapter(const std::filesystem::path& file) {
  const SafetensorsFile opened(file);
  const Metadata& metadata = opened.metadata();
  const auto text = [&](const char* key) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) throw DataError("'{}' is no adapter: its metadata have no {}", file.string(), key);
    return found->second;
  };
  Adapter adapter;
  adapter.facts.role = text("medgen.adapter.role");
  adapter.facts.base_sha256 = text("medgen.adapter.base_sha256");
  adapter.facts.alpha = number<double>(file, metadata, "medgen.adapter.alpha");
  adapter.facts.rank = number<std::int64_t>(file, metadata, "medgen.adapter.rank");
  for (const auto& [name, tensor] : opened.tensors()) {
    const std::size_t rank_axis = name.ends_with(kLoraA) ? 0 : 1;
    const bool fits = (name.ends_with(kLoraA) || name.ends_with(kLoraB)) && tensor.shape().size() == 2 &&
                      tensor.shape()[rank_axis] == adapter.facts.rank;
    if (!fits)
      throw DataError("'{}': '{}' {} does not belong to adapters of rank {}", file.string(), name,
                      to_string(tensor.shape()), adapter.facts.rank);
    adapter.tensors[name] = tensor.to(DType::F32);
  }
  return adapter;
}

void write_adapter(const std::filesystem::path& file, const Adapter& adapter) {
  write_safetensors(file, adapter.tensors,
                    {{"medgen.adapter.role", adapter.facts.role},
                     {"medgen.adapter.base_sha256", adapter.facts.base_sha256},
                     {"medgen.adapter.alpha", fmt::format("{}", adapter.facts.alpha)},
                     {"medgen.adapter.rank", std::to_string(adapter.facts.rank)}});
}

void merge_adapter(TensorMap& weights, const Adapter& adapter, double strength) {
  TensorMap changed;
  const double factor = strength * adapter.facts.alpha / static_cast<double>(adapter.facts.rank);
  for (const auto& [name, a] : adapter.tensors) {
    if (!name.ends_with(kLoraA)) continue;
    const std::string layer = name.substr(0, name.size() - kLoraA.size());
    const auto b = adapter.tensors.find(layer + std::string(kLoraB));
    const auto weight = weights.find(layer + ".weight");
    if (b == adapter.tensors.end() || weight == weights.end())
      throw DataError("the adapter changes '{}', which {}", layer,
                      weight == weights.end() ? "the network does not have" : "lacks its second half");
    const bool fits = !weight->second.shape().empty() && weight->second.shape()[0] == b->second.shape()[0] &&
                      weight->second.size() == b->second.shape()[0] * a.shape()[1];
    if (!fits)
      throw DataError("the adapter changes '{}' as {} x {}, but the network has {}", layer, b->second.shape()[0],
                      a.shape()[1], to_string(weight->second.shape()));
    changed[weight->first] = merged(weight->second, a, b->second, factor);
  }
  if (changed.empty()) throw DataError("the adapter changes nothing: it has no layers");
  for (auto& [name, tensor] : changed) weights[name] = std::move(tensor);
}

}  // namespace medgen
