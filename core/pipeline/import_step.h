// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/pipeline/import.h"

namespace medgen {

/// What an import step says.
ImportOptions import_options(const ConfigNode& step);

/// Whether the method has the roles that the step names, and its components take their configs.
/// @throws ConfigError with the place of what is wrong
void check_import(const ConfigNode& step, Host& host);

/// Whether the files are there, and the folder of the package is free or holds what this step made before.
/// @throws ConfigError with the place, DataError for a folder that holds something else
void check_import_files(const ConfigNode& step);

}  // namespace medgen
