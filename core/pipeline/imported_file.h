// SPDX-License-Identifier: Apache-2.0
// What imports of models and of adapters have in common.
#pragma once

#include "core/config/json.h"
#include "core/weights/state.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string_view>

namespace medgen {

/// What a package records of a file that it was made from.
Json imported_file(const std::filesystem::path& file, const State& state);

/// @param kind  what the file is, for the message. @throws DataError for values that are NaN or infinite
void require_finite(const std::filesystem::path& file, std::string_view name, const Tensor& tensor,
                    std::string_view kind);

}  // namespace medgen
