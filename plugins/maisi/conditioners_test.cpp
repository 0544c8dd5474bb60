// SPDX-License-Identifier: Apache-2.0
// The conditioners by themselves, behind the smallest host there can be.
#include "plugins/maisi/conditioners.h"

#include "plugins/maisi/modality.h"
#include "plugins/maisi/null_labels.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <vector>

namespace medgen::maisi {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

using Values = std::map<std::string, std::vector<float>, std::less<>>;

/// Keeps what a conditioner allocates.
struct Host {
  struct Output {
    sdk::Shape shape, strides;
    std::vector<float> values;
  };

  std::map<std::string, Output> outputs;
  medgen_context_t context{};
  medgen_outputs_t sink{};

  Host() {
    context.struct_size = sizeof context;
    sink.struct_size = sizeof sink;
    sink.host = reinterpret_cast<medgen_hobj_t*>(this);
    sink.allocate = [](medgen_hobj_t* host, medgen_str_t name, medgen_dtype_t dtype, std::int32_t ndim,
                       const std::int64_t* shape, const medgen_space_t*, medgen_tensor_t* tensor) noexcept {
      Output& output = reinterpret_cast<Host*>(host)->outputs[std::string(sdk::from_abi(name))];
      output.shape.assign(shape, shape + ndim);
      output.strides.assign(output.shape.size(), 1);
      for (std::size_t i = output.shape.size(); i-- > 1;) output.strides[i - 1] = output.strides[i] * output.shape[i];
      output.values.resize(static_cast<std::size_t>(output.strides[0] * output.shape[0]));
      *tensor = {output.values.data(), {MEDGEN_DEVICE_CPU, 0}, ndim, dtype,
                 output.shape.data(),  output.strides.data(),  0};
      return MEDGEN_OK;
    };
  }

  Values values() const {
    Values all;
    for (const auto& [name, output] : outputs) all[name] = output.values;
    return all;
  }
};

/// What the conditioner makes of `params`, and of a label map (1, 1, n, 1, 1) when there is one.
template <typename Conditioner>
Values encode(const json& config, const json& params, std::vector<std::int32_t> mask = {}, bool null = false) {
  const std::string config_text = config.dump(), params_text = params.dump();
  medgen_create_t create{};
  create.struct_size = sizeof create;
  create.config_json = sdk::to_abi(config_text);
  Conditioner conditioner{sdk::Create(create)};

  sdk::Shape shape{1, 1, static_cast<std::int64_t>(mask.size()), 1, 1};
  sdk::Shape strides{shape[2], shape[2], 1, 1, 1};
  const medgen_tensor_t view{mask.data(),  {MEDGEN_DEVICE_CPU, 0}, 5, sdk::dtype_of<std::int32_t>(),
                             shape.data(), strides.data(),         0};
  const medgen_bind_t bind{sdk::to_abi("mask"), &view, nullptr};
  const std::uint32_t count = mask.empty() ? 0 : 1;
  const medgen_binds_t binds{sizeof binds, count, &bind, sdk::to_abi(params_text)};
  Host host;
  if (null) host.context.flags = MEDGEN_CALL_UNCONDITIONAL;
  sdk::Outputs out(host.sink);
  conditioner.encode(sdk::Context(host.context), sdk::Binds(binds), out);
  return host.values();
}

Values conditions(const json& config, json params, std::vector<std::int32_t> mask = {}, bool null = false) {
  params["spacing_mm"] = {1, 1.5, 2};
  params["size"] = {8, 8, 8};
  return encode<Conditions>(config, params, std::move(mask), null);
}

const json kV1 = {{"regions", true}};
const json kCt = {{"modality", "ct"}};
const json kMr = {{"modality", "mri"}};

std::vector<float> one_hot(std::size_t region) {
  std::vector<float> values(4);
  values[region] = 100;
  return values;
}

}  // namespace

