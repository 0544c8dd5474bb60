// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/trace.h"
#include "core/component/conditioner.h"
#include "core/component/denoiser.h"
#include "core/component/propagator.h"
#include "core/component/scheduler.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace medgen {

/// The parts that sample a latent together. Any scheduler drives any denoiser.
struct SamplerParts {
  std::shared_ptr<Scheduler> scheduler;
  std::shared_ptr<Denoiser> denoiser;
  std::vector<std::shared_ptr<Conditioner>> conditioners;  ///< in order; each sees the outputs of those before it
  std::shared_ptr<Propagator> propagator;
};

struct SampleRequest {
  Shape latent;  ///< one sample: channels, then spatial axes, in the denoiser's axis order
  int batch = 1;
  std::uint64_t seed = 0;
  std::uint32_t first_sample = 0;  ///< noise index of the first sample of the batch
  int steps = 30;
  double guidance = 1.0;  ///< classifier-free guidance scale; 1 = off
  /// Conditional and unconditional halves in one call of twice the batch, instead of one after the other: same result.
  bool batched_guidance = false;
  std::vector<double> timesteps;  ///< the user's own list, or empty
  /// The user's inputs, one row per sample of the batch. Spatial ones are an integer multiple of the latent's grid.
  TensorMap inputs;
  std::string params_json;  ///< scalars for the conditioners
  unsigned threads = 0;     ///< for noise and updates; 0: as many as the machine has
};

/// What the sampling loop tells, and asks.
struct SampleHooks {
  Trace* trace = nullptr;  ///< where the time of its parts is noted
  /// After every evaluation. Returning false cancels.
  std::function<bool(std::uint64_t done, std::uint64_t total)> progress;
  /// The current estimate of the clean latent, (N, C, spatial...); called when set.
  std::function<void(std::uint64_t evaluation, const Tensor& x0)> preview;
};

/// A conditioner refuses its inputs or scalars: they are what is wrong, not the plugin.
struct ConditionError : PluginError {
  using PluginError::PluginError;
};

/// Samples a batch of latents: covers the array window by window and runs the denoising loop in each.
/// @return (N, C, spatial...) float32. The result of a sample depends on (seed, first_sample + row) and its own inputs
/// alone.
/// @throws Cancelled, ConditionError, PluginError
Tensor sample_latents(const SamplerParts& parts, const SampleRequest& request, const SampleHooks& hooks = {});

}  // namespace medgen
