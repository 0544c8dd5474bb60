// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/weights/pickle_value.h"

namespace medgen::pickle {

/// The number of numpy.core.multiarray.scalar(dtype, bytes), or nullptr when it is no plain number.
Value* make_numpy_scalar(Tree& tree, const Value& dtype, const Value& bytes);

/// The array of numpy.core.numeric._frombuffer(bytes, dtype, shape, order), or nullptr when it has no plain numbers.
Value* make_numpy_from_buffer(Tree& tree, const Items& args);

/// Turns an Opaque that is numpy.core.multiarray._reconstruct with complete state into a tensor; leaves all others
/// alone.
void complete_numpy_array(Tree& tree, Value& object);

}  // namespace medgen::pickle
