// SPDX-License-Identifier: Apache-2.0
// medgen inspect, medgen body and medgen view
#include "core/cli/e2e/process.h"
#include "core/config/json.h"
#include "core/io/volume_file.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>

#ifdef MEDGEN_HAS_DICOM
#include "core/dicom/test_series.h"
#endif

using medgen::Json;
using medgen::e2e::contents_of;
using medgen::e2e::Folder;
using medgen::e2e::Result;
using medgen::e2e::tool;

namespace {

namespace fs = std::filesystem;

/// Two cases with images and label maps 0 and 1.
void write_cases(const Folder& folder) {
  using namespace medgen;
  Tensor image(DType::I16, {16, 20, 24});
  std::iota(image.values<std::int16_t>().begin(), image.values<std::int16_t>().end(), std::int16_t{0});
  Tensor label = Tensor::zeros(DType::U8, {16, 20, 24});
  std::fill_n(label.values<std::uint8_t>().begin() + 1000, 500, std::uint8_t{1});
  for (const char* name : {"a.nii.gz", "b.nii.gz"}) {
    for (const char* sub : {"images", "labels"}) fs::create_directories(folder / sub);
    write_volume(folder.path() / "images" / name, Volume(image, {}));
    write_volume(folder.path() / "labels" / name, Volume(label, {}));
  }
}

const char* const kPipeline = R"({"medgen": 1, "seed": 7, "steps": {
  "ct": {"generate": {"components": {"denoiser": {"component": "null.denoiser"}, "scheduler": {"component": "null.scheduler"},
                                     "propagator": {"component": "null.propagator"}}, "data": {"output": "float32"}},
         "size": [6, 5, 4], "spacing_mm": [1, 1, 2], "steps": 2, "count": 2},
  "save": {"write": "@ct", "to": "out"}}})";

}  // namespace

TEST_CASE("inspect tells what a data set holds, and draws it", "[e2e][cli]") {
  const Folder folder;
  write_cases(folder);
  const Result result = tool({"inspect", folder.path(), "--draw", folder / "sheet.png"});
  INFO(result.err << result.out);
  CHECK(result.code == 0);
  CHECK(result.out.find("2 cases, 2 usable, 2 with a label map") != std::string::npos);
  CHECK(result.out.find("\"crop\"") != std::string::npos);
  CHECK(contents_of(folder / "sheet.png").substr(1, 3) == "PNG");
  const Json document = Json::parse(tool({"inspect", folder.path(), "--json"}).out);
  CHECK(document.at("ok") == true);
  CHECK(document.at("cases").size() == 2);
  const std::string images = folder / "images/a.nii.gz";
  CHECK(Json::parse(tool({"inspect", images, "--json"}).out).at("summary").at("labelled") == 0);
}

