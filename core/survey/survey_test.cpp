// SPDX-License-Identifier: Apache-2.0
#include "core/survey/survey.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/io/test_folder.h"
#include "core/io/volume_file.h"
#include "core/survey/case_sheet.h"
#include "core/survey/document.h"
#include "core/survey/suggestion.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numeric>

namespace medgen {
namespace {

namespace fs = std::filesystem;

const Affine<Ras> kOneMm = Affine<Ras>::from_spacing({1, 1, 1});

/// 20 x 30 x 40 voxels that count from 0.
template <typename T = std::int16_t>
Volume ramp(const Affine<Ras>& affine = kOneMm) {
  Tensor voxels(dtype_for<T>(), {40, 30, 20});
  std::iota(voxels.values<T>().begin(), voxels.values<T>().end(), T{0});
  return Volume(voxels, affine);
}

/// Half background, half `id`.
template <typename T = std::uint8_t>
Volume halves(T id, const Affine<Ras>& affine = kOneMm) {
  Tensor voxels = Tensor::zeros(dtype_for<T>(), {40, 30, 20});
  std::fill(voxels.values<T>().begin() + voxels.size() / 2, voxels.values<T>().end(), id);
  return Volume(voxels, affine);
}

/// A folder images/ and labels/.
struct Plain {
  TestFolder folder;

  Plain() {
    fs::create_directories(folder.path / "images");
    fs::create_directories(folder.path / "labels");
  }

  void add(const std::string& name, const Volume& image, const Volume& label) const {
    write_volume(folder.path / "images" / (name + ".nii.gz"), image);
    write_volume(folder.path / "labels" / (name + ".nii.gz"), label);
  }

  Survey look(const LabelTable& table = {}) const { return survey(find_cases({folder.path}), table, {}); }
};

/// One case of x, y, z voxels.
Survey lone_case(std::int64_t x, std::int64_t y, std::int64_t z) {
  const Plain data;
  Tensor voxels = Tensor::zeros(DType::U8, {z, y, x});
  voxels.values<std::uint8_t>()[0] = 1;
  const Volume volume(voxels, kOneMm);
  data.add("a", volume, volume);
  return data.look();
}

bool tells(const Survey& survey, Finding::Severity severity, const std::string& subject, const std::string& text) {
  return std::any_of(survey.findings.begin(), survey.findings.end(), [&](const Finding& finding) {
    return finding.severity == severity && finding.subject == subject && finding.text.find(text) != std::string::npos;
  });
}

bool refuses(const Survey& survey, const std::string& subject, const std::string& text) {
  return tells(survey, Finding::Severity::Error, subject, text);
}

bool warns(const Survey& survey, const std::string& subject, const std::string& text) {
  return tells(survey, Finding::Severity::Warning, subject, text);
}

}  // namespace

TEST_CASE("survey: percentiles are those of numpy, counted or sorted", "[unit][survey]") {
  // numpy.percentile([-7, 0, 3, 3, 10, 250], [0.5, 50, 99.5])
  const std::vector<std::int16_t> values = {10, -7, 3, 250, 0, 3};
  const Tensor counted = Tensor::from<std::int16_t>(values, {6});
  for (const Tensor& voxels : {counted, counted.to(DType::F32), counted.to(DType::I32), counted.to(DType::F64)}) {
    const IntensityFacts facts = *intensity_facts(voxels);
    REQUIRE(facts.minimum == -7);
    REQUIRE(facts.maximum == 250);
    REQUIRE(facts.percentiles[0] == Approx(-6.825));
    REQUIRE(facts.percentiles[1] == Approx(3));
    REQUIRE(facts.percentiles[2] == Approx(244.0));
    REQUIRE(facts.not_finite == 0);
  }
}

TEST_CASE("survey: voxels that are not finite are counted and left out", "[unit][survey]") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  const std::vector<float> some = {1, kNan, 2, kInfinite, 3};
  const IntensityFacts facts = *intensity_facts(Tensor::from<float>(some, {5}));
  REQUIRE(facts.not_finite == 2);
  REQUIRE(facts.maximum == 3);
  REQUIRE(facts.percentiles[1] == 2);
  const std::vector<float> none = {kNan, kInfinite};
  REQUIRE_FALSE(intensity_facts(Tensor::from<float>(none, {2})).has_value());
  const std::vector<std::uint8_t> one = {255};
  REQUIRE(intensity_facts(Tensor::from<std::uint8_t>(one, {1}))->percentiles[2] == 255);
}

