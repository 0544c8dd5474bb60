// SPDX-License-Identifier: Apache-2.0
// What a propagator promises: windows that cover the array, and an array that is what the windows gave.

#include "core/component/propagator.h"
#include "core/plugin/check_run.h"
#include "core/plugin/plugin_component.h"

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

constexpr std::uint64_t kMaxWindows = 100000;
constexpr std::int64_t kChannels = 2;

/// A number that tells every voxel (c, a, b, d) from its neighbours.
float value_at(std::int64_t c, std::int64_t a, std::int64_t b, std::int64_t d) {
  return static_cast<float>(100 * c + 25 * (a % 4) + 5 * (b % 5) + d % 5) / 100.0F;
}

/// Calls visit(position in the window's tensor without channels, index in the array).
template <typename Visit>
void for_each_voxel(const Window& window, const Visit& visit) {
  const auto axis = [&](std::size_t i) { return static_cast<std::size_t>(window.order[i]); };
  std::size_t position = 0;
  Shape index(3);
  for (std::int64_t i = 0; i < window.extent[axis(0)]; ++i) {
    for (std::int64_t j = 0; j < window.extent[axis(1)]; ++j) {
      for (std::int64_t k = 0; k < window.extent[axis(2)]; ++k) {
        index[axis(0)] = window.origin[axis(0)] + i;
        index[axis(1)] = window.origin[axis(1)] + j;
        index[axis(2)] = window.origin[axis(2)] + k;
        visit(position++, index);
      }
    }
  }
}

Tensor result_of(const Window& window) {
  Shape shape{kChannels};
  for (const int axis : window.order) shape.push_back(window.extent[static_cast<std::size_t>(axis)]);
  Tensor result(DType::F32, shape);
  const auto voxels = static_cast<std::size_t>(result.size() / kChannels);
  for (std::int64_t c = 0; c < kChannels; ++c) {
    float* values = result.values<float>().data() + static_cast<std::size_t>(c) * voxels;
    for_each_voxel(window,
                   [&](std::size_t at, const Shape& index) { values[at] = value_at(c, index[0], index[1], index[2]); });
  }
  return result;
}

std::unique_ptr<Cover> begin_cover(Propagator& propagator, const CoverRequest& request) {
  try {
    return propagator.begin({}, request);
  } catch (const PluginError& error) {
    throw CheckRun::Skipped{error.what()};
  }
}

/// Takes all windows, giving each its piece of the known volume. @return their number
std::uint64_t cover_all(Cover& cover, const Shape& shape, std::vector<bool>& covered) {
  std::uint64_t windows = 0;
  while (const auto window = cover.next({})) {
    if (++windows > kMaxWindows) throw CheckFailure("more than {} windows for {}", kMaxWindows, to_string(shape));
    for_each_voxel(*window, [&](std::size_t, const Shape& index) {
      covered[static_cast<std::size_t>((index[0] * shape[1] + index[1]) * shape[2] + index[2])] = true;
    });
    cover.accept({}, *window, result_of(*window));
  }
  return windows;
}

void check_volume(const Tensor& x, const Shape& shape) {
  const auto values = x.values<float>();
  std::size_t at = 0;
  for (std::int64_t c = 0; c < kChannels; ++c) {
    for (std::int64_t a = 0; a < shape[0]; ++a) {
      for (std::int64_t b = 0; b < shape[1]; ++b) {
        for (std::int64_t d = 0; d < shape[2]; ++d, ++at) {
          if (!(std::abs(values[at] - value_at(c, a, b, d)) <= 1e-4F)) {
            throw CheckFailure("windows that agree give {} instead of {} at channel {}, voxel {}, {}, {}", values[at],
                               value_at(c, a, b, d), c, a, b, d);
          }
        }
      }
    }
  }
}

void check_cover(Propagator& propagator, const Shape& shape) {
  const CoverRequest request{kChannels, shape, {}};
  const auto cover = begin_cover(propagator, request);
  std::vector<bool> covered(static_cast<std::size_t>(element_count(shape)));
  const std::uint64_t windows = cover_all(*cover, shape, covered);
  if (std::find(covered.begin(), covered.end(), false) != covered.end()) {
    throw CheckFailure("its windows leave a part of {} uncovered", to_string(shape));
  }
  check_volume(cover->finish({}), shape);
  const std::uint64_t promised = propagator.count(request);
  if (promised != 0 && promised != windows) throw CheckFailure("count says {} windows, {} came", promised, windows);
}

void check_gap(Propagator& propagator) {
  const auto cover = begin_cover(propagator, {kChannels, {6, 5, 4}, {}});
  cover->next({});
  try {
    cover->finish({});
  } catch (const PluginError&) {
    return;
  }
  throw CheckFailure("finish succeeds before a window's result was accepted");
}

}  // namespace

void check_propagator(CheckRun& run, const CheckedComponent& component, const std::string& config) {
  std::shared_ptr<Propagator> propagator;
  const bool made = run.check(component.named("is a propagator"), [&] {
    auto object = std::make_shared<PluginObject>(component.session, component.info, config, nullptr);
    propagator = std::dynamic_pointer_cast<Propagator>(adapt(std::move(object)));
  });
  if (!made) return;
  for (const Shape& shape : {Shape{6, 5, 4}, Shape{1, 1, 1}, Shape{17, 3, 9}}) {
    run.check(component.named("covers " + to_string(shape) + " and gives back what it was given"),
              [&] { check_cover(*propagator, shape); });
  }
  run.check(component.named("a gap is an error"), [&] { check_gap(*propagator); });
}

}  // namespace medgen
