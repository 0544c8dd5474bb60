// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

namespace medgen::maisi {

/// How the released pipeline decodes a latent that is larger than its window.
struct WindowOptions {
  std::array<std::int64_t, 3> roi{};  ///< latent voxels; all 0: the whole latent at once
  double overlap = 0.6666;            ///< fraction of the window that neighbours share
};

/// The windows over one latent.
struct Windows {
  std::array<std::int64_t, 3> size{};                ///< latent voxels
  std::array<std::vector<std::int64_t>, 3> origins;  ///< their first voxels, along each axis

  std::int64_t count() const;
};

/// One window, of the whole latent, where there are no windows and, as released, where a latent has no more voxels than
/// a window.
/// @param z  shape (N, C, X, Y, Z)
Windows windows_over(at::IntArrayRef z, const WindowOptions& options);

/// Decodes window by window and blends with Gaussian weights. GroupNorm sees each window alone, so the result differs
/// from the whole decode and may show seams: for comparison with the released code only. Golden: tests/golden/maisi,
/// windowed decode.
/// @param z       (1, C, X, Y, Z) float32
/// @param factor  voxels per latent voxel along each axis
/// @param windows  windows_over(z)
/// @param decode  called once for each of them, in order; (1, C, x, y, z) -> (1, K, x factor, y factor, z
/// factor) float32
at::Tensor decode_in_windows(const at::Tensor& z, const Windows& windows, std::int64_t factor,
                             const std::function<at::Tensor(const at::Tensor&)>& decode);

}  // namespace medgen::maisi
