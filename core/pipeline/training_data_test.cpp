// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/pipeline/test_cases.h"

#include <catch2/catch.hpp>

#include <set>

using namespace medgen;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

TEST_CASE("training data: the fingerprint is the same for the same data", "[unit][pipeline]") {
  const Folder one, two;
  for (const Folder* folder : {&one, &two}) folder->add("a", ramp(), spot(0));
  CHECK(one.fingerprint() == two.fingerprint());
}

TEST_CASE("training data: the fingerprint changes with what is under the same names", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(0));
  const std::string before = folder.fingerprint();
  SECTION("voxels") {
    folder.add("a", ramp(1), spot(0));
  }
  SECTION("labels") {
    folder.add("a", ramp(), spot(1));
  }
  SECTION("place") {
    folder.add("a", ramp(0, moved(3)), spot(0, moved(3)));
  }
  SECTION("size") {
    folder.add("a", ramp(0, kOneMm, {5, 6, 4}), spot(0, kOneMm, {5, 6, 4}));
  }
  SECTION("one more case") {
    folder.add("b", ramp(), spot(0));
  }
  CHECK(folder.fingerprint() != before);
}

TEST_CASE("training data: every case that cannot be used is named", "[unit][pipeline]") {
  const Folder folder;
  for (int i = 10; i < 35; ++i) folder.add(fmt::format("case{}", i), ramp(), spot(0, kOneMm, {6, 5, 5}));
  folder.add("good", ramp(), spot(0));
  try {
    folder.read();
    FAIL("they were taken");
  } catch (const DataError& error) {
    CHECK_THAT(error.what(), Contains("25 of 26 cases"));
    for (int i = 10; i < 35; ++i) CHECK_THAT(error.what(), Contains(fmt::format("case{}: the label map", i)));
    CHECK_THAT(error.what(), !Contains("good"));
  }
}

TEST_CASE("training data: a label map beside its image is refused", "[unit][pipeline]") {
  const Folder folder;
  folder.add("far", ramp(), spot(0, moved(0.6)));
  CHECK_THROWS_WITH(folder.read(), Contains("far: the label map lies up to 0.6 mm away from the image"));
}

TEST_CASE("training data: patches that are mostly empty are warned of", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(0));
  const auto warned = [&](const Size3& crop) {
    std::string said;
    RunObserver observer;
    observer.log = [&](LogLevel, std::string_view text) { said += text; };
    PatchOptions options;
    options.crop.size = crop;
    TrainingData(folder.path, contract(), options, labelled(), observer);
    return said.find("filled with nothing") != std::string::npos;
  };
  CHECK_FALSE(warned(kSize));
  CHECK_FALSE(warned({8, 6, 4}));
  CHECK(warned({12, 10, 8}));
}

TEST_CASE("training data: a constant image is refused by name", "[unit][pipeline]") {
  const Folder folder;
  Volume image = ramp();
  for (float& value : image.voxels().values<float>()) value = -1000;
  folder.add("blank", image, spot(0));
  CHECK_THROWS_WITH(folder.read(), Contains("blank: the image is constant"));
}

TEST_CASE("training data: an image without contrast is refused by name", "[unit][pipeline]") {
  const Folder folder;
  Volume image = ramp();
  for (float& value : image.voxels().values<float>()) value = 0;
  image.voxels().values<float>()[7] = 1;
  folder.add("faint", image, spot(0));
  const DataContract percentiles = DataContract::read(model_schema().resolve(parse_config(
      R"({"components": {}, "data": {"intensity": {"kind": "percentile", "low": 10, "high": 90}}})", "model.json")));
  CHECK_THROWS_WITH(TrainingData(folder.path, percentiles, {}, {}, {}), Contains("faint: "));
}

TEST_CASE("training data: a label map that is an image is refused by name", "[unit][pipeline]") {
  const Folder folder;
  Volume label = ramp();
  label.voxels().values<float>()[3] = 0.5F;
  folder.add("grey", ramp(), label);
  CHECK_THROWS_WITH(folder.read(), Contains("grey: a label map holds the value 0.5"));
  const DataContract maps = DataContract::read(
      model_schema().resolve(parse_config(R"({"components": {}, "data": {"modality": "labels"}})", "model.json")));
  CHECK_THROWS_WITH(TrainingData(folder.path, maps, {}, {}, {}), Contains("grey: a label map holds the value 0.5"));
}

