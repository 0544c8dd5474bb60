// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/inpainting.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace medgen::maisi {

Inpainting::Inpainting(const sdk::Create& create) {
  const auto config = nlohmann::json::parse(create.config());
  classes_ = config.at("classes").get<std::vector<std::int64_t>>();
  hole_ = config.value("hole", 0.0F);
}

void Inpainting::encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const sdk::TensorView mask = in.tensor("mask").expect_shape({-1, 1, -1, -1, -1});
  const sdk::TensorView image = in.tensor("image").expect_shape({-1, 1, -1, -1, -1});
  const auto shown = [](const sdk::TensorView& tensor) { return sdk::to_string(tensor.shape()); };
  if (shown(mask) != shown(image)) throw sdk::invalid("the image is ", shown(image), ", but the mask ", shown(mask));
  const std::vector<std::int64_t> labels = mask.to_vector<std::int64_t>();
  const std::vector<float> voxels = image.to_vector<float>();
  const auto classes = static_cast<std::int64_t>(classes_.size());
  const std::array<std::int64_t, 5> shape{mask.size(0), 1 + classes, mask.size(2), mask.size(3), mask.size(4)};
  const auto values = out.allocate<float>("controlnet_cond", sdk::ShapeView(shape)).values<float>();
  const std::size_t each = labels.size() / static_cast<std::size_t>(std::max<std::int64_t>(mask.size(0), 1));
  std::fill(values.begin(), values.end(), 0.0F);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::size_t first = i / each * each * (1 + classes_.size()) + i % each;
    const auto found = std::find(classes_.begin(), classes_.end(), labels[i]);
    values[first] = found == classes_.end() ? voxels[i] : hole_;
    if (found == classes_.end() || context.unconditional()) continue;
    values[first + each * static_cast<std::size_t>(1 + found - classes_.begin())] = 1;
  }
}

std::string Inpainting::estimate(std::string_view request_json) const {
  const auto request = nlohmann::json::parse(request_json);
  auto shape = request.at("inputs").at("mask").get<std::vector<std::int64_t>>();
  if (shape.size() != 5) throw sdk::invalid("a shape (N, 1, X, Y, Z) of the mask is needed");
  std::uint64_t bytes = sizeof(std::int64_t) + sizeof(float);
  for (const std::int64_t axis : shape) bytes *= static_cast<std::uint64_t>(axis);
  shape[1] = 1 + static_cast<std::int64_t>(classes_.size());
  return nlohmann::json{{"peak_bytes", bytes}, {"flops", 0}, {"outputs", {{"controlnet_cond", shape}}}}.dump();
}

}  // namespace medgen::maisi
