// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/limits.h"

#include "plugins/support/error.h"

#include <fmt/ranges.h>

namespace medgen::maisi {

using support::require;

void check_norm(std::string_view network, std::string_view list, const std::vector<int64_t>& channels, int64_t groups,
                double eps) {
  require(eps > 0, "{}: 'norm_eps' is {}, a positive number is wanted", network, eps);
  require(groups >= 1, "{}: 'norm_num_groups' is {}, at least 1 is wanted", network, groups);
  for (const int64_t count : channels) {
    require(count >= 1 && count % groups == 0, "{}: '{}' holds {}, which is not a multiple of 'norm_num_groups' {}",
            network, list, count, groups);
  }
}

void check_feature_map(std::string_view network, std::string_view name, const at::Tensor& x, int64_t rank,
                       int64_t channels) {
  require(x.defined(), "{}: '{}' is missing", network, name);
  require(x.is_floating_point(), "{}: '{}' holds {}, floating point is wanted", network, name,
          c10::toString(x.scalar_type()));
  require(x.dim() == rank + 2 && x.size(1) == channels,
          "{}: '{}' has shape {}, wanted are a batch axis, {} channels and {} spatial axes", network, name,
          shape_text(x.sizes()), channels, rank);
  require(x.numel() > 0, "{}: '{}' has shape {}: an axis is empty", network, name, shape_text(x.sizes()));
}

bool is_unused_projection(std::string_view name) {
  return name.ends_with(".attn.out_proj.weight") || name.ends_with(".attn.out_proj.bias");
}

std::vector<std::string> unused_projections(bool include_fc) {
  if (include_fc) return {};
  return {"*.attn.out_proj.weight", "*.attn.out_proj.bias"};
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace medgen::maisi
