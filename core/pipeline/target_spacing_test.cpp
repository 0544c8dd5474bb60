// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/target_spacing.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"
#include "core/config/parse.h"
#include "core/io/volume_file.h"
#include "core/pipeline/model_schema.h"
#include "core/pipeline/schema.h"
#include "core/pipeline/training_data.h"
#include "core/tensor/moments.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <set>

namespace medgen {
namespace {

using Catch::Matchers::Contains;
namespace fs = std::filesystem;

TargetSpacing spacing_of(const std::string& value) {
  const std::string step =
      R"({"train": "m", "component": "compressor", "data": "d", "iterations": 1, "to": "o", "resample_mm": )" + value +
      "}";
  return TargetSpacing::read(verb_schema("train").resolve(parse_config(step, "p.json")).at("resample_mm"));
}

/// A bright ball of 16 mm in a field of view of 40 mm, whatever the voxels.
Volume ball(const Vec3& spacing, bool label = false) {
  const Size3 size = {std::llround(40 / spacing[0]), std::llround(40 / spacing[1]), std::llround(40 / spacing[2])};
  Tensor voxels(DType::F32, {size[2], size[1], size[0]});
  std::size_t n = 0;
  for (std::int64_t k = 0; k < size[2]; ++k) {
    for (std::int64_t j = 0; j < size[1]; ++j) {
      for (std::int64_t i = 0; i < size[0]; ++i) {
        const auto mm = [&](std::int64_t at, std::size_t d) {
          return (static_cast<double>(at) + 0.5) * spacing[d] - 20;
        };
        voxels.values<float>()[n++] = std::hypot(mm(i, 0), mm(j, 1), mm(k, 2)) < 8 ? 1 : 0;
      }
    }
  }
  return {label ? voxels.to(DType::U8) : voxels, Affine<Ras>::from_spacing(spacing, {5, 6, 7})};
}

struct Folder : TestFolder {
  Folder() {
    for (const char* name : {"images", "labels"}) fs::create_directories(path / name);
  }

  void add(const std::string& name, const Vec3& spacing) const {
    write_volume(path / "images" / (name + ".nii"), ball(spacing));
    write_volume(path / "labels" / (name + ".nii"), ball(spacing, true));
  }

