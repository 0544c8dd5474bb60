// SPDX-License-Identifier: Apache-2.0
// What a pass of the U-Nets and of the ControlNet costs, from their configurations: the same walk through the blocks as
// the pass itself, with sizes in place of tensors.
#pragma once

#include "plugins/maisi/networks/unet_config.h"

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace medgen::maisi {

/// Of one sample.
struct PassCost {
  double peak_bytes = 0;      ///< most of activations at a time, the result included
  double flops = 0;           ///< of convolutions, linear layers and attention
  double packed_bytes = 0;    ///< of weights in the order that convolutions want, kept from the first pass on
  double scratch_bytes = 0;   ///< that wide_conv takes beside a layer's maps
  double filtered_bytes = 0;  ///< of transformed weights, if there is room to keep them all
  double known_bytes = 0;     ///< of the conditions that are remembered after the pass, with their embeddings
};

/// @param spatial    lengths of x
/// @param residuals  whether a ControlNet's are added
PassCost unet_cost(const UnetConfig& config, std::int64_t out_channels, std::vector<std::int64_t> spatial,
                   at::ScalarType compute, bool residuals);
PassCost controlnet_cost(const ControlNetMaisiConfig& config, std::vector<std::int64_t> spatial,
                         at::ScalarType compute);

/// Adds what a component on the CPU keeps from one evaluation to the next: memory for results, of transformed weights
/// at most so many bytes, and what the heap has of freed blocks.
void add_kept(PassCost& cost, std::int64_t most_weights);

/// Shapes of the ControlNet's residuals for x of `shape`, down0 ... and mid.
std::vector<std::pair<std::string, std::vector<std::int64_t>>> residual_shapes(const UnetConfig& config,
                                                                               const std::vector<std::int64_t>& shape);

/// Bytes of a network's parameters when it computes in `compute`.
std::uint64_t weight_bytes(nn::Module& network, at::ScalarType compute, at::Device device);

/// Operations a second of a normalisation and a convolution such as MAISI's, measured once in a process (well under a
/// second).
double measured_rate(at::ScalarType compute);

/// "bf16", "fp16" or "fp32".
const char* name_of(at::ScalarType compute);

/// The shape of input `name` of an estimate request. @throws sdk::Error when it is not there or has no five axes.
std::vector<std::int64_t> requested_shape(const nlohmann::json& request, const char* name);

/// A reply of the keys that all networks give; `cost` is that of one of `rows` samples, computed one after the other.
nlohmann::json cost_reply(const PassCost& cost, std::int64_t rows, std::uint64_t weights, at::ScalarType compute,
                          at::Device device);

}  // namespace medgen::maisi
