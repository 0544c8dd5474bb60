// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/config/node.h"
#include "core/pipeline/model.h"
#include "core/plugin/registry.h"

#include <optional>
#include <string>

namespace medgen {

/// Scalars that the host itself gives to conditioners, of the grid and the data: a user's own are refused.
/// @param step  a generate or train step, with or without "conditions". @throws ConfigError at the key.
void check_no_host_conditions(const ConfigNode& step);

/// Whether what a step gives is what the model's conditioners take, as their "io" in the manifest says: a misspelt
/// condition, or one for another model, would otherwise be passed over in silence. Conditioners whose "io" does not
/// list "params" take any. @throws ConfigError at the key, with a suggestion.
/// @param masks  the model that makes the label maps, whose conditions the step may give too
void check_conditions(const ConfigNode& step, const ModelPackage& package, const Registry& registry,
                      const ModelPackage* masks = nullptr);

/// Why a user cannot give a condition of this name to the model, as the end of a message; nothing when it can be given.
std::optional<std::string> condition_problem(const std::string& name, const ModelPackage& package,
                                             const Registry& registry);

/// Whether a conditioner of the model lists this among the scalars of its "encode".
bool takes_condition(const std::string& name, const ModelPackage& package, const Registry& registry);

/// What makes label maps for a model, where it has it. @throws ConfigError at a "mask_generator" that cannot
std::optional<ModelPackage> mask_maker(const ModelPackage& package, const Registry& registry);

/// What makes the label maps of a generate step that is given none, where its model has it.
std::optional<ModelPackage> mask_maker(const ConfigNode& step, const ModelPackage& package, const Registry& registry);

/// The conditions of a step that this model's conditioners take, a JSON object.
Json conditions_taken(const ConfigNode& step, const ModelPackage& package, const Registry& registry);

/// Whether a conditioner encodes the user's conditions without a label map or an image, so that it can be asked
/// beforehand.
bool takes_scalars_alone(const ComponentSpec& conditioner, const Registry& registry, bool with_mask);

/// The conditioner that needs a label map which no conditioner before it makes; null when there is none.
const ComponentSpec* conditioner_in_want_of_mask(const ModelPackage& package, const Registry& registry);

/// Whether a model that needs a label map gets one. @throws ConfigError at the step.
void check_mask_given(const ConfigNode& step, const ModelPackage& package, const Registry& registry);

/// The last conditioner whose "encode" takes an input of this name; null when there is none.
const ComponentSpec* conditioner_with_input(const ModelPackage& package, const Registry& registry, const char* name);

/// Whether a model that puts something into an image gets one, and no other model does. @throws ConfigError at the step
void check_image_given(const ConfigNode& step, const ModelPackage& package, const Registry& registry);

}  // namespace medgen
