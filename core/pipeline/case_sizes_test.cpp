// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/case_sizes.h"

#include "core/base/file.h"
#include "core/base/test_folder.h"
#include "core/io/volume_file.h"
#include "core/pipeline/training_data.h"

#include <catch2/catch.hpp>

#include <filesystem>

namespace medgen {
namespace {

namespace fs = std::filesystem;

TargetSpacing spacing_of(std::optional<double> x, std::optional<double> y, std::optional<double> z) {
  return TargetSpacing({x, y, z});
}

/// Images and label maps of zeros.
struct Folder : TestFolder {
  Folder() {
    for (const char* name : {"images", "labels"}) fs::create_directories(path / name);
  }

  void add(const std::string& name, const Size3& size, const Vec3& spacing, const char* orientation = "RAS") const {
    Tensor voxels(DType::F32, {size[2], size[1], size[0]});
    for (float& value : voxels.values<float>()) value = static_cast<float>(&value - voxels.values<float>().data());
    const Volume image(std::move(voxels), Affine<Ras>::from_spacing(spacing));
    write_volume(path / "images" / (name + ".nii"), reorient(image, orientation));
    write_volume(path / "labels" / (name + ".nii"),
                 image.with_voxels(Tensor::zeros(DType::U8, image.voxels().shape())));
  }

  CaseSizes sizes(const TargetSpacing& spacing = {}) const {
    return CaseSizes::of(open_dataset(path).cases, {}, spacing, false);
  }

  /// What the training makes of them.
  CaseSizes made(const TargetSpacing& spacing) const {
    TrainingDataOptions options;
    options.spacing = spacing;
    const TrainingData data(path, {}, {}, options, {});
    CaseSizes sizes;
    for (const std::size_t number : data.training()) {
      const TrainingData::Item item = data.still_item(number);
      sizes.bytes += static_cast<double>(item.image.bytes() + item.mask.bytes());
      const Size3 size = data.still_patch(number).image.size();
      for (std::size_t d = 0; d < 3; ++d) sizes.largest[d] = std::max(sizes.largest[d], size[d]);
    }
    return sizes;
  }
};

TEST_CASE("case sizes: they are those that the training sees", "[unit][pipeline]") {
  const Folder folder;
  folder.add("fine", {20, 12, 8}, {0.5, 0.5, 1});
  folder.add("thick", {10, 11, 3}, {1, 1, 4});
  folder.add("turned", {6, 30, 5}, {1, 1, 1}, "SAR");
  const TargetSpacing spacing =
      GENERATE(TargetSpacing(), spacing_of(1, 1, 1), spacing_of({}, {}, 0.3), spacing_of(2.2, 0.7, {}));
  const CaseSizes told = folder.sizes(spacing), made = folder.made(spacing);
  CHECK(told.bytes == made.bytes);
  CHECK(told.largest == made.largest);
}

TEST_CASE("case sizes: of many cases some are looked at", "[unit][pipeline]") {
  const Folder folder;
  for (int i = 0; i < 70; ++i) folder.add(fmt::format("case{:02}", i), {4, 5, 6}, {2, 2, 2});
  CHECK(folder.sizes().count == 70);
  CHECK(folder.sizes().bytes == Approx(70 * 8 * 120));
  CHECK(folder.sizes(spacing_of(1, 1, 1)).bytes == Approx(70 * 8 * 8 * 120));
}

TEST_CASE("case sizes: all channels of an image count, unless one is learnt from", "[unit][pipeline]") {
  const TestFolder folder;
  fs::create_directories(folder.path / "images");
  write_volume(folder.path / "images" / "a.nii",
               Volume(Tensor::zeros(DType::F32, {3, 4, 5, 6}), Affine<Ras>::from_spacing({1, 1, 1})));
  const auto cases = open_dataset(folder.path).cases;
  CHECK(CaseSizes::of(cases, {}, {}, false).bytes == 120 * (3 * 4 + 4));
  CHECK(CaseSizes::of(cases, {}, {}, true).bytes == 120 * (4 + 4));
}

TEST_CASE("case sizes: what cannot be read, or resampled, is left to the training", "[unit][pipeline]") {
  const Folder folder;
  folder.add("a", {10, 10, 10}, {1, 1, 1});
  folder.add("flat", {10, 10, 1}, {1, 1, 1});
  folder.add("torn", {10, 10, 10}, {1, 1, 1});
  write_file(folder.path / "images" / "torn.nii", "no volume");
  const CaseSizes sizes = folder.sizes(spacing_of({}, {}, 5));  // flat: less than one voxel
  CHECK(sizes.largest == Size3{10, 10, 2});
  CHECK(sizes.bytes == Approx(3 * 8 * 200));
  CHECK(folder.sizes(spacing_of(1e-6, 1e-6, 1e-6)).bytes == 0);
  CHECK(CaseSizes::of({}, {}, {}, false).bytes == 0);
}

}  // namespace
}  // namespace medgen
