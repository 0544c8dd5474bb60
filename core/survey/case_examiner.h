// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/survey/survey.h"

namespace medgen {

/// Reads one case and tells what is wrong with it.
class CaseExaminer {
 public:
  CaseExaminer(const LabelTable& table, std::vector<Finding>& findings) : table_(table), findings_(findings) {}

  /// The volumes are shown to `viewer` when they can be.
  CaseFacts read(const Case& one, std::size_t number, const CaseViewer& viewer);

 private:
  template <typename... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args);
  template <typename... Args>
  void refuse(fmt::format_string<Args...> format, Args&&... args);

  std::optional<Volume> open(const std::filesystem::path& file);
  void look_at_image(const Volume& image, const std::filesystem::path& file);
  void look_at_channel(const Tensor& voxels, const std::string& what);
  std::optional<Volume> look_at_label(const std::filesystem::path& file);
  void look_at_ids();
  void compare_grids(const Geometry& image, const VolumeFacts& other, const std::string& what);

  const LabelTable& table_;
  std::vector<Finding>& findings_;
  CaseFacts facts_;
};

}  // namespace medgen
