// SPDX-License-Identifier: Apache-2.0
#include "core/survey/case_sheet.h"

#include "core/base/error.h"

#include <algorithm>

namespace medgen {
namespace {

constexpr std::size_t kShown = 12;

/// Whether a case begins one of at most kShown even parts of all.
bool is_shown(std::size_t number, std::size_t cases) {
  if (cases <= kShown) return true;
  return number == 0 || number * kShown / cases != (number - 1) * kShown / cases;
}

}  // namespace

void CaseSheet::add(std::size_t number, const Volume& image, const std::optional<Volume>& label) {
  if (!is_shown(number, cases_)) return;
  try {
    rows_.push_back(draw_contact_sheet({{image, label}}));
  } catch (const DataError&) {
    rows_.push_back(draw_contact_sheet({{image, std::nullopt}}));
  }
}

Picture CaseSheet::picture() const {
  if (rows_.empty()) throw DataError("no case could be drawn");
  std::size_t width = 0;
  std::size_t height = 0;
  for (const Picture& row : rows_) {
    width = std::max(width, row.width);
    height += row.height;
  }
  Picture sheet(width, height, rows_.front().at(0, 0));  // the paper's colour
  std::size_t y = 0;
  for (const Picture& row : rows_) {
    sheet.paste(row, 0, y);
    y += row.height;
  }
  return sheet;
}

}  // namespace medgen
