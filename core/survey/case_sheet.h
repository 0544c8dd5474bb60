// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/io/contact_sheet.h"

#include <cstddef>
#include <optional>
#include <vector>

namespace medgen {

/// A contact sheet of some of many cases, drawn while each is in memory: a dozen, spread evenly over the data set.
class CaseSheet {
 public:
  explicit CaseSheet(std::size_t cases) : cases_(cases) {}

  /// Draws the case when it is one of those shown. A label map that cannot be drawn is left out.
  void add(std::size_t number, const Volume& image, const std::optional<Volume>& label);

  bool empty() const noexcept { return rows_.empty(); }

  /// The rows below each other. @throws DataError when there are none.
  Picture picture() const;

 private:
  std::size_t cases_;
  std::vector<Picture> rows_;
};

}  // namespace medgen
