// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/winograd.h"

#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/kept_weights.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/winograd_maps.h"

#include "kernels/winograd.h"
#include "kernels/winograd_cubes.h"

#include <ATen/ops/zeros.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <mutex>
#include <optional>

namespace medgen::nn {
namespace {

using kernels::kWinogradCube;
using kernels::kWinogradNumbers;
using kernels::kWinogradTile;
static_assert(kCubePlanes == kWinogradTile);
using kernels::Planes;
using kernels::WinogradTiles;

// A task takes so many tiles, of so many planes where there are as many, and multiplies with so many channels of the
// result at a time: what it holds then stays in the second cache.
constexpr int64_t kTaskTiles = 128, kPlanes = 8, kOut = 64;
// Of cubes, so many numbers; many more where the third cache does not hold the weights, so that these come less often.
constexpr int64_t kTaskNumbers = 2048, kFewCubes = 16, kManyCubes = 64, kLargeWeights = 256 * 256, kCubesOut = 128;

// Below so many voxels of a plane, making or reading the transformed weights takes longer than it saves. The number of
// planes is not asked: slabs of a volume are convolved as the volume is. Cubes have twice as many weights.
constexpr int64_t kLeastOfVolume = 128, kLeastOfPlane = 1024, kLeastOfCubes = 256;
// Gradients transform no weights. Where bfloat16 has products of its own, these are faster for small planes.
constexpr int64_t kLeastOfGradient = 64, kLeastOfNarrowGradient = 256;

// Up to so many voxels of a result, weights are worth keeping: they take a tenth of the time and more to make.
constexpr int64_t kFewVoxels = 32768;

/// Whether tiles do not reach so far beyond a plane that they cost more than they save.
bool is_covered(const PlaneForm& planes) {
  const int64_t covered =
      kernels::winograd_tiles(planes.rows, planes.columns) * kernels::kWinogradTile * kernels::kWinogradTile;
  return covered <= 2 * planes.rows * planes.columns;
}

bool has_tile_unit() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("amx-bf16");
#else
  return false;
#endif
}

/// `bias` as float32, filled up with zeros.
at::Tensor filled_bias(const at::Tensor& bias, int64_t out) {
  const at::Tensor filled = at::zeros({kernels::winograd_channels(out)}, at::kFloat);
  if (bias.defined()) filled.narrow(0, 0, out).copy_(bias);
  return filled;
}

/// What is filtered: planes, those of a volume then summed as they are, or cubes.
enum class Filter : uint8_t { Planes, Cubes };

Filter filter_of(const PlaneForm& planes) {
  return filters_cubes(planes) ? Filter::Cubes : Filter::Planes;
}

/// Matrices of transformed weights.
int64_t matrices(Filter filter, int64_t rank) {
  if (filter == Filter::Cubes) return kWinogradCube;
  return kWinogradNumbers * (rank == 3 ? 3 : 1);
}

/// Of the transformed weights of one layer.
int64_t transformed_numbers(Filter filter, int64_t rank, int64_t in, int64_t out) {
  return matrices(filter, rank) * kernels::winograd_channels(in) * kernels::winograd_channels(out);
}

int64_t transformed_numbers(Filter filter, const at::Tensor& weight) {
  return transformed_numbers(filter, weight.dim() - 2, weight.size(1), weight.size(0));
}

/// `weight` as [36][taps] or [216], [winograd_channels(in)][winograd_channels(out)].
void transform(const at::Tensor& weight, Filter filter, const at::Tensor& transformed) {
  const int64_t out = weight.size(0), in = weight.size(1), taps = weight.dim() == 5 ? 3 : 1;
  by_type(weight, [&]<typename T>(T*) {
    const auto stride = [&](int64_t axis) { return weight.dim() == 5 || axis < 2 ? weight.stride(axis) : 0; };
    const int64_t last = weight.dim() - 1;
    const kernels::WinogradWeights<T> work{
        static_cast<const T*>(weight.const_data_ptr()),
        {stride(0), stride(1), stride(2), weight.stride(last - 1), weight.stride(last)},
        out,
        in,
        taps,
        transformed.mutable_data_ptr<float>()};
    at::parallel_for(0, kernels::winograd_weight_blocks(in, out), 1, [&](int64_t from, int64_t to) {
      filter == Filter::Cubes ? kernels::winograd_cube_weights(work, from, to)
                              : kernels::winograd_weights(work, from, to);
    });
  });
}

/// The transformed weights of the layer at hand: slabs of one layer come one after another, and then the next layer.
/// Those of small maps stay where a network keeps them for its next evaluation (nn/kept_weights.h); keeping all would
/// take gigabytes.
/// Thread: any.
class TransformedWeights {
 public:
  /// As `transform` makes them, and perhaps more behind, for a result of so many voxels.
  at::Tensor of(const at::Tensor& weight, Filter filter, int64_t voxels) {
    if (KeptWeights* const kept = KeptWeights::in_use(); kept != nullptr && voxels <= kFewVoxels) {
      const at::Tensor found = kept->get(weight, transformed_numbers(filter, weight),
                                         [&](const at::Tensor& array) { transform(weight, filter, array); });
      if (found.defined()) return found;
    }
    return at_hand(weight, filter);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    source_.reset();
    transformed_.reset();
  }

