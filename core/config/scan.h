// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace medgen {

/// A piece of JSON text, comments and white space skipped. Used inside core/config only.
struct JsonToken {
  enum class Kind {
    Symbol,  ///< one of { } [ ] , :
    String,  ///< with its quotes, escapes not checked
    Word,    ///< numbers, true, false, null, and whatever else is neither space nor symbol
    Open,    ///< a string or comment that does not end
    End,     ///< of the text
  };

  Kind kind;
  std::size_t begin;
  std::size_t end;
};

JsonToken next_token(std::string_view text, std::size_t from);

/// Byte offsets of a value and of the key before it; for elements of arrays and for the document both are the value.
struct JsonPlace {
  std::size_t key;
  std::size_t value;
};

/// Where a JSON pointer leads in valid JSON text; the last value on the way when it leads out of the text.
JsonPlace locate(std::string_view text, std::string_view pointer);

/// "name:line:column" of a byte; columns count characters.
std::string place_name(std::string_view name, std::string_view text, std::size_t offset);

/// One step of a JSON pointer, escaped: "a/b" becomes "a~1b".
std::string escape_pointer(std::string_view key);

}  // namespace medgen
