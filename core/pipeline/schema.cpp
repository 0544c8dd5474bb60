// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/schema.h"

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/config/json.h"
#include "core/pipeline/pipeline.h"
#include "core/pipeline/train_step.h"

#include <nlohmann/json.hpp>

#include <array>
#include <map>
#include <vector>

namespace medgen {
namespace {

constexpr const char* kDocument = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["medgen", "steps"],
  "properties": {
    "$schema": {"type": "string"},
    "medgen": {"const": 1, "description": "version of this format"},
    "seed": {"type": "integer", "minimum": 0, "default": 0},
    "runtime": {
      "type": "object",
      "additionalProperties": false,
      "default": {},
      "properties": {
        "device": {"type": "string", "pattern": "^(auto|cpu|cuda(:[0-9]{1,2})?)$",
                   "examples": ["cpu", "cuda:0"], "default": "auto"},
        "precision": {"enum": ["auto", "fp32", "bf16"], "default": "auto",
                      "description": "auto: bf16 where the processor has it, else fp32"},
        "threads": {"type": "integer", "minimum": 0, "maximum": 4096, "default": 0, "description": "0: as many as this process may use"},
        "memory": {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 1048576}],
                   "description": "budget of the components, such as \"4GiB\""}
      }
    },
    "steps": {
      "type": "object",
      "minProperties": 1,
      "description": "named steps, run in this order",
      "propertyNames": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*$", "examples": ["mr"]},
      "additionalProperties": {"type": "object"}
    },
    "run": {"type": "object", "description": "written by medgen into run.json: how it went"}
  }
})json";

constexpr const char* kGenerate = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["generate"],
  "properties": {
    "generate": {"type": ["string", "object"], "description": "a model: a folder, \"@step\" that makes one, or in line"},
    "mask": {"$ref": "#/$defs/files", "description": "label maps: files, patterns, a folder, or \"@step\""},
    "image": {"$ref": "#/$defs/files", "description": "for a model that inpaints: an image for each mask, on its grid"},
    "outside_mask": {"enum": ["keep", "generated"],
                     "description": "with image: where the mask is 0 the result is the image itself, bit by bit (keep), or as generated"},
    "size": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65536}, "minItems": 3, "maxItems": 3,
             "description": "voxels (x, y, z), without a mask"},
    "spacing_mm": {"$ref": "#/$defs/spacing", "description": "with size; a mask is brought to it first (nearest)"},
    "count": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1, "description": "samples for each mask, or in all"},
    "steps": {"type": "integer", "minimum": 1, "maximum": 100000, "description": "sampling steps; the model's default when missing"},
    "timesteps": {"type": "array", "items": {"type": "number"}, "minItems": 1, "description": "own times, descending"},
    "guidance": {"type": "number", "minimum": 0, "maximum": 1000,
                 "description": "classifier-free guidance; 1 is off, and so is 0, as in MAISI's own files"},
    "batched_guidance": {"type": "boolean", "default": false},
    "batch": {"type": "integer", "minimum": 1, "maximum": 4096, "default": 1, "description": "samples at once; does not change them"},
    "scheduler": {"type": "object", "additionalProperties": false, "required": ["component"],
                  "description": "in place of the model's",
                  "properties": {"component": {"type": "string"}, "config": {"type": "object"}}},
    "adapters": {"type": "array", "description": "low-rank adapters for the model's weights: what a training with \"lora\" wrote",
                 "items": {"oneOf": [{"type": "string"},
                   {"type": "object", "additionalProperties": false, "required": ["adapter"],
                    "properties": {"adapter": {"type": "string"},
                                   "strength": {"type": "number", "default": 1, "description": "1: as trained"}}}]}},
    "outside_contract": {"enum": ["error", "warn"], "default": "error",
                         "description": "what a mask or a grid is that the model was not trained for"},
    "conditions": {"type": "object", "description": "for the model's conditioners (medgen describe)"}
  },
  "$defs": {
    "files": {"type": ["string", "array"], "items": {"type": "string"}},
    "spacing": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 3, "maxItems": 3}
  }
})json";

constexpr const char* kEncode = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["encode", "image"],
  "properties": {
    "encode": {"type": ["string", "object"], "description": "a model with a compressor"},
    "image": {"type": ["string", "array"], "items": {"type": "string"}, "description": "files, patterns, a folder, or \"@step\""}
  }
})json";

