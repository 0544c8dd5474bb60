// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/conv_gradient.h"

#include "plugins/support/nn/ops.h"

#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

namespace medgen::nn {
namespace {

using at::BFloat16;

constexpr int64_t kOut = 32, kIn = 64;  ///< rows and columns of one product: they stay in the first cache
constexpr int64_t kRun = 1024;          ///< voxels of one product
constexpr int64_t kUnits = 8;           ///< as many independent pieces of work are wanted

/// How voxels lie in one line: a zero behind each row and a row of zeros behind each plane, so that the neighbours of
/// all voxels are equally far away, and those outside are zeros. (N, C, D, H, W); maps of two axes have one plane.
struct Line {
  explicit Line(const at::Tensor& x)
      : planes(x.size(2)), rows(x.size(3)), columns(x.size(4)), row(columns + 1), plane((rows + 1) * row) {}

  /// Even, because products take voxels in pairs.
  int64_t length() const { return (planes * plane + 1) / 2 * 2; }

  /// To the farthest neighbour.
  int64_t reach() const { return plane + row + 1; }

  int64_t planes, rows, columns;
  int64_t row, plane;
};

at::Tensor with_planes(const at::Tensor& x) {
  return x.dim() == 5 ? x : x.unsqueeze(2);
}

/// f(n, d, h, first voxel of that row) for all rows.
template <typename Function>
void for_each_row(const at::Tensor& x, const Line& line, const Function& f) {
  at::parallel_for(0, x.size(0) * line.planes, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / line.planes, d = i % line.planes;
      for (int64_t h = 0; h < line.rows; ++h) {
        f(n, d * line.plane + h * line.row,
          x.const_data_ptr<BFloat16>() + n * x.stride(0) + d * x.stride(2) + h * x.stride(3));
      }
    }
  });
}

/// x as right factor: for each sample and block of kIn channels [pair of voxels][channel][voxel of the pair].
class Pairs {
 public:
  Pairs(const at::Tensor& x, const Line& line)
      : channels_(x.size(1)),
        length_(line.length()),
        values_(at::zeros({x.size(0), channels_ * length_}, x.options().memory_format(std::nullopt))) {
    for_each_row(x, line, [&](int64_t n, int64_t first, const BFloat16* voxel) {
      // The row with the zeros behind it may begin and end amid a pair.
      const int64_t step = x.stride(4);
      for (int64_t c = 0; c < channels_; c += kIn) {
        int64_t w = 0;
        if (first % 2 == 1) put(n, c, first + w++, voxel);
        for (; w + 1 < line.columns; w += 2) put_pair(n, c, first + w, voxel + w * step, voxel + (w + 1) * step);
        if (w < line.columns) put(n, c, first + w, voxel + w * step);
      }
    });
  }

  /// Channels of the block that begins with `channel`.
  int64_t width(int64_t channel) const { return std::min(kIn, channels_ - channel); }

  const BFloat16* at(int64_t n, int64_t channel, int64_t voxel) const {
    return values_.const_data_ptr<BFloat16>() + offset(n, channel, voxel);
  }

 private:
  void put(int64_t n, int64_t channel, int64_t voxel, const BFloat16* from) {
    BFloat16* const to = values_.mutable_data_ptr<BFloat16>() + offset(n, channel, voxel) + voxel % 2;
    for (int64_t i = 0; i < width(channel); ++i) to[2 * i] = from[channel + i];
  }

  void put_pair(int64_t n, int64_t channel, int64_t voxel, const BFloat16* first, const BFloat16* second) {
    BFloat16* const to = values_.mutable_data_ptr<BFloat16>() + offset(n, channel, voxel);
    const int64_t count = width(channel);
    for (int64_t i = 0; i < count; ++i) {
      to[2 * i] = first[channel + i];
      to[2 * i + 1] = second[channel + i];
    }
  }

  /// Of the pair that `voxel` belongs to.
  int64_t offset(int64_t n, int64_t channel, int64_t voxel) const {
    return n * channels_ * length_ + channel * length_ + voxel / 2 * 2 * width(channel);
  }

  int64_t channels_, length_;
  at::Tensor values_;
};

