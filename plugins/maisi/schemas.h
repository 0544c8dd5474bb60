// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

// What the components say of themselves: config schemas with the published constructors' parameters, and the names and
// shapes of the tensors.

namespace medgen::maisi {

inline constexpr std::string_view kAutoencoderSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["num_channels", "num_res_blocks", "attention_levels"],
  "properties": {
    "spatial_dims": {"const": 3, "default": 3},
    "in_channels": {"type": "integer", "minimum": 1, "default": 1},
    "out_channels": {"type": "integer", "minimum": 1, "default": 1},
    "num_res_blocks": {"type": ["integer", "array"], "items": {"type": "integer", "minimum": 1}, "description": "one number, or one per level"},
    "num_channels": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "description": "per level; each further level halves the grid"},
    "attention_levels": {"type": "array", "items": {"type": "boolean"}, "minItems": 1},
    "latent_channels": {"type": "integer", "minimum": 1, "default": 3},
    "norm_num_groups": {"type": "integer", "minimum": 1, "default": 32},
    "norm_eps": {"type": "number", "exclusiveMinimum": 0, "default": 1e-6},
    "with_encoder_nonlocal_attn": {"type": "boolean", "default": false},
    "with_decoder_nonlocal_attn": {"type": "boolean", "default": false},
    "include_fc": {"type": "boolean", "default": false},
    "use_combined_linear": {"type": "boolean", "default": false},
    "use_convtranspose": {"type": "boolean", "default": false, "description": "transposed convolutions on the way up (mask VAE)"},
    "use_flash_attention": {"type": "boolean", "default": false, "description": "accepted; no effect on the numbers"},
    "use_checkpointing": {"type": "boolean", "default": false, "description": "accepted; no effect on the numbers"},
    "num_splits": {"type": "integer", "minimum": 1, "default": 16, "description": "accepted; the whole volume is always computed exactly"},
    "dim_split": {"type": "integer", "minimum": 0, "maximum": 2, "default": 0, "description": "accepted, as num_splits"},
    "norm_float16": {"type": "boolean", "default": false, "description": "accepted; statistics are always float32"},
    "print_info": {"type": "boolean", "default": false},
    "save_mem": {"type": "boolean", "default": true},
    "classes": {"type": "array", "items": {"type": "integer", "minimum": 0}, "uniqueItems": true, "description": "makes it a mask autoencoder: label ids in the order of the output's channels; x are label maps then, on both sides, and in_channels bit planes of them"},
    "decode_roi": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 3, "maxItems": 3, "description": "decode as released, in windows of this many latent voxels (default: whole, without seams)"},
    "decode_overlap": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.6666, "description": "with decode_roi"}
  }
})json";

inline constexpr std::string_view kAutoencoderIo = R"json({
  "functions": {
    "encode": {
      "summary": "the posterior of the latent",
      "in": {"x": {"shape": ["N", "in_channels", "X", "Y", "Z"], "dtype": "F32"}},
      "out": {"mean": {"shape": ["N", "latent_channels", "X/f", "Y/f", "Z/f"], "dtype": "F32"},
              "sigma": {"shape": ["N", "latent_channels", "X/f", "Y/f", "Z/f"], "dtype": "F32"}}},
    "decode": {
      "summary": "a latent to a volume, no output activation",
      "in": {"z": {"shape": ["N", "latent_channels", "X", "Y", "Z"], "dtype": "F32"}},
      "out": {"x": {"shape": ["N", "out_channels", "X*f", "Y*f", "Z*f"], "dtype": "F32"}}}
  }
})json";

inline constexpr std::string_view kUnetSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["spatial_dims", "in_channels", "out_channels"],
  "properties": {
    "out_channels": {"type": "integer", "minimum": 1},
    "num_channels": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "description": "per level; default 32, 64, 64, 64"},
    "include_fc": {"type": "boolean", "default": false, "description": "attention has an output projection"},
    "dropout_cattn": {"type": "number", "minimum": 0, "maximum": 1, "default": 0, "description": "0 where the U-Net is trained: above it acts in the published training code only"},
    "include_top_region_index_input": {"type": "boolean", "default": false},
    "include_bottom_region_index_input": {"type": "boolean", "default": false},
    "include_spacing_input": {"type": "boolean", "default": false},
    "spatial_dims": {"type": "integer", "minimum": 2, "maximum": 3},
    "in_channels": {"type": "integer", "minimum": 1},
    "num_res_blocks": {"type": ["integer", "array"], "items": {"type": "integer", "minimum": 1}, "description": "one number, or one per level (default 2)"},
    "attention_levels": {"type": "array", "items": {"type": "boolean"}, "description": "default: the two deepest of four levels"},
    "norm_num_groups": {"type": "integer", "minimum": 1, "default": 32},
    "norm_eps": {"type": "number", "exclusiveMinimum": 0, "default": 1e-6},
    "resblock_updown": {"type": "boolean", "default": false},
    "num_head_channels": {"type": ["integer", "array"], "items": {"type": "integer", "minimum": 0}, "description": "one number, or one per level (default 8)"},
    "with_conditioning": {"type": "boolean", "default": false},
    "transformer_num_layers": {"type": "integer", "minimum": 1, "default": 1},
    "cross_attention_dim": {"type": ["integer", "null"], "minimum": 1},
    "num_class_embeds": {"type": ["integer", "null"], "minimum": 1},
    "upcast_attention": {"type": "boolean", "default": false},
    "use_combined_linear": {"type": "boolean", "default": false},
    "use_flash_attention": {"type": "boolean", "default": false, "description": "accepted; attention never holds the whole score matrix"}
  }
})json";