TEST_CASE("training data: a label map that lies a little off is taken, with a warning", "[unit][pipeline]") {
  const Folder folder;
  folder.add("near", ramp(), spot(7, moved(0.4)));
  std::string said;
  RunObserver observer;
  observer.log = [&](LogLevel level, std::string_view message) {
    if (level == LogLevel::Warning) said += message;
  };
  const TrainingData data = folder.read({}, observer);
  CHECK_THAT(said, Contains("near: the label map lies up to 0.4 mm"));
  CHECK(values_of(data.item(0).mask).at(7) == 1);
}

TEST_CASE("training data: a label map without what the model's maps all have is taken, with a warning",
          "[unit][pipeline]") {
  const Folder folder;
  folder.add("bare", ramp(), spot(7));
  const DataContract wanting = DataContract::read(model_schema().resolve(parse_config(
      R"({"components": {}, "data": {"labels": {"thing": 1, "body": 2}, "expected_labels": [2]}})", "model.json")));
  std::string said;
  RunObserver observer;
  observer.log = [&](LogLevel level, std::string_view message) {
    if (level == LogLevel::Warning) said += message;
  };
  const TrainingData data(folder.path, wanting, {}, labelled(), observer);
  CHECK_THAT(said, Contains("bare: the map has no label 2 (body)"));
  CHECK(data.training().size() == 1);
}

TEST_CASE("training data: label maps get the body's label where that is asked for", "[unit][pipeline]") {
  const Folder folder;
  const Size3 size = {12, 12, 12};
  Volume ct = ramp(0, kOneMm, size);
  for (float& value : ct.voxels().values<float>()) value = value < 864 ? 40 : -1000;
  folder.add("a", ct, spot(7, kOneMm, size));
  TrainingDataOptions options = labelled();
  const DataContract with_labels = DataContract::read(model_schema().resolve(
      parse_config(R"({"components": {}, "data": {"labels": {"thing": 1, "body": 2}}})", "model.json")));
  const auto ids = [&] { return label_ids(TrainingData(folder.path, with_labels, {}, options, {}).item(0).mask); };
  CHECK(ids() == std::set<std::int64_t>{0, 1});
  const std::string before = TrainingData(folder.path, with_labels, {}, options, {}).fingerprint();
  options.body = BodyRule{.label = 2};
  CHECK(ids() == std::set<std::int64_t>{0, 1, 2});
  CHECK(TrainingData(folder.path, with_labels, {}, options, {}).fingerprint() != before);
}

TEST_CASE("training data: a label map stored along other axes is the same", "[unit][pipeline]") {
  const Folder folder;
  folder.add("turned", ramp(), reorient(spot(7), "LPI"));
  CHECK(values_of(folder.read().item(0).mask).at(7) == 1);
}

TEST_CASE("training data: an image in several files is refused", "[unit][pipeline]") {
  const TestFolder folder;
  for (const char* name : {"imagesTr", "labelsTr"}) fs::create_directories(folder.path / name);
  for (const char* file : {"imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"})
    write_volume(folder.path / file, ramp());
  write_volume(folder.path / "labelsTr/a.nii.gz", spot(0));
  write_file(folder.path / "dataset.json",
             R"({"channel_names": {"0": "T1", "1": "T2"}, "labels": {"thing": 1}, "file_ending": ".nii.gz"})");
  CHECK_THROWS_WITH(TrainingData(folder.path, contract(), {}, labelled(), {}), Contains("a has 2 images"));
}

TEST_CASE("training data: an image of other channels than the model's is refused by name, or left out",
          "[unit][pipeline]") {
  const Folder folder;
  const std::vector<Tensor> channels = {ramp().voxels().reshape({1, 4, 5, 6}), ramp(9).voxels().reshape({1, 4, 5, 6})};
  const Volume pair(concat_rows(channels), kOneMm);
  folder.add("pair", pair, spot(0));
  folder.add("single", ramp(), spot(0));
  TrainingDataOptions options = labelled();
  options.channels = 1;
  const auto read = [&] { return TrainingData(folder.path, contract(), {}, options, {}); };
  CHECK_THROWS_WITH(read(), Contains("1 of 2 cases") && Contains("pair: ") && Contains("pair.nii has 2 channels") &&
                                Contains("takes 1"));
  options.skip_bad = true;
  CHECK(read().names() == std::vector<std::string>{"single"});
  options.channels = 2;
  CHECK(read().names() == std::vector<std::string>{"pair"});
}

TEST_CASE("training data: a label map of several channels is refused by name", "[unit][pipeline]") {
  const Folder folder;
  const std::vector<Tensor> channels(2, spot(0).voxels().reshape({1, 4, 5, 6}));
  folder.add("pair", ramp(), Volume(concat_rows(channels), kOneMm));
  CHECK_THROWS_WITH(folder.read(), Contains("pair: ") && Contains("has 2 channels"));
}

