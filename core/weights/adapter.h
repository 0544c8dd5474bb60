// SPDX-License-Identifier: Apache-2.0
// Low-rank adapters (Hu et al. 2021): small files that change a network's weights W to W + strength alpha / rank B A.
#pragma once

#include "core/tensor/tensor.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace medgen {

/// What an adapter is for, recorded in its file.
struct AdapterFacts {
  std::string role;         ///< the part of a model that it changes: "denoiser"
  std::string base_sha256;  ///< of the weight file that it was trained on
  double alpha = 1;
  std::int64_t rank = 1;
};

/// The two halves of a layer's change.
inline constexpr std::string_view kLoraA = ".lora_A", kLoraB = ".lora_B";

struct Adapter {
  AdapterFacts facts;
  TensorMap tensors;  ///< "<layer>.lora_A" (rank, in), "<layer>.lora_B" (out, rank)
};

/// A .safetensors file. @throws DataError when it is no adapter, or one that does not fit itself.
Adapter read_adapter(const std::filesystem::path& file);

/// Tensors as `Adapter` names them. @throws as write_safetensors
void write_adapter(const std::filesystem::path& file, const Adapter& adapter);

/// Replaces "<layer>.weight" of `weights` by float32 tensors with the adapter in them. Kernels are matrices of (out,
/// all else). @param strength  1: as trained; 0: nothing changes. @throws DataError for a layer that is not there or
/// has another shape; nothing is changed then.
void merge_adapter(TensorMap& weights, const Adapter& adapter, double strength);

}  // namespace medgen