inline constexpr std::string_view kMaskUnetSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["spatial_dims", "in_channels", "out_channels"],
  "properties": {
    "out_channels": {"type": "integer", "minimum": 1},
    "channels": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "description": "per level; default 32, 64, 64, 64"},
    "include_fc": {"type": "boolean", "default": true, "description": "attention has an output projection"},
    "dropout_cattn": {"type": "number", "minimum": 0, "maximum": 1, "default": 0, "description": "0 where the U-Net is trained: above it acts in the published training code only"},
    "spatial_dims": {"type": "integer", "minimum": 2, "maximum": 3},
    "in_channels": {"type": "integer", "minimum": 1},
    "num_res_blocks": {"type": ["integer", "array"], "items": {"type": "integer", "minimum": 1}, "description": "one number, or one per level (default 2)"},
    "attention_levels": {"type": "array", "items": {"type": "boolean"}, "description": "default: the two deepest of four levels"},
    "norm_num_groups": {"type": "integer", "minimum": 1, "default": 32},
    "norm_eps": {"type": "number", "exclusiveMinimum": 0, "default": 1e-6},
    "resblock_updown": {"type": "boolean", "default": false},
    "num_head_channels": {"type": ["integer", "array"], "items": {"type": "integer", "minimum": 0}, "description": "one number, or one per level (default 8)"},
    "with_conditioning": {"type": "boolean", "default": false},
    "transformer_num_layers": {"type": "integer", "minimum": 1, "default": 1},
    "cross_attention_dim": {"type": ["integer", "null"], "minimum": 1},
    "num_class_embeds": {"type": ["integer", "null"], "minimum": 1},
    "upcast_attention": {"type": "boolean", "default": false},
    "use_combined_linear": {"type": "boolean", "default": false},
    "use_flash_attention": {"type": "boolean", "default": false, "description": "accepted; attention never holds the whole score matrix"}
  }
})json";

inline constexpr std::string_view kUnetComponentIo = R"json({
  "functions": {
    "predict": {
      "summary": "noise, velocity or x0, as the network was trained; conditions where the config has them, and no others",
      "in": {"x": {"shape": ["N", "in_channels", "X", "Y", "Z"], "dtype": "F32"},
             "timesteps": {"shape": ["N"], "dtype": "F32"},
             "context": {"shape": ["N", "M", "cross_attention_dim"], "dtype": "F32", "optional": true},
             "class_labels": {"shape": ["N"], "dtype": "I64 or F32", "optional": true},
             "top_region_index": {"shape": ["N", 4], "dtype": "F32", "optional": true, "summary": "one-hot times 100"},
             "bottom_region_index": {"shape": ["N", 4], "dtype": "F32", "optional": true, "summary": "one-hot times 100"},
             "spacing": {"shape": ["N", 3], "dtype": "F32", "optional": true, "summary": "mm times 100"},
             "concat": {"shape": ["N", "K", "X", "Y", "Z"], "dtype": "F32", "optional": true, "summary": "joined to x along the channels"},
             "down0": {"shape": ["N", "C0", "X", "Y", "Z"], "dtype": "F32", "optional": true, "summary": "ControlNet residuals down0, down1, ..."},
             "mid": {"shape": ["N", "Cmid", "Xmid", "Ymid", "Zmid"], "dtype": "F32", "optional": true}},
      "out": {"out": {"shape": ["N", "out_channels", "X", "Y", "Z"], "dtype": "F32"}}}
  }
})json";

