// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>

namespace medgen::maisi {

/// How the released pipeline decodes a latent that is larger than its window.
struct WindowOptions {
  std::array<std::int64_t, 3> roi{};  ///< latent voxels; all 0: the whole latent at once
  double overlap = 0.6666;            ///< fraction of the window that neighbours share

  bool whole() const { return roi[0] == 0; }
};

/// Decodes window by window and blends with Gaussian weights. GroupNorm sees each window alone, so the result differs
/// from the whole decode and may show seams: for comparison with the released code only. As released, a latent of no
/// more voxels than a window is decoded whole. Golden: tests/golden/maisi, windowed decode.
/// @param z       (1, C, X, Y, Z) float32
/// @param factor  voxels per latent voxel along each axis
/// @param decode  (1, C, x, y, z) -> (1, K, x factor, y factor, z factor) float32
at::Tensor decode_in_windows(const at::Tensor& z, const WindowOptions& options, std::int64_t factor,
                             const std::function<at::Tensor(const at::Tensor&)>& decode);

}  // namespace medgen::maisi
