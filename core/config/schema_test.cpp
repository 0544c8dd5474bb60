// SPDX-License-Identifier: Apache-2.0
#include "core/config/schema.h"

#include "core/config/parse.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <random>

namespace medgen {
namespace {

using Strings = std::vector<std::string>;

/// The problems of `text`, a document called "p.json".
Strings problems(const std::string& schema, const std::string& text) {
  return Schema::parse(schema, "schema").problems(parse_config(text, "p.json"));
}

std::string filled(const std::string& schema, const std::string& text) {
  return dump_compact(Schema::parse(schema, "schema").resolve(parse_config(text, "p.json")).json());
}

const char* const kStep = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "a step", "type": "object",
  "additionalProperties": false, "required": ["mask"], "x-medgen-anything": {"any": 1},
  "properties": {
    "mask": {"type": "string", "minLength": 1, "description": "label maps"},
    "steps": {"type": "integer", "minimum": 1, "default": 30},
    "spacing_mm": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 3, "maxItems": 3},
    "mode": {"enum": ["nearest", "linear"], "default": "linear"},
    "scheduler": {"type": "object", "default": {}, "additionalProperties": false,
                  "properties": {"shift": {"type": "number", "default": 1.5}}}}})";

TEST_CASE("a valid document has no problems, and gets its defaults at every depth", "[unit][config]") {
  CHECK(filled(kStep, R"({"mask": "a", "steps": 3.0, "spacing_mm": [1, 2, 0.5]})") ==
        R"({"mask":"a","steps":3.0,"spacing_mm":[1,2,0.5],"mode":"linear","scheduler":{"shift":1.5}})");
  CHECK(filled(kStep, R"({"mask": "a", "scheduler": {"shift": 2}})") ==
        R"({"mask":"a","scheduler":{"shift":2},"steps":30,"mode":"linear"})");
}

TEST_CASE("problems name the place, the key, what is wanted and what was found", "[unit][config]") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"mask": "a", "steps": "thirty"})", "p.json:1:24: steps must be an integer >= 1, got \"thirty\""},
      {R"({"mask": "a", "steps": 0})", "p.json:1:24: steps must be an integer >= 1, got 0"},
      {R"({"mask": "a", "steps": 1.5})", "p.json:1:24: steps must be an integer >= 1, got 1.5"},
      {"{\"mask\": \"a\",\n  \"stpes\": 3}", "p.json:2:3: stpes is an unknown key (did you mean 'steps'?)"},
      {R"({"mask": "a", "zebra": 3})",
       "p.json:1:15: zebra is an unknown key (known: mask, steps, spacing_mm, mode, scheduler)"},
      {"{}", "p.json:1:1: the document needs the key \"mask\": a string that is not empty"},
      {R"({"mask": ""})", "p.json:1:10: mask must be a string that is not empty, got \"\""},
      {R"({"mask": "a", "spacing_mm": [1, 2]})",
       "p.json:1:29: spacing_mm must be an array of 3 numbers > 0, got [1,2]"},
      {R"({"mask": "a", "spacing_mm": [1, 2, 0]})", "p.json:1:36: spacing_mm[2] must be a number > 0, got 0"},
      {R"({"mask": "a", "mode": "liner"})",
       "p.json:1:23: mode must be one of \"nearest\", \"linear\", got \"liner\" (did you mean 'linear'?)"},
      {R"({"mask": "a", "scheduler": {"shfit": 1}})",
       "p.json:1:29: scheduler.shfit is an unknown key (did you mean 'shift'?)"},
      {"[]", "p.json:1:1: the document must be an object, got []"}};
  for (const auto& [text, message] : cases) {
    CAPTURE(text);
    CHECK(problems(kStep, text) == Strings{message});
  }
}

TEST_CASE("all problems are listed, the first of the document first", "[unit][config]") {
  const auto text = "{\"steps\": 0,\n \"msak\": 1,\n \"mode\": 2}";
  CHECK_THROWS_MATCHES(Schema::parse(kStep, "s").validate(parse_config(text, "p.json")), ConfigError,
                       Catch::Message("p.json:1:11: steps must be an integer >= 1, got 0\n"
                                      "p.json:2:2: msak is an unknown key (did you mean 'mask'?)\n"
                                      "p.json:3:10: mode must be one of \"nearest\", \"linear\", got 2\n"
                                      "p.json:1:1: the document needs the key \"mask\": a string that is not empty"));
  std::string many = "[0";
  for (int i = 0; i < 50; ++i) many += ", 0";
  CHECK(problems(R"({"items": {"type": "null"}})", many + "]").size() == 20);
}

