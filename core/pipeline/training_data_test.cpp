// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/training_data.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"
#include "core/config/parse.h"
#include "core/io/volume_file.h"
#include "core/pipeline/model_schema.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

using namespace medgen;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

constexpr Size3 kSize{6, 5, 4};
const Affine<Ras> kOneMm = Affine<Ras>::from_spacing({1, 1, 1});

Affine<Ras> moved(double mm) {
  return Affine<Ras>::from_spacing({1, 1, 1}, {mm, 0, 0});
}

DataContract contract() {
  return DataContract::read(model_schema().resolve(
      parse_config(R"({"components": {}, "data": {"labels": {"thing": 1, "left": 2}}})", "model.json")));
}

/// Every voxel another number, from `first` on.
Volume ramp(float first = 0, const Affine<Ras>& affine = kOneMm, const Size3& size = kSize) {
  Tensor voxels(DType::F32, {size[2], size[1], size[0]});
  const auto values = voxels.values<float>();
  std::iota(values.begin(), values.end(), first);
  return {std::move(voxels), affine};
}

/// One voxel of label 1, the others 0.
Volume spot(std::size_t voxel, const Affine<Ras>& affine = kOneMm, const Size3& size = kSize) {
  Tensor voxels = Tensor::zeros(DType::U8, {size[2], size[1], size[0]});
  voxels.values<std::uint8_t>()[voxel] = 1;
  return {std::move(voxels), affine};
}

TrainingDataOptions labelled() {
  TrainingDataOptions options;
  options.needs_labels = true;
  return options;
}

/// A data folder of images/ and labels/.
struct Folder : TestFolder {
  Folder() {
    for (const char* name : {"images", "labels"}) fs::create_directories(path / name);
  }

  void add(const std::string& name, const Volume& image, const Volume& label) const {
    write_volume(path / "images" / (name + ".nii"), image);
    write_volume(path / "labels" / (name + ".nii"), label);
  }

  TrainingData read(const PatchOptions& patches = {}, const RunObserver& observer = {}) const {
    return {path, contract(), patches, labelled(), observer};
  }

  std::string fingerprint() const { return read().fingerprint(); }
};

std::vector<float> values_of(const Tensor& tensor) {
  const Tensor numbers = tensor.to(DType::F32);
  const auto values = numbers.values<float>();
  return {values.begin(), values.end()};
}

}  // namespace

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

TEST_CASE("training data: a label that the model does not know is refused", "[unit][pipeline]") {
  const Folder folder;
  Volume label = spot(0);
  label.voxels().values<std::uint8_t>()[3] = 9;
  folder.add("a", ramp(), label);
  CHECK_THROWS_WITH(folder.read(), Contains("a") && Contains("9"));
}

namespace {

/// Everything that changes a patch, sure to happen.
PatchOptions augmented(std::uint64_t seed) {
  PatchOptions options;
  options.crop.size = {4, 4, 4};
  options.random = true;
  options.seed = seed;
  options.augment.emplace();
  options.augment->flip = {0.5, {true, true, true}};
  options.augment->rotate = {1, -0.3, 0.3};
  options.augment->shift_intensity = {1, -1, 1};
  return options;
}

}  // namespace

TEST_CASE("training data: a patch is a function of seed and draw alone", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(60));
  folder.add("b", ramp(500), spot(61));
  const TrainingData one = folder.read(augmented(3));
  const TrainingData two = folder.read(augmented(3));
  const TrainingData other = folder.read(augmented(4));
  for (std::uint64_t draw = 10; draw-- > 0;) {
    CHECK(values_of(one.item(draw).image) == values_of(two.item(draw).image));
    CHECK(values_of(one.item(draw).mask) == values_of(two.item(draw).mask));
    CHECK(values_of(one.item(draw).image) != values_of(other.item(draw).image));
    CHECK(values_of(one.item(draw).image) != values_of(one.item(draw + 2).image));
  }
}

