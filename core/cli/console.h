// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"

#include <string>
#include <string_view>
#include <vector>

namespace medgen::cli {

/// Thrown when whoever read our standard output has gone away (`medgen plugins | head -1`): not an error.
struct OutputClosed {};

/// Standard output. @throws OutputClosed, and RuntimeError when writing fails for another reason.
void print(std::string_view text);
void print_json(const Json& value);

/// Columns padded to their widest cell, two spaces between them, no spaces at the end of lines. Widths count
/// characters.
std::string table(const std::vector<std::vector<std::string>>& rows, std::string_view indent = "");

/// Whether colours and bars suit standard error: a terminal that is not "dumb", and for colours no NO_COLOR.
bool stderr_is_terminal();
bool stderr_has_colors();
/// Columns of the terminal, 80 when unknown.
std::size_t stderr_width();

/// UTF-8 code points of a text, what it takes on the screen for the letters we print.
std::size_t display_width(std::string_view text);
/// Control characters (but newline and tab) replaced, so that names from files cannot steer the terminal.
std::string printable(std::string_view text);

}  // namespace medgen::cli