 private:
  at::Tensor at_hand(const at::Tensor& weight, Filter filter) {
    const std::lock_guard lock(mutex_);
    const auto source = source_.has_value() ? source_->lock() : nullptr;
    if (source.get() != weight.unsafeGetTensorImpl() || version_ != weight._version() || filter_ != filter) {
      source_.reset();  // of nothing, when memory is short
      make_room(transformed_numbers(filter, weight));
      transform(weight, filter, transformed_);
      source_.emplace(weight.getIntrusivePtr());
      version_ = weight._version();
      filter_ = filter;
    }
    return transformed_;
  }

  /// Not where others still compute with the former weights.
  void make_room(int64_t numbers) {
    if (transformed_.defined() && transformed_.use_count() == 1 && transformed_.numel() >= numbers) return;
    transformed_.reset();
    transformed_ = large_array({numbers}, at::kFloat);
  }

  std::mutex mutex_;
  std::optional<c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>> source_;
  uint32_t version_ = 0;
  Filter filter_ = Filter::Planes;
  at::Tensor transformed_;
};

TransformedWeights& transformed_weights() {
  static TransformedWeights weights;
  return weights;
}

/// Numbers of a task: of its transformed inputs, of its products.
struct TaskSize {
  TaskSize(int64_t in, int64_t out, int64_t planes, int64_t tiles)
      : input((planes + 2) * tiles * in + kSpread),
        products(planes * tiles * std::min(kOut, kernels::winograd_channels(out)) + kSpread) {}

  int64_t input, products;  ///< of one of the 36

  int64_t all() const { return kWinogradNumbers * (input + products); }
};

/// One convolution of one sample.
template <typename In, typename Out>
struct Convolution {
  Planes<const In> x;
  const float* weights;  ///< as TransformedWeights has them; as many results as of the bias
  const float* bias;     ///< winograd_channels(y.channels)
  int64_t taps, first_padding;
  Planes<Out> y;
  bool add;
};

template <typename In, typename Out>
struct PlaneConvolution : Convolution<In, Out> {
  using Base = Convolution<In, Out>;
  using Base::x, Base::weights, Base::bias, Base::taps, Base::first_padding, Base::y, Base::add;

  void run() const {
    const int64_t planes = std::min(kPlanes, y.planes), tiles = kTaskTiles / planes;
    const int64_t all = kernels::winograd_tiles(y.rows, y.columns), bands = ceil_div(all, tiles);
    at::parallel_for(0, ceil_div(y.planes, planes) * bands, 1, [&](int64_t begin, int64_t end) {
      float* const memory = kept_memory(TaskSize(x.channels, y.channels, planes, tiles).all());
      for (int64_t i = begin; i < end; ++i) {
        const int64_t from = i / bands * planes, first = i % bands * tiles;
        task(from, std::min(planes, y.planes - from), {first, std::min(tiles, all - first)}, memory);
      }
    });
  }