TEST_CASE("a modality is known by its published name, without mri_, and in any case", "[unit][maisi]") {
  const std::map<std::string, std::int64_t> codes = {{"unknown", 0},
                                                     {"ct", 1},
                                                     {"ct_wo", 2},
                                                     {"CT", 1},
                                                     {"ct_contrast", 3},
                                                     {"ct_wo_contrast", 2},
                                                     {"mri", 8},
                                                     {"t1", 9},
                                                     {"mri_t1", 9},
                                                     {"MRI_FLAIR", 11},
                                                     {"mri_swi", 20},
                                                     {"mri_t1_skull_stripped", 29},
                                                     {"t2_skull_stripped", 30},
                                                     {"mri_flair_skull_stripped", 31},
                                                     {"mri_swi_skull_stripped", 32},
                                                     {"mri_mra_skull_stripped", 33}};
  for (const auto& [name, code] : codes) CHECK(modality_code(name) == code);
  for (const char* wrong : {"", "t3", "mri_", "mri_mri", "mri_ct", "9"})
    CHECK_THROWS_WITH(modality_code(wrong), Contains("mri_t1_skull_stripped"));
}

TEST_CASE("what a name stands for is what its code stands for", "[unit][maisi]") {
  for (const std::int64_t code : {0, 1, 2, 3, 8, 9, 17, 20, 29, 33}) CHECK(modality_code(modality_name(code)) == code);
  CHECK(modality_name(77) == "77");
}

TEST_CASE("spacing, and the modality asked for or the default, go to the network", "[unit][maisi]") {
  const Values plain = conditions(kMr, json::object());
  CHECK(plain == Values{{"spacing", {100, 150, 200}}, {"class_labels", {8}}});
  CHECK(conditions(kMr, {{"modality", "mri_t1"}}).at("class_labels")[0] == 9);
  CHECK(conditions(kMr, {{"modality", 31}}).at("class_labels")[0] == 31);
  CHECK(conditions(kMr, {{"modality", "mri_t1"}}, {}, true).at("class_labels")[0] == 0);
}

TEST_CASE("a condition that the model has no use for is refused", "[unit][maisi]") {
  CHECK_THROWS_WITH(conditions(kV1, {{"modality", "ct"}, {"top_region", 1}, {"bottom_region", 1}}),
                    Contains("knows no modalities"));
  for (const char* key : {"top_region", "bottom_region"})
    CHECK_THROWS_WITH(conditions(kCt, {{key, "chest"}}), Contains(key) && Contains("no body regions"));
}

TEST_CASE("a modality code is checked against the network's before it gets there", "[unit][maisi]") {
  for (const int code : {-1, 128, 200}) CHECK_THROWS_WITH(conditions(kMr, {{"modality", code}}), Contains("0 to 127"));
  CHECK_THROWS_WITH(conditions({{"modality", "mri"}, {"num_class_embeds", 16}}, {{"modality", "mra"}}),
                    Contains("0 to 15"));
  CHECK_THROWS_WITH(conditions({{"modality", 128}}, json::object()), Contains("0 to 127"));
  for (const json& wrong : {json(1.5), json(true), json(nullptr), json::array({9})})
    CHECK_THROWS_WITH(conditions(kMr, {{"modality", wrong}}), Contains("a name or a code"));
}

TEST_CASE("a CT model makes no MR, and the other way round", "[unit][maisi]") {
  CHECK_THROWS_WITH(conditions(kCt, {{"modality", "mri"}}), Contains("mri would be MR") && Contains("are CT"));
  CHECK_THROWS_WITH(conditions(kMr, {{"modality", "ct_contrast"}}), Contains("ct_contrast would be CT"));
  CHECK(conditions(kCt, {{"modality", "ct_contrast"}}).at("class_labels")[0] == 3);
  for (const json& config : {kCt, kMr}) CHECK(conditions(config, {{"modality", 0}}).at("class_labels")[0] == 0);
  CHECK(conditions({{"modality", "unknown"}}, {{"modality", "t1"}}).at("class_labels")[0] == 9);
}

