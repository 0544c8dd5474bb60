// SPDX-License-Identifier: Apache-2.0
#include "plugins/propagators/whole.h"

#include <algorithm>

namespace medgen::propagators {

Whole::Cover::Cover(const sdk::CoverRequest& request) : shape_{request.channels} {
  shape_.insert(shape_.end(), request.shape.begin(), request.shape.end());
  const bool positive = std::all_of(shape_.begin(), shape_.end(), [](std::int64_t size) { return size > 0; });
  if (shape_.size() < 2 || shape_.size() > 5 || !positive) {
    throw sdk::invalid("cannot cover an array of ", sdk::to_string(shape_), " (channels, then 1 to 4 axes)");
  }
}

std::optional<sdk::Window> Whole::Cover::next(const sdk::Context&) {
  if (given_) return std::nullopt;
  given_ = true;
  const sdk::ShapeView extent = sdk::ShapeView(shape_).subspan(1);
  sdk::Window window = sdk::make_window(sdk::Shape(extent.size(), 0), extent);
  window.flags = MEDGEN_WINDOW_INDEPENDENT;
  return window;
}

void Whole::Cover::accept(const sdk::Context&, const sdk::Window&, const sdk::TensorView& result) {
  if (!given_) throw sdk::Error(MEDGEN_E_STATE, "a result was given before the window was asked for");
  if (!std::equal(shape_.begin(), shape_.end(), result.shape().begin(), result.shape().end())) {
    throw sdk::invalid(result.name(), " has shape ", sdk::to_string(result.shape()), ", expected ",
                       sdk::to_string(shape_));
  }
  result_ = result.to_vector<float>();
}

void Whole::Cover::finish(const sdk::Context&, sdk::Outputs& out) {
  if (result_.empty()) throw sdk::Error(MEDGEN_E_STATE, "the window's result has not been given yet");
  const sdk::Tensor x = out.allocate<float>("x", shape_);
  std::copy(result_.begin(), result_.end(), x.values<float>().begin());
}

}  // namespace medgen::propagators
