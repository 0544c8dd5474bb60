// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/parallel/group.h"
#include "core/train/log_writer.h"

#include <cstddef>
#include <functional>

namespace medgen {

/// The mean of `of(row)` over rows 0 to `rows`, each computed by one process of the group: the same bits in all of
/// them.
/// @param of  gives the same names for every row
Scalars shared_mean(std::size_t rows, Group& group, const std::function<Scalars(std::size_t row)>& of);

}  // namespace medgen