TEST_CASE("body gives a label map the body's label, on the CT's grid", "[e2e][cli]") {
  using namespace medgen;
  const Folder folder;
  Tensor ct(DType::I16, {16, 20, 24});
  std::fill_n(ct.values<std::int16_t>().begin(), ct.size(), std::int16_t{-1000});
  std::fill_n(ct.values<std::int16_t>().begin(), ct.size() / 2, std::int16_t{40});
  Tensor label = Tensor::zeros(DType::U8, {16, 20, 24});
  label.values<std::uint8_t>()[3] = 7;
  write_volume(folder.path() / "ct.nii.gz", Volume(ct, {}));
  write_volume(folder.path() / "label.nii.gz", reorient(Volume(label, {}), "LPI"));
  write_volume(folder.path() / "other.nii.gz", Volume(Tensor::zeros(DType::U8, {2, 2, 2}), {}));
  const std::string made = folder / "made.nii.gz";
  const Result result = tool({"body", folder / "ct.nii.gz", folder / "label.nii.gz", "--to", made, "--json"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(Json::parse(result.out).at("voxels") == ct.size() / 2 - 1);
  const Volume with_body = read_volume(made);
  const auto voxels = with_body.voxels().values<std::uint8_t>();
  CHECK(voxels[3] == 7);
  CHECK(voxels[4] == 200);
  CHECK(voxels.back() == 0);
  CHECK(tool({"body", folder / "ct.nii.gz", "--to", made}).code == 4);  // is there
  CHECK(tool({"body", folder / "ct.nii.gz", "--to", made, "--overwrite", "--label", "1"}).code == 0);
  CHECK(tool({"body", folder / "ct.nii.gz", folder / "other.nii.gz", "--to", folder / "no.nii.gz"}).code == 4);
  CHECK(tool({"body", folder / "ct.nii.gz", "--to", folder / "no.nii.gz", "--air-below", "3000"}).code == 4);
  CHECK(tool({"body", folder / "ct.nii.gz", "--to", folder / "no.nii.gz", "--label", "0"}).code == 2);
  CHECK_FALSE(fs::exists(folder / "no.nii.gz"));
}

TEST_CASE("body tells of a label map that lies a little off, and refuses one that lies beside", "[e2e][cli]") {
  using namespace medgen;
  const Folder folder;
  const auto at = [](double mm) { return Affine<Ras>::from_spacing({1, 1, 1}, {mm, 0, 0}); };
  write_volume(folder.path() / "ct.nii.gz", Volume(Tensor::zeros(DType::I16, {6, 5, 4}), at(0)));
  for (const double mm : {0.0, 0.4, 0.6}) {
    const std::string labels = folder / fmt::format("{}.nii.gz", mm);
    write_volume(labels, Volume(Tensor::zeros(DType::U8, {6, 5, 4}), at(mm)));
    const std::string made = folder / fmt::format("made-{}.nii.gz", mm);
    const Result result = tool({"body", folder / "ct.nii.gz", labels, "--to", made});
    CHECK(result.code == (mm > 0.5 ? 4 : 0));
    CHECK((result.err.find("0.4.nii.gz: the label map lies up to 0.4 mm") != std::string::npos) == (mm == 0.4));
    CHECK((result.err.find("0.6.nii.gz: the label map lies up to 0.6 mm") != std::string::npos) == (mm == 0.6));
    if (result.code == 0) CHECK(read_volume(made).affine() == at(0));
  }
}

TEST_CASE("what inspect suggests is a valid data contract", "[e2e][cli]") {
  const Folder folder;
  write_cases(folder);
  const Json document = Json::parse(tool({"inspect", folder.path(), "--json"}).out);
  const Json part = {{"component", "null.denoiser"}};
  const Json model = {{"medgen_model", 1},
                      {"components", {{"denoiser", part}, {"scheduler", {{"component", "null.scheduler"}}}}},
                      {"data", document.at("suggested").at("data")}};
  const Result result = tool({"validate", folder.file("model.json", model.dump())});
  INFO(result.err);
  CHECK(result.code == 0);
}

TEST_CASE("a case that cannot be used is exit code 4, and the others are told all the same", "[e2e][cli]") {
  const Folder folder;
  write_cases(folder);
  folder.file("images/b.nii.gz", "damaged");
  const Result result = tool({"inspect", folder.path()});
  CHECK(result.code == 4);
  CHECK(result.out.find("2 cases, 1 usable") != std::string::npos);
  CHECK(result.out.find("b.nii.gz") != std::string::npos);
  const Result json = tool({"inspect", folder.path(), "--json"});
  CHECK(json.code == 4);
  const Json document = Json::parse(json.out);
  CHECK(document.at("ok") == false);
  CHECK(document.at("findings").at(0).at("severity") == "error");
  CHECK(document.at("cases").at(0).at("usable") == true);
}

TEST_CASE("label ids are checked against a table of the user's", "[e2e][cli]") {
  const Folder folder;
  write_cases(folder);
  const std::string names = folder.file("names.json", R"({"liver": 1, "spleen": 2})");
  CHECK(tool({"inspect", folder.path(), "--labels", names}).out.find("liver") != std::string::npos);
  const std::string model = folder.file("model.json", R"({"data": {"labels": {"spleen": 2}}})");
  const Result lacking = tool({"inspect", folder.path(), "--labels", model});
  CHECK(lacking.code == 4);
  CHECK(lacking.out.find("the label table lacks: 1") != std::string::npos);
  CHECK(tool({"inspect", folder.path(), "--labels", folder.file("bad.json", "{\"liver\": []}x")}).code == 3);
  CHECK(tool({"inspect", folder.path(), "--labels", folder / "none.json"}).code == 2);
}

TEST_CASE("data that is not there or none is refused", "[e2e][cli]") {
  const Folder folder;
  CHECK(tool({"inspect"}).code == 2);
  const Result none = tool({"inspect", folder / "none", "--json"});
  CHECK(none.code == 4);
  CHECK(Json::parse(none.out).at("error").at("kind") == "data");
  const Result empty = tool({"inspect", folder.path()});
  CHECK(empty.code == 4);
  CHECK(empty.out.find("no cases") != std::string::npos);
  write_cases(folder);
  CHECK(tool({"inspect", folder.path(), "--draw", folder / "none/sheet.png"}).code == 1);
}

TEST_CASE("view writes a page about a run, in the run's folder or elsewhere", "[e2e][cli]") {
  const Folder folder;
  REQUIRE(tool({"run", folder.file("p.json", kPipeline)}).code == 0);
  const Result result = tool({"view", folder / "out"});
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(result.out == (folder / "out/view.html") + "\n");
  const std::string page = contents_of(folder / "out/view.html");
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(page.find("data:image/png;base64,") != std::string::npos);
  const Json document =
      Json::parse(tool({"view", folder / "out", "--to", folder / "a.html", "--samples", "1", "--json"}).out);
  CHECK(document.at("samples") == 1);
  CHECK(document.at("bytes") == contents_of(folder / "a.html").size());
}

TEST_CASE("view shows a training that is under way", "[e2e][cli]") {
  const Folder folder;
  fs::create_directories(folder / "training/vae");
  folder.file("training/vae/log.jsonl",
              "{\"iteration\":1,\"seconds\":2,\"loss\":1}\n{\"iteration\":2,\"seconds\":3,\"lo");
  const Json document = Json::parse(tool({"view", folder.path(), "--json"}).out);
  CHECK(document.at("curves") == 1);
  CHECK(document.at("problems").size() == 1);
}

TEST_CASE("view refuses what is no run, and says where it cannot write", "[e2e][cli]") {
  const Folder folder;
  CHECK(tool({"view"}).code == 2);
  CHECK(tool({"view", folder / "none"}).code == 4);
  const Result empty = tool({"view", folder.path()});
  CHECK(empty.code == 4);
  CHECK(empty.err.find("run.json") != std::string::npos);
  CHECK(folder.names().empty());
  folder.file("run.json", "{}");
  CHECK(tool({"view", folder.path(), "--to", folder / "none/a.html"}).code == 1);
  CHECK(tool({"view", folder.path(), "--samples", "-1"}).code == 2);
  folder.file("run.json", "[");
  CHECK(tool({"view", folder.path()}).code == 4);
}

TEST_CASE("completion offers data and runs", "[e2e][cli]") {
  CHECK(tool({"__complete", "insp"}).out == "inspect\n");
  CHECK(tool({"__complete", "inspect", ""}).out == ":files\n");
  CHECK(tool({"__complete", "view", ""}).out == ":folders\n");
}

#ifdef MEDGEN_HAS_DICOM

namespace {

/// Encodes `image` and writes the latents.
std::string encoding(const std::string& image) {
  return R"({"medgen": 1, "steps": {"z": {"encode": {"components": {"compressor": {"component": "null.compressor"}}},
                                    "image": ")" +
         image + R"("}, "save": {"write": "@z", "to": "out"}}})";
}

}  // namespace

