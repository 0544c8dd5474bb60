// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/training_data.h"

#include "core/base/error.h"
#include "core/base/file.h"

#include <algorithm>
#include <ranges>

namespace medgen {
namespace {

constexpr double kAlikeSpacings = 1.1;

/// The first voxel of a patch in the image's middle.
Size3 middle_corner(const CropOptions& crop, const Size3& whole) {
  const Size3 size = crop_size(crop, whole);
  return {(whole[0] - size[0]) / 2, (whole[1] - size[1]) / 2, (whole[2] - size[2]) / 2};
}

bool is_part(const Size3& patch, const Size3& whole) {
  return patch[0] < whole[0] || patch[1] < whole[1] || patch[2] < whole[2];
}

CaseReader reader_for(const Dataset& dataset, const DataContract& contract, const PatchOptions& patches,
                      const TrainingDataOptions& options) {
  CaseOptions read;
  read.contract = contract;
  read.contract_text = options.contract_text;
  read.labels = LabelNames(dataset, contract.labels, options.labels);
  read.modalities = options.modalities;
  read.channels = options.channels;
  read.channel = options.channel.number(dataset);
  read.needs_labels = options.needs_labels;
  read.index_labels = patches.needs_labels();
  read.crop = patches.crop;
  read.multiple_of = patches.multiple_of;
  read.body = options.body;
  read.cache = options.cache;
  read.spacing = options.spacing;
  return CaseReader(std::move(read));
}

}  // namespace

TrainingData::TrainingData(const std::filesystem::path& folder, const DataContract& contract,
                           const PatchOptions& patches, const TrainingDataOptions& options, const RunObserver& observer)
    : TrainingData(training_cases(folder, options.skip_bad), folder, contract, patches, options, observer) {}

TrainingData::TrainingData(const FoundCases& found, const std::filesystem::path& folder, const DataContract& contract,
                           const PatchOptions& patches, const TrainingDataOptions& options, const RunObserver& observer)
    : contract_(contract),
      patches_(patches),
      modalities_(options.modalities),
      wants_whole_map_(options.wants_whole_map),
      store_(reader_for(found.dataset, contract, patches, options), options.most_bytes) {
  const std::vector<Case>& cases = found.dataset.cases;
  const Split split = split_cases(cases, options.split);
  Bad bad;
  for (const CaseProblem& problem : found.problems) {
    std::string& reason = bad[problem.name];
    reason += (reason.empty() ? "" : "; ") + problem.text;
  }
  read(cases, split.train, bad, training_, options.measures_labels ? &label_volumes_ : nullptr, observer);
  read(cases, split.validation, bad, validation_, nullptr, observer);
  leave_out_unread(cases, split, std::move(bad));
  refuse_or_skip(folder, options.skip_bad, observer);
  if (training_.empty()) throw DataError("'{}' holds no cases to train on", folder.string());
  rounds_.emplace(patches_.seed, "train.order", training_.size());
  if (!split.validation.empty() && validation_.empty())
    throw DataError("'{}' holds no cases to validate on", folder.string());
  modalities_.check(names());
  warn_of_spacings(observer);
  warn_of_padding(observer);
  std::string identity;
  for (const std::size_t number : training_) identity += store_.identity(number);
  if (!validation_.empty()) identity += "validation\n";
  for (const std::size_t number : validation_) identity += store_.identity(number);
  fingerprint_ = sha256(identity);
}

void TrainingData::read(const std::vector<Case>& cases, const std::vector<std::size_t>& part, const Bad& bad,
                        std::vector<std::size_t>& numbers, LabelVolumeMeter* meter, const RunObserver& observer) {
  for (std::size_t i = 0; i < part.size(); ++i) {
    observer.check_cancelled();
    const Case& entry = cases[part[i]];
    try {
      if (const auto known = bad.find(entry.name); known != bad.end()) throw DataError("{}", known->second);
      const auto loaded = store_.add(entry);
      numbers.push_back(store_.size() - 1);
      grids_.push_back(loaded->image.geometry());
      if (meter != nullptr && loaded->label) meter->add(*loaded->label);
      for (const std::string& warning : loaded->warnings)
        observer.say(LogLevel::Warning, fmt::format("{}: {}", entry.name, warning));
    } catch (const DataError& error) {
      skipped_.push_back({entry.name, error.what()});
    }
    observer.report({{}, "reading data", entry.name, i + 1, part.size(), {}});
  }
}

/// Of the cases for testing the good ones; and of the others those that are none, such as a label map without an image.
void TrainingData::leave_out_unread(const std::vector<Case>& cases, const Split& split, Bad bad) {
  for (const std::size_t index : split.test) {
    if (!bad.contains(cases[index].name)) test_.push_back(cases[index].name);
  }
  for (const Skipped& each : skipped_) bad.erase(each.name);
  for (const auto& [name, reason] : bad) skipped_.push_back({name, reason});
}

void TrainingData::refuse_or_skip(const std::filesystem::path& folder, bool skip, const RunObserver& observer) const {
  if (skipped_.empty()) return;
  std::vector<std::string> reasons;
  for (const Skipped& each : skipped_) reasons.push_back(each.reason);
  const std::string all = fmt::format("'{}': {} of {} cases cannot be used", folder.string(), skipped_.size(),
                                      skipped_.size() + training_.size() + validation_.size());
  const std::string list = fmt::format("{}", fmt::join(reasons, "\n  "));
  if (!skip) throw DataError("{}:\n  {}", all, list);
  observer.say(LogLevel::Warning, fmt::format("{} and are left out:\n  {}", all, list));
}

/// Where the model does not say which voxel sizes it takes, it will see all there are.
void TrainingData::warn_of_spacings(const RunObserver& observer) const {
  const GridLimits::Range& limits = contract_.limits.spacing_mm;
  if (limits.minimum || limits.maximum) return;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto side = [axis](const Geometry& grid) { return grid.affine.spacing_mm()[axis]; };
    const auto [least, most] = std::ranges::minmax(grids_ | std::views::transform(side));
    if (most <= kAlikeSpacings * least) continue;
    observer.say(
        LogLevel::Warning,
        fmt::format("voxels of the cases differ in size: {:.3g} to {:.3g} mm along {}, and the model's \"data\" "
                    "has no \"spacing_mm\" to keep them apart; give the step \"resample_mm\" unless that is meant",
                    least, most, "xyz"[axis]));
    return;
  }
}

