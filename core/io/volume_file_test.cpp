// SPDX-License-Identifier: Apache-2.0
#include "core/io/volume_file.h"

#include "core/base/error.h"
#include "core/base/test_folder.h"
#include "core/io/dataset.h"

#include <catch2/catch.hpp>

#ifdef MEDGEN_HAS_DICOM

#include "core/dicom/test_series.h"

namespace medgen {
namespace {

using Catch::Contains;

TEST_CASE("volume file: a folder with a DICOM series is a volume like any other", "[unit][io]") {
  const TestFolder folder;
  const auto files = write_series(folder.path / "scan 3.1", {});
  write_file(folder.path / "scan 3.1" / "notes.txt", "notes");
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& warning) { warnings.push_back(warning); };
  const Volume volume = read_volume(folder.path / "scan 3.1", warn);
  CHECK(volume.size() == Size3{5, 4, 3});
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], Contains("scan 3.1") && Contains("no DICOM"));
  const VolumeInfo info = read_volume_info(folder.path / "scan 3.1/");
  CHECK(info.geometry == volume.geometry());
  CHECK(info.dtype == volume.dtype());
  CHECK(is_volume(folder.path / "scan 3.1"));
  CHECK_FALSE(is_volume(files[0]));
  CHECK(read_volume(files[0]).size() == volume.size());
  CHECK(volume_stem(folder.path / "scan 3.1/") == "scan 3.1");
  CHECK(volume_stem(files[0]) == "IM100");
}

TEST_CASE("volume file: a DICOM series is written as NIfTI and comes back", "[unit][io]") {
  const TestFolder folder;
  TestSeries series;
  series.step = {0, 0.4, 2.5};
  write_series(folder.path / "scan", series);
  const Volume volume = read_volume(folder.path / "scan");
  write_volume(folder.path / "scan.nii.gz", volume);
  const Volume back = read_volume(folder.path / "scan.nii.gz");
  CHECK(largest_difference_mm(back.geometry(), volume.geometry()) < 1e-4);
  CHECK(back.dtype() == DType::I16);
}

TEST_CASE("volume file: what is no volume is refused, and the message says what is", "[unit][io]") {
  const TestFolder folder;
  write_file(folder.path / "a.dcm", "no DICOM");
  for (const auto& path : {folder.path, folder.path / "a.dcm", folder.path / "missing.dcm"}) {
    REQUIRE_THROWS_AS(read_volume(path), DataError);
    REQUIRE_THROWS_WITH(read_volume(path), Contains(path.string()) && Contains("DICOM series"));
    REQUIRE_THROWS_AS(read_volume_info(path), DataError);
  }
  const auto files = write_series(folder.path / "scan", {});
  REQUIRE_THROWS_WITH(write_volume(folder.path / "scan", read_volume(folder.path / "scan")),
                      Contains("supported are .nii, .nii.gz") && !Contains("DICOM"));
}

TEST_CASE("dataset: images may be DICOM series, one folder each", "[unit][io]") {
  const TestFolder folder;
  std::filesystem::create_directories(folder.path / "labels");
  for (const std::string name : {"p1", "p2"}) {
    write_series(folder.path / "images" / name, {});
    write_volume(folder.path / "labels" / (name + ".nii.gz"), read_volume(folder.path / "images" / name));
  }
  const Dataset dataset = open_dataset(folder.path);
  REQUIRE(dataset.cases.size() == 2);
  CHECK(dataset.cases[1].name == "p2");
  CHECK(read_volume(dataset.cases[1].images[0]).size() == read_volume(*dataset.cases[1].label).size());

  write_file(
      folder.path / "dataset.json",
      R"({"name": "d", "labels": {"0": "background"}, "training": [{"image": "images/p2", "label": "images/p1"}]})");
  CHECK(open_dataset(folder.path).cases.at(0).name == "p2");
}

}  // namespace
}  // namespace medgen

#endif
