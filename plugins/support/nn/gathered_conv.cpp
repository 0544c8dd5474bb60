// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/gathered_conv.h"

#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/products.h"

#include "kernels/launch.h"
#include "kernels/rows.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <type_traits>
#include <vector>

namespace medgen::nn {
namespace {

using kernels::Bf16;

constexpr int64_t kGathered = 512;  ///< voxels whose neighbours are gathered at a time
constexpr int64_t kChannels = 64;   ///< of one product
constexpr int64_t kDepth = 256;     ///< of one product, in words

/// Voxels of one product with so many channels of a result. Where weights are many, those that are converted for each
/// product are so once for all voxels that are gathered.
template <typename T>
int64_t product_voxels(int64_t channels) {
  constexpr int64_t kFew = 128, kManyChannels = 256;
  return std::is_same_v<T, float> || channels < kManyChannels ? kFew : kGathered;
}

/// f(null pointer of the type of the factors). Those of bfloat16 are multiplied in pairs of channels.
template <typename Function>
void by_product(at::ScalarType products, int64_t in, int64_t out, const Function& f) {
  const bool narrow = products == at::kBFloat16 && in % 2 == 0 && out % 2 == 0;
  narrow ? f(static_cast<Bf16*>(nullptr)) : f(static_cast<float*>(nullptr));
}

at::ScalarType products_of(const at::Tensor& x) {
  return product_type(x.scalar_type(), x.device());
}

/// Numbers of a factor that move together: one of float32, a pair of bfloat16.
using Word = uint32_t;

template <typename T>
constexpr int64_t kOfWord = sizeof(Word) / sizeof(T);

template <typename T>
constexpr at::ScalarType kScalar = std::is_same_v<T, float> ? at::kFloat : at::kBFloat16;

template <typename T>
const T* values_of(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

/// (N, C, ...) channels-last as (voxels, C).
at::Tensor voxel_rows(const at::Tensor& x) {
  return channels_last(x).movedim(1, -1).flatten(0, -2);
}

/// The same, and a row of zeros behind.
template <typename T>
at::Tensor rows_and_zeros(const at::Tensor& x) {
  const at::Tensor rows = voxel_rows(x), made = at::empty({rows.size(0) + 1, rows.size(1)}, kScalar<T>);
  made.narrow(0, 0, rows.size(0)).copy_(rows);
  made[rows.size(0)].zero_();
  return made;
}

/// Rows (voxels, C) as (C, voxels), zeros behind each row, which are apart such that they do not all share a few lines
/// of the cache.
at::Tensor columns_and_zeros(const at::Tensor& rows) {
  constexpr int64_t kApart = 16;
  const int64_t voxels = rows.size(0), stride = (voxels / kApart + 1) * kApart;
  const at::Tensor made = at::empty({rows.size(1), stride % 256 == 0 ? stride + kApart : stride}, rows.options());
  made.narrow(1, 0, voxels).copy_(rows.t());
  made.narrow(1, voxels, made.size(1) - voxels).zero_();
  return made;
}

/// Of voxels or of their neighbours: [begin, end).
struct Range {
  int64_t begin, end;

  int64_t size() const { return end - begin; }
};

/// How the voxels of a map meet those of another one through a kernel of 3.
class Neighbours {
 public:
  /// From the voxels of y to those of x, `first_padding` planes of zeros lying before x.
  Neighbours(const at::Tensor& x, int64_t planes, int64_t first_padding)
      : volume_(x.dim() == 5),
        padding_(volume_ ? first_padding : 0),
        in_planes_(volume_ ? x.size(2) : 1),
        planes_(planes),
        rows_(x.size(-2)),
        columns_(x.size(-1)),
        samples_(x.size(0)) {}

  /// Of y.
  int64_t voxels() const { return samples_ * planes_ * rows_ * columns_; }

  /// The number of voxels of x stands for one outside.
  int64_t outside() const { return samples_ * in_planes_ * rows_ * columns_; }

  int64_t taps() const { return volume_ ? 27 : 9; }

  /// For each weight, the voxels of x that meet it from the voxels [from, from + count): [tap][voxel].
  std::vector<int64_t> of(int64_t from, int64_t count) const {
    const std::vector<Place> places = places_of(from, std::min(count, voxels() - from));
    std::vector<int64_t> found(static_cast<size_t>(taps() * count), outside());
    for (int64_t tap = 0; tap < taps(); ++tap) {
      const int64_t plane = volume_ ? tap / 9 - padding_ : 0, row = tap / 3 % 3 - 1, column = tap % 3 - 1;
      int64_t* const to = found.data() + tap * count;
      for (size_t i = 0; i < places.size(); ++i) {
        const int64_t d = places[i].plane + plane, h = places[i].row + row, w = places[i].column + column;
        const bool inside = d >= 0 && d < in_planes_ && h >= 0 && h < rows_ && w >= 0 && w < columns_;
        if (inside) to[i] = ((places[i].sample * in_planes_ + d) * rows_ + h) * columns_ + w;
      }
    }
    return found;
  }

  /// Of the voxels `within` that `found` begins with for one weight, those without the first and the last that meet
  /// none, as whole lines of a cache go: at the ends of a small map half of them meet none.
  Range meeting(const int64_t* found, Range within) const {
    constexpr int64_t kLine = 16;
    const auto meets = [&](int64_t voxel) { return found[voxel] != outside(); };
    Range range = within;
    while (range.begin < range.end && !meets(range.begin)) ++range.begin;
    while (range.begin < range.end && !meets(range.end - 1)) --range.end;
    if (range.size() == 0) return range;
    range.begin -= (range.begin - within.begin) % kLine;
    return {range.begin, std::min(within.end, within.begin + ceil_div(range.end - within.begin, kLine) * kLine)};
  }

 private:
  struct Place {
    int64_t sample, plane, row, column;
  };

  std::vector<Place> places_of(int64_t from, int64_t count) const {
    std::vector<Place> places;
    places.reserve(static_cast<size_t>(count));
    for (int64_t v = from; v < from + count; ++v) {
      const int64_t plane = v / (columns_ * rows_);
      places.push_back({plane / planes_, plane % planes_, v / columns_ % rows_, v % columns_});
    }
    return places;
  }

  bool volume_;
  int64_t padding_, in_planes_, planes_, rows_, columns_, samples_;
};

Neighbours same_size(const at::Tensor& x) {
  return {x, x.dim() == 5 ? x.size(2) : 1, 1};
}

/// Rows of another type, or none apart, one after another.
template <typename In, typename Out>
void convert_rows(const In* x, int64_t stride, int64_t rows, int64_t columns, Out* to) {
  kernels::launch(kernels::Cpu{}, kernels::ConvertRows<In, Out>{x, stride, to, rows, columns});
}

/// Rows as the right factor of a product.
template <typename In>
void put_factor(const In* x, int64_t stride, int64_t rows, int64_t columns, float* to) {
  convert_rows(x, stride, rows, columns, to);
}

template <typename In>
void put_factor(const In* x, int64_t stride, int64_t rows, int64_t columns, Bf16* to) {
  kernels::launch(kernels::Cpu{}, kernels::PairRows<In>{x, stride, to, rows / 2, columns});
}

/// Rows `voxels` of `from` (rows_and_zeros), as left factors: [tap][voxel of these][channel].
template <typename T>
at::Tensor gathered_rows(const at::Tensor& from, const std::vector<int64_t>& voxels) {
  const int64_t channels = from.size(1), count = static_cast<int64_t>(voxels.size());
  const at::Tensor made = at::empty({count, channels}, from.options());
  auto* const to = static_cast<T*>(made.mutable_data_ptr());
  at::parallel_for(0, count, kChannels, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(values_of<T>(from) + voxels[static_cast<size_t>(i)] * channels, channels, to + i * channels);
    }
  });
  return made;
}

/// The same as right factors, cut into blocks of kChannels channels, the last one perhaps narrower:
/// [tap][block][voxel of these][channel].
template <typename T>
at::Tensor gathered_factors(const at::Tensor& from, const std::vector<int64_t>& voxels, int64_t taps) {
  const int64_t channels = from.size(1), count = static_cast<int64_t>(voxels.size()) / taps;
  const at::Tensor made = at::empty({taps, channels * count}, from.options());
  at::parallel_for(0, taps * ceil_div(channels, kChannels), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t tap = i % taps, c = i / taps * kChannels, width = std::min(kChannels, channels - c);
      const int64_t* const places = voxels.data() + tap * count;
      auto* const to = static_cast<T*>(made.mutable_data_ptr()) + (tap * channels + c) * count;
      const T* const rows = values_of<T>(from) + c;
      for (int64_t v = 0; v < count; v += kOfWord<T>) {
        const int64_t apart = places[v + kOfWord<T> - 1] - places[v];
        put_factor(rows + places[v] * channels, apart * channels, kOfWord<T>, width, to + v * width);
      }
    }
  });
  return made;
}