TEST_CASE("training data: patches lie still unless their place or their voxels are random", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(0));
  PatchOptions options;
  CHECK(folder.read(options).patches_lie_still());
  options.augment.emplace();
  CHECK_FALSE(folder.read(options).patches_lie_still());
  options.augment.reset();
  options.random = true;
  CHECK_FALSE(folder.read(options).patches_lie_still());
}

TEST_CASE("training data: patches that lie still are the image's middle", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(0));
  PatchOptions options;
  options.crop.size = {3, 1, 8};  // of 6, 5, 4: cut at (1, 2), padded by 2
  const auto values = values_of(folder.read(options).item(0).image);
  REQUIRE(values.size() == 24);
  CHECK(std::count(values.begin(), values.begin() + 6, 0.0F) == 6);
  CHECK(values[6] == 1 + 6 * 2);
  CHECK(values[17] == 3 + 6 * 2 + 30 * 3);
}

TEST_CASE("training data: patches are cut round a label where that is asked for", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(0));
  PatchOptions options;
  options.crop.size = {2, 2, 2};
  options.random = true;
  const auto with_label = [&] {
    const TrainingData data = folder.read(options);
    int hits = 0;
    for (std::uint64_t draw = 0; draw < 50; ++draw) hits += values_of(data.item(draw).mask).front() == 1 ? 1 : 0;
    return hits;
  };
  CHECK(with_label() < 10);  // of 60 places one
  options.crop.label_probability[1] = 1;
  CHECK(with_label() == 50);
}

TEST_CASE("training data: labels to cut round need a label map", "[unit][pipeline]") {
  const TestFolder folder;
  fs::create_directories(folder.path / "images");
  write_volume(folder.path / "images" / "a.nii", ramp());
  PatchOptions options;
  options.random = true;
  options.crop.label_probability[1] = 1;
  CHECK_THROWS_WITH(TrainingData(folder.path, contract(), options, {}, {}), Contains("a has no label map"));
}

namespace {

/// Cases a to f, d in two visits.
struct Subjects : Folder {
  Subjects() {
    float first = 0;
    for (const char* name : {"a", "b", "c", "d_t1", "d_t2", "e", "f"}) add(name, ramp(first += 100), spot(0));
  }

  static TrainingDataOptions options() {
    TrainingDataOptions options;
    options.split.fractions = {.train = 0.5, .validation = 0.25, .test = 0.25};
    options.split.seed = 1;
    return options;
  }

  TrainingData data(const TrainingDataOptions& options, const PatchOptions& patches = {},
                    const RunObserver& observer = {}) const {
    return {path, contract(), patches, options, observer};
  }
};

std::vector<std::string> names_of(const TrainingData& data, const std::vector<std::size_t>& numbers) {
  std::vector<std::string> names;
  for (const std::size_t number : numbers) names.push_back(data.name(number));
  return names;
}

}  // namespace

TEST_CASE("training data: parts are those of split_by_subject, and every case is in one", "[unit][pipeline]") {
  const Subjects folder;
  const TrainingData data = folder.data(Subjects::options());
  const std::vector<std::string> all = {"a", "b", "c", "d_t1", "d_t2", "e", "f"};
  const Split split = split_by_subject(subjects_of(all), {0.5, 0.25, 0.25}, 1);
  const auto expected = [&](const std::vector<std::size_t>& part) {
    std::vector<std::string> names;
    for (const std::size_t index : part) names.push_back(all[index]);
    return names;
  };
  CHECK(names_of(data, data.training()) == expected(split.train));
  CHECK(names_of(data, data.validation()) == expected(split.validation));
  CHECK(data.test() == expected(split.test));
}

TEST_CASE("training data: held-out cases are never drawn", "[unit][pipeline]") {
  const Subjects folder;
  const TrainingData data = folder.data(Subjects::options());
  std::set<std::size_t> drawn;
  for (std::uint64_t draw = 0; draw < 100; ++draw) drawn.insert(data.case_of(draw));
  CHECK(drawn == std::set<std::size_t>(data.training().begin(), data.training().end()));
}