TEST_CASE("every keyword of the subset refuses what it should", "[unit][config]") {
  struct Case {
    const char* schema;
    const char* good;
    const char* bad;
    const char* message;
  };

  const Case cases[] = {
      {R"({"type": ["integer", "null"]})", "null", "1.5", "must be an integer or null, got 1.5"},
      {R"({"type": "boolean"})", "true", "0", "must be true or false, got 0"},
      {R"({"const": 3})", "3.0", "4", "must be 3, got 4"},
      {R"({"const": {"a": 1, "b": 2}})", R"({"b": 2, "a": 1})", "{}", "must be {\"a\":1,\"b\":2}, got {}"},
      {R"({"enum": [1, "a"]})", "\"a\"", "2", "must be one of 1, \"a\", got 2"},
      {R"({"type": "number", "minimum": 0, "maximum": 1})", "1", "1.5", "must be a number >= 0 and <= 1, got 1.5"},
      {R"({"type": "number", "exclusiveMaximum": 1})", "0.5", "1", "must be a number < 1, got 1"},
      {R"({"type": "integer", "maximum": 9007199254740992})", "9007199254740992", "9007199254740993",
       "must be an integer <= 9007199254740992, got 9007199254740993"},
      {R"({"multipleOf": 0.1})", "0.3", "0.35", "must be a multiple of 0.1, got 0.35"},
      {R"({"multipleOf": 8})", "16", "12", "must be a multiple of 8, got 12"},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})", "\"üü\"", "\"ü\"",
       "must be a string of 2 to 3 characters, got \"ü\""},
      {R"({"type": "string", "pattern": "^[a-z]+$"})", "\"ab\"", "\"aB\"",
       "must be a string like ^[a-z]+$, got \"aB\""},
      {R"({"type": "string", "pattern": "^@", "examples": ["@mr"]})", "\"@ct\"", "\"ct\"",
       "must be a string like \"@mr\" (^@), got \"ct\""},
      {R"({"type": "array", "minItems": 1})", "[0]", "[]", "must be an array of at least 1 values, got []"},
      {R"({"uniqueItems": true})", "[1, 2]", "[1, 2, 1.0]", "[2] repeats 1.0"},
      {R"({"prefixItems": [{"type": "string"}], "items": false})", R"(["a"])", R"(["a", 1])", "[1] is not allowed"},
      {R"({"minProperties": 1})", R"({"a": 1})", "{}", "must have at least 1 keys, got 0 keys"},
      {R"({"maxProperties": 1})", R"({"a": 1})", R"({"a": 1, "b": 2})", "must have 0 to 1 keys, got 2 keys"},
      {R"({"propertyNames": {"type": "string", "pattern": "^[a-z]+$"}})", R"({"a": 1})", R"({"A b": 1})",
       "[\"A b\"] is a wrong key: it must be a string like ^[a-z]+$, got \"A b\""},
      {R"({"additionalProperties": {"type": "integer"}})", R"({"a": 1})", R"({"a": "b"})",
       "a must be an integer, got \"b\""},
      {R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}})", "null", "1", "must be null, got 1"},
      {R"({"allOf": [{"type": "integer"}, {"minimum": 2}]})", "2", "1", "must be another value"},
      {R"({"anyOf": [{"type": "integer"}, {"const": "auto"}]})", "\"auto\"", "\"autp\"",
       "must be an integer or \"auto\", got \"autp\""},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "1.5", "1",
       "fits 2 of its forms at once, one is wanted"},
      {R"({"properties": {"old": false}})", "{}", R"({"old": 1})", "old is not allowed"}};
  for (const Case& c : cases) {
    CAPTURE(c.schema);
    CHECK(problems(c.schema, c.good) == Strings{});
    const Strings found = problems(c.schema, c.bad);
    REQUIRE(found.size() == 1);
    CHECK_THAT(found[0], Catch::StartsWith("p.json:1:") && Catch::Contains(c.message));
  }
}

