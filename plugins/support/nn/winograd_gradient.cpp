// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/winograd.h"
#include "plugins/support/nn/winograd_maps.h"

#include "kernels/winograd_cubes.h"

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
using kernels::WinogradTiles;

constexpr int64_t kLongest = 512;      ///< tiles of one product
constexpr int64_t kNumbers = 1 << 16;  ///< of each factor of one product
constexpr int64_t kTiles = 64;         ///< of a layer, and of one product of cubes: the third cache holds them all
constexpr int64_t kGroup = 16;         ///< tiles that are transformed together
constexpr int64_t kSumRows = 64;       ///< rows of one product

/// Tiles of one product of planes.
int64_t longest(int64_t in, int64_t out) {
  return std::max(kTiles, std::min(kLongest, kNumbers / std::max(in, out)));
}

/// How a map is filtered: in layers of four planes, or plane by plane, and then three of them meet each other.
struct Filtering {
  bool cubes;
  int64_t numbers;  ///< of a transformed tile
  int64_t taps;     ///< of layers

  static Filtering of(const at::Tensor& x) {
    const bool volume = x.dim() == 5, cubes = filters_cubes(plane_form(x)) && x.size(2) >= kCubePlanes;
    return cubes ? Filtering{true, kernels::kWinogradCube, 1} : Filtering{false, kWinogradNumbers, volume ? 3 : 1};
  }

  int64_t layers(int64_t planes) const { return cubes ? ceil_div(planes, kCubePlanes) : planes; }
};

/// Tiles are transformed part by part: so many of so many layers, all channels; then the products of each number are
/// added to their sums, each by one thread. All of it lies in memory that stays, and with it in the third cache.
template <typename T>
class Gradient {
 public:
  Gradient(const Filtering& filtering, int64_t in, int64_t out, const Planes<const T>& first)
      : filtering_(filtering),
        in_(in),
        out_(out),
        tiles_(std::min(kTiles, kernels::winograd_tiles(first.rows, first.columns))),
        layers_(std::clamp<int64_t>((filtering.cubes ? kTiles : longest(in, out)) / tiles_, 1,
                                    filtering.layers(first.planes))),
        inputs_(kept_memory(filtering.numbers * (input_stride() + slope_stride() + taps() * out * in))),
        slopes_(inputs_ + filtering.numbers * input_stride()),
        sums_(slopes_ + filtering.numbers * slope_stride()) {}

  void add(const Planes<const T>& x, const Planes<const T>& dy) {
    const int64_t all = kernels::winograd_tiles(x.rows, x.columns), layers = filtering_.layers(x.planes);
    for (int64_t layer = 0; layer < layers; layer += layers_) {
      for (int64_t tile = 0; tile < all; tile += tiles_) {
        const Part part{layer, std::min(layers_, layers - layer), tile, std::min(tiles_, all - tile)};
        transform(x, dy, part);
        multiply_all(part);
      }
    }
  }

  const float* sums() const { return sums_; }

 private:
  struct Part {
    int64_t layer, layers, tile, tiles;
  };

  int64_t taps() const { return filtering_.taps; }

  /// Rows of slopes do not all share a few lines of the cache.
  int64_t slope_row() const { return layers_ * tiles_ + kGroup; }

  /// Of one number. Nor do numbers.
  int64_t input_stride() const { return (layers_ + taps() - 1) * tiles_ * in_ + kSpread; }

  int64_t slope_stride() const { return out_ * slope_row() + kSpread; }

  void transform(const Planes<const T>& x, const Planes<const T>& dy, const Part& part) const {
    for_each_group(part.layers + taps() - 1, part, [&](int64_t layer, int64_t tile, const WinogradTiles& tiles) {
      put_inputs(x, part.layer + layer, tiles, inputs_ + (layer * part.tiles + tile) * in_);
    });
    for_each_group(part.layers, part, [&](int64_t layer, int64_t tile, const WinogradTiles& tiles) {
      put_slopes(dy, part.layer + layer, tiles, slopes_ + layer * part.tiles + tile);
    });
  }