 private:
  /// Planes [from, from + planes) of the result, those tiles; `memory` has room for the task.
  void task(int64_t from, int64_t planes, WinogradTiles tiles, float* memory) const {
    const int64_t in = x.channels, out = kernels::winograd_channels(y.channels);
    const TaskSize size(in, out, planes, tiles.count);
    float* const v = memory;
    float* const m = memory + kWinogradNumbers * size.input;
    for (int64_t i = 0; i < planes + taps - 1; ++i) {
      kernels::winograd_input(x, from - first_padding + i, tiles, v + i * tiles.count * in, size.input);
    }
    for (int64_t k = 0; k < out; k += kOut) {
      const int64_t width = std::min(kOut, out - k);
      for (int64_t i = 0; i < kWinogradNumbers; ++i) {
        for (int64_t tap = 0; tap < taps; ++tap) {
          multiply({planes * tiles.count, width, in}, {v + i * size.input + tap * tiles.count * in, in},
                   {weights + (i * taps + tap) * in * out + k, out}, {m + i * size.products, width}, tap > 0);
        }
      }
      for (int64_t i = 0; i < planes; ++i) {
        const kernels::WinogradSums sums{m + i * tiles.count * width, size.products, k, width, bias, add};
        kernels::winograd_output(sums, from + i, tiles, y);
      }
    }
  }
};

int64_t task_cubes(int64_t in, int64_t out) {
  if (in * out >= kLargeWeights) return kManyCubes;
  return std::clamp(kTaskNumbers / std::max(in, out), kFewCubes, kManyCubes);
}

/// Numbers of a task of cubes: of its transformed inputs and of its products, which take their places.
struct CubesSize {
  CubesSize(int64_t in, int64_t out, int64_t cubes)
      : one(cubes * std::max(in, kernels::winograd_channels(out)) + kSpread) {}

  int64_t one;  ///< of the 216

  int64_t all() const { return (kWinogradCube + 1) * one; }
};

/// Numbers of all transformed inputs of a few cubes, and of their products.
struct TogetherSize {
  TogetherSize(int64_t in, int64_t out, int64_t cubes)
      : input(cubes * in + kSpread), products(cubes * kernels::winograd_channels(out) + kSpread) {}

  int64_t input, products;  ///< of one of the 216

  int64_t all() const { return kWinogradCube * (input + products); }
};

template <typename In, typename Out>
struct CubeConvolution : Convolution<In, Out> {
  using Base = Convolution<In, Out>;
  using Base::x, Base::weights, Base::bias, Base::first_padding, Base::y, Base::add;

  void run() const {
    const int64_t tiles = kernels::winograd_tiles(y.rows, y.columns), layers = ceil_div(y.planes, kWinogradTile);
    if (tiles * layers <= kManyCubes) return run_together(tiles, layers);
    run_tasks(tiles, layers);
  }

 private:
  /// Few cubes: each weight is read once, for all of them.
  void run_together(int64_t tiles, int64_t layers) const {
    const int64_t in = x.channels, out = kernels::winograd_channels(y.channels), cubes = layers * tiles;
    const TogetherSize size(in, out, cubes);
    const int64_t of_in = size.input, of_out = size.products;
    float* const v = kept_memory(size.all());
    float* const m = v + kWinogradCube * of_in;
    const auto for_each_tile = [&](const auto& f) {
      at::parallel_for(0, cubes, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) f(i / tiles * kWinogradTile, WinogradTiles{i % tiles, 1}, i);
      });
    };
    for_each_tile([&](int64_t plane, WinogradTiles tile, int64_t i) {
      kernels::winograd_cube_input(x, plane - first_padding, tile, v + i * in, of_in);
    });
    at::parallel_for(0, kWinogradCube, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t k = 0; k < out; k += kCubesOut) {
          multiply({cubes, std::min(kCubesOut, out - k), in}, {v + i * of_in, in}, {weights + i * in * out + k, out},
                   {m + i * of_out + k, out}, false);
        }
      }
    });
    for_each_tile([&](int64_t plane, WinogradTiles tile, int64_t i) {
      kernels::winograd_cube_output({m + i * out, of_out, 0, out, bias, add}, plane, tile, y);
    });
  }

  void run_tasks(int64_t tiles, int64_t layers) const {
    const int64_t cubes = task_cubes(x.channels, y.channels), bands = ceil_div(tiles, cubes);
    at::parallel_for(0, layers * bands, 1, [&](int64_t begin, int64_t end) {
      float* const memory = kept_memory(CubesSize(x.channels, y.channels, cubes).all());
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % bands * cubes;
        task(i / bands * kWinogradTile, {first, std::min(cubes, tiles - first)}, memory);
      }
    });
  }

  /// Planes [plane, plane + 4) of the result, those tiles; `memory` has room for the task. Products take the place of
  /// the inputs before theirs, which are in the cache and not needed any more.
  void task(int64_t plane, WinogradTiles tiles, float* memory) const {
    const int64_t in = x.channels, out = kernels::winograd_channels(y.channels);
    const CubesSize size(in, out, tiles.count);
    float* const v = memory + size.one;
    kernels::winograd_cube_input(x, plane - first_padding, tiles, v, size.one);
    for (int64_t i = 0; i < kWinogradCube; ++i) {
      for (int64_t k = 0; k < out; k += kCubesOut) {
        multiply({tiles.count, std::min(kCubesOut, out - k), in}, {v + i * size.one, in},
                 {weights + i * in * out + k, out}, {memory + i * size.one + k, out}, false);
      }
    }
    kernels::winograd_cube_output({memory, size.one, 0, out, bias, add}, plane, tiles, y);
  }
};

}  // namespace