/// Columns of `from` (words of channels, voxels) as right factors, cut into blocks of `block` of these, the last
/// one perhaps narrower: [block][tap][word of channels][voxel].
at::Tensor gathered_columns(const at::Tensor& from, const std::vector<int64_t>& voxels, int64_t taps, int64_t block) {
  const int64_t words = from.size(0), count = static_cast<int64_t>(voxels.size()) / taps;
  const at::Tensor made = at::empty({taps * words * count}, from.options());
  at::parallel_for(0, taps * words, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Word* const source = values_of<Word>(from) + i % words * from.stride(0);
      for (int64_t first = 0; first < count; first += block) {
        const int64_t width = std::min(block, count - first);
        const int64_t* const places = voxels.data() + i / words * count + first;
        auto* const to = static_cast<Word*>(made.mutable_data_ptr()) + first * taps * words + i * width;
        for (int64_t v = 0; v < width; ++v) to[v] = source[places[v]];
      }
    }
  });
  return made;
}

/// c += a b, for a long inner axis, in parts that the first cache holds.
template <typename T>
void add_product(const ProductSize& size, const Matrix<const T>& a, const Matrix<const T>& b, const Matrix<float>& c) {
  constexpr int64_t kPart = kDepth * kOfWord<T>;
  for (int64_t k = 0; k < size.inner; k += kPart) {
    multiply({size.rows, size.columns, std::min(kPart, size.inner - k)}, {a.values + k, a.stride},
             {b.values + k * b.stride, b.stride}, c, true);
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
    end_products();
  });
}

