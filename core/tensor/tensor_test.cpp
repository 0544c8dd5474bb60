// SPDX-License-Identifier: Apache-2.0
#include "core/tensor/tensor.h"

#include "core/base/error.h"
#include "core/tensor/finite.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <numeric>

using namespace medgen;

namespace {

Tensor counting(const Shape& shape) {
  Tensor tensor(DType::F32, shape);
  std::iota(tensor.values<float>().begin(), tensor.values<float>().end(), 0.0F);
  return tensor;
}

}  // namespace

TEST_CASE("tensor: copies share memory, clones do not", "[unit][tensor]") {
  Tensor a = counting({2, 3});
  Tensor shared = a;
  Tensor cloned = a.clone();
  a.values<float>()[0] = 7;
  CHECK(shared.values<float>()[0] == 7);
  CHECK(cloned.values<float>()[0] == 0);
}

TEST_CASE("tensor: every value of a 16-bit float survives the way to float32 and back", "[unit][tensor]") {
  for (const DType dtype : {DType::F16, DType::BF16}) {
    Tensor halves(dtype, {65536});
    auto* bits = static_cast<std::uint16_t*>(halves.data());
    for (std::size_t i = 0; i < 65536; ++i) bits[i] = static_cast<std::uint16_t>(i);
    const Tensor floats = halves.to(DType::F32);
    const Tensor back = floats.to(dtype);
    const auto* result = static_cast<const std::uint16_t*>(back.data());
    for (std::size_t i = 0; i < 65536; ++i) {
      if (std::isnan(floats.values<float>()[i])) continue;
      REQUIRE(result[i] == i);
    }
  }
}

