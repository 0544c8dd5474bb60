// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/winograd.h"
#include "plugins/support/nn/winograd_maps.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <numeric>

namespace medgen::nn {
namespace {

using kernels::kWinogradNumbers;
using kernels::Planes;

constexpr int64_t kLongest = 512;      ///< tiles of one product
constexpr int64_t kNumbers = 1 << 16;  ///< of each factor of one product
constexpr int64_t kTiles = 64;         ///< of a plane
constexpr int64_t kGroup = 16;         ///< tiles that are transformed together
constexpr int64_t kSumRows = 64;       ///< rows of one product

/// Tiles of one product.
int64_t longest(int64_t in, int64_t out) {
  return std::max(kTiles, std::min(kLongest, kNumbers / std::max(in, out)));
}

/// Tiles are transformed part by part: so many of so many planes, all channels; then the 36 products are added to their
/// sums, each by one thread.
template <typename T>
class Gradient {
 public:
  Gradient(int64_t in, int64_t out, int64_t taps, const Planes<const T>& first)
      : in_(in),
        out_(out),
        taps_(taps),
        tiles_(std::min(kTiles, kernels::winograd_tiles(first.rows, first.columns))),
        planes_(std::clamp<int64_t>(longest(in, out) / tiles_, 1, first.planes)),
        inputs_(at::empty({kWinogradNumbers, (planes_ + taps - 1) * tiles_, in}, at::kFloat)),
        slopes_(at::empty({kWinogradNumbers, out, slope_row()}, at::kFloat)),
        sums_(at::empty({kWinogradNumbers, taps, out, in}, at::kFloat)) {}

  void add(const Planes<const T>& x, const Planes<const T>& dy) {
    const int64_t all = kernels::winograd_tiles(x.rows, x.columns);
    for (int64_t plane = 0; plane < x.planes; plane += planes_) {
      for (int64_t tile = 0; tile < all; tile += tiles_) {
        const Part part{plane, std::min(planes_, x.planes - plane), tile, std::min(tiles_, all - tile)};
        transform(x, dy, part);
        multiply_all(part);
      }
    }
  }

  const float* sums() const { return sums_.const_data_ptr<float>(); }

 private:
  struct Part {
    int64_t plane, planes, tile, tiles;
  };

  /// Rows of slopes do not all share a few lines of the cache.
  int64_t slope_row() const { return planes_ * tiles_ + kGroup; }

  void transform(const Planes<const T>& x, const Planes<const T>& dy, const Part& part) const {
    auto* const inputs = inputs_.mutable_data_ptr<float>();
    auto* const slopes = slopes_.mutable_data_ptr<float>();
    const int64_t groups = ceil_div(part.tiles, kGroup), planes = part.planes + taps_ - 1;
    at::parallel_for(0, (planes + part.planes) * groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t plane = i / groups, tile = i % groups * kGroup;
        const kernels::WinogradTiles tiles{part.tile + tile, std::min(kGroup, part.tiles - tile)};
        if (plane < planes) {
          kernels::winograd_input(x, part.plane - taps_ / 2 + plane, tiles, inputs + (plane * part.tiles + tile) * in_,
                                  inputs_.stride(0));
        } else {
          kernels::winograd_slopes(dy, part.plane + plane - planes, tiles,
                                   slopes + (plane - planes) * part.tiles + tile, slopes_.stride(0), slope_row());
        }
      }
    });
  }

  void multiply_all(const Part& part) {
    const int64_t blocks = ceil_div(out_, kSumRows);
    at::parallel_for(0, kWinogradNumbers * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t number = i / blocks, o = i % blocks * kSumRows;
        const float* const slopes = slopes_.const_data_ptr<float>() + (number * out_ + o) * slope_row();
        for (int64_t tap = 0; tap < taps_; ++tap) {
          multiply({std::min(kSumRows, out_ - o), in_, part.planes * part.tiles}, {slopes, slope_row()},
                   {inputs_.const_data_ptr<float>() + number * inputs_.stride(0) + tap * part.tiles * in_, in_},
                   {sums_.mutable_data_ptr<float>() + ((number * taps_ + tap) * out_ + o) * in_, in_}, begun_);
        }
      }
    });
    begun_ = true;
  }

  int64_t in_, out_, taps_;
  int64_t tiles_, planes_;
  at::Tensor inputs_;  ///< [36][plane, tile][in]
  at::Tensor slopes_;  ///< [36][out][plane, tile]
  at::Tensor sums_;    ///< [36][taps][out][in]
  bool begun_ = false;
};

}  // namespace

at::Tensor winograd_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  std::vector<int64_t> axes(static_cast<size_t>(weight.dim() - 2));
  std::iota(axes.begin(), axes.end(), 2);
  const at::Tensor dx = empty_map(dy, weight.size(1), dy.scalar_type());
  winograd_conv(dy, weight.flip(axes).transpose(0, 1), {}, 1, dx);
  return dx;
}

at::Tensor winograd_weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::winograd_weight_gradient", (std::vector<c10::IValue>{x, dy}));
  const at::Tensor inputs = filled_channels(x), slopes = filled_channels(dy.to(x.scalar_type()));
  const int64_t taps = x.dim() == 5 ? 3 : 1, in = x.size(1), out = dy.size(1);
  const at::Tensor result = at::empty({out, taps * 9, in}, at::kFloat);
  by_type(inputs, [&]<typename T>(T*) {
    Gradient<T> sums(inputs.size(1), slopes.size(1), taps, planes_of<const T>(inputs, 0));
    for (int64_t n = 0; n < x.size(0); ++n) sums.add(planes_of<const T>(inputs, n), planes_of<const T>(slopes, n));
    const kernels::WinogradGradient work{sums.sums(), out, in, taps, result.mutable_data_ptr<float>()};
    at::parallel_for(0, out, 1, [&](int64_t from, int64_t to) { kernels::winograd_gradient(work, from, to); });
  });
  return as_weights(result, x.dim() - 2);
}

int64_t winograd_gradient_memory(int64_t rank, int64_t in, int64_t out) {
  in = kernels::winograd_channels(in);
  out = kernels::winograd_channels(out);
  const int64_t taps = rank == 3 ? 3 : 1, tiles = longest(in, out);
  const int64_t numbers = (tiles + (taps - 1) * kTiles) * in + (tiles + kGroup) * out + taps * in * out;
  return static_cast<int64_t>(sizeof(float)) * kWinogradNumbers * numbers;
}

}  // namespace medgen::nn
