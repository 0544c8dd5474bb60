// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/path.h"

namespace medgen::schedulers {
namespace {

std::variant<Process, Flow> make_kind(const Config& config) {
  constexpr int kFlow = 3;
  if (config.choice("prediction_type", 0, {"epsilon", "sample", "v_prediction", "flow_prediction"}) == kFlow) {
    return Flow(config, true);
  }
  return Process(config, {Spacing::Trailing, false});
}

}  // namespace

Path::Path(const Config& config) : kind_(make_kind(config)), clip_(config, false) {}

std::vector<Node> Path::nodes(const sdk::ScheduleRequest& request) const {
  return std::visit(
      [&](const auto& kind) {
        std::vector<Node> nodes;
        for (const double t : kind.times(request)) nodes.push_back({t, kind.level(t)});
        nodes.push_back({0, sdk::make_level(1, 0)});
        return nodes;
      },
      kind_);
}

sdk::Update Path::update_at(const Node& node) const {
  sdk::Update update = sdk::make_update();
  update.x0_x = node.level.x0_x;
  update.x0_m = node.level.x0_m;
  clip_.apply(update);
  return update;
}

sdk::Level Path::level(double t) const {
  return std::visit([&](const auto& kind) { return kind.level(t); }, kind_);
}

double Path::training_time(const sdk::ScheduleRequest& request, double u) const {
  return std::visit([&](const auto& kind) { return kind.training_time(request, u); }, kind_);
}

}  // namespace medgen::schedulers
