// SPDX-License-Identifier: Apache-2.0
#include "core/random/noise.h"

#include "core/base/error.h"

#include <medgen/sdk/noise.hpp>

#include <algorithm>
#include <limits>
#include <thread>
#include <type_traits>
#include <vector>

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

/// The values of the four elements of one block.
template <typename T>
void block_values(const noise::Stream& stream, Distribution distribution, std::uint32_t block, T (&out)[4]) {
  if (distribution == Distribution::Normal) {
    double values[4];
    noise::normals(stream, block, values);
    for (int lane = 0; lane < 4; ++lane) out[lane] = static_cast<T>(values[lane]);
    return;
  }
  const noise::Words words = noise::words(stream, block);
  if constexpr (std::is_same_v<T, float>) {
    for (int lane = 0; lane < 4; ++lane) out[lane] = noise::uniform_float(words.w[lane]);
  } else {
    const noise::Words fine = noise::fine_words(stream, block);
    for (int lane = 0; lane < 4; ++lane) out[lane] = noise::uniform_double(words.w[lane], fine.w[lane]);
  }
}

/// Elements [first, first + count) of one sample.
template <typename T>
void fill_run(const noise::Stream& stream, Distribution distribution, std::int64_t first, std::int64_t count, T* out) {
  T values[4];
  const std::int64_t end = first + count;
  for (std::int64_t element = first; element < end;) {
    block_values(stream, distribution, static_cast<std::uint32_t>(element >> 2), values);
    const std::int64_t lane = element & 3;
    const std::int64_t lanes = std::min<std::int64_t>(4 - lane, end - element);
    std::copy_n(values + lane, lanes, out);
    element += lanes;
    out += lanes;
  }
}

/// Calls body(i) for i in [0, n), split into one range per thread.
template <typename Body>
void for_each_piece(std::int64_t n, unsigned threads, Body body) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  const std::int64_t workers = std::min<std::int64_t>(threads, n);
  const auto range = [&](std::int64_t worker) {
    for (std::int64_t i = n * worker / workers; i < n * (worker + 1) / workers; ++i) body(i);
  };
  std::vector<std::jthread> team;
  for (std::int64_t worker = 1; worker < workers; ++worker) team.emplace_back(range, worker);
  if (workers > 0) range(0);
}

template <typename T>
void fill_box(Tensor& patch, const Runs& runs, const NoiseKey& key, Distribution distribution, unsigned threads) {
  const std::int64_t pieces_per_run = (runs.length + kPiece - 1) / kPiece;
  const std::int64_t pieces_per_row = runs.number * pieces_per_run;
  const std::uint32_t purpose = noise::purpose_hash(key.purpose);
  T* const out = patch.values<T>().data();
  // Short runs would make one piece a handful of elements; threads pay off from a few thousand elements on.
  if (patch.size() < kPiece) threads = 1;
  for_each_piece(patch.shape()[0] * pieces_per_row, threads, [&](std::int64_t piece) {
    const std::int64_t row = piece / pieces_per_row;
    const std::int64_t run = piece % pieces_per_row / pieces_per_run;
    const std::int64_t offset = piece % pieces_per_run * kPiece;
    const noise::Stream stream{key.seed, purpose, key.step, key.sample + static_cast<std::uint32_t>(row)};
    fill_run(stream, distribution, runs.start(run) + offset, std::min(kPiece, runs.length - offset),
             out + (row * runs.number + run) * runs.length + offset);
  });
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
