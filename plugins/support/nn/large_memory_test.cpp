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

TEST_CASE("kept arrays: memory is taken again", "[unit][nn]") {
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
  SECTION("by smaller arrays, side by side, and by a larger one when these are freed") {
    {
      const at::Tensor one = floats(kNumbers / 2), other = floats(kNumbers / 2);
      CHECK(one[0].item<float>() == 1);
      CHECK(other[0].item<float>() == 1);
      CHECK(one.data_ptr() != other.data_ptr());
    }
    CHECK(was_kept(kNumbers));
  }
  SECTION("not by a larger one") {
    CHECK_FALSE(was_kept(2 * kNumbers));
  }
}

TEST_CASE("kept arrays: the smallest gap is taken", "[unit][nn]") {
  const nn::KeepArrays keep;
  nn::release_kept_arrays();
  at::Tensor large = floats(2 * kNumbers), between = floats(kNumbers), small = floats(kNumbers);
  const void *const of_large = large.data_ptr(), *const of_small = small.data_ptr();
  large.reset();
  small.reset();
  CHECK(floats(kNumbers).data_ptr() == of_small);
  CHECK(floats(2 * kNumbers).data_ptr() == of_large);
}

TEST_CASE("kept arrays: used and kept ones take a quarter more than used ones once did", "[unit][nn]") {
  const nn::KeepArrays keep;
  nn::release_kept_arrays();
  SECTION("what would be more is given back") {
    use(kNumbers);
    use(2 * kNumbers);
    const at::Tensor one = floats(2 * kNumbers), other = floats(kNumbers);
    CHECK(other[kNumbers - 1].item<float>() == 0);
  }
  SECTION("what is not stays") {
    const at::Tensor large = floats(4 * kNumbers), between = floats(kNumbers);
    const void* of_small = floats(kNumbers).data_ptr();
    const at::Tensor other = floats(kNumbers + kNumbers / 2);
    CHECK(other.data_ptr() != of_small);
    CHECK(floats(kNumbers).data_ptr() == of_small);
  }
  SECTION("nothing when asked") {
    use(kNumbers);
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
  use(2 * kNumbers);
  const at::Tensor one = floats(2 * kNumbers);
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

TEST_CASE("kept memory: a thread's stays, and goes with the arrays", "[unit][nn]") {
  nn::kept_memory(kNumbers)[kNumbers - 1] = 1;
  CHECK(nn::kept_memory(kNumbers)[kNumbers - 1] == 1);
  CHECK(nn::kept_memory(kNumbers / 2)[kNumbers - 1] == 1);
  nn::release_kept_arrays();
  CHECK(nn::kept_memory(kNumbers)[kNumbers - 1] == 0);
}