TEST_CASE("training data: the parts are part of the fingerprint", "[unit][pipeline]") {
  const Subjects folder;
  TrainingDataOptions options = Subjects::options();
  const std::string before = folder.data(options).fingerprint();
  CHECK(folder.data(options).fingerprint() == before);
  options.split.seed = 2;
  CHECK(folder.data(options).fingerprint() != before);
  CHECK(folder.data({}).fingerprint() != before);
}

TEST_CASE("training data: with less memory than the cases need, and from the cache, patches are the same",
          "[unit][pipeline]") {
  const Subjects folder;
  const TestFolder place;
  TrainingDataOptions small = Subjects::options(), cached = Subjects::options();
  small.most_bytes = GENERATE(0, 1000, 2000);
  cached.cache = std::make_shared<CaseCache>(place.path, std::uint64_t{1} << 30);
  const TrainingData plain = folder.data(Subjects::options(), augmented(3));
  const TrainingData read_again = folder.data(small, augmented(3));
  const TrainingData first = folder.data(cached, augmented(3));
  const TrainingData second = folder.data(cached, augmented(3));
  CHECK(second.fingerprint() == plain.fingerprint());
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    const auto image = values_of(plain.item(draw).image);
    const auto mask = values_of(plain.item(draw).mask);
    for (const TrainingData* other : {&read_again, &first, &second}) {
      CHECK(values_of(other->item(draw).image) == image);
      CHECK(values_of(other->item(draw).mask) == mask);
    }
  }
}

TEST_CASE("training data: what the cache holds is told of once more", "[unit][pipeline]") {
  const Folder folder;
  folder.add("near", ramp(), spot(7, moved(0.4)));
  const TestFolder place;
  TrainingDataOptions options;
  options.cache = std::make_shared<CaseCache>(place.path, std::uint64_t{1} << 30);
  for (int i = 0; i < 2; ++i) {
    std::string said;
    RunObserver observer;
    observer.log = [&](LogLevel, std::string_view message) { said += message; };
    const TrainingData data(folder.path, contract(), {}, options, observer);
    CHECK_THAT(said, Contains("near: the label map lies up to 0.4 mm"));
  }
}

TEST_CASE("training data: a case that changed while it was out of memory is refused", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(0));
  TrainingDataOptions options;
  options.most_bytes = 0;
  const TrainingData data(folder.path, contract(), {}, options, {});
  data.item(0);
  folder.add("a", ramp(1), spot(0));
  CHECK_THROWS_WITH(data.item(1), Contains("a: its files were changed"));
}

TEST_CASE("training data: bad cases are left out where that is asked for, and the parts stay", "[unit][pipeline]") {
  const Subjects folder;
  TrainingDataOptions options = Subjects::options();
  const TrainingData whole = folder.data(options);
  const std::string bad = whole.name(whole.training().front());
  Volume image = ramp();
  image.voxels().values<float>()[3] = std::numeric_limits<float>::infinity();
  folder.add(bad, image, spot(0));
  CHECK_THROWS_WITH(folder.data(options), Contains(bad + ": the image has 1 voxels") && Contains("1 of"));
  options.skip_bad = true;
  std::string said;
  RunObserver observer;
  observer.log = [&](LogLevel level, std::string_view message) {
    if (level == LogLevel::Warning) said += message;
  };
  const TrainingData rest = folder.data(options, {}, observer);
  CHECK_THAT(said, Contains(bad) && Contains("left out"));
  REQUIRE(rest.skipped().size() == 1);
  CHECK(rest.skipped().front().name == bad);
  CHECK(rest.training().size() + 1 == whole.training().size());
  CHECK(names_of(rest, rest.validation()) == names_of(whole, whole.validation()));
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
