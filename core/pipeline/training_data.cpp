// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/training_data.h"

#include "core/base/error.h"
#include "core/base/file.h"

#include <algorithm>

namespace medgen {
namespace {

constexpr double kAlikeSpacings = 1.1;

/// The first voxel of a patch in the image's middle.
Size3 middle_corner(const CropOptions& crop, const Size3& whole) {
  const Size3 size = crop_size(crop, whole);
  return {(whole[0] - size[0]) / 2, (whole[1] - size[1]) / 2, (whole[2] - size[2]) / 2};
}

CaseReader reader_for(const DataContract& contract, const PatchOptions& patches, const TrainingDataOptions& options) {
  return CaseReader({contract, options.contract_text, options.needs_labels, patches.needs_labels(), patches.crop,
                     patches.multiple_of, options.body, options.cache, options.spacing});
}

}  // namespace

TrainingData::TrainingData(const std::filesystem::path& folder, const DataContract& contract,
                           const PatchOptions& patches, const TrainingDataOptions& options, const RunObserver& observer)
    : contract_(contract), patches_(patches), store_(reader_for(contract, patches, options), options.most_bytes) {
  const Dataset dataset = open_dataset(folder);
  const Split split = split_cases(dataset.cases, options.split);
  for (const std::size_t index : split.test) test_.push_back(dataset.cases[index].name);
  read(dataset.cases, split.train, training_, observer);
  read(dataset.cases, split.validation, validation_, observer);
  refuse_or_skip(folder, options.skip_bad, split.train.size() + split.validation.size(), observer);
  if (training_.empty()) throw DataError("'{}' holds no cases to train on", folder.string());
  rounds_.emplace(patches_.seed, "train.order", training_.size());
  if (!split.validation.empty() && validation_.empty())
    throw DataError("'{}' holds no cases to validate on", folder.string());
  warn_of_spacings(observer);
  std::string identity;
  for (const std::size_t number : training_) identity += store_.identity(number);
  if (!validation_.empty()) identity += "validation\n";
  for (const std::size_t number : validation_) identity += store_.identity(number);
  fingerprint_ = sha256(identity);
}

void TrainingData::read(const std::vector<Case>& cases, const std::vector<std::size_t>& part,
                        std::vector<std::size_t>& numbers, const RunObserver& observer) {
  for (std::size_t i = 0; i < part.size(); ++i) {
    observer.check_cancelled();
    const Case& entry = cases[part[i]];
    try {
      const auto loaded = store_.add(entry);
      numbers.push_back(store_.size() - 1);
      spacings_.push_back(loaded->image.spacing_mm());
      for (const std::string& warning : loaded->warnings)
        observer.say(LogLevel::Warning, fmt::format("{}: {}", entry.name, warning));
    } catch (const DataError& error) {
      skipped_.push_back({entry.name, error.what()});
    }
    observer.report({{}, "reading data", entry.name, i + 1, part.size(), {}});
  }
}

void TrainingData::refuse_or_skip(const std::filesystem::path& folder, bool skip, std::size_t read_cases,
                                  const RunObserver& observer) const {
  if (skipped_.empty()) return;
  std::vector<std::string> reasons;
  for (const Skipped& each : skipped_) reasons.push_back(each.reason);
  const std::string all =
      fmt::format("'{}': {} of {} cases cannot be used", folder.string(), skipped_.size(), read_cases);
  const std::string list = fmt::format("{}", fmt::join(reasons, "\n  "));
  if (!skip) throw DataError("{}:\n  {}", all, list);
  observer.say(LogLevel::Warning, fmt::format("{} and are left out:\n  {}", all, list));
}

/// Where the model does not say which voxel sizes it takes, it will see all there are.
void TrainingData::warn_of_spacings(const RunObserver& observer) const {
  const GridLimits::Range& limits = contract_.limits.spacing_mm;
  if (limits.minimum || limits.maximum) return;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto [least, most] = std::minmax_element(spacings_.begin(), spacings_.end(),
                                                   [&](const Vec3& a, const Vec3& b) { return a[axis] < b[axis]; });
    if ((*most)[axis] <= kAlikeSpacings * (*least)[axis]) continue;
    observer.say(
        LogLevel::Warning,
        fmt::format("voxels of the cases differ in size: {:.3g} to {:.3g} mm along {}, and the model's \"data\" "
                    "has no \"spacing_mm\" to keep them apart; give the step \"resample_mm\" unless that is meant",
                    (*least)[axis], (*most)[axis], "xyz"[axis]));
    return;
  }
}

std::vector<std::string> TrainingData::names() const {
  std::vector<std::string> names;
  for (std::size_t number = 0; number < store_.size(); ++number) names.push_back(name(number));
  return names;
}

std::size_t TrainingData::case_of(std::uint64_t draw) const {
  return training_[rounds_->at(draw)];
}

/// The first voxel of a patch.
Size3 TrainingData::corner_of(const TrainingCase& loaded, std::uint64_t draw) const {
  const Size3 whole = loaded.image.size();
  if (!patches_.random) return middle_corner(patches_.crop, whole);
  return crop_corner(patches_.crop, whole, loaded.index ? &*loaded.index : nullptr, patches_.seed, draw);
}

TrainingData::Item TrainingData::item(std::uint64_t draw) const {
  if (patches_.lie_still()) return still_item(case_of(draw));
  const std::size_t number = case_of(draw);
  const std::shared_ptr<const TrainingCase> loaded = store_.get(number);
  const Size3 size = crop_size(patches_.crop, loaded->image.size());
  return item_of(augment({loaded->image, loaded->label}, corner_of(*loaded, draw), size,
                         patches_.augment.value_or(AugmentOptions()), patches_.seed, draw),
                 number);
}

Patch TrainingData::still_patch(std::size_t number) const {
  const std::shared_ptr<const TrainingCase> loaded = store_.get(number);
  const Size3 whole = loaded->image.size();
  return augment({loaded->image, loaded->label}, middle_corner(patches_.crop, whole), crop_size(patches_.crop, whole),
                 AugmentOptions(), patches_.seed, 0);
}

TrainingData::Item TrainingData::still_item(std::size_t number) const {
  return item_of(still_patch(number), number);
}

TrainingData::Item TrainingData::item_of(const Patch& patch, std::size_t number) const {
  const ModelGrid grid(patch.image.geometry(), contract_, 1);
  Item item;
  item.number = number;
  item.spacing_mm = patch.image.spacing_mm();
  if (patch.label) item.mask = grid.to_model(*patch.label, 0);
  item.image = contract_.makes_labels() ? item.mask.to(DType::F32) : grid.to_model(patch.image, 0);
  return item;
}

}  // namespace medgen
