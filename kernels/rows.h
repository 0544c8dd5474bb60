// SPDX-License-Identifier: Apache-2.0
// The two ends of a product of matrices whose factors and results lie in another type: rows of numbers are converted
// before it, and rounded once after it.
#pragma once

#include "kernels/numeric.h"

namespace medgen::kernels {

/// `to` = x, of which rows are `stride` numbers apart; those of `to` have no gaps.
template <typename In, typename Out>
struct ConvertRows {
  const In* x;
  std::int64_t stride;
  Out* to;
  std::int64_t rows;
  std::int64_t columns;

  struct Row {
    const In* x;
    Out* to;

    MEDGEN_KERNEL void operator()(std::int64_t column) const { store(load(x[column]), to + column); }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return rows; }

  MEDGEN_KERNEL std::int64_t length() const { return columns; }

  MEDGEN_KERNEL Row line(std::int64_t row) const { return {x + row * stride, to + row * columns}; }
};

/// Rows of x, two and two, as the right factor of products of bfloat16, which take two numbers of a column at a time:
/// `to` [pair of rows][column][row of the pair]. Rows are `stride` numbers apart.
template <typename T>
struct PairRows {
  const T* x;
  std::int64_t stride;
  Bf16* to;
  std::int64_t pairs;
  std::int64_t columns;

  struct Row {
    const T* first;
    const T* second;
    Bf16* to;

    MEDGEN_KERNEL void operator()(std::int64_t column) const {
      store(first[column], to + 2 * column);
      store(second[column], to + 2 * column + 1);
    }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return pairs; }

  MEDGEN_KERNEL std::int64_t length() const { return columns; }

  MEDGEN_KERNEL Row line(std::int64_t pair) const {
    return {x + 2 * pair * stride, x + (2 * pair + 1) * stride, to + 2 * pair * columns};
  }
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