/// dy as left factor: [sample][channel][voxel], with zeros around for neighbours.
class Lines {
 public:
  Lines(const at::Tensor& dy, const Line& line)
      : channels_(dy.size(1)),
        reach_(line.reach()),
        stride_(spread(line.length() + 2 * reach_)),
        values_(at::zeros({dy.size(0), channels_, stride_}, dy.options().memory_format(std::nullopt))) {
    auto* const values = values_.mutable_data_ptr<BFloat16>();
    const int64_t step = dy.stride(4);
    for_each_row(dy, line, [&](int64_t n, int64_t first, const BFloat16* voxel) {
      BFloat16* const to = values + n * channels_ * stride_ + reach_ + first;
      for (int64_t c = 0; c < channels_; ++c) {
        for (int64_t w = 0; w < line.columns; ++w) to[c * stride_ + w] = voxel[w * step + c];
      }
    });
  }

  const BFloat16* at(int64_t n, int64_t channel, int64_t voxel) const {
    return values_.const_data_ptr<BFloat16>() + (n * channels_ + channel) * stride_ + reach_ + voxel;
  }

  int64_t channels() const { return channels_; }

  int64_t stride() const { return stride_; }

 private:
  /// Channels a power of two apart would share a few lines of the cache.
  static int64_t spread(int64_t length) { return length % 256 < 32 ? length + 32 : length; }

  int64_t channels_, reach_, stride_;
  at::Tensor values_;
};

/// One weight of the kernel: where, seen from a voxel of x, the voxel of dy lies that it leads to.
struct Tap {
  const Lines* dy;
  int64_t shift;
};

/// Sums over all voxels of x times dy, for each pair of channels and each tap.
class Correlation {
 public:
  Correlation(const at::Tensor& x, const Line& line, const std::vector<Tap>& taps)
      : samples_(x.size(0)),
        in_(x.size(1)),
        out_(taps.front().dy->channels()),
        length_(line.length()),
        pairs_(x, line),
        taps_(taps),
        out_blocks_((out_ + kOut - 1) / kOut),
        blocks_(out_blocks_ * ((in_ + kIn - 1) / kIn)),
        parts_(std::clamp<int64_t>(kUnits / blocks_, 1, runs())) {}

  /// (out, taps, in) float32: weights lie channels-last.
  at::Tensor sums() const {
    const at::Tensor result = at::empty({out_, taps(), in_}, at::kFloat);
    const at::Tensor partial = at::empty({parts_ > 1 ? blocks_ * parts_ : 0, size()}, at::kFloat);
    at::parallel_for(0, blocks_ * parts_, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> own(static_cast<size_t>(parts_ > 1 ? 0 : size()));
      for (int64_t unit = begin; unit < end; ++unit) {
        // Blocks differ in width: each thread gets some of all.
        float* const to = parts_ > 1 ? partial.mutable_data_ptr<float>() + unit * size() : own.data();
        add_up(unit % blocks_, unit / blocks_, to);
        if (parts_ == 1) put(unit, to, result.mutable_data_ptr<float>());
      }
      at::native::cpublas::brgemm_release();
    });
    if (parts_ == 1) return result;
    at::parallel_for(0, blocks_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        float* const sums = partial.mutable_data_ptr<float>() + block * size();
        for (int64_t part = 1; part < parts_; ++part) add(sums + part * blocks_ * size(), size(), sums);
        put(block, sums, result.mutable_data_ptr<float>());
      }
    });
    return result;
  }

 private:
  int64_t taps() const { return static_cast<int64_t>(taps_.size()); }

  int64_t runs() const { return samples_ * ((length_ + kRun - 1) / kRun); }

  int64_t size() const { return taps() * std::min(kOut, out_) * std::min(kIn, in_); }

  int64_t first_out(int64_t block) const { return block % out_blocks_ * kOut; }

  int64_t first_in(int64_t block) const { return block / out_blocks_ * kIn; }

  int64_t height(int64_t block) const { return std::min(kOut, out_ - first_out(block)); }

  static void add(const float* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i) to[i] += from[i];
  }

  /// sums [tap][out][in] of one block, over one part of the runs.
  void add_up(int64_t block, int64_t part, float* sums) const {
    const int64_t o = first_out(block), c = first_in(block), width = pairs_.width(c);
    const int64_t per_sample = runs() / samples_;
    const int64_t first = part * runs() / parts_, last = (part + 1) * runs() / parts_;
    for (int64_t run = first; run < last; ++run) {
      const int64_t n = run / per_sample, voxel = run % per_sample * kRun;
      const BFloat16* const right = pairs_.at(n, c, voxel);
      for (int64_t t = 0; t < taps(); ++t) {
        const Tap& tap = taps_[static_cast<size_t>(t)];
        at::native::cpublas::brgemm(height(block), width, std::min(kRun, length_ - voxel), tap.dy->stride(), width,
                                    width, run > first, tap.dy->at(n, o, voxel + tap.shift), right,
                                    sums + t * height(block) * width);
      }
    }
  }

  /// [tap][out][in] -> [out][tap][in]
  void put(int64_t block, const float* sums, float* result) const {
    const int64_t c = first_in(block), width = pairs_.width(c);
    for (int64_t t = 0; t < taps(); ++t) {
      for (int64_t o = 0; o < height(block); ++o, sums += width)
        std::copy_n(sums, width, result + ((first_out(block) + o) * taps() + t) * in_ + c);
    }
  }

  int64_t samples_, in_, out_, length_;
  Pairs pairs_;
  const std::vector<Tap>& taps_;
  int64_t out_blocks_, blocks_, parts_;
};

}  // namespace

