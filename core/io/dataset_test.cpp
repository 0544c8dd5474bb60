// SPDX-License-Identifier: Apache-2.0
#include "core/io/dataset.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/io/test_folder.h"
#include "core/io/volume_file.h"

#include <catch2/catch.hpp>

namespace medgen {
namespace {

namespace fs = std::filesystem;

Volume small(DType dtype = DType::U8) {
  return Volume(Tensor::zeros(dtype, {2, 3, 4}), Affine<Ras>::from_spacing({1, 1, 2}));
}

void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  write_file(path, "");
}

/// A Decathlon folder of two cases.
void decathlon(const fs::path& folder) {
  for (const char* name : {"b_2.nii.gz", "a_1.nii.gz"}) {
    touch(folder / "imagesTr" / name);
    touch(folder / "imagesTr" / (std::string("._") + name));
    touch(folder / "labelsTr" / name);
  }
  write_file(folder / "dataset.json", R"({
    "name": "Hippocampus", "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
    "numTraining": 2,
    "training": [{"image": "./imagesTr/b_2.nii.gz", "label": "./labelsTr/b_2.nii.gz"},
                 {"image": "./imagesTr/a_1.nii.gz", "label": "./labelsTr/a_1.nii.gz"}],
    "test": ["./imagesTs/c_3.nii.gz"]})");
}

TEST_CASE("dataset: a Decathlon folder gives its cases by name and its label table", "[unit][io]") {
  const TestFolder folder;
  decathlon(folder.path);
  for (const fs::path& path : {folder.path, folder.path / "dataset.json"}) {
    const Dataset dataset = open_dataset(path);
    REQUIRE(dataset.name == "Hippocampus");
    REQUIRE(dataset.channels == std::vector<std::string>{"MRI"});
    REQUIRE(dataset.labels.id_of("Posterior") == 2);
    REQUIRE(dataset.cases.size() == 2);
    REQUIRE(dataset.cases[0].name == "a_1");
    REQUIRE(dataset.cases[0].images.at(0) == folder.path / "imagesTr/a_1.nii.gz");
    REQUIRE(dataset.cases[1].label == folder.path / "labelsTr/b_2.nii.gz");
  }
}

TEST_CASE("dataset: cases of one file name are named by their folders", "[unit][io]") {
  const TestFolder folder;
  for (const char* file : {"S1/CT.nii.gz", "S1/gtv.nii.gz", "S2/CT.nii.gz", "S2/gtv.nii.gz"}) touch(folder.path / file);
  const auto listed = [&](const std::string& second) {
    write_file(folder.path / "dataset.json",
               R"({"labels": {"1": "tumour"}, "training": [{"image": "S2/CT.nii.gz", "label": "S2/gtv.nii.gz"}, )" +
                   second + "]}");
    return open_dataset(folder.path);
  };
  const Dataset dataset = listed(R"({"image": "S1/CT.nii.gz", "label": "S1/gtv.nii.gz"})");
  REQUIRE(dataset.cases.size() == 2);
  CHECK(dataset.cases[0].name == "S1");
  CHECK(dataset.cases[1].label == folder.path / "S2/gtv.nii.gz");
  CHECK(listed(R"({"image": "S1/gtv.nii.gz"})").cases[0].name == "CT");
  CHECK_THROWS_WITH(listed(R"({"image": "S2/CT.nii.gz"})"), Catch::Contains("'CT' comes twice"));
}

TEST_CASE("dataset: every missing file is listed", "[unit][io]") {
  const TestFolder folder;
  decathlon(folder.path);
  fs::remove(folder.path / "imagesTr/b_2.nii.gz");
  fs::remove(folder.path / "labelsTr/a_1.nii.gz");
  REQUIRE_THROWS_WITH(open_dataset(folder.path), Catch::Contains("2 problems") &&
                                                     Catch::Contains("imagesTr/b_2.nii.gz") &&
                                                     Catch::Contains("labelsTr/a_1.nii.gz"));
}

