// SPDX-License-Identifier: Apache-2.0
// The two ends of a product of matrices in float32 whose factors and results lie in another type: rows of numbers are
// widened before it, and rounded once after it.
#pragma once

#include "kernels/numeric.h"

namespace medgen::kernels {

/// `to` = x, both without gaps.
template <typename T>
struct WidenRows {
  const T* x;
  float* to;
  std::int64_t rows;
  std::int64_t columns;

  struct Row {
    const T* x;
    float* to;

    MEDGEN_KERNEL void operator()(std::int64_t column) const { to[column] = load(x[column]); }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return rows; }

  MEDGEN_KERNEL std::int64_t length() const { return columns; }

  MEDGEN_KERNEL Row line(std::int64_t row) const { return {x + row * columns, to + row * columns}; }
};

/// y = products + bias, or y += that. The products lie without gaps, rows of y `stride` apart.
template <typename T, bool kAdd>
struct FinishRows {
  const float* products;
  const float* bias;
  T* y;
  std::int64_t stride;
  std::int64_t rows;
  std::int64_t columns;

  struct Row {
    const float* products;
    const float* bias;
    T* y;

    MEDGEN_KERNEL void operator()(std::int64_t column) const {
      const float value = products[column] + bias[column];
      store(kAdd ? value + load(y[column]) : value, y + column);
    }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return rows; }

  MEDGEN_KERNEL std::int64_t length() const { return columns; }

  MEDGEN_KERNEL Row line(std::int64_t row) const { return {products + row * columns, bias, y + row * stride}; }
};

}  // namespace medgen::kernels
