// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/model_schema.h"

#include "core/config/json.h"

#include <nlohmann/json.hpp>

namespace medgen {
namespace {

constexpr const char* kModelSchema = R"json({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "medgen model package",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "$schema": {"type": "string"},
    "medgen_model": {"const": 1, "description": "version of this format"},
    "name": {"type": "string", "minLength": 1},
    "version": {"type": "string"},
    "title": {"type": "string"},
    "summary": {"type": "string"},
    "license": {"type": "string", "description": "SPDX expression or name of the licence of the weights"},
    "credit": {"type": "string", "description": "whom to name when the weights or samples are used"},
    "method": {"type": "string", "description": "whose defaults this model is laid over, e.g. maisi.rflow-ct-from-mask"},
    "components": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "compressor": {"$ref": "#/$defs/component"},
        "denoiser": {"$ref": "#/$defs/component"},
        "scheduler": {"$ref": "#/$defs/component"},
        "propagator": {"$ref": "#/$defs/component"},
        "conditioners": {
          "type": "object",
          "description": "by name, in the order in which they run",
          "propertyNames": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*$", "examples": ["modality"]},
          "additionalProperties": {"$ref": "#/$defs/component"}
        }
      }
    },
    "mask_generator": {"type": "string", "minLength": 1,
                       "description": "a package that makes label maps for this one, where none are given: a folder, relative to model.json"},
    "latent": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "scale": {"type": "number", "exclusiveMinimum": 0, "default": 1,
                  "description": "the denoiser works on scale times the compressor's latent (scale_factor)"}
      }
    },
    "data": {
      "type": "object",
      "additionalProperties": false,
      "description": "what the model was trained on: applied on the way in, undone on the way out",
      "properties": {
        "modality": {"type": "string", "description": "ct, mr ...; labels: the model makes label maps"},
        "axes": {"enum": ["xyz", "zyx"], "default": "zyx", "description": "spatial axis order of the tensors"},
        "orientation": {"type": "string", "pattern": "^[RLAPSI]{3}$", "examples": ["RAS"], "default": "RAS"},
        "spacing_mm": {"$ref": "#/$defs/range"},
        "size": {"$ref": "#/$defs/size"},
        "fov_mm": {"$ref": "#/$defs/range"},
        "square": {"$ref": "#/$defs/square"},
        "sizes": {"$ref": "#/$defs/sizes"},
        "recommended": {
          "type": "object",
          "additionalProperties": false,
          "description": "narrower limits, outside of which there is a warning",
          "properties": {"spacing_mm": {"$ref": "#/$defs/range"}, "size": {"$ref": "#/$defs/size"},
                         "fov_mm": {"$ref": "#/$defs/range"}, "square": {"$ref": "#/$defs/square"},
                         "sizes": {"$ref": "#/$defs/sizes"}}
        },
        "intensity": {
          "oneOf": [
            {"type": "object", "additionalProperties": false, "required": ["kind", "low", "high"],
             "description": "low..high of the image becomes 0..1, clipped; the result is mapped back",
             "properties": {"kind": {"const": "window"}, "low": {"type": "number"}, "high": {"type": "number"}}},
            {"type": "object", "additionalProperties": false, "required": ["kind"],
             "description": "the percentiles low..high of each image become 0..1; results are multiplied by scale",
             "properties": {"kind": {"const": "percentile"},
                            "low": {"type": "number", "minimum": 0, "maximum": 100, "default": 0},
                            "high": {"type": "number", "minimum": 0, "maximum": 100, "default": 99.5},
                            "scale": {"type": "number", "exclusiveMinimum": 0, "default": 1000},
                            "clip": {"type": "boolean", "default": false, "description": "cut off what is above high"}}},
            {"type": "object", "additionalProperties": false, "required": ["kind"],
             "description": "values are used as they are",
             "properties": {"kind": {"const": "none"}}}
          ]
        },
        "background": {
          "type": "object",
          "additionalProperties": false,
          "required": ["label", "value"],
          "description": "voxels with this label get this value in the generated image",
          "properties": {"label": {"type": "integer", "minimum": 0}, "value": {"type": "number"}}
        },
        "labels": {"type": "object", "description": "name to id; a mask with another id is refused",
                   "additionalProperties": {"type": "integer", "minimum": 0}},
        "expected_labels": {"type": "array", "items": {"type": "integer", "minimum": 1},
                            "description": "ids of every mask of the training; one that lacks them gives a warning"},
        "label_volumes_ml": {"type": "object",
                             "description": "of a label, in the training's cases that have it: volumes at even shares, smallest, ..., median, ..., largest; trainings measure them where conditioners ask for them (maisi.anatomy_sizes)",
                             "additionalProperties": {"type": "array", "minItems": 2, "items": {"type": "number", "minimum": 0}}},
        "output": {"enum": ["int16", "float32"], "default": "int16"}
      }
    },
    "defaults": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "steps": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 30},
        "guidance": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000, "default": 1}
      }
    },
    "provenance": {"type": "object", "description": "how the weights came to be: written by train and import"}
  },
  "$defs": {
    "three": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
    "range": {
      "type": "object",
      "additionalProperties": false,
      "description": "x, y, z in the model's orientation",
      "properties": {"minimum": {"$ref": "#/$defs/three"}, "maximum": {"$ref": "#/$defs/three"}}
    },
    "size": {
      "type": "object",
      "additionalProperties": false,
      "description": "voxels (x, y, z)",
      "properties": {"minimum": {"$ref": "#/$defs/three"}, "maximum": {"$ref": "#/$defs/three"},
                     "multiple_of": {"type": "integer", "minimum": 1}}
    },
    "square": {"type": "boolean", "description": "x and y have one size and one spacing"},
    "sizes": {"type": "array", "minItems": 1, "description": "voxels (x, y, z): these sizes alone",
              "items": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 3, "maxItems": 3}},
    "component": {
      "type": "object",
      "additionalProperties": false,
      "required": ["component"],
      "properties": {
        "component": {"type": "string", "minLength": 1},
        "config": {"type": "object", "description": "as the component's own schema says (medgen describe)"},
        "weights": {"type": "string", "description": ".safetensors file, relative to model.json"},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}
      }
    }
  }
})json";

}  // namespace

const Schema& model_schema() {
  static const Schema schema = Schema::parse(kModelSchema, "model schema");
  return schema;
}

std::string intensity_schema() {
  return Json::parse(kModelSchema).at("properties").at("data").at("properties").at("intensity").dump();
}

}  // namespace medgen