TEST_CASE("regions have the released names and synonyms", "[unit][maisi]") {
  const std::vector<std::pair<json, std::size_t>> names = {{"head-neck", 0}, {"head", 0},   {"chest", 1}, {"thorax", 1},
                                                           {"abdomen", 2},   {"pelvis", 3}, {"lower", 3}, {2, 2}};
  for (const auto& [name, region] : names) {
    const Values made = conditions(kV1, {{"top_region", name}, {"bottom_region", name}});
    CHECK(made.at("top_region_index") == one_hot(region));
    CHECK(made.at("bottom_region_index") == one_hot(region));
  }
  for (const json& wrong : {json("leg"), json(4), json(-1), json(1.5), json(""), json(nullptr)})
    CHECK_THROWS_WITH(conditions(kV1, {{"top_region", wrong}, {"bottom_region", 3}}), Contains("top_region is"));
}

TEST_CASE("the top is never below the bottom", "[unit][maisi]") {
  CHECK_THROWS_WITH(conditions(kV1, {{"top_region", "lower"}, {"bottom_region", "head"}}),
                    Contains("top_region is lower") && Contains("head-neck"));
  const Values made = conditions(kV1, json::object(), {0, 28, 1, 200});
  CHECK(made.at("top_region_index") == one_hot(1));
  CHECK(made.at("bottom_region_index") == one_hot(2));
  CHECK_THROWS_WITH(conditions(kV1, {{"top_region", "lower"}}, {0, 28, 1, 200}), Contains("top_region is lower"));
}

namespace {

const json kTumours = {
    {"23", {{"majority_of", {28, 29, 30, 31, 32}}}}, {"24", 4}, {"26", 1}, {"27", 62}, {"116", 14}, {"117", 5}};

using Labels = std::vector<std::int64_t>;

Labels without_tumours(Labels labels, const std::array<std::int64_t, 3>& size) {
  NullLabels(kTumours).apply(labels, size);
  return labels;
}

}  // namespace

TEST_CASE("without tumours, a map keeps everything else", "[unit][maisi]") {
  const Labels map = {0, 1, 28, 14, 5, 128, 129, 200};
  CHECK(without_tumours(map, {2, 2, 2}) == map);
  CHECK(without_tumours({24, 26, 27, 25, 116, 117}, {6, 1, 1}) == Labels{4, 1, 62, 25, 14, 5});
}

TEST_CASE("a lung tumour becomes the lobe that most of its neighbours are in", "[unit][maisi]") {
  CHECK(without_tumours({30, 30, 30, 0, 31, 23, 31, 32}, {8, 1, 1}) == Labels{30, 30, 30, 0, 31, 31, 31, 32});
  // In a plane, neighbours across edges and corners count too, each once however much of the tumour it touches.
  CHECK(without_tumours({28, 0, 23, 23, 29, 29}, {3, 2, 1}) == Labels{28, 0, 29, 29, 29, 29});
}

TEST_CASE("a lung tumour without a lobe beside it takes the commonest, or else the first", "[unit][maisi]") {
  CHECK(without_tumours({23, 200, 28, 32, 32}, {5, 1, 1}) == Labels{32, 200, 28, 32, 32});
  CHECK(without_tumours({23, 200, 0}, {3, 1, 1}) == Labels{28, 200, 0});
}

TEST_CASE("null_labels takes label ids only", "[unit][maisi]") {
  for (const char* wrong : {"", "-1", "liver", "1234567890"})
    CHECK_THROWS_WITH(NullLabels(json{{wrong, 1}}), Contains("no label id"));
}

TEST_CASE("label planes without tumours are the null condition, or all zero", "[unit][maisi]") {
  const json bits = {{"null_labels", kTumours}};
  const auto planes = [&](const json& config, std::vector<std::int32_t> mask, bool null) {
    return encode<LabelPlanes>(config, json::object(), std::move(mask), null).at("controlnet_cond");
  };
  CHECK(planes(bits, {0, 26, 200}, true) == planes(bits, {0, 1, 200}, false));
  CHECK(planes(bits, {0, 26, 200}, false) != planes(bits, {0, 1, 200}, false));
  CHECK(planes(json::object(), {0, 26, 200}, true) == std::vector<float>(24));
}

}  // namespace medgen::maisi