TEST_CASE("survey: a clean folder has no findings, and its numbers are told", "[unit][survey]") {
  const Plain data;
  data.add("b", ramp(), halves<std::uint8_t>(2));
  data.add("a", ramp(), reorient(halves<std::uint8_t>(1), "LPI"));  // the same places in the world
  const Survey result = data.look();
  REQUIRE(result.findings.empty());
  REQUIRE(result.ok());
  REQUIRE(result.cases.size() == 2);
  REQUIRE(result.cases[0].name == "a");
  REQUIRE(result.cases[0].labels == std::map<std::int64_t, std::uint64_t>{{0, 12000}, {1, 12000}});
  const Summary summary = summarize(result);
  REQUIRE(summary.size[1].median == 30);
  REQUIRE(summary.fov_mm[2].maximum == Approx(40));
  REQUIRE(summary.labels.at(0).cases == 2);
  REQUIRE(summary.labels.at(2).cases == 1);
  REQUIRE(summary.labels.at(2).share == Approx(0.25));
  REQUIRE(summary.channels.at(0).maximum.maximum == 23999);
}

TEST_CASE("survey: images that cannot be used are errors with their reason, and stay in the list", "[unit][survey]") {
  const Plain data;
  data.add("good", ramp(), halves<std::uint8_t>(1));
  data.add("constant", Volume(Tensor::zeros(DType::I16, {40, 30, 20}), kOneMm), halves<std::uint8_t>(1));
  Volume odd = ramp<float>();
  odd.voxels().values<float>()[7] = std::numeric_limits<float>::quiet_NaN();
  data.add("nan", odd, halves<std::uint8_t>(1));
  data.add("damaged", ramp(), halves<std::uint8_t>(1));
  fs::resize_file(data.folder.path / "images/damaged.nii.gz", 500);
  data.add("empty", ramp(), halves<std::uint8_t>(1));
  write_file(data.folder.path / "images/empty.nii.gz", "");
  const Survey result = data.look();
  REQUIRE_FALSE(result.ok());
  REQUIRE(result.cases.size() == 5);
  REQUIRE(result.usable() == 1);
  REQUIRE(refuses(result, "constant", "every voxel is 0"));
  REQUIRE(refuses(result, "nan", "1 voxels of the image are NaN or infinite"));
  REQUIRE(refuses(result, "damaged", "damaged.nii.gz"));
  REQUIRE(refuses(result, "empty", "empty.nii.gz"));
}

TEST_CASE("survey: label maps that do not fit are errors with their reason", "[unit][survey]") {
  const Plain data;
  data.add("fraction", ramp(), halves<float>(1.5F));
  data.add("negative", ramp(), halves<std::int16_t>(-3));
  data.add("unknown", ramp(), halves<std::uint8_t>(7));
  data.add("moved", ramp(), halves<std::uint8_t>(1, Affine<Ras>::from_spacing({1, 1, 1}, {4, 0, 0})));
  data.add("smaller", ramp(), Volume(Tensor::zeros(DType::U8, {40, 30, 10}), kOneMm));
  data.add("nudged", ramp(), halves<std::uint8_t>(1, Affine<Ras>::from_spacing({1, 1, 1}, {0.1, 0, 0})));
  data.add("blank", ramp(), Volume(Tensor::zeros(DType::U8, {40, 30, 20}), kOneMm));
  const Survey result = data.look(LabelTable({{1, "liver"}, {2, "spleen"}}));
  REQUIRE(refuses(result, "fraction", "fraction.nii.gz"));
  REQUIRE(refuses(result, "negative", "negative ids: -3"));
  REQUIRE(refuses(result, "unknown", "the label table lacks: 7"));
  REQUIRE(refuses(result, "moved", "4 mm away"));
  REQUIRE(refuses(result, "smaller", "10 x 30 x 40 voxels"));
  REQUIRE(warns(result, "nudged", "0.1 mm away"));
  REQUIRE(warns(result, "blank", "empty"));
  REQUIRE(warns(result, "", "no case has the labels spleen"));
  REQUIRE(result.usable() == 2);
}

