// SPDX-License-Identifier: Apache-2.0
// Ringing of a truncated k-space, by a Fourier transform of any length.
#include "core/augment/intensity.h"
#include "core/volume/axis_order.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

namespace medgen::augmentation {
namespace {

using Complex = std::complex<double>;

std::size_t smallest_factor(std::size_t n) {
  for (std::size_t p = 2; p * p <= n; ++p) {
    if (n % p == 0) return p;
  }
  return n;
}

/// Fourier transform of one length, by Cooley and Tukey for every factor.
class Fourier {
 public:
  explicit Fourier(std::size_t n) : roots_(n), scratch_(n) {
    for (std::size_t i = 0; i < n; ++i) {
      roots_[i] = std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n));
    }
  }

  /// In place; `forward` or its inverse without the factor 1/n.
  void run(std::vector<Complex>& line, bool forward) {
    if (!forward) std::transform(line.begin(), line.end(), line.begin(), [](Complex v) { return std::conj(v); });
    scratch_ = line;
    transform(scratch_.data(), 1, line.data(), line.size());
    if (!forward) std::transform(line.begin(), line.end(), line.begin(), [](Complex v) { return std::conj(v); });
  }

 private:
  void transform(const Complex* in, std::size_t stride, Complex* out, std::size_t n) {
    if (n == 1) {
      *out = *in;
      return;
    }
    const std::size_t p = smallest_factor(n), part = n / p;
    for (std::size_t r = 0; r < p; ++r) transform(in + r * stride, stride * p, out + r * part, part);
    std::vector<Complex> column(p);
    for (std::size_t k = 0; k < part; ++k) {
      for (std::size_t r = 0; r < p; ++r) column[r] = out[r * part + k];
      for (std::size_t q = 0; q < p; ++q) {
        Complex sum = column[0];
        for (std::size_t r = 1; r < p; ++r) sum += product(column[r], roots_[r * (k + q * part) % n * stride]);
        out[k + q * part] = sum;
      }
    }
  }

  /// Without the checks for infinity that operator* has.
  static Complex product(Complex a, Complex b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }

  std::vector<Complex> roots_;
  std::vector<Complex> scratch_;
};

/// Every line along one axis (0 is x) of a (z, y, x) array.
void transform_axis(std::vector<Complex>& array, const Size3& size, std::size_t axis, bool forward) {
  const auto n = static_cast<std::size_t>(size[axis]);
  std::size_t stride = 1;
  for (std::size_t d = 0; d < axis; ++d) stride *= static_cast<std::size_t>(size[d]);
  Fourier fourier(n);
  std::vector<Complex> line(n);
  for (std::size_t start = 0; start < array.size(); ++start) {
    if (start / stride % n != 0) continue;
    for (std::size_t i = 0; i < n; ++i) line[i] = array[start + i * stride];
    fourier.run(line, forward);
    for (std::size_t i = 0; i < n; ++i) array[start + i * stride] = line[i];
  }
}

/// Squared distance from the middle of k-space as it lies after the halves were exchanged: index n/2 is frequency 0,
/// the middle is (n - 1) / 2.
double off_middle(std::size_t index, std::int64_t n) {
  const auto shifted = (static_cast<std::int64_t>(index) + n / 2) % n;
  const double distance = static_cast<double>(shifted) - static_cast<double>(n - 1) / 2;
  return distance * distance;
}

void cut_off(std::vector<Complex>& array, const Size3& size, double alpha) {
  const double radius = (1 - alpha) * static_cast<double>(*std::max_element(size.begin(), size.end())) / std::sqrt(2.0);
  std::size_t i = 0;
  for (std::size_t z = 0; z < static_cast<std::size_t>(size[2]); ++z) {
    for (std::size_t y = 0; y < static_cast<std::size_t>(size[1]); ++y) {
      const double zy = off_middle(z, size[2]) + off_middle(y, size[1]);
      for (std::size_t x = 0; x < static_cast<std::size_t>(size[0]); ++x, ++i) {
        if (std::sqrt(zy + off_middle(x, size[0])) > radius) array[i] = 0;
      }
    }
  }
}

}  // namespace

void apply_gibbs(Tensor& image, double alpha) {
  const Size3 size = xyz_of(image.shape());
  const auto count = static_cast<std::size_t>(size[0] * size[1] * size[2]);
  const auto voxels = image.values<float>();
  for (std::size_t first = 0; first < voxels.size(); first += count) {
    const auto channel = voxels.subspan(first, count);
    std::vector<Complex> array(channel.begin(), channel.end());
    for (std::size_t axis = 0; axis < 3; ++axis) transform_axis(array, size, axis, true);
    cut_off(array, size, alpha);
    for (std::size_t axis = 0; axis < 3; ++axis) transform_axis(array, size, axis, false);
    for (std::size_t i = 0; i < count; ++i) {
      channel[i] = static_cast<float>(array[i].real() / static_cast<double>(count));
    }
  }
}

}  // namespace medgen::augmentation
