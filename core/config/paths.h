// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace medgen {

/// "4GiB", "512 MB", "1.5GiB", "4096": units B, kB, MB, GB, TB (1000) and KiB, MiB, GiB, TiB (1024), letters in either
/// case. Nothing when it is not that or does not fit.
std::optional<std::uint64_t> parse_bytes(std::string_view text);

/// The string of this node as a path: absolute ones as they are, others from the document's folder. Nothing needs to
/// exist.
/// @throws ConfigError when it is not a string, is empty, or holds a zero byte.
std::filesystem::path resolve_path(const ConfigNode& node);

/// Files and folders that a string, or an array of strings, names: * ? [a-z] stand for characters of one name, others
/// are themselves. Each pattern's matches are sorted by name (bytes), patterns stay in their order, nothing appears
/// twice.
/// @throws ConfigError when a pattern matches nothing.
std::vector<std::filesystem::path> expand_paths(const ConfigNode& node);

}  // namespace medgen