bool has_conv_gradient(const at::Tensor& x) {
#if defined(__x86_64__)
  static const bool products = __builtin_cpu_supports("avx512bf16");
#else
  static const bool products = false;
#endif
  return products && x.is_cpu() && x.scalar_type() == at::kBFloat16 && (x.dim() == 4 || x.dim() == 5);
}

at::Tensor conv_weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
  const at::Tensor volume = with_planes(channels_last(x));
  const Line line(volume);
  const Lines lines(with_planes(channels_last(dy)), line);
  std::vector<Tap> taps;
  const int64_t deep = x.dim() == 5 ? 1 : 0;
  for (int64_t d = -deep; d <= deep; ++d) {
    for (int64_t h = -1; h <= 1; ++h) {
      for (int64_t w = -1; w <= 1; ++w) taps.push_back({&lines, -d * line.plane - h * line.row - w});
    }
  }
  return as_weights(Correlation(volume, line, taps).sums(), x.dim() - 2);
}

at::Tensor doubling_weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
  const at::Tensor volume = with_planes(channels_last(x)), fine = with_planes(channels_last(dy));
  const Line line(volume);
  const int64_t deep = x.dim() == 5 ? 2 : 1;
  // Every second voxel along each axis, from the first or the second on.
  std::vector<Lines> lines;
  lines.reserve(8);
  for (int64_t part = 0; part < 4 * deep; ++part) {
    lines.emplace_back(fine.slice(2, part / 4, std::nullopt, deep)
                           .slice(3, part / 2 % 2, std::nullopt, 2)
                           .slice(4, part % 2, std::nullopt, 2),
                       line);
  }
  // Voxel v leads to 2 v + t - 1: of the odd ones that before and its own, of the even ones its own and the next.
  const auto parity = [](int64_t t) { return (t + 1) % 2; };
  const auto step = [](int64_t t) { return t == 0 ? -1 : t / 3; };
  std::vector<Tap> taps;
  for (int64_t d = 0; d < (deep == 2 ? 4 : 1); ++d) {
    for (int64_t h = 0; h < 4; ++h) {
      for (int64_t w = 0; w < 4; ++w) {
        const int64_t along_depth = deep == 2 ? step(d) * line.plane : 0;
        const int64_t part = (deep == 2 ? 4 * parity(d) : 0) + 2 * parity(h) + parity(w);
        taps.push_back({&lines[static_cast<size_t>(part)], along_depth + step(h) * line.row + step(w)});
      }
    }
  }
  return as_weights(Correlation(volume, line, taps).sums(), x.dim() - 2, 4);
}

}  // namespace medgen::nn
