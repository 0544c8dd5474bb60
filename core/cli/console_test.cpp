// SPDX-License-Identifier: Apache-2.0
#include "core/cli/console.h"
#include "core/cli/schema_table.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using medgen::Json;
using medgen::cli::printable;
using medgen::cli::schema_table;
using medgen::cli::table;

TEST_CASE("columns of a table line up, and lines end without spaces", "[unit][cli]") {
  CHECK(table({{"a", "bb", "c"}, {"long", "", "d"}, {"x", "y", ""}}) == "a     bb  c\nlong      d\nx     y\n");
}

TEST_CASE("columns of a table are measured in characters", "[unit][cli]") {
  CHECK(table({{"Größe", "1"}, {"a", "2"}}) == "Größe  1\na      2\n");
}

TEST_CASE("control characters do not reach the terminal", "[unit][cli]") {
  CHECK(printable("a\x1b[2Jb\rc\td\n") == "a?[2Jb?c\td\n");
}

TEST_CASE("a schema's table has type, range, default and meaning of each key", "[unit][cli]") {
  const Json schema = Json::parse(R"({
    "properties": {
      "steps": {"type": "integer", "minimum": 1, "default": 30, "description": "how many"},
      "kind": {"enum": ["a", "b"]},
      "name": {"type": "string"}
    }, "required": ["name"]})");
  CHECK(schema_table(schema, "") ==
        "KEY    TYPE          DEFAULT\n"
        "steps  integer >= 1  30          how many\n"
        "kind   a | b         -\n"
        "name   string        (required)\n");
}

TEST_CASE("a schema's table follows references and goes into objects and arrays", "[unit][cli]") {
  const Json schema = Json::parse(R"({
    "properties": {"o": {"$ref": "#/$defs/o"}, "list": {"type": "array", "items": {"$ref": "#/$defs/o"}}},
    "$defs": {"o": {"type": "object", "properties": {"x": {"type": "number"}}}}})");
  const std::string text = schema_table(schema, "");
  CHECK(text.find("o.x") != std::string::npos);
  CHECK(text.find("array of object") != std::string::npos);
  CHECK(text.find("list[].x") != std::string::npos);
}

TEST_CASE("a schema that refers to itself has a finite table", "[unit][cli]") {
  const Json schema = Json::parse(R"({
    "properties": {"o": {"$ref": "#/$defs/o"}},
    "$defs": {"o": {"type": "object", "properties": {"o": {"$ref": "#/$defs/o"}}}}})");
  CHECK(schema_table(schema, "").size() < 1000);
}

TEST_CASE("a schema of several forms has a table for each", "[unit][cli]") {
  const Json schema = Json::parse(R"({
    "oneOf": [{"properties": {"a": {"type": "integer"}}}, {"$ref": "#/$defs/b"}],
    "$defs": {"b": {"properties": {"b": {"const": "x"}}, "required": ["b"]}}})");
  CHECK(schema_table(schema, "") ==
        "KEY  TYPE     DEFAULT\n"
        "a    integer  -\n"
        "or\n"
        "KEY  TYPE  DEFAULT\n"
        "b    \"x\"   (required)\n");
}

TEST_CASE("a schema without properties has no table", "[unit][cli]") {
  CHECK(schema_table(Json::object(), "").empty());
  CHECK(schema_table(Json(true), "").empty());
}
