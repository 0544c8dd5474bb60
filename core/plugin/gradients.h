// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/abi/draft/train.h>

namespace medgen {

/// What plugins get for MEDGEN_GRADIENTS_1: the exchange that the call's context holds, if it holds one.
const medgen_gradients_t& gradients_table();

}  // namespace medgen
