// SPDX-License-Identifier: Apache-2.0
// Data folders for tests of what a training reads.
#pragma once

#include "core/base/test_folder.h"
#include "core/config/parse.h"
#include "core/io/volume_file.h"
#include "core/pipeline/model_schema.h"
#include "core/pipeline/training_data.h"

#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

namespace medgen {

inline constexpr Size3 kSize{6, 5, 4};
inline const Affine<Ras> kOneMm = Affine<Ras>::from_spacing({1, 1, 1});

inline Affine<Ras> moved(double mm) {
  return Affine<Ras>::from_spacing({1, 1, 1}, {mm, 0, 0});
}

inline DataContract contract() {
  return DataContract::read(model_schema().resolve(
      parse_config(R"({"components": {}, "data": {"labels": {"thing": 1, "left": 2}}})", "model.json")));
}

/// Every voxel another number, from `first` on.
inline Volume ramp(float first = 0, const Affine<Ras>& affine = kOneMm, const Size3& size = kSize) {
  Tensor voxels(DType::F32, {size[2], size[1], size[0]});
  const auto values = voxels.values<float>();
  std::iota(values.begin(), values.end(), first);
  return {std::move(voxels), affine};
}

/// One voxel of label 1, the others 0.
inline Volume spot(std::size_t voxel, const Affine<Ras>& affine = kOneMm, const Size3& size = kSize) {
  Tensor voxels = Tensor::zeros(DType::U8, {size[2], size[1], size[0]});
  voxels.values<std::uint8_t>()[voxel] = 1;
  return {std::move(voxels), affine};
}

inline TrainingDataOptions labelled() {
  TrainingDataOptions options;
  options.needs_labels = true;
  return options;
}

/// A data folder of images/ and labels/.
struct Folder : TestFolder {
  Folder() {
    for (const char* name : {"images", "labels"}) std::filesystem::create_directories(path / name);
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

inline std::vector<float> values_of(const Tensor& tensor) {
  const Tensor numbers = tensor.to(DType::F32);
  const auto values = numbers.values<float>();
  return {values.begin(), values.end()};
}

}  // namespace medgen
