// SPDX-License-Identifier: Apache-2.0
#include "core/train/shared_gradients.h"

#include "core/base/error.h"
#include "core/tensor/tensor.h"

#include <catch2/catch.hpp>

#include <vector>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

/// Doubles whatever is summed, when it is waited for: two processes that have the same.
class Twice : public Group {
 public:
  int rank() const override { return 0; }

  int size() const override { return 2; }

  int local_size() const override { return 2; }

  void begin_sum(std::span<float> values) override { begun_.push_back(values); }

  void finish() override {
    for (const auto values : begun_) {
      for (float& value : values) value *= 2;
    }
    begun_.clear();
  }

  void sum(std::span<double> values) override {
    for (double& value : values) value *= 2;
  }

  void fail(ErrorKind, const std::string&) noexcept override {}

  std::optional<JobFailure> failure() const override { return std::nullopt; }

 private:
  std::vector<std::span<float>> begun_;
};

}  // namespace

TEST_CASE("gradients: a tensor becomes its sum when it is waited for", "[unit][train]") {
  Twice group;
  SharedGradients exchange(group, 0.25);
  CHECK(exchange.share() == 0.25);
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  Tensor tensor = Tensor::from<float>(values, {2, 3}).clone();
  exchange.begin_sum(tensor.abi(), nullptr);
  CHECK_THROWS_WITH(exchange.require_used(), Contains("before its gradients had arrived"));
  exchange.finish();
  CHECK_NOTHROW(exchange.require_used());
  CHECK(tensor.values<float>()[5] == 12);
  CHECK(exchange.summed() == 6);
}

TEST_CASE("gradients: a trainer that exchanges none is found out", "[unit][train]") {
  Twice group;
  SharedGradients exchange(group, 0.5);
  CHECK_THROWS_AS(exchange.require_used(), PluginError);
  exchange.finish();
  CHECK_THROWS_WITH(exchange.require_used(), Contains("start one"));
}

TEST_CASE("gradients: what is no dense float32 tensor on the CPU is refused", "[unit][train]") {
  Twice group;
  SharedGradients exchange(group, 0.5);
  Tensor tensor(DType::F32, {4, 4});
  medgen_tensor_t view = tensor.abi();
  const std::int64_t strides[] = {8, 2};
  SECTION("type") {
    view.dtype.bits = 64;
  }
  SECTION("strides") {
    view.strides = const_cast<std::int64_t*>(strides);
  }
  SECTION("memory") {
    view.data = nullptr;
  }
  SECTION("device") {
    view.device = {MEDGEN_DEVICE_CUDA, 0};
  }
  SECTION("axes") {
    view.ndim = -1;
  }
  CHECK_THROWS_AS(exchange.begin_sum(view, nullptr), Error);
  CHECK(exchange.summed() == 0);
}
