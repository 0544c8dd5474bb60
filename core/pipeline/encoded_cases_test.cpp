// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/encoded_cases.h"

#include <catch2/catch.hpp>

#include <stdexcept>

using namespace medgen;

namespace {

/// Of 8 bytes: a mean and a condition.
Encoded made(float value) {
  return {{Tensor::scalar(value), {}}, {{"concat", Tensor::scalar(value)}}};
}

float value_of(const Encoded& encoded) {
  return encoded.latent.mean.values<float>()[0];
}

}  // namespace

TEST_CASE("encoded cases: each is made once and found under its number", "[unit][pipeline]") {
  EncodedCases cases(1 << 10);
  int count = 0;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t number = 0; number < 4; ++number) {
      const auto encoded = cases.get(number, [&] { return ++count, made(static_cast<float>(number)); });
      CHECK(value_of(*encoded) == static_cast<float>(number));
    }
  }
  CHECK(count == 4);
}

TEST_CASE("encoded cases: what does not fit is made anew each time", "[unit][pipeline]") {
  EncodedCases cases(20);
  int count = 0;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t number = 0; number < 3; ++number) cases.get(number, [&] { return ++count, made(1); });
  }
  CHECK(made(1).bytes() == 8);
  CHECK(count == 2 + 3);
  CHECK((cases.has(0) && cases.has(1)));
  CHECK_FALSE(cases.has(2));
}

TEST_CASE("encoded cases: a case that could not be made leaves nothing behind", "[unit][pipeline]") {
  EncodedCases cases(1 << 10);
  CHECK_THROWS_AS(cases.get(0, []() -> Encoded { throw std::runtime_error("no"); }), std::runtime_error);
  CHECK(value_of(*cases.get(0, [] { return made(2); })) == 2);
}
