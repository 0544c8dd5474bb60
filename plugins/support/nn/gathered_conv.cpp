// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/gathered_conv.h"

#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/planes.h"

#include <ATen/ops/empty.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace medgen::nn {
namespace {

constexpr int64_t kGathered = 512;             ///< voxels whose neighbours are gathered at a time
constexpr int64_t kHeight = 64, kWidth = 128;  ///< of one product
constexpr int64_t kDepth = 256;

/// (N, C, ...) channels-last as float32 (voxels, C).
at::Tensor voxel_rows(const at::Tensor& x) {
  return channels_last(x).movedim(1, -1).flatten(0, -2).to(at::kFloat);
}

/// The same as (C, voxels), rows apart such that they do not all share a few lines of the cache.
at::Tensor channel_rows(const at::Tensor& x) {
  const at::Tensor rows = channels_last(x).movedim(1, -1).flatten(0, -2);
  const int64_t voxels = rows.size(0), stride = voxels % 256 == 0 ? voxels + 16 : voxels;
  const at::Tensor made = at::empty({x.size(1), stride}, at::kFloat).narrow(1, 0, voxels);
  made.copy_(rows.t());
  return made;
}

/// How the voxels of a map meet those of another one through a kernel of 3.
class Neighbours {
 public:
  /// From the voxels of y to those of x, `first_padding` planes of zeros lying before x.
  Neighbours(const at::Tensor& x, int64_t planes, int64_t first_padding)
      : volume_(x.dim() == 5),
        padding_(volume_ ? first_padding : 1),
        in_planes_(volume_ ? x.size(2) : 1),
        planes_(planes),
        rows_(x.size(-2)),
        columns_(x.size(-1)),
        voxels_(x.size(0) * planes * rows_ * columns_) {}

  int64_t voxels() const { return voxels_; }

  int64_t taps() const { return volume_ ? 27 : 9; }

  /// For each weight, the voxels of x that meet it from the voxels [from, from + count), -1 where zeros lie.
  std::vector<int64_t> of(int64_t from, int64_t count) const {
    std::vector<int64_t> found;
    found.reserve(static_cast<size_t>(taps() * count));
    for (int64_t tap = 0; tap < taps(); ++tap) {
      for (int64_t v = from; v < from + count; ++v) found.push_back(neighbour(v, tap));
    }
    return found;
  }

 private:
  int64_t neighbour(int64_t v, int64_t tap) const {
    const int64_t column = v % columns_ + tap % 3 - 1, row = v / columns_ % rows_ + tap / 3 % 3 - 1;
    const int64_t whole = v / (columns_ * rows_), sample = whole / planes_;
    const int64_t plane = whole % planes_ + (volume_ ? tap / 9 - padding_ : 0);
    const bool inside = column >= 0 && column < columns_ && row >= 0 && row < rows_ && plane >= 0 && plane < in_planes_;
    return inside ? ((sample * in_planes_ + plane) * rows_ + row) * columns_ + column : -1;
  }

  bool volume_;
  int64_t padding_, in_planes_, planes_, rows_, columns_, voxels_;
};

Neighbours same_size(const at::Tensor& x) {
  return {x, x.dim() == 5 ? x.size(2) : 1, 1};
}

/// Rows of `from` (voxels, C) cut into blocks of `width` channels, the last one perhaps narrower, zeros where there is
/// no voxel: [tap][block][voxel of these][channel].
at::Tensor gathered_rows(const at::Tensor& from, const std::vector<int64_t>& voxels, int64_t taps, int64_t width) {
  const int64_t channels = from.size(1), count = static_cast<int64_t>(voxels.size()) / taps;
  const at::Tensor made = at::empty({taps, channels * count}, at::kFloat);
  at::parallel_for(0, taps * ceil_div(channels, width), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t tap = i % taps, c = i / taps * width, block = std::min(width, channels - c);
      auto* const to = made.mutable_data_ptr<float>() + (tap * channels + c) * count;
      const auto bytes = static_cast<size_t>(block) * sizeof(float);
      for (int64_t v = 0; v < count; ++v) {
        const int64_t voxel = voxels[static_cast<size_t>(tap * count + v)];
        if (voxel < 0) {
          std::memset(to + v * block, 0, bytes);
        } else {
          std::memcpy(to + v * block, from.const_data_ptr<float>() + voxel * channels + c, bytes);
        }
      }
    }
  });
  return made;
}

