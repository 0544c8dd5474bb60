// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/weights/pickle_value.h"

namespace medgen::pickle {

/// Whether a pickle that names this can only be meant to run something: os.system, builtins.eval, subprocess.* ...
/// Nothing would be run here anyhow; the file is refused so that it does not reach a reader that would.
bool is_dangerous(const Global& global);

/// getattr, which is harmless in one form alone: Python 3.11 stores the members of enums, as those that MONAI's
/// MetaTensor holds, as getattr(class, "NAME").
bool is_attribute_getter(const Global& global);

/// @throws DataError that says what the pickle names
[[noreturn]] void refuse_as_attack(const Global& global);

/// What calling `callable` with `args` makes: dicts, tensors and scalars for the handful of names that torch and NumPy
/// write, an Opaque for all others. @throws DataError when a known name gets arguments it cannot have.
Value* construct(Tree& tree, const Value& callable, Value& args);

/// What a persistent id (torch's way of naming a storage) stands for.
Value* persistent(Tree& tree, const Value& id);

/// Gives `object` its attributes. Meaningful for NumPy arrays, which become tensors; kept as `state` of an Opaque.
void set_state(Tree& tree, Value& object, const Value& state);

}  // namespace medgen::pickle