/// `sums` (voxels, C), perhaps strided, into y or added to it, rounded once.
void finish(const at::Tensor& sums, const at::Tensor& bias, const at::Tensor& y, Result result) {
  if (bias.defined()) sums.add_(bias.to(at::kFloat));
  const at::Tensor rows = y.movedim(1, -1), made = sums.view(rows.sizes());
  result == Result::Add ? rows.add_(made) : rows.copy_(made);
}

/// The weights of a convolution, which lie as (out)(taps)(in), as factors of type T.
template <typename T, typename W>
struct Weights {
  const W* values;
  int64_t taps, in;

  /// Those of the results [out, out + count) and one tap: count rows.
  Matrix<const T> rows(int64_t out, int64_t count, int64_t tap) const {
    const W* const first = values + (out * taps + tap) * in;
    if constexpr (std::is_same_v<T, W>) {
      return {first, taps * in};
    } else {
      T* const to = reinterpret_cast<T*>(kept_memory(count * in));
      convert_rows(first, taps * in, count, in, to);
      prefetch_next_tap(first, count, in);
      return {to, in};
    }
  }

  /// Those of the channels [c, c + count), one tap and all `out` results: count columns of a right factor.
  Matrix<const T> columns(int64_t c, int64_t count, int64_t tap, int64_t out) const {
    T* const to = reinterpret_cast<T*>(kept_memory(out * count));
    const W* const first = values + tap * in + c;
    put_factor(first, taps * in, out, count, to);
    prefetch_next_tap(first, out, count);
    return {to, count};
  }

