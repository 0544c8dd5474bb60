// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace medgen::maisi {

/// The code of a modality in the released mapping. Published names ("mri_t1_skull_stripped",
/// "ct_wo_contrast") and the same without "mri_"; case does not matter. @throws sdk::Error with the known names
std::int64_t modality_code(std::string_view name);

/// The published name of a code, or the code as text.
std::string modality_name(std::int64_t code);

/// Released rule for the intensities of an image; 0, "unknown", is neither.
inline bool is_ct(std::int64_t code) {
  return code >= 1 && code <= 7;
}

inline bool is_mr(std::int64_t code) {
  return code >= 8;
}

/// The code of the kind alone: 1 for CT, 8 for MR.
inline std::int64_t general_modality(std::int64_t code) {
  return is_ct(code) ? 1 : is_mr(code) ? 8 : code;
}

}  // namespace medgen::maisi
