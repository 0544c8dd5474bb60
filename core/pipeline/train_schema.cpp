// SPDX-License-Identifier: Apache-2.0
#include "core/augment/augment.h"
#include "core/config/json.h"
#include "core/pipeline/model_schema.h"
#include "core/pipeline/train_step.h"

#include <nlohmann/json.hpp>

namespace medgen {
namespace {

constexpr const char* kSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["train", "component", "data", "iterations", "to"],
  "properties": {
    "train": {"type": ["string", "object"], "description": "the model: in line, a folder, or \"@step\" whose package is trained further"},
    "component": {"enum": ["compressor", "denoiser"], "description": "which part learns; the others keep their weights"},
    "with": {"type": "array", "items": {"type": "string"}, "default": [], "description": "conditioners that learn together with the denoiser (a ControlNet)"},
    "perceptual": {"type": "object", "additionalProperties": false, "required": ["component", "weights"], "description": "for a compressor: the feature network of its perceptual loss",
                   "properties": {
                     "component": {"type": "string", "description": "maisi.lpips"},
                     "config": {"type": "object", "default": {}},
                     "weights": {"type": "string", "minLength": 1, "description": "its file, .safetensors or a torch checkpoint"}}},
    "data": {"type": "string", "description": "folder: MSD, nnU-Net, or images/ + labels/; \"@step\" for that step's"},
    "channel": {"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}],
                "description": "which channel of cases that have several: its name in dataset.json, or its number from 0; \"data\": \"@step\" takes that step's"},
    "resample_mm": {"oneOf": [{"type": "number", "exclusiveMinimum": 0},
                              {"type": "array", "minItems": 3, "maxItems": 3,
                               "items": {"oneOf": [{"type": "null"}, {"type": "number", "exclusiveMinimum": 0}]}}],
                    "description": "voxel size that cases are brought to, a number or (x, y, z) in the model's orientation; null: an axis keeps its own; \"data\": \"@step\" takes that step's"},
    "crop": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 3, "maxItems": 3, "description": "patch in voxels (x, y, z); whole images when missing"},
    "crop_at": {"oneOf": [{"enum": ["center", "random"]},
                          {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}],
                "default": "random", "description": "or how often a patch is centred on a label: {\"tumour\": 0.5}; the rest is random"},
    "loader": {"type": "object", "additionalProperties": false, "default": {}, "description": "makes patches ahead while the network computes",
               "properties": {
                 "threads": {"type": "integer", "minimum": 0, "maximum": 256, "default": 1, "description": "beside those of the network; 0: patches are made when they are needed"},
                 "ahead": {"type": "integer", "minimum": 1, "maximum": 1024, "default": 2, "description": "batches"},
                 "memory": {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 0}],
                            "description": "of cases that stay in memory, such as \"4GiB\"; half of what there is when missing; the others are read again when they are wanted"}}},
    "cache": {"oneOf": [{"type": "string", "minLength": 1},
                        {"type": "object", "additionalProperties": false, "required": ["folder"], "properties": {
                           "folder": {"type": "string", "minLength": 1},
                           "size": {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 0}], "description": "such as \"100GiB\", the default"}}}],
              "description": "folder for prepared cases and latents, kept by what they are made of; trainings may share it"},
    "body": {"description": "label maps of CTs get a label on every voxel of the body that has none, as MAISI's ControlNet needs it; \"data\": \"@step\" takes that step's, unless this is false",
             "oneOf": [{"const": false},
                       {"type": "object", "additionalProperties": false, "properties": {
                         "label": {"type": "string", "minLength": 1, "default": "body", "description": "its name in the data contract; maps that have it stay as they are"},
                         "air_below": {"type": "number", "default": -800, "description": "Hounsfield units"},
                         "least_part": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1, "description": "parts of this size, relative to the largest, are body too (legs); 1: the largest alone"}}}]},
    "labels": {"type": "object", "additionalProperties": {"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}]},
               "description": "what labels of the data are in the model where names differ, {\"cancer\": \"hepatic tumor\"}; by name or id, 0: background; \"data\": \"@step\" takes that step's"},
    "modalities": {"type": "object", "minProperties": 1, "description": "for a compressor that learns other modalities beside the model's: {\"mr\": {\"cases\": [\"*_mr\"], \"intensity\": ..., \"augment\": ...}}",
                   "additionalProperties": {"type": "object", "additionalProperties": false, "required": ["cases", "intensity"], "properties": {
                     "cases": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}, "description": "names of cases; * is any text, ? any letter"}}}},
    "skip_bad": {"type": "boolean", "description": "cases that cannot be used, or whose files are missing, are left out with a warning and noted in the package; else they are an error; \"data\": \"@step\" takes that step's"},
    "validation": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "description": "part of the subjects that is held out to validate on; short for \"split\""},
    "split": {"type": "object", "additionalProperties": false, "description": "parts of the subjects; what is left over is trained on; \"data\": \"@step\" takes that step's",
              "properties": {
                "train": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                "validation": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
                "test": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "description": "never read"},
                "subjects": {"type": "string", "minLength": 1, "description": "table with a line \"case,subject\" for each case; else names tell the subject"}}},
    "validate": {"type": "object", "additionalProperties": false, "description": "the loss on held-out cases, with noise and times that are always the same",
                 "properties": {
                   "every": {"type": "integer", "minimum": 1, "default": 500, "description": "iterations; also at the end"},
                   "cases": {"type": "integer", "minimum": 1, "default": 32, "description": "at most"},
                   "times": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 4, "description": "noise levels that a denoiser sees of each case"},
                   "patience": {"type": "integer", "minimum": 1, "description": "validations in a row without a lower loss, after which the training ends"}}},
    "samples": {"type": "object", "additionalProperties": false, "description": "images that the model makes of held-out cases meanwhile: in training/STEP/samples",
                "properties": {
                  "every": {"type": "integer", "minimum": 1, "default": 500, "description": "iterations"},
                  "count": {"type": "integer", "minimum": 1, "maximum": 64, "default": 1, "description": "cases"},
                  "steps": {"type": "integer", "minimum": 1, "maximum": 100000, "description": "of the sampling; the model's when missing"}}},
    "keep": {"enum": ["last", "best"], "default": "last", "description": "which weights the package gets: those of the end, or of the lowest loss on held-out cases"},
    "watch": {"type": "object", "additionalProperties": false, "default": {}, "description": "when a training that goes wrong is stopped",
              "properties": {
                "explode": {"oneOf": [{"const": 0}, {"type": "number", "exclusiveMinimum": 1}], "default": 10, "description": "the loss stays above this many times its lowest mean; 0: never"},
                "flat": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 1e-3, "description": "samples or latents vary less than this; 0: never"}}},
    "batch": {"type": "integer", "minimum": 1, "maximum": 4096, "default": 1},
    "accumulate": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1, "description": "batches to one optimiser step"},
    "iterations": {"type": "integer", "minimum": 1},
    "minutes": {"type": "number", "exclusiveMinimum": 0, "description": "ends earlier, with the learning rate scheduled for it"},
    "learning_rate": {"type": "number", "exclusiveMinimum": 0, "default": 1e-4},
    "schedule": {"enum": ["constant", "cosine", "polynomial"], "default": "constant"},
    "power": {"type": "number", "exclusiveMinimum": 0, "default": 2},
    "warmup": {"type": "integer", "minimum": 0, "default": 0},
    "options": {"type": "object", "default": {}, "description": "for the component's trainer: optimiser, EMA, losses (medgen describe)"},
    "conditions": {"type": "object", "default": {}, "description": "for a denoiser: scalars for the conditioners"},
    "case_conditions": {"type": "string", "minLength": 1,
                        "description": "for a denoiser: table with a heading case,CONDITION,... and a line for each case; goes before \"conditions\""},
    "loss_weights": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number", "minimum": 0},
                     "description": "for a denoiser: how much the voxels of a label count, {\"hepatic tumor\": 100}; others count 1"},
    "latent_scale": {"oneOf": [{"const": "measure"}, {"type": "number", "exclusiveMinimum": 0}], "default": "measure",
                     "description": "for a denoiser: 1/std of the latents of the data, or a number; a denoiser that has weights keeps its own"},
    "checkpoint_every": {"type": "integer", "minimum": 0, "default": 500},
    "log_every": {"type": "integer", "minimum": 0, "default": 10},
    "name": {"type": "string", "minLength": 1, "description": "of the package; else the model's"},
    "license": {"type": "string", "minLength": 1, "description": "of what was learnt, an SPDX expression or a name; else the model's"},
    "credit": {"type": "string", "minLength": 1, "description": "whom to name for the data that were learnt from, beside the model's own"},
    "weights_type": {"enum": ["fp32", "fp16", "bf16"], "default": "fp32", "description": "how the package stores what was learnt"},
    "to": {"type": "string", "minLength": 1, "description": "folder of the model package; also holds checkpoint and log while training goes on"}
  }
})json";

}  // namespace

const std::string& train_schema() {
  static const std::string text = [] {
    Json schema = Json::parse(kSchema);
    Json augment = Json::parse(AugmentOptions::schema());
    schema["$defs"] = augment["$defs"];
    augment.erase("$defs");
    Json& properties = schema["properties"];
    Json& modality = properties["modalities"]["additionalProperties"]["properties"];
    modality["intensity"] = Json::parse(intensity_schema());
    modality["augment"] = augment;
    modality["augment"]["description"] = "what may happen to its patches; as the step says when missing";
    augment["description"] = "what may happen to a patch";
    properties["augment"] = std::move(augment);
    return schema.dump();
  }();
  return text;
}

}  // namespace medgen
