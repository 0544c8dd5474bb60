// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/imported_file.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/tensor/finite.h"

#include <nlohmann/json.hpp>

namespace medgen {

Json imported_file(const std::filesystem::path& file, const State& state) {
  return {
      {"name", file.filename().string()}, {"sha256", sha256_file(file)}, {"format", state.format}, {"key", state.key}};
}

void require_finite(const std::filesystem::path& file, std::string_view name, const Tensor& tensor,
                    std::string_view kind) {
  if (const auto bad = count_non_finite(tensor); bad > 0)
    throw DataError("'{}': {} of {} values of '{}' are NaN or infinite; the {} is of no use", file.string(), bad,
                    tensor.size(), name, kind);
}

}  // namespace medgen
