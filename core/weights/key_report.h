// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

#include <span>
#include <string>
#include <vector>

namespace medgen {

/// A tensor a network needs or a file holds.
struct WeightSpec {
  std::string name;
  Shape shape;
  DType dtype = DType::F32;
};

/// The two sides of one name.
struct WeightMismatch {
  WeightSpec expected;
  WeightSpec found;
};

/// How a file's tensors fit those a network needs.
struct KeyReport {
  std::size_t matched = 0;
  std::vector<WeightSpec> missing;
  std::vector<WeightSpec> unexpected;
  std::vector<WeightMismatch> mismatched;  ///< other shape, or integers where real numbers are needed
  std::vector<WeightSpec> ignored;         ///< unexpected, but allowed by a pattern

  bool ok() const noexcept { return missing.empty() && unexpected.empty() && mismatched.empty(); }

  /// Counts, the first ten of each kind, and for a missing name the unexpected one that may be it under another name.
  std::string to_string() const;
};

/// Compares names, shapes and kinds of element. Element width may differ (a bf16 file fits an fp32 network).
/// @param ignore  shell patterns ("*.attn.out_proj.*") of names that may be in the file without being needed; a name
/// that is
///                needed is never ignored.
KeyReport match_keys(std::span<const WeightSpec> expected, const TensorMap& found,
                     std::span<const std::string> ignore = {});

/// @throws DataError with the report when it is not ok; `what` names the file and the network.
void require_match(const KeyReport& report, std::string_view what);

}  // namespace medgen