/// Columns of `from` (C, voxels) cut into blocks of kWidth voxels of these, the last one perhaps narrower:
/// [block][tap][channel][voxel].
at::Tensor gathered_columns(const at::Tensor& from, const std::vector<int64_t>& voxels, int64_t taps) {
  const int64_t channels = from.size(0), count = static_cast<int64_t>(voxels.size()) / taps;
  const at::Tensor made = at::empty({taps * channels * count}, at::kFloat);
  at::parallel_for(0, taps * channels, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* const source = from.const_data_ptr<float>() + i % channels * from.stride(0);
      for (int64_t first = 0; first < count; first += kWidth) {
        const int64_t width = std::min(kWidth, count - first);
        const int64_t* const places = voxels.data() + i / channels * count + first;
        auto* const to = made.mutable_data_ptr<float>() + first * taps * channels + i * width;
        for (int64_t v = 0; v < width; ++v) to[v] = places[v] < 0 ? 0.0F : source[places[v]];
      }
    }
  });
  return made;
}

/// multiply for a long inner axis, in parts that the first cache holds.
void multiply_long(const ProductSize& size, const Matrix<const float>& a, const Matrix<const float>& b,
                   const Matrix<float>& c, bool add) {
  for (int64_t k = 0; k < size.inner; k += kDepth) {
    multiply({size.rows, size.columns, std::min(kDepth, size.inner - k)}, {a.values + k, a.stride},
             {b.values + k * b.stride, b.stride}, c, add || k > 0);
  }
}

/// f(from, count) for the voxels in parts of which the neighbours are gathered.
template <typename Function>
void for_each_part(int64_t voxels, const Function& f) {
  for (int64_t from = 0; from < voxels; from += kGathered) f(from, std::min(kGathered, voxels - from));
}

struct Block {
  int64_t row, height, column, width;
};

/// f(block) for the blocks of a matrix, at most `block.height` x `block.width`, on all threads.
template <typename Function>
void for_each_block(int64_t rows, int64_t columns, const Block& block, const Function& f) {
  const int64_t across = ceil_div(columns, block.width);
  at::parallel_for(0, ceil_div(rows, block.height) * across, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / across * block.height, column = i % across * block.width;
      f(Block{row, std::min(block.height, rows - row), column, std::min(block.width, columns - column)});
    }
  });
}

/// `sums` (voxels, C), perhaps strided, into y or added to it, rounded once.
void finish(const at::Tensor& sums, const at::Tensor& bias, const at::Tensor& y, Result result) {
  if (bias.defined()) sums.add_(bias.to(at::kFloat));
  const at::Tensor rows = y.movedim(1, -1), made = sums.view(rows.sizes());
  result == Result::Add ? rows.add_(made) : rows.copy_(made);
}

}  // namespace

