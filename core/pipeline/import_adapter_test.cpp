// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/import_adapter.h"

#include "core/base/file.h"
#include "core/base/test_folder.h"
#include "core/config/json.h"
#include "core/pipeline/model.h"
#include "core/weights/adapter.h"
#include "core/weights/safetensors.h"

#include <nlohmann/json.hpp>

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <vector>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

/// 0.1, 0.2, ...
Tensor tensor(Shape shape) {
  Tensor made(DType::F32, std::move(shape));
  const auto values = made.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.1F * static_cast<float>(i + 1);
  return made;
}

/// A model with a linear layer and a kernel, and an adapter of rank 2 for both as peft writes it.
struct Fixture {
  TestFolder folder;
  TensorMap weights{{"q.weight", tensor({3, 4})}, {"q.bias", tensor({3})}, {"conv.weight", tensor({2, 3, 1, 2, 2})}};
  TensorMap peft{{"base_model.model.q.lora_A.weight", tensor({2, 4})},
                 {"base_model.model.q.lora_B.weight", tensor({3, 2})},
                 {"base_model.model.conv.lora_A.weight", tensor({2, 3, 1, 2, 2})},
                 {"base_model.model.conv.lora_B.weight", tensor({2, 2, 1, 1, 1})}};
  Json config{{"peft_type", "LORA"},
              {"r", 2},
              {"lora_alpha", 8},
              {"use_rslora", false},
              {"use_dora", false},
              {"bias", "none"},
              {"rank_pattern", Json::object()},
              {"task_type", nullptr}};
  AdapterImportOptions options{.base = folder.path / "base",
                               .role = "denoiser",
                               .file = folder.path / "adapter_model.safetensors",
                               .load = {},
                               .alpha = {},
                               .name = "",
                               .license = "",
                               .credit = "",
                               .to = folder.path / "to"};

  Fixture() {
    std::filesystem::create_directories(options.base);
    write_safetensors(options.base / "denoiser.safetensors", weights);
    const Json model = {
        {"medgen_model", 1},
        {"components", {{"denoiser", {{"component", "null.denoiser"}, {"weights", "denoiser.safetensors"}}}}}};
    write_file(options.base / "model.json", dump_pretty(model));
  }

  std::string import(bool with_config = true) {
    write_safetensors(options.file, peft);
    if (with_config) write_file(folder.path / "adapter_config.json", dump_pretty(config));
    return import_adapter(Registry::scan_only({}), options);
  }

  Adapter imported() const { return read_adapter(options.to / kAdapterFile); }

  bool wrote_nothing() const { return !std::filesystem::exists(options.to); }

  std::string base_sha256() const { return sha256_file(options.base / "denoiser.safetensors"); }
};

/// The largest difference of `got` from W + factor B A.
double error_of(const Tensor& got, const Tensor& w, const Tensor& a, const Tensor& b, double factor) {
  const auto rows = static_cast<std::size_t>(b.shape()[0]), rank = static_cast<std::size_t>(b.shape()[1]);
  const std::size_t columns = static_cast<std::size_t>(w.size()) / rows;
  double worst = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (std::size_t r = 0; r < rank; ++r)
        sum += static_cast<double>(b.values<float>()[i * rank + r]) * a.values<float>()[r * columns + j];
      const double want = w.values<float>()[i * columns + j] + factor * sum;
      worst = std::max(worst, std::abs(got.values<float>()[i * columns + j] - want));
    }
  }
  return worst;
}

/// The error of both layers when the imported adapter is merged.
double merged_error(const Fixture& f, double factor) {
  TensorMap merged = f.weights;
  merge_adapter(merged, f.imported(), 1);
  const auto half = [&](const std::string& name) { return f.peft.at("base_model.model." + name + ".weight"); };
  const double q = error_of(merged["q.weight"], f.weights.at("q.weight"), half("q.lora_A"), half("q.lora_B"), factor);
  const Tensor b = half("conv.lora_B").reshape({2, 2});
  return std::max(q, error_of(merged["conv.weight"], f.weights.at("conv.weight"), half("conv.lora_A"), b, factor));
}

}  // namespace

TEST_CASE("import: an adapter of peft is W + alpha / rank B A, kernels too", "[unit][pipeline]") {
  Fixture f;
  const std::string report = f.import();
  CHECK_THAT(report, Contains("rank 2 for 2 layers") && Contains("alpha 8, as adapter_config.json says"));
  CHECK(f.imported().facts.role == "denoiser");
  CHECK(f.imported().facts.base_sha256 == f.base_sha256());
  CHECK(merged_error(f, 8.0 / 2) < 1e-5);
  const Json description = Json::parse(read_file(f.options.to / "adapter.json", 1 << 20));
  CHECK(description.at("provenance").at("import").at("files").at("denoiser").at("name") == "adapter_model.safetensors");
}

TEST_CASE("import: a rank-stabilised adapter counts alpha over the root of its rank", "[unit][pipeline]") {
  Fixture f;
  f.config["use_rslora"] = true;
  f.import();
  CHECK(merged_error(f, 8.0 / std::sqrt(2.0)) < 1e-5);
}

TEST_CASE("import: alpha is an option where nobody tells it, and an error where it is told twice or never",
          "[unit][pipeline]") {
  Fixture f;
  CHECK_THROWS_WITH(f.import(false), Contains("give it with --alpha"));
  f.options.alpha = 3;
  CHECK_THAT(f.import(false), Contains("alpha 3, as --alpha says"));
  CHECK(merged_error(f, 1.5) < 1e-5);
  Fixture twice;
  twice.options.alpha = 3;
  CHECK_THROWS_WITH(twice.import(), Contains("--alpha is 3, but adapter_config.json says 8"));
  CHECK(twice.wrote_nothing());
}