TEST_CASE("survey: what is missing or belongs to no case is told", "[unit][survey]") {
  const Plain data;
  data.add("a", ramp(), halves<std::uint8_t>(1));
  data.add("b", ramp(), halves<std::uint8_t>(1));
  data.add("c", ramp(), halves<std::uint8_t>(1));
  fs::remove(data.folder.path / "labels/b.nii.gz");
  fs::remove(data.folder.path / "images/c.nii.gz");
  write_file(data.folder.path / "images/d.nrrd", "NRRD0004");
  write_file(data.folder.path / "images/.hidden", "");
  const Survey result = data.look();
  REQUIRE(refuses(result, "", "b.nii.gz has no label map"));
  REQUIRE(refuses(result, "", "c.nii.gz has no image"));
  REQUIRE(warns(result, "", "1 file that belongs to no case: d.nrrd"));
  REQUIRE_FALSE(warns(result, "b", "has no label map"));  // told already
  REQUIRE_FALSE(result.ok());
}

TEST_CASE("survey: cases of several channels are usable, and a training has to be told which", "[unit][survey]") {
  const Plain data;
  Tensor pair(DType::I16, {2, 40, 30, 20});
  std::iota(pair.values<std::int16_t>().begin(), pair.values<std::int16_t>().end(), std::int16_t{0});
  for (const char* name : {"a", "b"}) data.add(name, Volume(pair, kOneMm), halves<std::uint8_t>(1));
  const Survey result = data.look();
  REQUIRE(result.ok());
  REQUIRE(result.usable() == 2);
  REQUIRE(warns(result, "", "cases have 2 image channels; \"channel\""));
  REQUIRE(suggestion(result)["channel"] == 0);
}

TEST_CASE("survey: label maps alone are cases", "[unit][survey]") {
  const TestFolder folder;
  fs::create_directories(folder.path / "labels");
  write_volume(folder.path / "labels" / "a.nii.gz", halves<std::uint8_t>(1));
  const Survey result = survey(find_cases({folder.path}), {}, {});
  REQUIRE(result.ok());
  REQUIRE(summarize(result).size[0].median == 20);
}

TEST_CASE("survey: files of no case in a folder of every case are told together", "[unit][survey]") {
  const TestFolder folder;
  std::string list;
  for (const char* name : {"p1", "p2", "p3", "p4"}) {
    fs::create_directories(folder.path / name);
    write_volume(folder.path / name / "ct.nii.gz", ramp());
    write_file(folder.path / name / "pet.nii.gz", "");
    list += fmt::format(R"({}"{}/ct.nii.gz")", list.empty() ? "" : ", ", name);
  }
  write_file(folder.path / "dataset.json", R"({"training": [)" + list + "]}");
  const Survey result = survey(find_cases({folder.path}), {}, {});
  REQUIRE(warns(result, "", "4 folders: 4 files that belong to no case: p1/pet.nii.gz, "));
}

TEST_CASE("survey: a label map that is missing is told once", "[unit][survey]") {
  const Plain data;
  data.add("a", ramp(), halves<std::uint8_t>(1));
  data.add("b", ramp(), halves<std::uint8_t>(1));
  fs::remove(data.folder.path / "labels" / "b.nii.gz");
  const Survey result = data.look();
  const auto of_b = [](const Finding& finding) { return finding.text.find("no label map") != std::string::npos; };
  REQUIRE(std::count_if(result.findings.begin(), result.findings.end(), of_b) == 1);
}

TEST_CASE("survey: mixed grids are warned of, and cases of other channels refused", "[unit][survey]") {
  const Plain data;
  data.add("a", ramp(), halves<std::uint8_t>(1));
  const Affine<Ras> thick = Affine<Ras>::from_spacing({1, 1, 5});
  data.add("b", reorient(ramp(thick), "LPS"), halves<std::uint8_t>(1, thick));
  Tensor pair(DType::I16, {2, 40, 30, 20});
  std::iota(pair.values<std::int16_t>().begin(), pair.values<std::int16_t>().end(), std::int16_t{0});
  data.add("c", Volume(pair, kOneMm), halves<std::uint8_t>(1));
  const Survey result = data.look();
  REQUIRE_FALSE(result.ok());
  REQUIRE(result.usable() == 2);
  REQUIRE(warns(result, "", "orientations differ: LPS 1, RAS 2"));
  REQUIRE(warns(result, "",
                "voxel sizes differ: z 1 to 5 mm; a model learns them only where it is told of the spacing, else "
                "\"resample_mm\""));
  REQUIRE(refuses(result, "c", "has 2 image channels"));
  REQUIRE(result.cases[2].intensities.size() == 2);
}