  TrainingData read(const TargetSpacing& spacing, const RunObserver& observer = {},
                    const std::shared_ptr<CaseCache>& cache = nullptr, const char* data = "{}") const {
    TrainingDataOptions options;
    options.needs_labels = true;
    options.spacing = spacing;
    options.cache = cache;
    const DataContract contract = DataContract::read(
        model_schema().resolve(parse_config(fmt::format(R"({{"components": {{}}, "data": {}}})", data), "model.json")));
    return {path, contract, {}, options, observer};
  }
};

double sum_of(const Tensor& tensor) {
  const Tensor values = tensor.to(DType::F32);
  double sum = 0;
  for (const float value : values.values<float>()) sum += value;
  return sum;
}

TEST_CASE("resample_mm: a number, three, or null for an axis that keeps its own", "[unit][pipeline]") {
  CHECK(spacing_of("2").json().dump() == "[2.0,2.0,2.0]");
  CHECK(spacing_of("[1, null, 2.5]").json().dump() == "[1.0,null,2.5]");
  CHECK(spacing_of("2").text() == spacing_of("[2, 2, 2]").text());
  CHECK(spacing_of("2").text() != spacing_of("[2, 2, null]").text());
  CHECK(spacing_of("[null, null, null]").empty());
  CHECK(TargetSpacing().text().empty());
  for (const char* bad : {"0", "-1", "[1, 1]", "[1, 0, 1]", "\"1\"", "null", "[1, 1, \"1\"]", "[1, 1, 1, 1]"}) {
    INFO(bad);
    CHECK_THROWS_WITH(spacing_of(bad), Contains("resample_mm"));
  }
}

TEST_CASE("resample_mm: every case has the voxel size, its field of view, and what it shows", "[unit][pipeline]") {
  const Folder folder;
  folder.add("fine", {0.5, 0.5, 1});
  folder.add("same", {1, 1, 1});
  folder.add("thick", {1, 1, 4});
  const TrainingData data = folder.read(spacing_of("1"));
  for (const std::size_t number : data.training()) {
    const Patch patch = data.still_patch(number);
    const TrainingData::Item item = data.still_item(number);
    CHECK(patch.image.size() == Size3{40, 40, 40});
    CHECK(patch.image.geometry() == patch.label->geometry());
    for (std::size_t d = 0; d < 3; ++d) CHECK(item.spacing_mm[d] == Approx(1).epsilon(1e-6));
    const Vec3 corner = patch.image.affine().voxel_to_world({{-0.5, -0.5, -0.5}}).mm;
    const Vec3 spacing = number == 0 ? Vec3{0.5, 0.5, 1} : number == 1 ? Vec3{1, 1, 1} : Vec3{1, 1, 4};
    for (std::size_t d = 0; d < 3; ++d) CHECK(corner[d] == Approx(Vec3{5, 6, 7}[d] - spacing[d] / 2).margin(1e-5));
    const double volume = 4.0 / 3 * 3.14159 * 512;
    CHECK(sum_of(item.mask) == Approx(volume).epsilon(0.06));
    CHECK(sum_of(item.image) == Approx(volume).epsilon(0.06));
    const Tensor ids = item.mask.to(DType::F32);
    for (const float value : ids.values<float>()) CHECK((value == 0 || value == 1));
  }
}

TEST_CASE("resample_mm: what has the voxel size already stays to the bit", "[unit][pipeline]") {
  const Volume volume = ball({1, 1, 1});
  const Volume label = ball({1, 1, 1}, true);
  for (const char* value : {"1", "1.00005", "[null, 1, null]", "[null, null, null]"}) {
    CHECK(spacing_of(value).image(volume, "a").voxels().data() == volume.voxels().data());
    CHECK(spacing_of(value).label(label, "a").geometry() == label.geometry());
  }
  CHECK(spacing_of("[null, null, 2]").image(volume, "a").size() == Size3{40, 40, 20});
}

TEST_CASE("resample_mm: it is along the model's axes", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", {1, 2, 1});
  write_volume(folder.path / "images" / "a.nii", reorient(ball({1, 2, 1}), "SAR"));
  const TrainingData data = folder.read(spacing_of("[null, null, 4]"));
  CHECK(data.still_patch(0).image.size() == Size3{40, 20, 10});
}

TEST_CASE("resample_mm: the fingerprint and the cache know it", "[unit][pipeline]") {
  const Folder folder;
  const TestFolder place;
  folder.add("a", {1, 1, 1});
  folder.add("b", {1, 1, 2});
  const auto cache = std::make_shared<CaseCache>(place.path, std::uint64_t{1} << 30);
  std::set<std::string> prints;
  for (int round = 0; round < 2; ++round) {
    for (const char* value : {"1", "2", "[2, 2, null]", "[null, null, null]"}) {
      const TrainingData cached = folder.read(spacing_of(value), {}, cache);
      const TrainingData plain = folder.read(spacing_of(value));
      CHECK(cached.fingerprint() == plain.fingerprint());
      for (const std::size_t number : plain.training()) {
        CHECK(cached.still_patch(number).image.geometry() == plain.still_patch(number).image.geometry());
        CHECK(sum_of(cached.still_item(number).image) == sum_of(plain.still_item(number).image));
      }
      prints.insert(plain.fingerprint());
    }
  }
  CHECK(prints.size() == 4);
}

TEST_CASE("resample_mm: mixed voxel sizes are warned of with the key, and not after it", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", {1, 1, 1});
  folder.add("b", {1, 1, 2});
  std::string said;
  RunObserver observer;
  observer.log = [&](LogLevel, std::string_view message) { said += message; };
  folder.read({}, observer);
  CHECK_THAT(said, Contains("1 to 2 mm along z") && Contains("\"resample_mm\""));
  said.clear();
  folder.read(spacing_of("1"), observer);
  CHECK(said.empty());
}

TEST_CASE("resample_mm: a label that is too small for the voxels is told", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", {1, 1, 1});
  Volume label = ball({1, 1, 1}, true);
  label.voxels().values<std::uint8_t>()[0] = 7;
  write_volume(folder.path / "labels" / "a.nii", label);
  std::string said;
  RunObserver observer;
  observer.log = [&](LogLevel, std::string_view message) { said += message; };
  folder.read(spacing_of("5"), observer);
  CHECK_THAT(said, Contains("a: no voxel is left of label 7"));
}

TEST_CASE("resample_mm: absurd sizes are refused with key and case", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", {1, 1, 1});
  CHECK_THROWS_WITH(folder.read(spacing_of("0.01")), Contains("a: \"resample_mm\" (0.01, 0.01, 0.01) makes 6.4e+10"));
  CHECK_THROWS_WITH(folder.read(spacing_of("[null, 1e-300, 1]")), Contains("a: \"resample_mm\""));
  CHECK_THROWS_WITH(folder.read(spacing_of("[1, 50, 1]")),
                    Contains("a: \"resample_mm\" is 50 along y") && Contains("40 mm"));
}

TEST_CASE("resample_mm: the contract is looked at afterwards", "[unit][pipeline]") {
  constexpr const char* kFine = R"({"spacing_mm": {"minimum": [0.8, 0.8, 0.8], "maximum": [1.2, 1.2, 1.2]}})";
  const Folder folder;
  folder.add("a", {1, 1, 4});
  CHECK_THROWS_WITH(folder.read({}, {}, nullptr, kFine), Contains("a: spacing") && Contains("\"resample_mm\" brings"));
  CHECK_NOTHROW(folder.read(spacing_of("[null, null, 1]"), {}, nullptr, kFine));
  const GridLimits limits = GridLimits::read(parse_config(kFine, "model.json"));
  CHECK_FALSE(spacing_of("[null, null, 1]").problem(limits).has_value());
  CHECK_FALSE(TargetSpacing().problem(limits).has_value());
  CHECK_THAT(spacing_of("[null, null, 2]").problem(limits).value_or(""), Contains("above"));
}

}  // namespace
}  // namespace medgen
