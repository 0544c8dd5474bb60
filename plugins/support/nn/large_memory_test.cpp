// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/large_memory.h"

#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <thread>

using namespace medgen;

namespace {

constexpr int64_t kNumbers = 4 << 20;

at::Tensor floats(int64_t numbers) {
  return nn::result_array({numbers}, {1}, at::kFloat);
}

/// Its pages hold ones afterwards, as long as they are kept.
void use(int64_t numbers) {
  floats(numbers).fill_(1);
}

/// Fresh pages are zeros.
bool was_kept(int64_t numbers) {
  return floats(numbers)[numbers - 1].item<float>() == 1;
}

}  // namespace

TEST_CASE("kept arrays: memory is taken again for the same size", "[unit][nn]") {
  const nn::KeepArrays keep;
  nn::release_kept_arrays();
  use(kNumbers);
  CHECK(was_kept(kNumbers));
  use(kNumbers);
  SECTION("by one array at a time") {
    const at::Tensor one = floats(kNumbers), other = floats(kNumbers);
    CHECK(one.data_ptr() != other.data_ptr());
    CHECK(other[kNumbers - 1].item<float>() == 0);
  }
  SECTION("in any shape and type") {
    CHECK(nn::result_array({kNumbers / 2, 4}, {1, kNumbers / 2}, at::kBFloat16)[kNumbers / 2 - 1][3].item<float>() !=
          0);
  }
  SECTION("not for another size") {
    CHECK_FALSE(was_kept(kNumbers / 2));
  }
}

TEST_CASE("kept arrays: used and kept ones take no more than used ones once did", "[unit][nn]") {
  const nn::KeepArrays keep;
  nn::release_kept_arrays();
  use(kNumbers);
  SECTION("another size takes their place") {
    use(kNumbers / 2);
    CHECK_FALSE(was_kept(kNumbers));
  }
  SECTION("unless both were used at once before") {
    {
      const at::Tensor one = floats(kNumbers).fill_(1);
      use(kNumbers / 2);
    }
    use(kNumbers / 2);
    CHECK(was_kept(kNumbers));
  }
  SECTION("they are given back when asked") {
    nn::release_kept_arrays();
    CHECK_FALSE(was_kept(kNumbers));
  }
}

TEST_CASE("kept arrays: what does not fit is told, and counts for nothing", "[unit][nn]") {
  const nn::KeepArrays keep;
  nn::release_kept_arrays();
  CHECK_THROWS_WITH(floats(int64_t{1} << 50), Catch::Contains("not enough memory"));
  use(kNumbers);
  CHECK(was_kept(kNumbers));
  use(kNumbers / 2);
  CHECK_FALSE(was_kept(kNumbers));
}

TEST_CASE("kept arrays: a thread that keeps none has LibTorch's", "[unit][nn]") {
  nn::release_kept_arrays();
  const nn::KeepArrays keep;
  use(kNumbers);
  bool elsewhere = true;
  std::jthread([&] { elsewhere = was_kept(kNumbers); }).join();
  CHECK_FALSE(elsewhere);
  CHECK(was_kept(kNumbers));
}
