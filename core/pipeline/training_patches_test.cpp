// SPDX-License-Identifier: Apache-2.0
// Which cases a training draws, and the patches it cuts from them.
#include "core/base/error.h"
#include "core/pipeline/test_cases.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>
#include <set>

using namespace medgen;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

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

TEST_CASE("training data: a patch brings the label map of its whole case where that is wanted", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", ramp(), spot(0));
  PatchOptions options;
  options.crop.size = {3, 5, 4};
  TrainingDataOptions wanted = labelled();
  CHECK(TrainingData(folder.path, contract(), options, wanted, {}).item(0).whole_mask.empty());
  wanted.wants_whole_map = true;
  const TrainingData::Item part = TrainingData(folder.path, contract(), options, wanted, {}).item(0);
  CHECK(part.mask.size() == 3 * 5 * 4);
  CHECK(part.whole_mask.shape() == Shape{1, 1, 4, 5, 6});
  CHECK(values_of(part.whole_mask).front() == 1);
  options.random = true;
  CHECK_FALSE(TrainingData(folder.path, contract(), options, wanted, {}).item(0).whole_mask.empty());
  options.crop.size = {6, 5, 8};  // the whole of it
  CHECK(TrainingData(folder.path, contract(), options, wanted, {}).item(0).whole_mask.empty());
}

TEST_CASE("training data: labels are measured in whole cases to learn from", "[unit][pipeline]") {
  const Folder folder;
  for (const char* name : {"a", "b", "c", "d"}) folder.add(name, ramp(), spot(0));
  PatchOptions options;
  options.crop.size = {1, 1, 1};
  TrainingDataOptions wanted = labelled();
  CHECK(TrainingData(folder.path, contract(), options, wanted, {}).label_volumes_ml().empty());
  wanted.measures_labels = true;
  CHECK(TrainingData(folder.path, contract(), options, wanted, {}).label_volumes_ml()["thing"].back() == 0.001);
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