inline constexpr std::string_view kMaskUnetIo = R"json({
  "functions": {
    "predict": {
      "summary": "noise, velocity or x0, as the network was trained; conditions where the config has them, and no others",
      "in": {"x": {"shape": ["N", "in_channels", "X", "Y", "Z"], "dtype": "F32"},
             "timesteps": {"shape": ["N"], "dtype": "F32"},
             "context": {"shape": ["N", "M", "cross_attention_dim"], "dtype": "F32", "optional": true},
             "class_labels": {"shape": ["N"], "dtype": "I64 or F32", "optional": true},
             "concat": {"shape": ["N", "K", "X", "Y", "Z"], "dtype": "F32", "optional": true, "summary": "joined to x along the channels"},
             "down0": {"shape": ["N", "C0", "X", "Y", "Z"], "dtype": "F32", "optional": true, "summary": "ControlNet residuals down0, down1, ..."},
             "mid": {"shape": ["N", "Cmid", "Xmid", "Ymid", "Zmid"], "dtype": "F32", "optional": true}},
      "out": {"out": {"shape": ["N", "out_channels", "X", "Y", "Z"], "dtype": "F32"}}}
  }
})json";

inline constexpr std::string_view kControlNetSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["spatial_dims", "in_channels"],
  "properties": {
    "conditioning_scale": {"type": "number", "default": 1, "description": "factor on all residuals"},
    "conditioning_embedding_in_channels": {"type": "integer", "minimum": 1, "default": 1},
    "conditioning_embedding_num_channels": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "description": "default 16, 32, 96, 256; each further one halves the condition's grid"},
    "use_checkpointing": {"type": "boolean", "default": true, "description": "accepted; no effect on the numbers"},
    "num_channels": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "description": "per level; default 32, 64, 64, 64"},
    "include_fc": {"type": "boolean", "default": false, "description": "attention has an output projection"},
    "spatial_dims": {"type": "integer", "minimum": 2, "maximum": 3},
    "in_channels": {"type": "integer", "minimum": 1},
    "num_res_blocks": {"type": ["integer", "array"], "items": {"type": "integer", "minimum": 1}, "description": "one number, or one per level (default 2)"},
    "attention_levels": {"type": "array", "items": {"type": "boolean"}, "description": "default: the two deepest of four levels"},
    "norm_num_groups": {"type": "integer", "minimum": 1, "default": 32},
    "norm_eps": {"type": "number", "exclusiveMinimum": 0, "default": 1e-6},
    "resblock_updown": {"type": "boolean", "default": false},
    "num_head_channels": {"type": ["integer", "array"], "items": {"type": "integer", "minimum": 0}, "description": "one number, or one per level (default 8)"},
    "with_conditioning": {"type": "boolean", "default": false},
    "transformer_num_layers": {"type": "integer", "minimum": 1, "default": 1},
    "cross_attention_dim": {"type": ["integer", "null"], "minimum": 1},
    "num_class_embeds": {"type": ["integer", "null"], "minimum": 1},
    "upcast_attention": {"type": "boolean", "default": false},
    "use_combined_linear": {"type": "boolean", "default": false},
    "use_flash_attention": {"type": "boolean", "default": false, "description": "accepted; attention never holds the whole score matrix"}
  }
})json";

inline constexpr std::string_view kControlNetIo = R"json({
  "functions": {
    "step": {
      "summary": "residuals for the U-Net, which takes them under the same names",
      "in": {"x": {"shape": ["N", "in_channels", "X", "Y", "Z"], "dtype": "F32"},
             "timesteps": {"shape": ["N"], "dtype": "F32"},
             "controlnet_cond": {"shape": ["N", "conditioning_embedding_in_channels", "X*f", "Y*f", "Z*f"], "dtype": "F32"},
             "context": {"shape": ["N", "M", "cross_attention_dim"], "dtype": "F32", "optional": true},
             "class_labels": {"shape": ["N"], "dtype": "I64 or F32", "optional": true}},
      "out": {"down0": {"shape": ["N", "num_channels[0]", "X", "Y", "Z"], "dtype": "F32", "summary": "down0, down1, ...: one for each skip of the U-Net"},
              "mid": {"shape": ["N", "num_channels[-1]", "Xmid", "Ymid", "Zmid"], "dtype": "F32"}}}
  }
})json";

inline constexpr std::string_view kConditionsSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "spacing": {"type": "boolean", "default": true, "description": "the network has include_spacing_input"},
    "regions": {"type": "boolean", "default": false, "description": "the network has include_top/bottom_region_index_input"},
    "modality": {"type": ["string", "integer"], "description": "the network has num_class_embeds: default modality, a name (ct, mri, mri_t1 ...) or a code; samples may have others of the same kind (CT or MR)"},
    "num_class_embeds": {"type": "integer", "minimum": 1, "default": 128, "description": "of the network: modality codes end below it"}
  }
})json";

