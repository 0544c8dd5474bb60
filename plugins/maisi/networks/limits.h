// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <vector>

// What every MAISI network checks before it builds or computes anything. `network` and `name` are for the message.

namespace medgen::maisi {

// Bounds of config values: far above any published network, low enough that no product of them overflows.
inline constexpr int64_t kMostChannels = 65536;
inline constexpr int64_t kMostBlocks = 64;
inline constexpr size_t kMostLevels = 16;

/// Channels are multiples of the groups, eps is positive. @throws InvalidInput
void check_norm(std::string_view network, std::string_view list, const std::vector<int64_t>& channels, int64_t groups,
                double eps);

/// A floating point tensor (N, channels, `rank` spatial axes), none of them empty. @throws InvalidInput
void check_feature_map(std::string_view network, std::string_view name, const at::Tensor& x, int64_t rank,
                       int64_t channels);

/// MONAI 1.4 created an out_proj also where include_fc is false, and files exported then still hold it.
bool is_unused_projection(std::string_view name);
/// Patterns of such names in the files of a network; none where it has the layer.
std::vector<std::string> unused_projections(bool include_fc);

/// A shape as text: "[1, 4, 16, 16, 8]".
std::string shape_text(at::IntArrayRef shape);

}  // namespace medgen::maisi
