// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/modality.h"

#include <medgen/sdk/sdk.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace medgen::maisi {
namespace {

constexpr std::array<std::pair<std::string_view, std::int64_t>, 20> kModalities = {{{"unknown", 0},
                                                                                    {"ct", 1},
                                                                                    {"ct_wo_contrast", 2},
                                                                                    {"ct_contrast", 3},
                                                                                    {"mri", 8},
                                                                                    {"mri_t1", 9},
                                                                                    {"mri_t2", 10},
                                                                                    {"mri_flair", 11},
                                                                                    {"mri_pd", 12},
                                                                                    {"mri_dwi", 13},
                                                                                    {"mri_adc", 14},
                                                                                    {"mri_ssfp", 15},
                                                                                    {"mri_mra", 16},
                                                                                    {"mri_t1c", 17},
                                                                                    {"mri_swi", 20},
                                                                                    {"mri_t1_skull_stripped", 29},
                                                                                    {"mri_t2_skull_stripped", 30},
                                                                                    {"mri_flair_skull_stripped", 31},
                                                                                    {"mri_swi_skull_stripped", 32},
                                                                                    {"mri_mra_skull_stripped", 33}}};

constexpr std::string_view kMr = "mri_";

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

bool names(std::string_view asked, std::string_view published) {
  if (asked == published || (asked == "ct_wo" && published == "ct_wo_contrast")) return true;
  return published.starts_with(kMr) && asked == published.substr(kMr.size());
}

}  // namespace

std::int64_t modality_code(std::string_view name) {
  const std::string asked = lower(name);
  std::string known;
  for (const auto& [published, code] : kModalities) {
    if (names(asked, published)) return code;
    known += (known.empty() ? "" : ", ") + std::string(published);
  }
  throw sdk::invalid("modality '", name, "' is unknown; known: ", known, " (mri_ may be left out), or a code");
}

std::string modality_name(std::int64_t code) {
  for (const auto& [published, each] : kModalities) {
    if (each == code) return std::string(published);
  }
  return std::to_string(code);
}

}  // namespace medgen::maisi