TEST_CASE("dataset: looking for cases keeps them all and lists what opening would refuse", "[unit][io]") {
  const TestFolder folder;
  decathlon(folder.path);
  const FoundCases whole = find_cases({folder.path});
  REQUIRE(whole.problems.empty());
  REQUIRE(whole.dataset.cases.size() == open_dataset(folder.path).cases.size());
  REQUIRE(whole.dataset.labels == open_dataset(folder.path).labels);
  fs::remove(folder.path / "imagesTr/b_2.nii.gz");
  fs::remove(folder.path / "labelsTr/a_1.nii.gz");
  const FoundCases found = find_cases({folder.path / "dataset.json"});
  REQUIRE(found.dataset.cases.size() == 2);
  REQUIRE(found.problems.size() == 2);
  REQUIRE_THAT(found.problems[0].text + found.problems[1].text, Catch::Contains("b_2.nii.gz is missing"));
}

TEST_CASE("dataset: cases whose files are missing can be gone on without, and are all told", "[unit][io]") {
  const TestFolder folder;
  decathlon(folder.path);
  REQUIRE(open_with_bad_cases(folder.path).problems.empty());
  fs::remove(folder.path / "imagesTr/b_2.nii.gz");
  const FoundCases found = open_with_bad_cases(folder.path);
  REQUIRE(found.dataset.cases.size() == 2);
  REQUIRE(found.dataset.description == folder.path / "dataset.json");
  REQUIRE(found.problems.size() == 1);
  CHECK(found.problems[0].name == "b_2");
  CHECK_THAT(found.problems[0].text, Catch::Contains("imagesTr/b_2.nii.gz is missing"));
  const TestFolder plain;
  for (const char* file : {"images/a.nii", "images/b.nii", "labels/a.nii", "labels/c.nii"}) touch(plain.path / file);
  const FoundCases unpaired = open_with_bad_cases(plain.path);
  REQUIRE(unpaired.problems.size() == 2);
  CHECK(unpaired.problems[0].name == "b");
  CHECK(unpaired.problems[1].name == "c");
  CHECK(unpaired.dataset.description.empty());
}

TEST_CASE("dataset: what leaving a case out does not mend is thrown all the same", "[unit][io]") {
  const TestFolder folder;
  for (const char* file : {"images/a.nii", "images/a.nii.gz", "images/b.nii"}) touch(folder.path / file);
  REQUIRE_THROWS_WITH(open_with_bad_cases(folder.path), Catch::Contains("same case 'a'"));
  REQUIRE_THROWS_AS(open_with_bad_cases(folder.path / "none"), DataError);
}

TEST_CASE("dataset: of many missing files ten are shown, and where the others are", "[unit][io]") {
  const TestFolder folder;
  for (int i = 0; i < 13; ++i) touch(folder.path / "images" / fmt::format("c{}.nii", i));
  fs::create_directories(folder.path / "labels");
  REQUIRE_THROWS_WITH(open_dataset(folder.path),
                      Catch::Contains("13 problems") && Catch::Contains("and 3 more, which `medgen inspect` lists"));
}

TEST_CASE("dataset: nnU-Net v2 cases have one file a channel and names with ids", "[unit][io]") {
  const TestFolder folder;
  for (const char* name : {"x_0000", "x_0001", "y_0000", "y_0001"}) {
    touch(folder.path / "imagesTr" / fmt::format("{}.nii.gz", name));
  }
  touch(folder.path / "labelsTr/x.nii.gz");
  touch(folder.path / "labelsTr/y.nii.gz");
  touch(folder.path / "labelsTr/._y.nii.gz");
  write_file(folder.path / "dataset.json", R"({"channel_names": {"1": "T2", "0": "T1"}, "file_ending": ".nii.gz",
    "labels": {"background": 0, "tumour": 1, "whole": [1, 2]}, "numTraining": 2})");
  const Dataset dataset = open_dataset(folder.path);
  REQUIRE(dataset.channels == std::vector<std::string>{"T1", "T2"});
  REQUIRE(dataset.cases.size() == 2);
  REQUIRE(dataset.cases[1].images.at(1) == folder.path / "imagesTr/y_0001.nii.gz");
  REQUIRE(dataset.labels.names().size() == 2);
  REQUIRE_THAT(dataset.warnings.at(0), Catch::Contains("whole"));

  fs::remove(folder.path / "imagesTr/y_0001.nii.gz");
  touch(folder.path / "labelsTr/z.nii.gz");
  REQUIRE_THROWS_WITH(open_dataset(folder.path),
                      Catch::Contains("y_0001.nii.gz is missing") && Catch::Contains("z_0000.nii.gz"));
}

