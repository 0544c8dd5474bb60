// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/large_memory.h"

#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

using namespace medgen;

namespace {

constexpr int64_t kNumbers = 4 << 20;

/// Its pages hold ones afterwards, as long as they are kept.
void use(int64_t numbers) {
  nn::kept_array({numbers}, at::kFloat).fill_(1);
}

/// Fresh pages are zeros.
bool was_kept(int64_t numbers) {
  return nn::kept_array({numbers}, at::kFloat)[numbers - 1].item<float>() == 1;
}

}  // namespace

TEST_CASE("kept arrays: memory is taken again for the same size", "[unit][nn]") {
  nn::release_kept_arrays();
  use(kNumbers);
  CHECK(was_kept(kNumbers));
  use(kNumbers);
  SECTION("by one array at a time") {
    const at::Tensor one = nn::kept_array({kNumbers}, at::kFloat), other = nn::kept_array({kNumbers}, at::kFloat);
    CHECK(one.data_ptr() != other.data_ptr());
    CHECK(other[kNumbers - 1].item<float>() == 0);
  }
  SECTION("in any shape and type") {
    CHECK(nn::kept_array({kNumbers / 2, 1, 4}, at::kBFloat16)[kNumbers / 2 - 1][0][3].item<float>() != 0);
  }
  SECTION("not for another size") {
    CHECK_FALSE(was_kept(kNumbers / 2));
  }
}

TEST_CASE("kept arrays: used and kept ones take no more than used ones once did", "[unit][nn]") {
  nn::release_kept_arrays();
  use(kNumbers);
  SECTION("another size takes their place") {
    use(kNumbers / 2);
    CHECK_FALSE(was_kept(kNumbers));
  }
  SECTION("unless both were used at once before") {
    {
      const at::Tensor one = nn::kept_array({kNumbers}, at::kFloat).fill_(1);
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

TEST_CASE("kept arrays: what does not fit is told", "[unit][nn]") {
  CHECK_THROWS_WITH(nn::kept_array({int64_t{1} << 50}, at::kFloat), Catch::Contains("not enough memory"));
  use(kNumbers);
  CHECK(was_kept(kNumbers));
}