/// Patches of which less than half is image.
void TrainingData::warn_of_padding(const RunObserver& observer) const {
  std::size_t padded = 0;
  for (const Geometry& grid : grids_) {
    const Size3 patch = crop_size(patches_.crop, grid.size);
    double share = 1;
    for (std::size_t axis = 0; axis < 3; ++axis)
      share *= std::min(1.0, static_cast<double>(grid.size[axis]) / static_cast<double>(patch[axis]));
    padded += share < 0.5 ? 1 : 0;
  }
  if (padded > 0)
    observer.say(LogLevel::Warning,
                 fmt::format("\"crop\" is so much larger than {} of {} cases that more than half of a patch is filled "
                             "with nothing; choose a smaller one",
                             padded, grids_.size()));
}

std::optional<std::string> TrainingData::scale_warning() const {
  std::size_t outside = 0;
  std::string first;
  for (std::size_t number = 0; number < store_.size(); ++number) {
    const Geometry& grid = grids_[number];
    const auto problem = contract_.recommended.problem({crop_size(patches_.crop, grid.size), grid.affine});
    if (problem && ++outside == 1) first = fmt::format("{}: {}", name(number), *problem);
  }
  if (outside == 0) return std::nullopt;
  return fmt::format(
      "the patches of {} of {} cases ({}) are outside what is recommended for this model: it learns a scale that it is "
      "not used at; \"resample_mm\" and \"crop\" decide what a patch shows",
      outside, store_.size(), first);
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

bool TrainingData::patches_lie_still() const {
  const auto changes = [](const CaseModalities::Modality& modality) { return modality.augment.has_value(); };
  return patches_.lie_still() && std::none_of(modalities_.all().begin(), modalities_.all().end(), changes);
}

const IntensityRule& TrainingData::intensity(std::size_t number) const {
  const CaseModalities::Modality* modality = modalities_.of(name(number));
  return modality == nullptr ? contract_.intensity : modality->intensity;
}

const AugmentOptions& TrainingData::augment_of(std::size_t number) const {
  static const AugmentOptions kNothing;
  const CaseModalities::Modality* modality = modalities_.of(name(number));
  if (modality != nullptr && modality->augment) return *modality->augment;
  return patches_.augment ? *patches_.augment : kNothing;
}

TrainingData::Item TrainingData::item(std::uint64_t draw) const {
  if (patches_lie_still()) return still_item(case_of(draw));
  const std::size_t number = case_of(draw);
  const std::shared_ptr<const TrainingCase> loaded = store_.get(number);
  const Size3 size = crop_size(patches_.crop, loaded->image.size());
  return item_of(
      augment({loaded->image, loaded->label}, corner_of(*loaded, draw), size, augment_of(number), patches_.seed, draw),
      *loaded, number);
}

Patch TrainingData::still_patch_of(const TrainingCase& loaded) const {
  const Size3 whole = loaded.image.size();
  return augment({loaded.image, loaded.label}, middle_corner(patches_.crop, whole), crop_size(patches_.crop, whole),
                 AugmentOptions(), patches_.seed, 0);
}

Patch TrainingData::still_patch(std::size_t number) const {
  return still_patch_of(*store_.get(number));
}

TrainingData::Item TrainingData::still_item(std::size_t number) const {
  const std::shared_ptr<const TrainingCase> loaded = store_.get(number);
  return item_of(still_patch_of(*loaded), *loaded, number);
}

TrainingData::Item TrainingData::item_of(const Patch& patch, const TrainingCase& loaded, std::size_t number) const {
  const ModelGrid grid(patch.image.geometry(), contract_, 1);
  Item item;
  item.number = number;
  item.spacing_mm = patch.image.spacing_mm();
  if (patch.label) item.mask = grid.to_model(*patch.label, 0);
  if (wants_whole_map_ && loaded.label && is_part(patch.image.size(), loaded.image.size()))
    item.whole_mask = ModelGrid(loaded.label->geometry(), contract_, 1).to_model(*loaded.label, 0);
  item.image = contract_.makes_labels() ? item.mask.to(DType::F32) : grid.to_model(patch.image, 0);
  return item;
}

}  // namespace medgen