inline constexpr std::string_view kConditionsIo = R"json({
  "functions": {
    "encode": {
      "summary": "voxel size, modality and body regions; a condition that the config has not switched on is refused",
      "params": {"spacing_mm": "voxel size (x, y, z), from the host",
                 "modality": "a published name (mri_t1, t1, ct_contrast, mri_t1_skull_stripped ...) or a code",
                 "top_region": "head-neck (head), chest (thorax), abdomen, lower (pelvis), or 0 to 3",
                 "bottom_region": "as top_region, not above it"},
      "in": {"mask": {"shape": ["N", 1, "X", "Y", "Z"], "dtype": "integer", "optional": true, "summary": "regions are read off it when they are not given"}},
      "out": {"spacing": {"shape": [1, 3], "dtype": "F32"}, "class_labels": {"shape": [1], "dtype": "F32"},
              "top_region_index": {"shape": [1, 4], "dtype": "F32"}, "bottom_region_index": {"shape": [1, 4], "dtype": "F32"}}}
  }
})json";

inline constexpr std::string_view kLabelPlanesSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "encoding": {"enum": ["bits", "one_hot"], "default": "bits", "description": "plane b is bit b of the label (released), or one plane for each class"},
    "bits": {"type": "integer", "minimum": 1, "maximum": 32, "default": 8},
    "classes": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": true, "description": "label ids of the one-hot planes, in order"},
    "unshuffle": {"type": "integer", "minimum": 1, "maximum": 8, "default": 1, "description": "every block of n^3 voxels becomes channels of one: full-resolution labels on the latent's grid"},
    "output": {"enum": ["controlnet_cond", "concat"], "default": "controlnet_cond"},
    "null_labels": {"type": "object",
                    "additionalProperties": {"oneOf": [
                      {"type": "integer", "minimum": 0},
                      {"type": "object", "additionalProperties": false, "required": ["majority_of"],
                       "properties": {"majority_of": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}}}]},
                    "description": "for guidance: label id to the id it has in the null condition (tumour to organ), or to the most frequent of several beside it; all planes 0 when missing"}
  }
})json";

inline constexpr std::string_view kLabelPlanesIo = R"json({
  "functions": {
    "encode": {
      "summary": "label planes, 0 or 1",
      "params": {},
      "in": {"mask": {"shape": ["N", 1, "X", "Y", "Z"], "dtype": "integer"}},
      "out": {"controlnet_cond": {"shape": ["N", "K*n^3", "X/n", "Y/n", "Z/n"], "dtype": "F32", "summary": "or concat, as the config says"}}}
  }
})json";

inline constexpr std::string_view kAnatomySizesSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["slots"],
  "properties": {
    "slots": {"type": "array", "minItems": 1, "description": "what has a size, in the order of the network's context",
      "items": {"type": "object", "additionalProperties": false, "required": ["name", "label"],
        "properties": {
          "name": {"type": "string", "minLength": 1},
          "label": {"type": "integer", "minimum": 0},
          "tumour": {"type": "boolean", "default": false, "description": "not there unless it is asked for; one at most"}}}}
  }
})json";

inline constexpr std::string_view kAnatomySizesIo = R"json({
  "functions": {
    "encode": {
      "summary": "sizes as shares of the training's cases that are smaller, -1 for what is not there; drawn where they are not given",
      "params": {"anatomy_sizes": "0 to 1 by name, or -1: {\"liver\": 0.5}",
                 "label_volumes_ml": "by label id, at even shares: smallest, ..., median, ..., largest; in training, from the host",
                 "spacing_mm": "voxel size (x, y, z), from the host", "samples": "rows to make, from the host"},
      "in": {"mask": {"shape": ["N", 1, "X", "Y", "Z"], "dtype": "integer", "optional": true, "summary": "in training: sizes are measured in it"},
             "whole_mask": {"shape": ["N", 1, "W", "H", "D"], "dtype": "integer", "optional": true, "summary": "in training, of a case that mask is a patch of: sizes are measured in it then"}},
      "out": {"context": {"shape": ["N", 1, "slots"], "dtype": "F32"}}}
  }
})json";

inline constexpr std::string_view kInpaintingSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "required": ["classes"],
  "properties": {
    "classes": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "uniqueItems": true, "description": "label ids that are inpainted, one plane each"},
    "hole": {"type": "number", "default": 0, "description": "what the image has there, scaled as the model has it"}
  }
})json";

inline constexpr std::string_view kInpaintingIo = R"json({
  "functions": {
    "encode": {
      "summary": "the image with a hole where the mask has one of the classes, then a plane for each class",
      "params": {},
      "in": {"mask": {"shape": ["N", 1, "X", "Y", "Z"], "dtype": "integer"},
             "image": {"shape": ["N", 1, "X", "Y", "Z"], "dtype": "F32"}},
      "out": {"controlnet_cond": {"shape": ["N", "1+classes", "X", "Y", "Z"], "dtype": "F32"}}}
  }
})json";

}  // namespace medgen::maisi
