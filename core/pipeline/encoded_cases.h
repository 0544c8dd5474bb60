// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/compressor.h"

#include <functional>
#include <map>
#include <memory>

namespace medgen {

/// What a denoiser sees of a patch, before noise.
struct Encoded {
  Compressor::Latent latent;  ///< the image itself as mean where there is no compressor
  TensorMap conditions;

  std::size_t bytes() const;
};

/// Keeps what was made of cases, as long as memory for it lasts. One thread.
class EncodedCases {
 public:
  explicit EncodedCases(std::size_t most_bytes) : most_bytes_(most_bytes) {}

  /// What is kept under `number`, or what `make` makes.
  std::shared_ptr<const Encoded> get(std::size_t number, const std::function<Encoded()>& make);

  /// Whether something is kept under `number`, which then stays.
  bool has(std::size_t number) const { return kept_.contains(number); }

 private:
  std::size_t most_bytes_;
  std::size_t bytes_ = 0;
  std::map<std::size_t, std::shared_ptr<const Encoded>> kept_;
};

}  // namespace medgen