  /// f(layer, first tile of the part, tiles), on all threads.
  template <typename Function>
  static void for_each_group(int64_t layers, const Part& part, const Function& f) {
    const int64_t groups = ceil_div(part.tiles, kGroup);
    at::parallel_for(0, layers * groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t tile = i % groups * kGroup;
        f(i / groups, tile, WinogradTiles{part.tile + tile, std::min(kGroup, part.tiles - tile)});
      }
    });
  }

  /// The `layer`th that meets the layers of a part, of which the first may lie before x.
  void put_inputs(const Planes<const T>& x, int64_t layer, const WinogradTiles& tiles, float* to) const {
    filtering_.cubes ? kernels::winograd_cube_input(x, layer * kCubePlanes - 1, tiles, to, input_stride())
                     : kernels::winograd_input(x, layer - taps() / 2, tiles, to, input_stride());
  }

  void put_slopes(const Planes<const T>& dy, int64_t layer, const WinogradTiles& tiles, float* to) const {
    filtering_.cubes ? kernels::winograd_cube_slopes(dy, layer * kCubePlanes, tiles, to, slope_stride(), slope_row())
                     : kernels::winograd_slopes(dy, layer, tiles, to, slope_stride(), slope_row());
  }

  void multiply_all(const Part& part) {
    const int64_t blocks = ceil_div(out_, kSumRows);
    at::parallel_for(0, filtering_.numbers * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t number = i / blocks, o = i % blocks * kSumRows;
        const float* const slopes = slopes_ + number * slope_stride() + o * slope_row();
        for (int64_t tap = 0; tap < taps(); ++tap) {
          multiply({std::min(kSumRows, out_ - o), in_, part.layers * part.tiles}, {slopes, slope_row()},
                   {inputs_ + number * input_stride() + tap * part.tiles * in_, in_},
                   {sums_ + ((number * taps() + tap) * out_ + o) * in_, in_}, begun_);
        }
      }
    });
    begun_ = true;
  }

  Filtering filtering_;
  int64_t in_, out_;
  int64_t tiles_, layers_;
  float* inputs_;  ///< [number][layer, tile][in]
  float* slopes_;  ///< [number][out][layer, tile]
  float* sums_;    ///< [number][taps][out][in]
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
  const Filtering filtering = Filtering::of(x);
  const int64_t taps = x.dim() == 5 ? 3 : 1, in = x.size(1), out = dy.size(1);
  const at::Tensor result = at::empty({out, taps * 9, in}, at::kFloat);
  by_type(inputs, [&]<typename T>(T*) {
    Gradient<T> sums(filtering, inputs.size(1), slopes.size(1), planes_of<const T>(inputs, 0));
    for (int64_t n = 0; n < x.size(0); ++n) sums.add(planes_of<const T>(inputs, n), planes_of<const T>(slopes, n));
    const kernels::WinogradGradient work{sums.sums(), out, in, taps, result.mutable_data_ptr<float>()};
    at::parallel_for(0, out, 1, [&](int64_t from, int64_t to) {
      filtering.cubes ? kernels::winograd_cube_gradient(work, from, to) : kernels::winograd_gradient(work, from, to);
    });
  });
  return as_weights(result, x.dim() - 2);
}

int64_t winograd_gradient_memory(int64_t rank, int64_t in, int64_t out) {
  in = kernels::winograd_channels(in);
  out = kernels::winograd_channels(out);
  const int64_t taps = rank == 3 ? 3 : 1, tiles = longest(in, out);
  const int64_t of_planes = (tiles + (taps - 1) * kTiles) * in + (tiles + kGroup) * out + taps * in * out;
  const int64_t of_cubes = kTiles * in + (kTiles + kGroup) * out + in * out;
  return static_cast<int64_t>(sizeof(float)) *
         std::max(kWinogradNumbers * (of_planes + 2 * kSpread),
                  rank == 3 ? kernels::kWinogradCube * (of_cubes + 2 * kSpread) : 0);
}

}  // namespace medgen::nn