constexpr const char* kDecode = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["decode", "latent"],
  "properties": {
    "decode": {"type": ["string", "object"], "description": "a model with a compressor"},
    "latent": {"type": ["string", "array"], "items": {"type": "string"},
               "description": "\"@step\", or .safetensors files that a write step made from latents"}
  }
})json";

constexpr const char* kWrite = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["write", "to"],
  "properties": {
    "write": {"type": "string", "pattern": "^@", "examples": ["@mr"],
              "description": "\"@step\" whose samples are written"},
    "to": {"type": "string", "minLength": 1, "description": "folder; made when missing"},
    "layout": {"enum": ["folders", "pairs", "nnunet"], "default": "folders",
               "description": "images/NAME + labels/NAME; NAME_image + NAME_label; or nnU-Net with dataset.json"},
    "contact_sheet": {"type": "string", "pattern": "^[^./\\\\][^/\\\\]*\\.png$",
                      "examples": ["contact_sheet.png"], "description": "name of one picture of the first samples, in the folder"},
    "overwrite": {"type": "boolean", "default": false,
                  "description": "replace the results of another pipeline in this folder"}
  }
})json";

constexpr const char* kImport = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["import", "method", "to"],
  "properties": {
    "import": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"},
               "description": "checkpoint files by the component they are for: {\"compressor\": \"autoencoder.pt\"}"},
    "method": {"type": "string", "description": "the method whose components and configs they fit (medgen describe)"},
    "config": {"type": "object", "additionalProperties": {"type": "object"},
               "description": "constructor arguments in place of the method's, by component"},
    "key": {"type": "object", "additionalProperties": {"type": "string"},
            "description": "where the state dict lies in each file, when it is not found by itself"},
    "prefix": {"type": "object", "additionalProperties": {"type": "string"},
               "description": "what the keys of each file begin with and the network's do not"},
    "latent_scale": {"type": "number", "exclusiveMinimum": 0,
                     "description": "in place of the scale_factor that the denoiser's file records"},
    "name": {"type": "string"},
    "license": {"type": "string"},
    "credit": {"type": "string"},
    "to": {"type": "string", "minLength": 1, "description": "folder of the package"}
  }
})json";

}  // namespace

std::span<const VerbSchema> verb_schemas() {
  static const std::array<VerbSchema, 6> kVerbs{{{"generate", kGenerate},
                                                 {"encode", kEncode},
                                                 {"decode", kDecode},
                                                 {"train", train_schema().c_str()},
                                                 {"write", kWrite},
                                                 {"import", kImport}}};
  return kVerbs;
}

const Schema& document_schema() {
  static const Schema schema = Schema::parse(kDocument, "pipeline schema");
  return schema;
}

const Schema& verb_schema(std::string_view verb) {
  static const std::map<std::string, Schema, std::less<>> schemas = [] {
    std::map<std::string, Schema, std::less<>> all;
    for (const VerbSchema& each : verb_schemas()) {
      all.emplace(std::string(each.verb), Schema::parse(each.schema, fmt::format("schema of {}", each.verb)));
    }
    return all;
  }();
  const auto found = schemas.find(verb);
  check(found != schemas.end(), "a verb with a schema");
  return found->second;
}

std::string_view verb_of(const ConfigNode& step) {
  std::vector<std::string> verbs;
  std::string_view verb;
  for (const VerbSchema& each : verb_schemas()) {
    verbs.emplace_back(each.verb);
    if (!step.contains(each.verb)) continue;
    if (!verb.empty()) step.fail("has two verbs, '{}' and '{}'; make two steps of it", verb, each.verb);
    verb = each.verb;
  }
  if (!verb.empty()) return verb;
  const auto members = step.members();
  const std::string hint = members.empty() ? "" : did_you_mean(members.front().first, verbs);
  step.fail("has no verb; one of {} is needed{}", fmt::join(verbs, ", "), hint);
}

std::string pipeline_schema() {
  Json document = document_schema().json();
  document["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  document["title"] = "medgen pipeline";
  Json steps = Json::array();
  for (const VerbSchema& each : verb_schemas()) {
    Json schema = Json::parse(each.schema);
    const std::string verb(each.verb);
    if (schema.contains("$defs")) {
      for (const auto& [name, definition] : schema["$defs"].items()) document["$defs"][name] = definition;
      schema.erase("$defs");
    }
    document["$defs"][verb] = std::move(schema);
    steps.push_back({{"$ref", "#/$defs/" + verb}});
  }
  document["properties"]["steps"]["additionalProperties"] = {{"oneOf", std::move(steps)}};
  return dump_pretty(document);
}

}  // namespace medgen