bool prefers_float(at::ScalarType products) {
  static const bool multiplies = has_brgemm(), tile_unit = has_tile_unit();
  return multiplies && products != at::kHalf && !(products == at::kBFloat16 && tile_unit);
}

bool prefers_winograd(const PlaneForm& planes, at::ScalarType products) {
  if (!prefers_float(products)) return false;
  return planes.rows * planes.columns >= (planes.rank == 3 ? kLeastOfVolume : kLeastOfPlane) && is_covered(planes);
}

bool filters_cubes(const PlaneForm& planes) {
  return planes.rank == 3 && planes.rows * planes.columns >= kLeastOfCubes;
}

bool prefers_winograd_gradient(const PlaneForm& planes, at::ScalarType products) {
  if (!prefers_float(products)) return false;
  const int64_t least = products == at::kFloat ? kLeastOfGradient : kLeastOfNarrowGradient;
  return planes.rows * planes.columns >= least && is_covered(planes);
}

void winograd_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
                   const at::Tensor& y, Result result) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::winograd_conv", (std::vector<c10::IValue>{x, weight, first_padding}));
  const at::Tensor in = filled_channels(x), offset = filled_bias(bias, y.size(1));
  const Filter filter = filter_of(plane_form(x));
  const int64_t voxels = y.numel() / (y.size(0) * y.size(1));
  const at::Tensor transformed = transformed_weights().of(weight, filter, voxels);
  const int64_t taps = x.dim() == 5 ? 3 : 1;
  by_type(in, [&]<typename In>(In*) {
    by_type(y, [&]<typename Out>(Out*) {
      for (int64_t n = 0; n < x.size(0); ++n) {
        const Convolution<In, Out> work{planes_of<const In>(in, n),     transformed.const_data_ptr<float>(),
                                        offset.const_data_ptr<float>(), taps,
                                        taps == 3 ? first_padding : 0,  planes_of<Out>(y, n),
                                        result == Result::Add};
        filter == Filter::Cubes ? CubeConvolution<In, Out>{work}.run() : PlaneConvolution<In, Out>{work}.run();
      }
    });
  });
}

void release_transformed_weights() {
  transformed_weights().release();
}

int64_t winograd_kept_memory(const PlaneForm& planes, int64_t voxels, int64_t in, int64_t out) {
  return voxels > kFewVoxels ? 0 : KeptWeights::bytes_of(transformed_numbers(filter_of(planes), planes.rank, in, out));
}

int64_t winograd_memory(const PlaneForm& planes, int64_t in, int64_t out) {
  in = kernels::winograd_channels(in);
  const Filter filter = filter_of(planes);
  const int64_t weights = transformed_numbers(filter, planes.rank, in, out);
  const int64_t task = filter == Filter::Cubes ? CubesSize(in, out, task_cubes(in, out)).all()
                                               : TaskSize(in, out, 2, kTaskTiles / 2).all();
  const bool few = filter == Filter::Cubes && kernels::winograd_tiles(planes.rows, planes.columns) <= kManyCubes;
  const int64_t together = few ? TogetherSize(in, out, kManyCubes).all() : 0;
  return static_cast<int64_t>(sizeof(float)) * (weights + std::max(together, at::get_num_threads() * task));
}

}  // namespace medgen::nn