TEST_CASE("import: an adapter of ours stays what it is, for its own weights", "[unit][pipeline]") {
  Fixture f;
  f.import();
  AdapterImportOptions again = f.options;
  again.file = f.options.to / kAdapterFile;
  again.to = f.folder.path / "again";
  CHECK_THAT(import_adapter(Registry::scan_only({}), again), Contains("alpha 8, as the file says"));
  CHECK(read_file(again.to / kAdapterFile, 1 << 20) == read_file(again.file, 1 << 20));
  again.to = f.folder.path / "other";
  f.weights["q.bias"] = tensor({3}).to(DType::F16);
  write_safetensors(again.base / "denoiser.safetensors", f.weights);
  CHECK_THROWS_WITH(import_adapter(Registry::scan_only({}), again), Contains("was trained on a denoiser with sha256"));
  CHECK_FALSE(std::filesystem::exists(again.to));
}

TEST_CASE("import: half-width adapters become float32, names without peft's prefix are taken", "[unit][pipeline]") {
  Fixture f;
  f.peft = {{"q.lora_A", tensor({2, 4}).to(DType::BF16)}, {"q.lora_B", tensor({3, 2}).to(DType::F16)}};
  f.import();
  CHECK(f.imported().tensors.at("q.lora_A").dtype() == DType::F32);
  CHECK(f.imported().tensors.size() == 2);
}

TEST_CASE("import: tensors of an adapter that do not fit are all listed, and nothing is written", "[unit][pipeline]") {
  const auto refusal = [](const auto& change, const std::string& text) {
    Fixture f;
    change(f.peft);
    CHECK_THROWS_WITH(f.import(), Contains("do not fit") && Contains(text));
    CHECK(f.wrote_nothing());
  };
  refusal([](TensorMap& t) { t["base_model.model.k.lora_A.weight"] = tensor({2, 4}); }, "k.lora_A");
  refusal([](TensorMap& t) { t.erase("base_model.model.q.lora_B.weight"); }, "1 missing from the file:\n  q.lora_B");
  refusal(
      [](TensorMap& t) {
        t["base_model.model.q.lora_A.weight"] = tensor({4, 4});
      },
      "q.lora_A  needs F32 2x4, the file has F32 4x4");
  refusal([](TensorMap& t) { t["base_model.model.q.lora_B.weight"] = tensor({4, 2}); }, "needs F32 3x2");
  refusal([](TensorMap& t) { t["base_model.model.conv.lora_A.weight"] = tensor({2, 3, 2, 2, 1}); }, "conv.lora_A");
  refusal([](TensorMap& t) { t["base_model.model.q.lora_magnitude_vector"] = tensor({3}); }, "lora_magnitude_vector");
  refusal([](TensorMap& t) { t["base_model.model.q.bias"] = tensor({3}); }, "1 unexpected in the file:\n  q.bias");
}

TEST_CASE("import: files that are no adapter, and values that are no numbers, are refused", "[unit][pipeline]") {
  Fixture f;
  f.peft["base_model.model.q.lora_A.weight"].values<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(f.import(), Contains("1 of 8 values of 'q.lora_A'"));
  f.peft = {{"q.weight", tensor({3, 4})}};
  CHECK_THROWS_WITH(f.import(), Contains("do not fit") || Contains("no adapter"));
  f.peft = {{"base_model.model.q.lora_A.weight", tensor({2, 4})}, {"q.lora_A", tensor({2, 4})}};
  CHECK_THROWS_WITH(f.import(), Contains("two tensors are the adapter's 'q.lora_A'"));
  CHECK(f.wrote_nothing());
}

TEST_CASE("import: variants of peft that are another formula are refused by their place", "[unit][pipeline]") {
  const auto refusal = [](const char* key, const Json& value, const std::string& text) {
    Fixture f;
    f.config[key] = value;
    CHECK_THROWS_WITH(f.import(), Contains("adapter_config.json") && Contains(text));
    CHECK(f.wrote_nothing());
  };
  refusal("peft_type", "LOHA", "is 'LOHA'");
  refusal("use_dora", true, "use_dora is true");
  refusal("fan_in_fan_out", true, "fan_in_fan_out");
  refusal("use_qalora", true, "use_qalora is true");
  refusal("alora_invocation_tokens", {5}, "alora_invocation_tokens is given");
  refusal("rank_pattern", {{"q", 4}}, "one rank");
  refusal("alpha_pattern", {{"q", 4}}, "one alpha");
  refusal("lora_alpha", 0, "must be above 0");
  refusal("r", 0, "must be at least 1");
  refusal("lora_alpha", "eight", "lora_alpha");
  Fixture f;
  f.config["r"] = 4;
  CHECK_THROWS_WITH(f.import(), Contains("needs F32 4x4, the file has F32 2x4"));
}

TEST_CASE("import: an adapter wants a model with weights for its part, and a folder without a package",
          "[unit][pipeline]") {
  Fixture f;
  f.options.role = "compressor";
  CHECK_THROWS_WITH(f.import(), Contains("no 'compressor' with weights") && Contains("it has: denoiser"));
  f.options.role = "denoiser";
  f.options.to = f.options.base;
  CHECK_THROWS_WITH(f.import(), Contains("already holds 'model.json'"));
  f.options.to = f.folder.path / "to";
  f.options.base = f.folder.path;
  CHECK_THROWS_WITH(f.import(), Contains("has no model.json"));
}