void gathered_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
                   const at::Tensor& y, Result result) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::gathered_conv", (std::vector<c10::IValue>{x, weight, first_padding}));
  const Neighbours neighbours(x, y.dim() == 5 ? y.size(2) : 1, first_padding);
  const int64_t in = x.size(1), out = y.size(1), taps = neighbours.taps(), voxels = neighbours.voxels();
  const at::Tensor source = channel_rows(x), kernel = channels_last(weight.to(at::kFloat));
  const at::Tensor sums = at::empty({out, voxels}, at::kFloat);
  for_each_part(voxels, [&](int64_t from, int64_t count) {
    const at::Tensor columns = gathered_columns(source, neighbours.of(from, count), taps);
    for_each_block(out, count, {0, kHeight, 0, kWidth}, [&](const Block& at) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        multiply_long({at.height, at.width, in},
                      {kernel.const_data_ptr<float>() + (at.row * taps + tap) * in, taps * in},
                      {columns.const_data_ptr<float>() + (at.column * taps + tap * at.width) * in, at.width},
                      {sums.mutable_data_ptr<float>() + at.row * voxels + from + at.column, voxels}, tap > 0);
      }
    });
  });
  finish(sums.t(), bias, y, result);
}

at::Tensor gathered_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::gathered_input_gradient", (std::vector<c10::IValue>{dy, weight}));
  const Neighbours neighbours = same_size(dy);
  const int64_t in = weight.size(1), out = dy.size(1), taps = neighbours.taps(), voxels = neighbours.voxels();
  const at::Tensor source = voxel_rows(dy), kernel = channels_last(weight.to(at::kFloat));
  const at::Tensor sums = at::empty({voxels, in}, at::kFloat);
  for_each_part(voxels, [&](int64_t from, int64_t count) {
    const at::Tensor rows = gathered_rows(source, neighbours.of(from, count), taps, out);
    for_each_block(count, in, {0, kWidth, 0, kHeight}, [&](const Block& at) {
      float* const weights = kept_memory(out * at.width);
      for (int64_t tap = 0; tap < taps; ++tap) {
        const float* const first = kernel.const_data_ptr<float>() + tap * in + at.column;
        for (int64_t o = 0; o < out; ++o) std::copy_n(first + o * taps * in, at.width, weights + o * at.width);
        // A voxel of x leads to the neighbours that it is a neighbour of.
        multiply_long(
            {at.height, at.width, out}, {rows.const_data_ptr<float>() + ((taps - 1 - tap) * count + at.row) * out, out},
            {weights, at.width}, {sums.mutable_data_ptr<float>() + (from + at.row) * in + at.column, in}, tap > 0);
      }
    });
  });
  const at::Tensor dx = empty_map(dy, in, dy.scalar_type());
  finish(sums, {}, dx, Result::Replace);
  return dx;
}

at::Tensor gathered_weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::gathered_weight_gradient", (std::vector<c10::IValue>{x, dy}));
  const Neighbours neighbours = same_size(x);
  const int64_t in = x.size(1), out = dy.size(1), taps = neighbours.taps();
  const at::Tensor source = voxel_rows(x), slopes = channel_rows(dy);
  const at::Tensor sums = at::empty({out, taps, in}, at::kFloat);
  for_each_part(neighbours.voxels(), [&](int64_t from, int64_t count) {
    const at::Tensor rows = gathered_rows(source, neighbours.of(from, count), taps, kHeight);
    const int64_t blocks = ceil_div(in, kHeight);
    for_each_block(out, taps * blocks, {0, kHeight, 0, 1}, [&](const Block& at) {
      const int64_t tap = at.column / blocks, c = at.column % blocks * kHeight, width = std::min(kHeight, in - c);
      multiply_long({at.height, width, count},
                    {slopes.const_data_ptr<float>() + at.row * slopes.stride(0) + from, slopes.stride(0)},
                    {rows.const_data_ptr<float>() + (tap * in + c) * count, width},
                    {sums.mutable_data_ptr<float>() + (at.row * taps + tap) * in + c, taps * in}, from > 0);
    });
  });
  return as_weights(sums, x.dim() - 2);
}

int64_t gathered_memory(int64_t rank, int64_t in, int64_t out, int64_t voxels) {
  const int64_t taps = rank == 3 ? 27 : 9;
  return static_cast<int64_t>(sizeof(float)) * (taps * in * std::min(voxels, kGathered) + (in + out) * voxels);
}

}  // namespace medgen::nn
