// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/call_cost.h"

#include "core/base/error.h"
#include "core/plugin/training_cost.h"

#include <catch2/catch.hpp>

namespace medgen {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("a request names the function and the shapes", "[unit][plugin]") {
  CHECK(estimate_request("predict", {{"x", {1, 4, 8, 8, 8}}}) ==
        R"({"function":"predict","inputs":{"x":[1,4,8,8,8]}})");
}

TEST_CASE("a reply is read, and what it does not tell is nothing", "[unit][plugin]") {
  const CallCost cost = read_call_cost(R"({"peak_bytes": 1000, "weights_bytes": 20, "scratch_bytes": 3, "flops": 1e12,
    "kept_bytes": 4, "host_bytes": 5,
    "flops_per_second": 5e11, "precision": "bf16", "note": "slabs", "outputs": {"x": [1, 2]}, "later": [true]})");
  CHECK(cost.peak_bytes == 1000);
  CHECK(cost.weights_bytes == 20);
  CHECK(cost.scratch_bytes == 3);
  CHECK(cost.kept_bytes == 4);
  CHECK(cost.host_bytes == 5);
  CHECK(cost.flops == 1e12);
  CHECK(cost.flops_per_second == 5e11);
  CHECK(cost.precision == "bf16");
  CHECK(cost.note == "slabs");
  CHECK(cost.outputs == ShapeMap{{"x", {1, 2}}});
  CHECK(read_call_cost(R"({"peak_bytes": 1e9})").peak_bytes == 1000000000);
  CHECK(read_call_cost(R"({"peak_bytes": 1})").flops_per_second == 0);
}

TEST_CASE("a request for a training names its options, and a reply its state", "[unit][plugin]") {
  const TrainingShape shape{{{"x", {2, 1, 8, 8, 8}}}, R"({"ema": 0.9})", false, 4};
  CHECK(training_request(shape) ==
        R"({"function":"train","inputs":{"x":[2,1,8,8,8]},"options":{"ema":0.9},"trained":false,"accumulate":4})");
  CHECK(training_request({}) == R"({"function":"train","inputs":{},"options":{},"trained":true,"accumulate":1})");
  const TrainingCost cost = read_training_cost(R"({"peak_bytes": 5, "weights_bytes": 12, "copied_bytes": 9})");
  CHECK(cost.peak_bytes == 5);
  CHECK(cost.weights_bytes == 12);
  CHECK(cost.copied_bytes == 9);
  CHECK(read_training_cost(R"({"peak_bytes": 5})").copied_bytes == 0);
  CHECK_THROWS_WITH(read_training_cost(R"({"peak_bytes": 5, "copied_bytes": -1})"), Contains("copied_bytes"));
  CHECK_THROWS_WITH(read_training_cost("{}"), Contains("peak_bytes"));
}

TEST_CASE("a reply that makes no sense is refused with what is wrong", "[unit][plugin]") {
  const std::pair<const char*, const char*> replies[] = {
      {"", "estimate"},
      {"garbage", "estimate"},
      {"[1]", "no object"},
      {"{}", "peak_bytes"},
      {R"({"peak_bytes": "much"})", "much"},
      {R"({"peak_bytes": -1})", "-1"},
      {R"({"peak_bytes": 1e19})", "no machine"},
      {R"({"peak_bytes": 99999999999999999999999})", "64 bits"},
      {R"({"peak_bytes": 1, "flops": -2})", "flops"},
      {R"({"peak_bytes": 1, "flops": null})", "flops"},
      {R"({"peak_bytes": 1, "scratch_bytes": true})", "scratch_bytes"},
      {R"({"peak_bytes": 1, "kept_bytes": "all"})", "kept_bytes"},
      {R"({"peak_bytes": 1, "host_bytes": -2})", "host_bytes"},
      {R"({"peak_bytes": 1, "outputs": 3})", "outputs"},
      {R"({"peak_bytes": 1, "outputs": {"x": 3}})", "'x'"},
      {R"({"peak_bytes": 1, "outputs": {"x": [-3]}})", "'x'"},
      {R"({"peak_bytes": 1, "outputs": {"x": [1.5]}})", "'x'"},
      {R"({"peak_bytes": 1, "outputs": {"x": [2147483647, 2147483647, 2147483647]}})", "'x'"},
  };
  for (const auto& [reply, says] : replies) {
    INFO(reply);
    CHECK_THROWS_WITH(read_call_cost(reply), Contains(says));
    CHECK_THROWS_AS(read_call_cost(reply), ConfigError);
  }
}

}  // namespace
}  // namespace medgen