TEST_CASE("a DICOM series is an input like a file, by itself or among the volumes of a folder", "[e2e][cli]") {
  const Folder folder;
  medgen::TestSeries series;
  series.columns = series.rows = series.slices = 4;
  medgen::write_series(folder.path() / "scans" / "one", series);
  const std::string image = GENERATE("scans/one", "scans/one/", "scans", "scans/*");
  const Result result = tool({"run", folder.file("p.json", encoding(image))});
  INFO(image << ": " << result.err);
  REQUIRE(result.code == 0);
  CHECK(fs::exists(folder.path() / "out" / "latents" / "one.safetensors"));
  const Json manifest = Json::parse(contents_of(folder.path() / "out" / "run.json"));
  CHECK(manifest.at("run").at("inputs").at("z.image").at("one").get<std::string>().size() == 64);
}

TEST_CASE("a slice of a DICOM series that changed is another input", "[e2e][cli]") {
  const Folder folder;
  medgen::TestSeries series;
  series.columns = series.rows = series.slices = 4;
  medgen::write_series(folder.path() / "scan", series);
  const std::string file = folder.file("p.json", encoding("scan"));
  REQUIRE(tool({"run", file}).code == 0);
  series.pixel = [](int x, int y, int z) { return x * y + z; };
  medgen::write_series(folder.path() / "scan", series);
  const Result again = tool({"run", file});
  INFO(again.err);
  CHECK(again.code != 0);
}

TEST_CASE("a folder without a volume is refused", "[e2e][cli]") {
  const Folder folder;
  folder.file("p.json", encoding("empty"));
  fs::create_directories(folder.path() / "empty");
  const Result result = tool({"run", folder / "p.json"});
  CHECK(result.code == 3);
  CHECK(result.err.find("there is no .nii, .nii.gz, DICOM series") != std::string::npos);
}

#endif
