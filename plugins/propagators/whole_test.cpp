// SPDX-License-Identifier: Apache-2.0
#include "plugins/propagators/whole.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

using namespace medgen;
using propagators::Whole;

namespace {

const medgen_context_t kCall{};
const medgen_binds_t kNone{sizeof(medgen_binds_t), 0, nullptr, {nullptr, 0}};

/// Memory that stands for the host's outputs; one output is enough.
struct Sink {
  std::vector<float> values;
  sdk::Shape shape, strides;
  medgen_outputs_t table{sizeof(medgen_outputs_t), 0, reinterpret_cast<medgen_hobj_t*>(this), &allocate};

  static medgen_status_t allocate(medgen_hobj_t* host, medgen_str_t, medgen_dtype_t dtype, std::int32_t ndim,
                                  const std::int64_t* shape, const medgen_space_t*, medgen_tensor_t* out) noexcept {
    auto& sink = *reinterpret_cast<Sink*>(host);
    sink.shape.assign(shape, shape + ndim);
    sink.strides.assign(static_cast<std::size_t>(ndim), 1);
    for (std::size_t i = sink.shape.size(); i-- > 1;) sink.strides[i - 1] = sink.strides[i] * sink.shape[i];
    sink.values.assign(static_cast<std::size_t>(sink.strides[0] * shape[0]), 0);
    *out = {sink.values.data(), {MEDGEN_DEVICE_CPU, 0}, ndim, dtype, sink.shape.data(), sink.strides.data(), 0};
    return MEDGEN_OK;
  }
};

}  // namespace

TEST_CASE("propagator.whole: one window that is the whole array", "[unit][propagator]") {
  const sdk::Shape shape{3, 4, 5};
  const sdk::CoverRequest request{2, shape, sdk::Binds(kNone), nullptr};
  Whole::Cover cover(request);
  const auto window = cover.next(sdk::Context(kCall));
  REQUIRE(window.has_value());
  CHECK(window->flags == MEDGEN_WINDOW_INDEPENDENT);
  CHECK(window->known_rule == MEDGEN_KNOWN_NONE);
  CHECK(sdk::to_string(sdk::origin_of(*window)) == "0x0x0");
  CHECK(sdk::to_string(sdk::extent_of(*window)) == "3x4x5");
  CHECK_FALSE(cover.next(sdk::Context(kCall)).has_value());

  Sink given;
  sdk::Outputs source(given.table);
  const sdk::Tensor result = source.allocate<float>("result", sdk::Shape{2, 3, 4, 5});
  std::iota(result.values<float>().begin(), result.values<float>().end(), 0.0F);
  cover.accept(sdk::Context(kCall), *window, result);
  Sink sink;
  sdk::Outputs outputs(sink.table);
  cover.finish(sdk::Context(kCall), outputs);
  CHECK(sink.shape == sdk::Shape{2, 3, 4, 5});
  CHECK(sink.values == given.values);
}

TEST_CASE("propagator.whole: refuses what is out of order or of another shape", "[unit][propagator]") {
  const sdk::Shape shape{3, 4};
  Whole::Cover cover({1, shape, sdk::Binds(kNone), nullptr});
  Sink sink;
  sdk::Outputs outputs(sink.table);
  CHECK_THROWS_WITH(cover.finish(sdk::Context(kCall), outputs), Catch::Contains("not been given"));
  const sdk::Tensor wrong = outputs.allocate<float>("result", sdk::Shape{1, 3, 5});
  CHECK_THROWS_AS(cover.accept(sdk::Context(kCall), sdk::make_window(sdk::Shape{0, 0}, shape), wrong), sdk::Error);
  const auto window = cover.next(sdk::Context(kCall));
  CHECK_THROWS_WITH(cover.accept(sdk::Context(kCall), *window, wrong), Catch::Contains("1x3x5"));
  for (const sdk::Shape& bad : std::vector<sdk::Shape>{{}, {0}, {-1, 2}, {1, 1, 1, 1, 1}}) {
    CHECK_THROWS_AS(Whole::Cover({1, bad, sdk::Binds(kNone), nullptr}), sdk::Error);
  }
  CHECK_THROWS_AS(Whole::Cover({0, shape, sdk::Binds(kNone), nullptr}), sdk::Error);
}
