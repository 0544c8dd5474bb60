// SPDX-License-Identifier: Apache-2.0
// Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): W + alpha / rank B A in place of W, of which A and B learn.
#pragma once

#include "plugins/support/nn/module.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace medgen::support {

struct LoraOptions {
  std::int64_t rank = 8;
  double alpha = 8;  ///< the adapters count alpha / rank
  /// Parts of the names of adapted layers: by default the projections of attention.
  std::vector<std::string> names{"to_q", "to_k", "to_v", "out_proj"};
  bool convolutions = false;  ///< all kernels too, as matrices of (out, in x voxels)

  /// "lora" of a trainer's options; nothing when it is not there.
  static std::optional<LoraOptions> read(std::string_view options_json);
};

/// Whether a network has a layer that is chosen. @throws InvalidInput with some of those that it has
void require_adaptable(nn::Module& network, const LoraOptions& options);

/// The adapters of one network. Its own tensors are kept as they were, and are overlaid for training.
class LowRankAdapters {
 public:
  /// A starts as a linear layer does, B at zero, so that nothing changes before the first step.
  /// @throws InvalidInput when the network has no weights yet or no layer is chosen
  LowRankAdapters(nn::Module& network, const LoraOptions& options, std::uint64_t seed);

  /// The tensors that learn: "<layer>.lora_A" (rank, in) and "<layer>.lora_B" (out, rank).
  std::vector<std::pair<std::string, at::Tensor>> tensors() const;

  /// Gives the network its weights with the adapters as they are now; gradients pass through to A and B.
  void merge() const;

 private:
  struct Adapter {
    std::string layer;
    nn::Parameter* parameter;
    at::Tensor base, a, b;
  };

  void adapt(const nn::NamedParameter& weight, const LoraOptions& options, std::uint64_t seed);

  double scale_;
  std::vector<Adapter> adapters_;
};

}  // namespace medgen::support