TEST_CASE("survey: loose files are images, and label maps by their name", "[unit][survey]") {
  const TestFolder folder;
  write_volume(folder.path / "p1_image.nii.gz", ramp());
  write_volume(folder.path / "p1_label.nii.gz", halves<std::uint8_t>(1));
  write_volume(folder.path / "p2.nii", ramp());
  write_volume(folder.path / "p3_label.nii", halves<std::uint8_t>(1));
  const Survey all = survey(find_cases({folder.path}), {}, {});
  REQUIRE(all.cases.size() == 2);
  REQUIRE(all.cases[0].label.has_value());
  REQUIRE(refuses(all, "", "p3_label.nii has no image"));
  REQUIRE(warns(all, "p2", "has no label map"));
  const Survey one = survey(find_cases({folder.path / "p2.nii"}), {}, {});
  REQUIRE(one.findings.empty());
  REQUIRE(one.cases.size() == 1);
}

TEST_CASE("survey: a path that is no data is refused", "[unit][survey]") {
  const TestFolder folder;
  REQUIRE_THROWS_AS(find_cases({folder.path / "none"}), DataError);
  write_file(folder.path / "text.txt", "x");
  REQUIRE_THROWS_AS(find_cases({folder.path / "text.txt"}), DataError);
  REQUIRE_THROWS_AS(find_cases({folder.path, folder.path}), DataError);
  write_file(folder.path / "dataset.json", "{\"labels\": 3");
  REQUIRE_THROWS_AS(find_cases({folder.path}), DataError);
  fs::remove(folder.path / "dataset.json");
  const Survey empty = survey(find_cases({folder.path}), {}, {});
  REQUIRE_FALSE(empty.ok());
  REQUIRE(refuses(empty, "", "no cases"));
  REQUIRE(suggestion(empty).empty());
}

TEST_CASE("survey: it can be cancelled between cases, and shows progress", "[unit][survey]") {
  const Plain data;
  data.add("a", ramp(), halves<std::uint8_t>(1));
  data.add("b", ramp(), halves<std::uint8_t>(1));
  CancelToken token;
  std::vector<std::string> seen;
  RunObserver observer;
  observer.cancel = &token;
  observer.progress = [&](const Progress& progress) {
    seen.emplace_back(progress.item);
    token.cancel();
  };
  REQUIRE_THROWS_AS(survey(find_cases({data.folder.path}), {}, observer), Cancelled);
  REQUIRE(seen == std::vector<std::string>{"a"});
}

TEST_CASE("suggestion: a crop that networks can halve as often as its size allows", "[unit][survey]") {
  CHECK(suggestion(lone_case(50, 36, 31))["crop"] == Json({32, 32, 16}));
  CHECK(suggestion(lone_case(64, 63, 15))["crop"] == Json({64, 32, 12}));
  CHECK(suggestion(lone_case(3, 1, 96))["crop"] == Json({4, 4, 96}));
  CHECK(suggestion(lone_case(512, 128, 65))["crop"] == Json({256, 128, 64}));
}

TEST_CASE("suggestion: a contract that the data fit, from the usable cases", "[unit][survey]") {
  const Plain data;
  data.add("a", ramp(Affine<Ras>::from_spacing({1, 1, 2})),
           halves<std::uint8_t>(1, Affine<Ras>::from_spacing({1, 1, 2})));
  data.add("b", ramp(), halves<std::uint8_t>(3));
  data.add("broken", Volume(Tensor::zeros(DType::I16, {400, 3, 2}), kOneMm), halves<std::uint8_t>(9));
  const Json json = suggestion(data.look(LabelTable({{1, "liver"}, {9, "tumour"}})));
  REQUIRE(json["crop"] == Json({16, 16, 32}));
  REQUIRE(json["data"]["orientation"] == "RAS");
  REQUIRE(json["data"]["spacing_mm"] == Json({{"minimum", {0.9, 0.9, 1.8}}, {"maximum", {1.1, 1.1, 2.2}}}));
  REQUIRE(json["data"]["intensity"]["kind"] == "percentile");
  REQUIRE(json["data"]["labels"] == Json({{"liver", 1}, {"tumour", 9}}));
  REQUIRE(json["data"]["expected_labels"] == Json({1}));
  REQUIRE(json["data"]["output"] == "int16");
}

