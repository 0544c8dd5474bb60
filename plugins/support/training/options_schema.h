// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace medgen::support {

/// The end of a schema whose "properties" begin with the trainer's own: what TrainingOptions reads.
inline constexpr std::string_view kTrainingOptionsSchema =
    R"json(    "beta1": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.9},
    "beta2": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.999},
    "eps": {"type": "number", "exclusiveMinimum": 0, "default": 1e-8},
    "weight_decay": {"type": "number", "minimum": 0, "default": 0, "description": "decoupled (AdamW)"},
    "ema": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0, "description": "decay of the averaged weights, which are what is saved; 0: none"},
    "clip_norm": {"type": "number", "minimum": 0, "default": 0, "description": "largest global gradient norm; 0: not clipped"},
    "precision": {"enum": ["fp32", "bf16", "fp16"], "description": "of activations, that of the run when missing; weights and gradients stay fp32; fp16 scales the loss"},
    "checkpoint_activations": {"type": "boolean", "default": false, "description": "inner activations are computed again on the way back: less memory, more time"},
    "optimizer_state": {"enum": ["memory", "disk"], "default": "memory", "description": "where moments and averages lie between two steps; disk: in the folder for temporary files (TMPDIR), with the same result"}
  }
})json";

}  // namespace medgen::support
