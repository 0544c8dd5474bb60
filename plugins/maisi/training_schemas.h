// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

// What the VAE's training can be told, and its feature network's description.

namespace medgen::maisi {

inline constexpr std::string_view kAutoencoderTrainerOptions = R"json({
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "loss": {"enum": ["l1", "l2"], "default": "l1", "description": "between image and reconstruction; label maps have cross-entropy"},
    "kl_weight": {"type": "number", "minimum": 0, "default": 1e-7},
    "perceptual_weight": {"type": "number", "minimum": 0, "default": 0, "description": "released: 0.3; wants the step's \"perceptual\" network"},
    "perceptual_slices": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.2, "description": "part of the slices of each axis that are compared"},
    "adversarial_weight": {"type": "number", "minimum": 0, "default": 0, "description": "released: 0.1; 0: without a discriminator"},
    "adversarial_start": {"type": "integer", "minimum": 0, "default": 0, "description": "iterations before the discriminator learns and counts"},
    "discriminator_rate": {"type": "number", "exclusiveMinimum": 0, "default": 1, "description": "its learning rate, times that of the autoencoder"},
    "beta1": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.9},
    "beta2": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.999},
    "eps": {"type": "number", "exclusiveMinimum": 0, "default": 1e-8},
    "weight_decay": {"type": "number", "minimum": 0, "default": 0, "description": "decoupled (AdamW)"},
    "ema": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0, "description": "decay of the averaged weights, which are what is saved; 0: none"},
    "clip_norm": {"type": "number", "minimum": 0, "default": 0, "description": "largest global gradient norm; 0: not clipped"},
    "precision": {"enum": ["fp32", "bf16", "fp16"], "description": "of activations, that of the run when missing; weights and gradients stay fp32; fp16 scales the loss"},
    "checkpoint_activations": {"type": "boolean", "default": false, "description": "inner activations are computed again on the way back: less memory, more time"}
  }
})json";

inline constexpr std::string_view kLpipsSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "network": {"enum": ["squeeze", "st_alex"], "default": "squeeze", "description": "SqueezeNet 1.1 (LPIPS 0.1), or AlexNet with blurred strides (ST-LPIPS)"}
  }
})json";

inline constexpr std::string_view kLpipsIo = R"json({
  "functions": {
    "encode": {
      "summary": "perceptual distance of each pair of images, which are published for [-1, 1]; one channel stands for three",
      "params": {},
      "in": {"x": {"shape": ["N", "1 or 3", "H", "W"], "dtype": "F32"}, "y": {"shape": ["N", "1 or 3", "H", "W"], "dtype": "F32"}},
      "out": {"distance": {"shape": ["N"], "dtype": "F32"}}}
  }
})json";

}  // namespace medgen::maisi
