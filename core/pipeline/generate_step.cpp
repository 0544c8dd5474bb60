// SPDX-License-Identifier: Apache-2.0
// What a generate step asks for, out of its keys.
#include "core/config/json.h"
#include "core/config/paths.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/reference.h"
#include "core/pipeline/steps.h"

#include <nlohmann/json.hpp>

namespace medgen {
namespace {

/// What the scheduler says against the steps or the times is the pipeline's fault. @throws ConfigError at them
void check_schedule(const ConfigNode& node, const ModelPackage& package, const GenerateOptions& options, Host& host) {
  const auto& spec = package.part("scheduler");
  if (!spec) return;
  ScheduleRequest request;
  request.steps = options.steps;
  request.latent_shape = {1, 8, 8, 8};  // moves times, not what is allowed
  request.timesteps = options.timesteps;
  try {
    dynamic_cast<Scheduler&>(*create_component(host, *spec)).begin(request);
  } catch (const InvalidError& error) {
    const char* const key = options.timesteps.empty() ? "steps" : "timesteps";
    (node.contains(key) ? node.at(key) : node).fail("does not suit the scheduler: {}", error.what());
  }
}

Vec3 three(const ConfigNode& node) {
  const auto values = node.as<std::vector<double>>();
  return {values.at(0), values.at(1), values.at(2)};
}

}  // namespace

ConfigNode StepGraph::adapters_of(const ConfigNode& node) const {
  Json folders = Json::array();
  for (const ConfigNode& each : node.at("adapters").items()) {
    const ConfigNode adapter = each.is_object() ? each.at("adapter") : each;
    const auto folder =
        is_reference(adapter) ? resolve_path(step(referenced(adapter)).at("to")) : resolve_path(adapter);
    folders.push_back(
        {{"adapter", folder.string()}, {"strength", each.is_object() ? each.get<double>("strength", 1.0) : 1.0}});
  }
  return node.at("adapters").with_value(std::move(folders));
}

ModelPackage StepGraph::generator_package(const ConfigNode& node) {
  ModelPackage package = this->package(node.at("generate"));
  if (node.contains("adapters")) package = package.with_adapters(adapters_of(node));
  if (node.contains("scheduler")) package = package.with_scheduler(node.at("scheduler"), host_.registry());
  return package;
}

/// On the grid and in the number of the images, with the maker's own defaults.
std::shared_ptr<SampleSource> StepGraph::generated_masks(const ConfigNode& node, const ModelPackage& maker,
                                                         const GenerateOptions& of_images) const {
  constexpr std::uint64_t kOtherNoise = 0x6d61736b;  // latents of map and image have the same shape at times
  GenerateOptions options = of_images;
  options.seed ^= kOtherNoise;
  options.steps = maker.default_steps();
  options.guidance = maker.default_guidance();
  options.timesteps.clear();
  options.conditions_json = dump_compact(conditions_taken(node, maker, host_.registry()));
  return std::make_shared<GenerateSource>(maker, host_, nullptr, std::move(options));
}

/// One image for each mask, in their order.
std::shared_ptr<SampleSource> StepGraph::images_for(const ConfigNode& node, const SampleSource* masks) {
  if (masks == nullptr) node.at("image").fail("needs a \"mask\" that says where something is put into it");
  if (node.contains("spacing_mm"))
    node.at("spacing_mm").fail("moves the mask off the grid of its image; resample both beforehand");
  auto images = inputs(node.at("image"), FileSource::Kind::Image);
  if (images->count() != masks->count())
    node.at("image").fail("gives {} images for {} masks", images->count(), masks->count());
  return images;
}

std::shared_ptr<SampleSource> StepGraph::generate(const std::string& name) {
  const ConfigNode node = step(name);
  ModelPackage package = generator_package(node);
  const std::optional<ModelPackage> maker = mask_maker(node, package, host_.registry());
  check_conditions(node, package, host_.registry(), maker ? &*maker : nullptr);
  check_mask_given(node, package, host_.registry());
  check_image_given(node, package, host_.registry());
  GenerateOptions options;
  options.step = name;
  options.seed = seed();
  options.count = node.get<int>("count");
  options.steps = node.get<int>("steps", package.default_steps());
  options.guidance = node.get<double>("guidance", package.default_guidance());
  if (options.guidance == 0) options.guidance = 1;  // released files write 0 for off
  options.batched_guidance = node.get<bool>("batched_guidance");
  options.batch = node.get<int>("batch");
  if (node.contains("timesteps")) options.timesteps = node.at("timesteps").as<std::vector<double>>();
  check_schedule(node, package, options, host_);
  options.beyond_contract = node.get<std::string>("outside_contract") == "warn";
  options.conditions_json = dump_compact(conditions_taken(node, package, host_.registry()));
  if (node.contains("conditions")) options.conditions = node.at("conditions");
  std::shared_ptr<SampleSource> masks;
  if (node.contains("mask")) {
    masks = inputs(node.at("mask"), FileSource::Kind::Label);
    if (node.contains("spacing_mm")) options.mask_spacing_mm = three(node.at("spacing_mm"));
  } else {
    const auto size = node.at("size").as<std::vector<std::int64_t>>();
    options.grid =
        Geometry{{size.at(0), size.at(1), size.at(2)}, Affine<Ras>::from_spacing(three(node.at("spacing_mm")))};
  }
  if (node.contains("image")) {
    options.images = images_for(node, masks.get());
    options.keep_outside = node.get<std::string>("outside_mask", "keep") == "keep";
  }
  if (maker) {
    masks = generated_masks(node, *maker, options);
    options.makes_masks = true;
    options.count = 1;
  }
  return std::make_shared<GenerateSource>(std::move(package), host_, std::move(masks), std::move(options));
}

}  // namespace medgen
