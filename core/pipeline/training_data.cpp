// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/training_data.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/io/volume_file.h"
#include "core/random/noise.h"
#include "core/volume/grid_difference.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace medgen {
namespace {

/// `count` numbers in [0, 1): a function of (seed, purpose, step).
std::vector<double> uniforms(std::uint64_t seed, const char* purpose, std::uint64_t step, std::size_t count) {
  Tensor tensor(DType::F64, {1, static_cast<std::int64_t>(count)});
  fill_noise(tensor, {seed, static_cast<std::uint32_t>(step >> 32), purpose, static_cast<std::uint32_t>(step)},
             Distribution::Uniform);
  const auto values = tensor.values<double>();
  return {values.begin(), values.end()};
}

}  // namespace

TrainingData::TrainingData(const std::filesystem::path& folder, const DataContract& contract,
                           const PatchOptions& patches, bool labels_needed, const RunObserver& observer)
    : contract_(contract), patches_(patches) {
  const Dataset dataset = open_dataset(folder);
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < dataset.cases.size(); ++i) {
    observer.check_cancelled();
    const Case& entry = dataset.cases[i];
    try {
      cases_.push_back(load(entry, labels_needed, observer));
    } catch (const DataError& error) {
      problems.push_back(error.what());
    }
    observer.report({{}, "reading data", entry.name, i + 1, dataset.cases.size(), {}});
  }
  if (!problems.empty()) {
    throw DataError("'{}': {} of {} cases cannot be used:\n  {}", folder.string(), problems.size(),
                    dataset.cases.size(), fmt::join(problems, "\n  "));
  }
  if (cases_.empty()) throw DataError("'{}' holds no cases", folder.string());
  fingerprint_ = sha256(identity_);
}

/// As the file has it: what is measured in it (percentiles) may differ in its last bits from machine to machine.
void TrainingData::identify(const Volume& volume) {
  const Tensor& voxels = volume.voxels();
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(voxels.data()), voxels.bytes());
  identity_ += fmt::format("{} {} {} {}\n", fmt::join(voxels.shape(), "x"), static_cast<int>(voxels.dtype()),
                           fmt::join(volume.affine().rows(), " "), sha256(bytes));
}

/// For a model that makes label maps: the map is what it sees, and the image is not read.
TrainingData::Loaded TrainingData::load_map(const Case& entry) {
  if (!entry.label) throw DataError("{} has no label map, which this model is trained on", entry.name);
  const Volume label = reorient(as_labels(read_volume(*entry.label)), contract_.orientation);
  contract_.check_spacing(label.geometry(), entry.name);
  contract_.check_labels(label, entry.name);
  identity_ += entry.name + '\n';
  identify(label);
  const Volume ids = label.with_voxels(label.voxels().to(DType::I32));
  Loaded loaded{label.with_voxels(label.voxels().to(DType::F32)), ids, std::nullopt};
  if (patches_.needs_labels()) loaded.index.emplace(ids);
  return loaded;
}

TrainingData::Loaded TrainingData::load(const Case& entry, bool labels_needed, const RunObserver& observer) {
  if (contract_.makes_labels()) return load_map(entry);
  if (entry.images.size() != 1)
    throw DataError("{} has {} images, one a channel; a training takes one", entry.name, entry.images.size());
  const Volume image = reorient(read_volume(entry.images.front()), contract_.orientation);
  identity_ += entry.name + '\n';
  identify(image);
  const IntensityTransform intensity = contract_.intensity.for_input(image.voxels());
  Loaded loaded{image.with_voxels(scaled(intensity, image.voxels())), std::nullopt, std::nullopt};
  contract_.check_spacing(image.geometry(), entry.name);
  if (entry.label) {
    loaded.label = load_label(entry, image, observer);
    if (patches_.needs_labels()) loaded.index.emplace(*loaded.label);
  } else if (labels_needed || patches_.needs_labels()) {
    throw DataError("{} has no label map, which this training needs", entry.name);
  }
  return loaded;
}

/// On the image's grid.
Volume TrainingData::load_label(const Case& entry, const Volume& image, const RunObserver& observer) {
  const Volume label = reorient(as_labels(read_volume(*entry.label)), contract_.orientation);
  if (const auto difference = grid_difference(image.geometry(), label.geometry(), "the label map")) {
    if (!difference->usable) throw DataError("{}: {}", entry.name, difference->message);
    observer.say(LogLevel::Warning, fmt::format("{}: {}", entry.name, difference->message));
  }
  contract_.check_labels(label, entry.name);
  identify(label);
  return image.with_voxels(label.voxels().to(DType::I32));
}

std::size_t TrainingData::case_of(std::uint64_t draw) const {
  const std::size_t n = cases_.size();
  const std::vector<double> keys = uniforms(patches_.seed, "train.order", draw / n, n);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  return order[draw % n];
}

/// The first voxel of a patch.
Size3 TrainingData::corner_of(const Loaded& loaded, std::uint64_t draw) const {
  const Size3 whole = loaded.image.size();
  if (patches_.random)
    return crop_corner(patches_.crop, whole, loaded.index ? &*loaded.index : nullptr, patches_.seed, draw);
  const Size3 size = crop_size(patches_.crop, whole);
  return {(whole[0] - size[0]) / 2, (whole[1] - size[1]) / 2, (whole[2] - size[2]) / 2};
}

TrainingData::Item TrainingData::item(std::uint64_t draw) const {
  const Loaded& loaded = cases_[case_of(draw)];
  const Size3 size = crop_size(patches_.crop, loaded.image.size());
  const Patch patch = augment({loaded.image, loaded.label}, corner_of(loaded, draw), size,
                              patches_.augment.value_or(AugmentOptions()), patches_.seed, draw);
  const ModelGrid grid(patch.image.geometry(), contract_, 1);
  Item item;
  item.spacing_mm = patch.image.spacing_mm();
  if (patch.label) item.mask = grid.to_model(*patch.label, 0);
  item.image = contract_.makes_labels() ? item.mask.to(DType::F32) : grid.to_model(patch.image, 0);
  return item;
}

}  // namespace medgen