 private:
  /// Rows lie far apart, where no processor looks by itself; they come while these are multiplied.
  void prefetch_next_tap(const W* first, int64_t rows, int64_t columns) const {
    constexpr auto kLine = static_cast<int64_t>(64 / sizeof(W));
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < columns; i += kLine) __builtin_prefetch(first + (row * taps + 1) * in + i, 0, 2);
    }
  }
};

/// f(weights) for `weight` of any type that the kernels know.
template <typename T, typename Function>
void with_weights(const at::Tensor& weight, const Function& f) {
  const at::Tensor kernel = channels_last(weight);
  by_type(kernel, [&]<typename W>(W*) {
    f(Weights<T, W>{values_of<W>(kernel), c10::multiply_integers(weight.sizes().slice(2)), weight.size(1)});
  });
}

/// Adds the convolution of x to sums (out, voxels).
template <typename T>
void convolve(const at::Tensor& x, const at::Tensor& weight, const Neighbours& neighbours, const at::Tensor& sums) {
  const int64_t in = x.size(1), out = sums.size(0), taps = neighbours.taps(), voxels = neighbours.voxels();
  const int64_t block = product_voxels<T>(out);
  const at::Tensor source = columns_and_zeros(voxel_rows(x).to(kScalar<T>).view(at::kInt));
  with_weights<T>(weight, [&](const auto& weights) {
    for_each_part(voxels, [&](int64_t from, int64_t count) {
      const std::vector<int64_t> found = neighbours.of(from, count);
      const at::Tensor columns = gathered_columns(source, found, taps, block);
      for_each_block(out, count, {0, kChannels, 0, block}, [&](const Block& at) {
        for (int64_t tap = 0; tap < taps; ++tap) {
          const Range part = neighbours.meeting(found.data() + tap * count, {at.column, at.column + at.width});
          if (part.size() == 0) continue;
          const T* const right = values_of<T>(columns) + (at.column * taps + tap * at.width) * in;
          add_product<T>({at.height, part.size(), in}, weights.rows(at.row, at.height, tap),
                         {right + (part.begin - at.column) * kOfWord<T>, at.width},
                         {sums.mutable_data_ptr<float>() + at.row * voxels + from + part.begin, voxels});
        }
      });
    });
  });
}

/// Adds the gradient of x to sums (voxels, in).
template <typename T>
void add_up_input_gradient(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& sums) {
  const Neighbours neighbours = same_size(dy);
  const int64_t in = sums.size(1), out = dy.size(1), taps = neighbours.taps();
  const at::Tensor source = rows_and_zeros<T>(dy);
  with_weights<T>(weight, [&](const auto& weights) {
    for_each_part(neighbours.voxels(), [&](int64_t from, int64_t count) {
      const std::vector<int64_t> found = neighbours.of(from, count);
      const at::Tensor rows = gathered_rows<T>(source, found);
      for_each_block(count, in, {0, product_voxels<T>(in), 0, kChannels}, [&](const Block& at) {
        for (int64_t tap = 0; tap < taps; ++tap) {
          // A voxel of x leads to the neighbours that it is a neighbour of.
          const int64_t back = taps - 1 - tap;
          const Range part = neighbours.meeting(found.data() + back * count, {at.row, at.row + at.height});
          if (part.size() == 0) continue;
          add_product<T>({part.size(), at.width, out}, {values_of<T>(rows) + (back * count + part.begin) * out, out},
                         weights.columns(at.column, at.width, tap, out),
                         {sums.mutable_data_ptr<float>() + (from + part.begin) * in + at.column, in});
        }
      });
    });
  });
}

