// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"

#include <memory>
#include <string>
#include <vector>

namespace medgen {

/// What configuration may say: a subset of JSON Schema 2020-12, chosen so that every refusal can be explained.
///
/// Checked:     type, enum, const, $ref to "#" or "#/$defs/NAME"; properties, required, additionalProperties,
/// propertyNames,
///              minProperties, maxProperties; items, prefixItems, minItems, maxItems, uniqueItems; minimum, maximum,
///              exclusiveMinimum, exclusiveMaximum, multipleOf; minLength, maxLength, pattern (ECMAScript, found
///              anywhere in a string of at most 512 bytes); oneOf, anyOf, allOf; true and false as schemas.
/// Annotations: $schema, $id, $comment, $defs, title, description, default, examples, deprecated, x-* (any value).
/// Any other keyword is an error of the schema. A `default` must satisfy the schema it stands in.
class Schema {
 public:
  /// @throws ConfigError, with the schema's own file:line:column, when the schema is not of this subset.
  explicit Schema(const ConfigNode& schema);
  /// From text; `name` stands for the file in messages.
  static Schema parse(std::string text, std::string name);

  /// What is wrong with a value, in the order of the document: whole messages, with their places. At most 20.
  std::vector<std::string> problems(const ConfigNode& node) const;
  /// @throws ConfigError with the first problem, and the others below it.
  void validate(const ConfigNode& node) const;
  /// The value with the `default` of every missing property filled in, at every depth, through $ref, allOf and the
  /// branch of oneOf and anyOf that the value takes. A missing property without a default stays missing. Positions are
  /// kept. The value must be valid.
  ConfigNode fill_defaults(const ConfigNode& node) const;
  /// `validate`, then `fill_defaults`.
  ConfigNode resolve(const ConfigNode& node) const;

  const Json& json() const noexcept;

  struct State;

 private:
  std::shared_ptr<const State> state_;
};

}  // namespace medgen
