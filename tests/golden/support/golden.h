// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/module.h"

#include <map>
#include <string>
#include <vector>

// Helpers of the golden tests: fixtures are small safetensors files in tests/golden/<method>.

namespace medgen::golden {

using Tensors = std::map<std::string, at::Tensor>;

/// All tensors of tests/golden/<file>.
Tensors read_fixture(const std::string& file);

/// One line of a published key list.
struct Key {
  std::string name;
  nn::Shape shape;
};

/// The key list tests/golden/<file>: "name <tab> (shape)".
std::vector<Key> read_keys(const std::string& file);

/// Fills the network as the fixtures were made: tensor i of the state dict from mt19937 seeded with seed + i; at least
/// two axes: randn / sqrt(fan in); norm gains: 1 + 0.05 randn; the rest: 0.05 randn.
void fill_by_rule(nn::Module& network, uint64_t seed);

/// max |got - want| / max |want|. Infinite when the shapes differ or a value is not finite.
double relative_error(const at::Tensor& got, const at::Tensor& want);

/// ||got - want|| / ||want||.
double relative_l2(const at::Tensor& got, const at::Tensor& want);

}  // namespace medgen::golden