TEST_CASE("suggestion: mixed voxel sizes are brought to the middle one", "[unit][survey]") {
  const Plain data;
  for (const double thick : {1.0, 2.0, 4.0}) {
    const Affine<Ras> affine = Affine<Ras>::from_spacing({1, 1, thick});
    data.add(fmt::format("z{}", thick), ramp(affine), halves<std::uint8_t>(1, affine));
  }
  const Json json = suggestion(data.look());
  REQUIRE(json["resample_mm"] == Json({1.0, 1.0, 2.0}));
  REQUIRE(json["crop"] == Json({16, 16, 32}));  // of 20, 30 and 20, 40, 80
  REQUIRE(json["data"]["spacing_mm"]["maximum"] == Json({1.1, 1.1, 2.2}));
}

TEST_CASE("suggestion: voxel sizes that are nearly alike stay", "[unit][survey]") {
  const Plain data;
  for (const double thick : {1.0, 1.09}) {
    const Affine<Ras> affine = Affine<Ras>::from_spacing({1, 1, thick});
    data.add(fmt::format("z{}", thick), ramp(affine), halves<std::uint8_t>(1, affine));
  }
  REQUIRE_FALSE(suggestion(data.look()).contains("resample_mm"));
}

TEST_CASE("suggestion: CT is known by its air, fractions by their range", "[unit][survey]") {
  const Plain data;
  Volume ct = ramp();
  for (std::int16_t& voxel : ct.voxels().values<std::int16_t>()) voxel = static_cast<std::int16_t>(voxel / 10 - 1024);
  data.add("a", ct, halves<std::uint8_t>(1));
  const Json json = suggestion(data.look());
  REQUIRE(json["data"]["modality"] == "ct");
  REQUIRE(json["data"]["intensity"] == Json({{"kind", "window"}, {"low", -1000}, {"high", 1000}}));
  REQUIRE(json["data"]["labels"] == Json({{"label_1", 1}}));
  const Plain fractions;
  Volume unit = ramp<float>();
  for (float& voxel : unit.voxels().values<float>()) voxel /= 24000;
  fractions.add("a", unit, halves<std::uint8_t>(1));
  REQUIRE(suggestion(fractions.look())["data"]["output"] == "float32");
  REQUIRE_FALSE(suggestion(fractions.look())["data"].contains("modality"));
}

TEST_CASE("survey: its document can always be written", "[unit][survey]") {
  const Plain data;
  Volume nothing(Tensor::zeros(DType::F32, {40, 30, 20}), kOneMm);
  const auto values = nothing.voxels().values<float>();
  std::fill(values.begin(), values.end(), std::numeric_limits<float>::infinity());
  data.add("a", nothing, halves<std::uint8_t>(1));
  const Json document = Json::parse(dump_pretty(survey_document(data.look())));
  REQUIRE(document["ok"] == false);
  REQUIRE(document["cases"][0]["intensity"].empty());
  REQUIRE(document["cases"][0]["labels"]["1"] == 12000);
  REQUIRE(document["findings"][0]["case"] == "a");
  REQUIRE(document["summary"]["labels"][1]["name"].is_null());
}

TEST_CASE("survey: a dozen of many cases are drawn, evenly spread", "[unit][survey]") {
  CaseSheet few(2);
  few.add(0, ramp(), halves<std::uint8_t>(1));
  const std::size_t one = few.picture().height;
  few.add(1, ramp(), halves<float>(0.5F));  // drawn without its label map
  REQUIRE(few.picture().height == 2 * one);
  CaseSheet many(1000);
  for (std::size_t i = 0; i < 1000; ++i) {
    if (i % 50 == 0 || i % 83 == 0 || i % 84 == 0) many.add(i, ramp(), halves<std::uint8_t>(1));
  }
  REQUIRE(many.picture().height <= 12 * one);
  REQUIRE_THROWS_AS(CaseSheet(3).picture(), DataError);
}

}  // namespace medgen