TEST_CASE("long strings are refused before they meet a pattern", "[unit][config]") {
  const std::string text = "\"" + std::string(100000, 'a') + "\"";
  CHECK_THAT(problems(R"({"pattern": "(a|b)*c"})", text).at(0),
             Catch::StartsWith("p.json:1:1: the document is longer than 512 bytes"));
}

const char* const kForms = R"({"oneOf": [
  {"type": "string"},
  {"type": "object", "required": ["kind", "steps"], "additionalProperties": false,
   "properties": {"kind": {"const": "ddim"}, "steps": {"type": "integer", "default": 5}, "eta": {"type": "number", "default": 0}}},
  {"$ref": "#/$defs/flow"}],
  "$defs": {"flow": {"type": "object", "required": ["kind"], "additionalProperties": false,
   "properties": {"kind": {"enum": ["rflow", "rflow-exact"]}, "shift": {"type": "number", "default": 2}}}}})";

TEST_CASE("of several forms the one that was meant is explained", "[unit][config]") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"kind": "ddim"})", "p.json:1:1: the document needs the key \"steps\": an integer"},
      {R"({"kind": "rflow", "steps": 3})", "p.json:1:19: steps is an unknown key (known: kind, shift)"},
      {R"({"kind": "ddimm"})",
       "p.json:1:10: kind must be one of \"ddim\", \"rflow\", \"rflow-exact\", got \"ddimm\" (did you mean 'ddim'?)"},
      {R"({"steps": 3})",
       "p.json:1:1: the document needs the key \"kind\": one of \"ddim\", \"rflow\", \"rflow-exact\""},
      {"7", "p.json:1:1: the document must be a string or an object, got 7"}};
  for (const auto& [text, message] : cases) {
    CAPTURE(text);
    CHECK(problems(kForms, text) == Strings{message});
  }
}

TEST_CASE("forms without a constant are told apart by their required keys", "[unit][config]") {
  const char* schema = R"({"oneOf": [
    {"type": "object", "required": ["generate"], "additionalProperties": false, "properties": {"generate": {}, "steps": {}}},
    {"type": "object", "required": ["write"], "additionalProperties": false, "properties": {"write": {}, "layout": {}}}]})";
  CHECK(problems(schema, R"({"write": "@ct", "layuot": "x"})") ==
        Strings{"p.json:1:18: layuot is an unknown key (did you mean 'layout'?)"});
}

TEST_CASE("defaults come from the form that the value takes", "[unit][config]") {
  CHECK(filled(kForms, R"({"kind": "rflow"})") == R"({"kind":"rflow","shift":2})");
  CHECK(filled(kForms, R"({"kind": "ddim", "steps": 1})") == R"({"kind":"ddim","steps":1,"eta":0})");
  CHECK(filled(kForms, R"("ddim")") == R"("ddim")");
}

TEST_CASE("defaults reach arrays, other properties, references and allOf", "[unit][config]") {
  const char* schema = R"({
    "$defs": {"p": {"type": "object", "properties": {"n": {"$ref": "#/$defs/count"}}}, "count": {"default": 7}},
    "properties": {"list": {"prefixItems": [true], "items": {"$ref": "#/$defs/p"}}, "all": {"allOf": [{"$ref": "#/$defs/p"}]}},
    "additionalProperties": {"$ref": "#/$defs/p"}})";
  CHECK(filled(schema, R"({"list": [{}, {}], "all": {}, "other": {}})") ==
        R"({"list":[{},{"n":7}],"all":{"n":7},"other":{"n":7}})");
}

TEST_CASE("a part of a document is checked with its full path, and keeps its places", "[unit][config]") {
  const ConfigNode document = parse_config("{\"models\": [\n {\"mask\": \"a\", \"steps\": 0}]}", "model.json");
  const Schema schema = Schema::parse(kStep, "component x");
  CHECK(schema.problems(document.at("models").at(0)) ==
        Strings{"model.json:2:25: models[0].steps must be an integer >= 1, got 0"});
  const ConfigNode whole = parse_config("{\"a\": {\n \"mask\": \"x\"}}", "model.json");
  const ConfigNode resolved = schema.resolve(whole.at("a"));
  CHECK(resolved.get<int>("steps") == 30);
  CHECK(resolved.at("steps").where() == "model.json:1:7");
  CHECK(resolved.at("mask").where() == "model.json:2:10");
}

