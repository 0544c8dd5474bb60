// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/model.h"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace medgen {

/// What a step that makes samples takes, as its components predict it. Bytes; of the host's memory unless it says
/// otherwise.
struct Demand {
  std::uint64_t loading = 0;                          ///< most while its models are loaded
  std::uint64_t held = 0;                             ///< its models, from its first sample to the end of the run
  std::uint64_t working = 0;                          ///< most beyond `held` while a sample is made, volumes included
  std::uint64_t device_held = 0, device_working = 0;  ///< the same of the GPU
  std::uint64_t scratch = 0;                          ///< in the folder for temporary files
  std::uint64_t written = 0;                          ///< in the step's folder, beside samples
  double flops = 0;
  double seconds = 0;                   ///< for all samples
  bool timed = true;                    ///< whether `seconds` has everything
  Size3 patch{};                        ///< of a training, in voxels
  std::string precision;                ///< "bf16", "fp32", both joined, or empty
  std::set<std::string> notes;          ///< how components go about it
  std::set<std::string> unknown;        ///< components that cannot tell what they take: it comes on top
  std::vector<std::string> complaints;  ///< estimates that failed

  /// Both happen, one after the other, with the same models.
  void then(const Demand& other);
  /// The same with other models, which stay loaded too.
  void then_with_more_models(const Demand& other);
};

/// Samples of one shape that a model makes.
struct GenerateShape {
  Shape spatial;           ///< the model's array, in its axis order
  std::int64_t batch = 1;  ///< sampled at once
  std::uint64_t kept = 0;  ///< bytes of a sample's label map, which stays until the sample is written
  double samples = 1;      ///< how many
  bool with_mask = false;  ///< conditioners see one
  int steps = 1;
  std::vector<double> timesteps;
  double guidance = 1;
  bool batched_guidance = false;
};

/// @param model  of `package`, perhaps created without its weights. @{
Demand demand_to_generate(const Model& model, const ModelPackage& package, bool on_device, const GenerateShape& shape);
/// @param image_bytes  of the volume that is read
Demand demand_to_encode(const Model& model, const ModelPackage& package, bool on_device, const Shape& spatial,
                        std::uint64_t image_bytes, double samples);
/// @param latent  one latent, (1, C, spatial...)
Demand demand_to_decode(const Model& model, const ModelPackage& package, bool on_device, const Shape& latent,
                        double samples);
/// @}

/// Of float32.
std::uint64_t bytes_of(const Shape& shape);

/// An axis made `scale` times as long, to a multiple of `multiple_of`; as it is for scale 1.
std::int64_t scaled_axis(std::int64_t axis, double scale, std::int64_t multiple_of);

/// Whether components compute on a GPU.
bool on_device(const Host& host);

}  // namespace medgen
