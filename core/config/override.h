// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"

#include <span>
#include <string>

namespace medgen {

/// The document with values replaced, as the tools' `--set PATH=VALUE` asks, from left to right.
///
/// PATH: keys joined by dots, [0] for elements of arrays, ["a.b"] for keys with dots: `steps.ct.spacing_mm[2]`.
/// All of it but the last key must exist, so a typing error is found; only objects named in `creatable` are made at the
/// root when missing (`--set runtime.threads=2` for a pipeline that has no "runtime"). VALUE: JSON when it reads as
/// JSON, else a string: `10`, `[1, 1, 2]`, `true`, `labels/*.nii.gz`, `"10"` for the string. Relative paths in it
/// start, like all others, from the document's folder. `where()` of what was set says `--set PATH`. @throws UsageError
/// for what is no PATH=VALUE, such as a setting without = or a malformed path; ConfigError for a path that does not
/// exist or an index beyond the end.
ConfigNode apply_overrides(const ConfigNode& document, std::span<const std::string> settings,
                           std::span<const std::string> creatable = {});

}  // namespace medgen
