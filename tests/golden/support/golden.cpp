// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/support/golden.h"

#include <ATen/core/grad_mode.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>

namespace medgen::golden {
namespace {

std::ifstream open(const std::string& file) {
  std::ifstream stream(std::string(MEDGEN_SOURCE_DIR) + "/tests/golden/" + file, std::ios::binary);
  if (!stream) throw std::runtime_error("fixture " + file + " cannot be opened");
  return stream;
}

at::ScalarType dtype_of(const std::string& name) {
  if (name == "F32") return at::kFloat;
  if (name == "I64") return at::kLong;
  if (name == "U8") return at::kByte;
  throw std::runtime_error("fixtures hold no " + name);
}

/// Norm gains are the only vectors called "weight".
bool is_gain(const std::string& name) {
  return name.ends_with(".weight");
}

}  // namespace

Tensors read_fixture(const std::string& file) {
  std::ifstream stream = open(file);
  uint64_t header_size = 0;
  stream.read(reinterpret_cast<char*>(&header_size), sizeof header_size);
  std::string header(header_size, '\0');
  stream.read(header.data(), static_cast<std::streamsize>(header_size));
  const std::streamoff start = stream.tellg();
  Tensors tensors;
  const nlohmann::json entries = nlohmann::json::parse(header);
  for (const auto& [name, entry] : entries.items()) {
    if (name == "__metadata__") continue;
    at::Tensor tensor = at::empty(entry["shape"].get<nn::Shape>(), dtype_of(entry["dtype"]));
    stream.seekg(start + entry["data_offsets"][0].get<std::streamoff>());
    stream.read(static_cast<char*>(tensor.mutable_data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
    if (!stream) throw std::runtime_error("fixture " + file + " is truncated");
    tensors.emplace(name, tensor);
  }
  return tensors;
}

std::vector<Key> read_keys(const std::string& file) {
  std::ifstream stream = open(file);
  std::vector<Key> keys;
  for (std::string line; std::getline(stream, line);) {
    Key key{line.substr(0, line.find('\t')), {}};
    std::istringstream numbers(line.substr(line.find('(') + 1));
    for (int64_t extent = 0; numbers >> extent; numbers.ignore(1)) key.shape.push_back(extent);
    keys.push_back(std::move(key));
  }
  return keys;
}

void fill_by_rule(nn::Module& network, uint64_t seed) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> values;
  nn::WeightSource source;
  uint64_t index = 0;
  for (const auto& [name, parameter] : network.parameters()) {
    const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed + index++);
    at::Tensor value = at::randn(parameter->shape, generator);
    if (value.dim() >= 2) {
      value.div_(std::sqrt(static_cast<double>(value.numel() / value.size(0))));
    } else {
      value.mul_(0.05).add_(is_gain(name) ? 1.0 : 0.0);
    }
    values.emplace(name, value);
    source.names.push_back(name);
  }
  source.tensor = [&values](const std::string& name) { return values.at(name); };
  network.load(source);
}

double relative_error(const at::Tensor& got, const at::Tensor& want) {
  if (got.sizes() != want.sizes()) return std::numeric_limits<double>::infinity();
  const at::Tensor reference = want.to(at::kDouble);
  const double difference = got.to(at::kDouble).sub(reference).abs().max().item<double>();
  return std::isfinite(difference) ? difference / reference.abs().max().item<double>()
                                   : std::numeric_limits<double>::infinity();
}

double relative_l2(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor reference = want.to(at::kDouble);
  return got.to(at::kDouble).sub(reference).norm().item<double>() / reference.norm().item<double>();
}

}  // namespace medgen::golden