TEST_CASE("dataset: nnU-Net v1 lists images whose files carry the channel", "[unit][io]") {
  const TestFolder folder;
  decathlon(folder.path);
  for (const char* name : {"a_1", "b_2"}) {
    fs::rename(folder.path / "imagesTr" / fmt::format("{}.nii.gz", name),
               folder.path / "imagesTr" / fmt::format("{}_0000.nii.gz", name));
  }
  REQUIRE(open_dataset(folder.path).cases[0].images.at(0) == folder.path / "imagesTr/a_1_0000.nii.gz");
}

TEST_CASE("dataset: plain folders pair files of the same name, and the odd ones are listed", "[unit][io]") {
  const TestFolder folder;
  touch(folder.path / "images/b.nii.gz");
  touch(folder.path / "images/a.nii");
  touch(folder.path / "images/notes.txt");
  touch(folder.path / "images/._a.nii");
  REQUIRE(open_dataset(folder.path).cases.size() == 2);
  REQUIRE_FALSE(open_dataset(folder.path).cases[0].label);
  touch(folder.path / "labels/a.nii.gz");
  touch(folder.path / "labels/b.nii.gz");
  REQUIRE(open_dataset(folder.path).cases[0].label == folder.path / "labels/a.nii.gz");
  touch(folder.path / "labels/c.nii.gz");
  fs::remove(folder.path / "labels/b.nii.gz");
  REQUIRE_THROWS_WITH(open_dataset(folder.path), Catch::Contains("images/b.nii.gz has no label map") &&
                                                     Catch::Contains("labels/c.nii.gz has no image"));
}

TEST_CASE("dataset: a folder of label maps alone has cases without an image", "[unit][io]") {
  const TestFolder folder;
  touch(folder.path / "labels/a.nii.gz");
  const Dataset dataset = open_dataset(folder.path);
  REQUIRE(dataset.cases.size() == 1);
  REQUIRE(dataset.cases[0].images.empty());
  REQUIRE(dataset.cases[0].label == folder.path / "labels/a.nii.gz");
}

TEST_CASE("dataset: a list of label maps alone has their names", "[unit][io]") {
  const TestFolder folder;
  touch(folder.path / "maps/a.nii.gz");
  write_file(folder.path / "dataset.json", R"({"labels": {"1": "liver"}, "training": [{"label": "maps/a.nii.gz"}]})");
  const Dataset dataset = open_dataset(folder.path);
  REQUIRE(dataset.cases.size() == 1);
  REQUIRE(dataset.cases[0].name == "a");
  REQUIRE(dataset.cases[0].images.empty());
  REQUIRE(dataset.labels.id_of("liver") == 1);
}

TEST_CASE("dataset: a volume is no data set", "[unit][io]") {
  const TestFolder folder;
  touch(folder.path / "a.nii.gz");
  REQUIRE_THROWS_WITH(open_dataset(folder.path / "a.nii.gz"), Catch::Contains("is a volume; a data set is a folder"));
}

TEST_CASE("dataset: lists of files pair by name, whatever their folder", "[unit][io]") {
  const Dataset dataset =
      pair_files({"x/p_image.nii.gz", "x/q_image.nii.gz"}, {"y/q_label.nii.gz", "y/p_label.nii.gz"});
  REQUIRE(dataset.cases.at(0).name == "p");
  REQUIRE(dataset.cases.at(0).label == fs::path("y/p_label.nii.gz"));
  REQUIRE_THROWS_WITH(pair_files({"x/p.nii.gz", "y/p.nii.gz"}, {}), Catch::Contains("'p'"));
  REQUIRE_THROWS_AS(pair_files({}, {}), DataError);
  REQUIRE_THROWS_WITH(pair_files({"x/p.dcm"}, {}), Catch::Contains(".nii, .nii.gz"));
}