/// Zeros where a product has none to add.
void clear(int64_t rows, int64_t columns, const Matrix<float>& c) {
  for (int64_t row = 0; row < rows; ++row) std::fill_n(c.values + row * c.stride, columns, 0.0F);
}

/// sums (out, taps, in) of the gradient of the weights.
template <typename T>
void add_up_weight_gradient(const at::Tensor& x, const at::Tensor& dy, const at::Tensor& sums) {
  const Neighbours neighbours = same_size(x);
  const int64_t in = x.size(1), out = dy.size(1), taps = neighbours.taps();
  const at::Tensor source = rows_and_zeros<T>(x), slopes = columns_and_zeros(voxel_rows(dy).to(kScalar<T>));
  for_each_part(neighbours.voxels(), [&](int64_t from, int64_t count) {
    const int64_t even = ceil_div(count, kOfWord<T>) * kOfWord<T>, blocks = ceil_div(in, kChannels);
    const std::vector<int64_t> found = neighbours.of(from, even);
    const at::Tensor factors = gathered_factors<T>(source, found, taps);
    for_each_block(out, taps * blocks, {0, kChannels, 0, 1}, [&](const Block& at) {
      const int64_t tap = at.column / blocks, c = at.column % blocks * kChannels, width = std::min(kChannels, in - c);
      const Matrix<float> to{sums.mutable_data_ptr<float>() + (at.row * taps + tap) * in + c, taps * in};
      const Range part = neighbours.meeting(found.data() + tap * even, {0, even});
      if (part.size() == 0 && from == 0) return clear(at.height, width, to);
      if (part.size() == 0) return;
      multiply({at.height, width, part.size()},
               {values_of<T>(slopes) + at.row * slopes.stride(0) + from + part.begin, slopes.stride(0)},
               {values_of<T>(factors) + (tap * in + c) * even + part.begin * width, width}, to, from > 0);
    });
  });
}

}  // namespace

void gathered_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
                   const at::Tensor& y, Result result, at::ScalarType products) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::gathered_conv", (std::vector<c10::IValue>{x, weight, first_padding}));
  const Neighbours neighbours(x, y.dim() == 5 ? y.size(2) : 1, first_padding);
  const at::Tensor sums = at::zeros({y.size(1), neighbours.voxels()}, at::kFloat);
  by_product(product_type(products, at::kCPU), x.size(1), y.size(1),
             [&]<typename T>(T*) { convolve<T>(x, weight, neighbours, sums); });
  finish(sums.t(), bias, y, result);
}

at::Tensor gathered_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::gathered_input_gradient", (std::vector<c10::IValue>{dy, weight}));
  const int64_t in = weight.size(1);
  const at::Tensor dx = empty_map(dy, in, dy.scalar_type());
  const at::Tensor sums = at::zeros({dx.numel() / in, in}, at::kFloat);
  by_product(products_of(dy), in, dy.size(1), [&]<typename T>(T*) { add_up_input_gradient<T>(dy, weight, sums); });
  finish(sums, {}, dx, Result::Replace);
  return dx;
}

at::Tensor gathered_weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::gathered_weight_gradient", (std::vector<c10::IValue>{x, dy}));
  const at::Tensor sums = at::empty({dy.size(1), x.dim() == 5 ? 27 : 9, x.size(1)}, at::kFloat);
  by_product(products_of(x), x.size(1), dy.size(1), [&]<typename T>(T*) { add_up_weight_gradient<T>(x, dy, sums); });
  return as_weights(sums, x.dim() - 2);
}

int64_t gathered_memory(int64_t rank, int64_t in, int64_t out, int64_t voxels) {
  const int64_t taps = rank == 3 ? 27 : 9;
  return static_cast<int64_t>(sizeof(float)) * (taps * in * std::min(voxels, kGathered) + (in + out) * voxels);
}

}  // namespace medgen::nn