TEST_CASE("training data: labels are what the data set calls them", "[unit][pipeline]") {
  const TestFolder folder;
  for (const char* name : {"imagesTr", "labelsTr"}) fs::create_directories(folder.path / name);
  write_volume(folder.path / "imagesTr/a.nii.gz", ramp());
  write_volume(folder.path / "labelsTr/a.nii.gz", spot(7));
  const auto described = [&](const std::string& labels) {
    write_file(
        folder.path / "dataset.json",
        R"({"labels": )" + labels + R"(, "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}]})");
  };
  TrainingDataOptions options = labelled();
  const auto read = [&] { return TrainingData(folder.path, contract(), {}, options, {}); };
  described(R"({"1": "thing"})");
  const std::string agreeing = read().fingerprint();
  CHECK(values_of(read().item(0).mask).at(7) == 1);
  described("{}");
  CHECK(read().fingerprint() == agreeing);
  described(R"({"1": "Left"})");
  CHECK(values_of(read().item(0).mask).at(7) == 2);
  CHECK(read().fingerprint() != agreeing);
  described(R"({"1": "spleen"})");
  CHECK_THROWS_WITH(read(), Contains("dataset.json") && Contains("'spleen' (id 1)"));
  options.labels = {{"spleen", 2}};
  CHECK(values_of(read().item(0).mask).at(7) == 2);
  described(R"({"2": "thing"})");
  options.labels = {};
  CHECK_THROWS_WITH(read(), Contains("a: label 1 has no name in"));
}

TEST_CASE("training data: the cache keeps what labels were taken for", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(7));
  const TestFolder place;
  TrainingDataOptions options = labelled();
  options.cache = std::make_shared<CaseCache>(place.path, std::uint64_t{1} << 30);
  for (const std::int64_t id : {1, 2, 1}) {
    options.labels = {{"1", id}};
    CHECK(values_of(TrainingData(folder.path, contract(), {}, options, {}).item(0).mask).at(7) == id);
  }
}

TEST_CASE("training data: cases whose files are missing are left out where that is asked for, and all noted",
          "[unit][pipeline]") {
  const Folder folder;
  for (const char* name : {"a", "b", "c", "d"}) folder.add(name, ramp(), spot(0));
  fs::remove(folder.path / "labels" / "b.nii");
  fs::remove(folder.path / "images" / "c.nii");
  CHECK_THROWS_WITH(folder.read(), Contains("b.nii has no label map") && Contains("c.nii has no image"));
  TrainingDataOptions options;
  options.skip_bad = true;
  std::string said;
  RunObserver observer;
  observer.log = [&](LogLevel, std::string_view message) { said += message; };
  const TrainingData data(folder.path, contract(), {}, options, observer);
  CHECK(data.names() == std::vector<std::string>{"a", "d"});
  REQUIRE(data.skipped().size() == 2);
  CHECK(data.skipped()[0].name == "b");
  CHECK_THAT(data.skipped()[1].reason, Contains("c.nii has no image"));
  CHECK_THAT(said, Contains("2 of 4 cases cannot be used and are left out") && Contains("b.nii"));
}

TEST_CASE("training data: a label that the model does not know is refused", "[unit][pipeline]") {
  const Folder folder;
  Volume label = spot(0);
  label.voxels().values<std::uint8_t>()[3] = 9;
  folder.add("a", ramp(), label);
  CHECK_THROWS_WITH(folder.read(), Contains("a") && Contains("9"));
}

TEST_CASE("training data: a model that makes label maps sees the maps alone", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(7));
  const DataContract maps = DataContract::read(model_schema().resolve(
      parse_config(R"({"components": {}, "data": {"modality": "labels", "labels": {"thing": 1}}})", "model.json")));
  const auto read = [&] { return TrainingData(folder.path, maps, {}, {}, {}); };
  const TrainingData::Item item = read().item(0);
  CHECK(item.image.dtype() == DType::F32);
  CHECK(values_of(item.image) == values_of(item.mask));
  CHECK(values_of(item.image)[7] == 1);
  const std::string before = read().fingerprint();
  write_volume(folder.path / "images" / "a.nii", ramp(5));
  CHECK(read().fingerprint() == before);  // images are not read
  folder.add("b", ramp(), Volume(Tensor::from<std::uint8_t>(std::vector<std::uint8_t>(120, 9), {4, 5, 6}), kOneMm));
  CHECK_THROWS_WITH(read(), Contains("label 9 means nothing"));
}