TEST_CASE("dataset: a folder or description that is none is refused with its place", "[unit][io]") {
  const TestFolder folder;
  const fs::path description = folder.path / "dataset.json";
  REQUIRE_THROWS_WITH(open_dataset(folder.path / "none"), Catch::Contains("does not exist"));
  REQUIRE_THROWS_WITH(open_dataset(folder.path), Catch::Contains("images/"));
  for (const char* text :
       {"", "{", "[]", "{}", R"({"training": 5})", R"({"training": []})", R"({"training": [{"label": "a"}]})",
        R"({"training": ["a.dcm"]})", R"({"training": [], "labels": {"one": "x"}})",
        R"({"channel_names": {"0": "T1"}, "file_ending": ".png"})", R"({"channel_names": {"0": "T1"}})",
        R"({"training": [], "labels": {"0": "a", "1": "a"}})"}) {
    write_file(description, text);
    CAPTURE(text);
    REQUIRE_THROWS_AS(open_dataset(folder.path), DataError);
  }
}

TEST_CASE("dataset: an nnU-Net folder that we describe opens as the same data set", "[unit][io]") {
  const TestFolder folder;
  const NnUnetFiles files = nnunet_files("case");
  REQUIRE(files.image == "imagesTr/case_0000.nii.gz");
  for (const std::string& file : {files.image, files.label}) {
    std::filesystem::create_directories((folder.path / file).parent_path());
    write_volume(folder.path / file, small());
  }
  write_nnunet_description(folder.path, "T1", LabelTable({{200, "body"}}), 1);
  const Dataset dataset = open_dataset(folder.path);
  REQUIRE(dataset.channels == std::vector<std::string>{"T1"});
  REQUIRE(dataset.labels == LabelTable({{0, "background"}, {200, "body"}}));
  REQUIRE(dataset.cases.at(0).name == "case");
  REQUIRE(dataset.cases[0].images == std::vector{folder.path / files.image});
  REQUIRE(dataset.cases[0].label == folder.path / files.label);
}

TEST_CASE("volume file: a folder is listed by what is wanted, hidden files never", "[unit][io]") {
  const TestFolder folder;
  for (const char* name : {"b.nii", "a.nii.gz", "._a.nii.gz", "notes.txt"}) write_file(folder.path / name, "");
  REQUIRE(files_in(folder.path, is_volume_name) ==
          std::vector<std::filesystem::path>{folder.path / "a.nii.gz", folder.path / "b.nii"});
  REQUIRE(files_in(folder.path, [](const auto&) { return false; }).empty());
  REQUIRE_THROWS_AS(files_in(folder.path / "none", is_volume_name), DataError);
}

TEST_CASE("volume file: the extension decides, and an unknown one lists those there are", "[unit][io]") {
  const TestFolder folder;
  REQUIRE(volume_stem("a/case.1.nii.gz") == "case.1");
  REQUIRE_FALSE(is_volume_name("a.dcm"));
  REQUIRE_FALSE(is_volume_name(".nii.gz"));
  REQUIRE_THROWS_WITH(read_volume("a.dcm"), Catch::Contains(".nii, .nii.gz"));
  REQUIRE_THROWS_WITH(write_volume("a.mha", small()), Catch::Contains(".nii, .nii.gz"));
  write_volume(folder.path / "a.nii.gz", small(DType::I16));
  const VolumeInfo info = read_volume_info(folder.path / "a.nii.gz");
  REQUIRE(info.geometry == small().geometry());
  REQUIRE(info.dtype == DType::I16);
  REQUIRE(info.channels == 1);
}

}  // namespace
}  // namespace medgen