TEST_CASE("tensor: float to integer rounds to nearest and saturates", "[unit][tensor]") {
  const std::vector<float> values = {0.4F, 0.6F, -0.6F, 300.0F, -300.0F, std::numeric_limits<float>::quiet_NaN(),
                                     1e30F};
  const Tensor bytes = Tensor::from<float>(values, {7}).to(DType::U8);
  const std::vector<std::uint8_t> expected = {0, 1, 0, 255, 0, 0, 255};
  CHECK(std::equal(expected.begin(), expected.end(), bytes.values<std::uint8_t>().begin()));
  CHECK(Tensor::from<float>(values, {7}).to(DType::I64).values<std::int64_t>()[6] ==
        std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("tensor: a box that is cropped and pasted back changes nothing", "[unit][tensor]") {
  const Tensor whole = counting({2, 4, 5, 6});
  const Tensor patch = crop(whole, {1, 2, 3}, {2, 3, 2});
  CHECK(patch.shape() == Shape{2, 2, 3, 2});
  CHECK(patch.values<float>()[0] == 1 * 30 + 2 * 6 + 3);
  Tensor target = whole.clone();
  paste(target, patch, {1, 2, 3});
  CHECK(std::equal(target.values<float>().begin(), target.values<float>().end(), whole.values<float>().begin()));
}

TEST_CASE("tensor: a strided C tensor is read in its own order", "[unit][tensor]") {
  const Tensor tensor = counting({2, 3});
  medgen_tensor_t view = tensor.abi();
  Shape shape{3, 2};
  Shape strides{1, 3};
  view.shape = shape.data();
  view.strides = strides.data();
  const Tensor transposed = Tensor::from_abi(view);
  const std::vector<float> expected = {0, 3, 1, 4, 2, 5};
  CHECK(std::equal(expected.begin(), expected.end(), transposed.values<float>().begin()));
}

TEST_CASE("tensor: a C tensor that is none is refused", "[unit][tensor]") {
  const Tensor tensor = counting({2, 3});
  medgen_tensor_t view = tensor.abi();
  CHECK(checked_shape(view) == Shape{2, 3});
  CHECK(is_dense(view));
  SECTION("axes") {
    view.ndim = GENERATE(-1, kMostAxes + 1);
  }
  SECTION("no shape") {
    view.shape = nullptr;
  }
  SECTION("no strides") {
    view.strides = nullptr;
  }
  SECTION("no memory") {
    view.data = nullptr;
  }
  SECTION("a negative axis") {
    static Shape negative{2, -3};
    view.shape = negative.data();
  }
  SECTION("more elements than can be counted") {
    static Shape large{std::int64_t{1} << 40, std::int64_t{1} << 40};
    view.shape = large.data();
  }
  CHECK_THROWS_AS(checked_shape(view), DataError);
  CHECK_THROWS_AS(is_dense(view), DataError);
  CHECK_THROWS_AS(Tensor::from_abi(view), DataError);
}

TEST_CASE("tensor: an axis of one may have any stride, and nothing needs no memory", "[unit][tensor]") {
  const Tensor tensor = counting({1, 3});
  medgen_tensor_t view = tensor.abi();
  Shape strides{77, 1};
  view.strides = strides.data();
  CHECK(is_dense(view));
  const Tensor nothing(DType::F32, {0, 3});
  medgen_tensor_t empty = nothing.abi();
  empty.data = nullptr;
  CHECK(Tensor::from_abi(empty).size() == 0);
}

TEST_CASE("tensor: rows joined along the batch axis are the rows", "[unit][tensor]") {
  const Tensor tensor = counting({4, 3});
  const Tensor joined = concat_rows(std::vector{tensor.rows(2, 1), tensor.rows(0, 2)});
  CHECK(joined.shape() == Shape{3, 3});
  CHECK(joined.values<float>()[0] == 6);
  CHECK(joined.values<float>()[8] == 5);
}

TEST_CASE("tensor: impossible shapes and unknown types are refused before anything is allocated", "[unit][tensor]") {
  CHECK_THROWS_AS(element_count({-1, 2}), DataError);
  CHECK_THROWS_AS(element_count({std::int64_t{1} << 40, std::int64_t{1} << 40}), DataError);
  CHECK_THROWS_AS(Tensor(DType::F64, {std::int64_t{1} << 61}), OutOfMemoryError);
  CHECK_THROWS_AS(dtype_of({9, 8, 1}), DataError);
  CHECK_THROWS_AS(dtype_of({MEDGEN_DTYPE_FLOAT, 32, 4}), DataError);
  CHECK_THROWS_AS(counting({2}).values<double>(), Error);
  CHECK_THROWS_AS(crop(counting({4, 4}), {3, 3}, {2, 2}), Error);
  CHECK_THROWS_AS(concat_rows(std::vector{counting({1, 2}), counting({1, 3})}), DataError);
}

TEST_CASE("tensor: NaN and infinities are counted in every floating-point type", "[unit][tensor]") {
  const auto dtype = GENERATE(DType::F16, DType::BF16, DType::F32, DType::F64);
  const auto size = static_cast<std::size_t>(GENERATE(7, 32768, 70001));
  std::vector<float> values(size, 1.0F);
  CHECK(count_non_finite(Tensor::from<float>(values, {static_cast<std::int64_t>(size)}).to(dtype)) == 0);
  values.front() = std::nanf("");
  values[size / 2] = std::numeric_limits<float>::infinity();
  values.back() = -std::numeric_limits<float>::infinity();
  CHECK(count_non_finite(Tensor::from<float>(values, {static_cast<std::int64_t>(size)}).to(dtype)) == 3);
}

TEST_CASE("tensor: one that is constant is found, whatever its type", "[unit][tensor]") {
  for (const DType type : {DType::U8, DType::I16, DType::F32, DType::F64}) {
    Tensor tensor = Tensor::zeros(type, {2, 3, 4});
    CHECK(is_constant(tensor));
    static_cast<std::uint8_t*>(tensor.data())[tensor.bytes() - 1] = 1;
    CHECK_FALSE(is_constant(tensor));
  }
  CHECK(is_constant(Tensor::scalar(3)));
  CHECK_FALSE(is_constant(Tensor(DType::F32, {0})));
}

TEST_CASE("tensor: extreme finite numbers and integers are finite", "[unit][tensor]") {
  const std::vector<float> values{std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(),
                                  std::numeric_limits<float>::denorm_min(), -0.0F};
  CHECK(count_non_finite(Tensor::from<float>(values, {4})) == 0);
  const std::vector<std::int32_t> integers{-1, 0x7f800000};
  CHECK(count_non_finite(Tensor::from<std::int32_t>(integers, {2})) == 0);
  CHECK(count_non_finite(Tensor::zeros(DType::F32, {0, 3})) == 0);
}