TEST_CASE("a recursive schema follows the document", "[unit][config]") {
  const char* schema = R"({"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": false})";
  CHECK(problems(schema, R"({"child": {"child": {}}})").empty());
  CHECK(problems(schema, R"({"child": {"child": 1}})") == Strings{"p.json:1:21: child.child must be an object, got 1"});
}

TEST_CASE("schemas outside the subset are refused with their place", "[unit][config]") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"patternProperties": {}})", "s:1:23: patternProperties is a keyword that medgen's schemas do not have"},
      {R"({"properties": {"a": {"minimun": 1}}})",
       "s:1:34: properties.a.minimun is a keyword that medgen's schemas do not have (did you mean 'minimum'?)"},
      {R"({"type": "int"})",
       "s:1:10: type must be one of null, boolean, object, array, number, integer, string, got \"int\""},
      {R"({"minimum": "1"})", "s:1:13: minimum must be a number, got \"1\""},
      {R"({"minItems": -1})", "s:1:14: minItems must be an integer from 0 to 4294967295, got -1"},
      {R"({"multipleOf": 0})", "s:1:16: multipleOf must be a number > 0, got 0"},
      {R"({"required": ["a", 1]})", "s:1:20: required[1] must be a string, got 1"},
      {R"({"enum": []})", "s:1:10: enum must list at least one value"},
      {R"({"oneOf": {}})", "s:1:11: oneOf must be an array, got {}"},
      {R"({"items": 3})", "s:1:11: items must be a schema: an object, true or false; got 3"},
      {R"({"pattern": "(["})", "s:1:13: pattern must be an ECMAScript regular expression, got \"([\""},
      {R"({"$ref": "#/$defs/x"})",
       "s:1:10: $ref must be \"#\" or \"#/$defs/NAME\" with a NAME that exists, got \"#/$defs/x\""},
      {R"({"$ref": "#"})", "s:1:10: $ref refers to itself without end"},
      {R"({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}})",
       "s:1:37: $defs.a.allOf[0].$ref refers to itself without end"},
      {R"({"properties": {"n": {"type": "integer", "default": "x"}}})",
       "s:1:53: properties.n.default must be an integer, got \"x\" (a default must satisfy its own schema)"},
      {"[]", "s:1:1: the document must be a schema: an object, true or false; got []"}};
  for (const auto& [schema, message] : cases) {
    CAPTURE(schema);
    CHECK_THROWS_MATCHES(Schema::parse(schema, "s"), ConfigError, Catch::Message(message));
  }
}

TEST_CASE("defaults that nest without end are refused", "[unit][config]") {
  const Schema schema = Schema::parse(R"({"properties": {"a": {"$ref": "#", "default": {}}}})", "s");
  CHECK_THROWS_MATCHES(schema.resolve(parse_config("{}", "p")), ConfigError,
                       Catch::Message("s: its defaults nest without end"));
}

TEST_CASE("true and false are schemas", "[unit][config]") {
  CHECK(problems("true", "[1]").empty());
  CHECK(problems("false", "[1]") == Strings{"p.json:1:1: the document is not allowed"});
}

TEST_CASE("damaged schemas and documents end in problems or errors", "[unit][config]") {
  const std::string document = R"({"kind": "ddim", "steps": 3, "eta": 0.5, "mask": "a", "scheduler": {"shift": 2}})";
  std::mt19937 random(11);
  const auto damage = [&](std::string text) {
    for (unsigned flips = random() % 3; flips > 0; --flips)
      text[random() % text.size()] = static_cast<char>(32 + random() % 95);
    return text;
  };
  for (int round = 0; round < 5000; ++round) {
    const std::string schema = damage(round % 2 == 0 ? kForms : kStep), text = damage(document);
    try {
      Schema::parse(schema, "s").resolve(parse_config(text, "p"));
    } catch (const ConfigError& error) {
      REQUIRE(std::string(error.what()).find(": ") != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace medgen
