// SPDX-License-Identifier: Apache-2.0
#include "core/random/noise.h"

#include "core/base/error.h"
#include "core/base/threads.h"
#include "kernels/noise.h"

#include <algorithm>
#include <limits>

namespace medgen {
namespace {

/// Elements of one run are neighbours in the whole array and in the patch; a piece is what one thread takes at a time.
constexpr std::int64_t kPiece = 1 << 14;

/// The box of one sample as runs of equal length. Full trailing axes melt into the run.
struct Runs {
  Shape counts;   ///< runs along each outer axis
  Shape strides;  ///< elements of the whole array between them
  std::int64_t first = 0;
  std::int64_t length = 1;
  std::int64_t number = 1;

  std::int64_t start(std::int64_t run) const {
    std::int64_t element = first;
    for (std::size_t axis = counts.size(); axis-- > 0;) {
      element += run % counts[axis] * strides[axis];
      run /= counts[axis];
    }
    return element;
  }
};

Runs runs_of(const Shape& whole, const Shape& origin, const Shape& extent) {
  Runs runs;
  std::int64_t stride = 1;
  bool melting = true;
  Shape counts, strides;
  for (std::size_t axis = whole.size(); axis-- > 0; stride *= whole[axis]) {
    runs.first += origin[axis] * stride;
    if (melting) {
      runs.length = extent[axis] * stride;
      melting = extent[axis] == whole[axis];
    } else {
      runs.number *= extent[axis];
      counts.push_back(extent[axis]);
      strides.push_back(stride);
    }
  }
  runs.counts.assign(counts.rbegin(), counts.rend());
  runs.strides.assign(strides.rbegin(), strides.rend());
  return runs;
}

/// Elements [first, first + count) of one sample, on this thread.
template <typename T>
void fill_run(const noise::Stream& stream, Distribution distribution, std::int64_t first, std::int64_t count, T* out) {
  if (distribution == Distribution::Normal) {
    launch(kernels::Cpu{}, kernels::NoiseRun<T, true>{stream, first, count, out});
  } else {
    launch(kernels::Cpu{}, kernels::NoiseRun<T, false>{stream, first, count, out});
  }
}

/// The runs of every row of a patch, cut into pieces.
template <typename T>
struct Pieces {
  const Runs& runs;
  const NoiseKey& key;
  Distribution distribution;
  T* out;
  std::uint32_t purpose = noise::purpose_hash(key.purpose);
  std::int64_t per_run = (runs.length + kPiece - 1) / kPiece;

  void fill(std::int64_t piece) const {
    const std::int64_t row = piece / (runs.number * per_run);
    const std::int64_t run = piece / per_run % runs.number;
    const std::int64_t offset = piece % per_run * kPiece;
    const noise::Stream stream{key.seed, purpose, key.step, key.sample + static_cast<std::uint32_t>(row)};
    fill_run(stream, distribution, runs.start(run) + offset, std::min(kPiece, runs.length - offset),
             out + (row * runs.number + run) * runs.length + offset);
  }
};

template <typename T>
void fill_box(Tensor& patch, const Runs& runs, const NoiseKey& key, Distribution distribution, unsigned threads) {
  const Pieces<T> pieces{runs, key, distribution, patch.values<T>().data()};
  const auto part = [](const void* of, std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) static_cast<const Pieces<T>*>(of)->fill(i);
  };
  // Short runs make short pieces; a thread pays off from a few thousand elements on.
  const std::int64_t grain = std::max<std::int64_t>(1, kPiece / runs.length);
  run_in_parts(threads, patch.shape()[0] * runs.number * pieces.per_run, grain, part, &pieces);
}

void check_box(const Tensor& patch, const Shape& whole, const Shape& origin, const Shape& extent) {
  bool inside = whole.size() == extent.size() && origin.size() == extent.size();
  for (std::size_t axis = 0; inside && axis < extent.size(); ++axis) {
    inside = origin[axis] >= 0 && whole[axis] >= 0 && extent[axis] <= whole[axis] - origin[axis];
  }
  if (!inside) {
    throw DataError("noise box {} at {} is not inside an array of {} (patch {})", to_string(extent), to_string(origin),
                    to_string(whole), to_string(patch.shape()));
  }
}

}  // namespace

void fill_noise(Tensor& tensor, const NoiseKey& key, Distribution distribution, unsigned threads) {
  if (tensor.shape().empty()) throw DataError("noise needs a tensor with a batch axis, got a scalar");
  const Shape sample(tensor.shape().begin() + 1, tensor.shape().end());
  fill_noise_box(tensor, sample, Shape(sample.size(), 0), key, distribution, threads);
}

void fill_noise_box(Tensor& patch, const Shape& whole, const Shape& origin, const NoiseKey& key,
                    Distribution distribution, unsigned threads) {
  if (patch.shape().empty()) throw DataError("noise needs a tensor with a batch axis, got a scalar");
  const Shape extent(patch.shape().begin() + 1, patch.shape().end());
  check_box(patch, whole, origin, extent);
  if (element_count(whole) > static_cast<std::int64_t>(noise::kMaxElements)) {
    throw DataError("an array of {} has more than 2^34 elements, beyond which noise would repeat", to_string(whole));
  }
  const std::int64_t rows = patch.shape()[0];
  if (rows > std::int64_t{std::numeric_limits<std::uint32_t>::max()} - key.sample + 1) {
    throw DataError("sample {} and the {} after it do not fit in 32 bits", key.sample, rows - 1);
  }
  if (patch.size() == 0) return;
  const Runs runs = runs_of(whole, origin, extent);
  if (patch.dtype() == DType::F32) return fill_box<float>(patch, runs, key, distribution, threads);
  if (patch.dtype() == DType::F64) return fill_box<double>(patch, runs, key, distribution, threads);
  throw DataError("noise is made as F32 or F64, not as {}", name_of(patch.dtype()));
}

}  // namespace medgen
