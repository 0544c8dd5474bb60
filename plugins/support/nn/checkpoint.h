// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/module.h"

#include <functional>

namespace medgen::nn {

/// Part of a network that gradients pass through: a function of `inputs` and of parameters alone.
using Segment = std::function<at::Tensor(at::TensorList inputs)>;

/// segment(inputs), of whose inner tensors none is kept for the way back: they are computed again then. Gradients are
/// those of the segment to the bit, but where several meet they may be added in another order; the price is one more
/// forward pass. When no input wants gradients, nothing changes.
/// Source: Chen et al. 2016, arXiv 1604.06174.
at::Tensor checkpointed(const Segment& segment, at::TensorList inputs);

/// segment(inputs), checkpointed where `owner` is told to checkpoint its activations.
at::Tensor run_segment(const Module& owner, const Segment& segment, at::TensorList inputs);

}  // namespace medgen::nn
