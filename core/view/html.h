// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace medgen::html {

/// Safe as text and as the value of an attribute in quotes. Bytes that are no UTF-8 become U+FFFD, and control
/// characters that HTML forbids too.
std::string escaped(std::string_view text);

/// "data:image/png;base64,..."
std::string png_uri(std::string_view png);

/// Every {{name}} of the template replaced; the values are HTML already and are not looked at again.
std::string filled(std::string_view page, const std::map<std::string, std::string>& values);

/// Small boxes with a name and a value each; both are escaped. "" for none.
std::string facts(const std::vector<std::pair<std::string, std::string>>& entries);

/// The page that everything goes into: {{title}}, {{subtitle}}, {{body}}, {{footer}}.
extern const std::string_view kPageTemplate;

}  // namespace medgen::html
