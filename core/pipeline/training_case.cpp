// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/training_case.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/io/volume_file.h"
#include "core/tensor/finite.h"
#include "core/volume/grid_difference.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <set>

namespace medgen {
namespace {

/// As the file has it: what is measured in it (percentiles) may differ in its last bits from machine to machine.
std::string identity_of(const Volume& volume) {
  const Tensor& voxels = volume.voxels();
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(voxels.data()), voxels.bytes());
  return fmt::format("{} {} {} {}\n", fmt::join(voxels.shape(), "x"), static_cast<int>(voxels.dtype()),
                     fmt::join(volume.affine().rows(), " "), sha256(bytes));
}

/// For the key of the cache.
std::string text_of(const std::optional<BodyRule>& body) {
  return body ? fmt::format("\nbody {} {} {}", body->label, body->air_below, body->least_part) : "";
}

/// One channel is what entries have that do not say so.
std::string text_of(std::int64_t channels) {
  return channels == 1 ? "" : fmt::format("\nchannels {}", channels);
}

std::string text_of(std::optional<std::size_t> channel) {
  return channel ? fmt::format("\nchannel {}", *channel) : "";
}

std::string text_of(const CaseModalities::Modality* modality) {
  return modality == nullptr ? "" : "\nmodality " + dump_compact(modality->node.at("intensity").json());
}

/// A case as an entry of the cache: the volumes, and the rest as a text.
TensorMap packed(const TrainingCase& loaded) {
  const std::string about = dump_compact(
      Json{{"affine", loaded.image.affine().rows()}, {"identity", loaded.identity}, {"warnings", loaded.warnings}});
  const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(about.data()), about.size());
  TensorMap entry = {{"image", loaded.image.voxels()},
                     {"about", Tensor::from(bytes, {static_cast<std::int64_t>(bytes.size())})}};
  if (loaded.label) entry["label"] = loaded.label->voxels();
  return entry;
}

TrainingCase unpacked_case(const TensorMap& entry) {
  const auto bytes = entry.at("about").values<std::uint8_t>();
  const Json about = Json::parse(bytes.begin(), bytes.end());
  const Affine<Ras> affine(about.at("affine").get<Matrix4>());
  TrainingCase loaded{Volume(entry.at("image"), affine), std::nullopt, std::nullopt, about.at("identity"),
                      about.at("warnings")};
  if (entry.contains("label")) loaded.label.emplace(entry.at("label"), affine);
  return loaded;
}

/// One of a case's files. @throws DataError for other channels than wanted (0: any), which only networks would notice
Volume read_with_channels(const std::filesystem::path& file, std::int64_t wanted, const std::string& name) {
  Volume volume = read_volume(file);
  if (wanted == 0 || volume.channels() == wanted) return volume;
  throw DataError("{}: {} has {} channels, this training takes {}; \"channel\" of the step says which one", name,
                  file.string(), volume.channels(), wanted);
}

/// One channel of several. @throws DataError where there are fewer
Volume channel_of(const Volume& volume, std::size_t channel, const std::string& name) {
  if (channel >= static_cast<std::size_t>(volume.channels()))
    throw DataError("{}: \"channel\" is {}, but the image has {}, counted from 0", name, channel, volume.channels());
  if (!volume.has_channels()) return volume;
  const Tensor row = volume.voxels().rows(static_cast<std::int64_t>(channel), 1);
  return volume.with_voxels(row.reshape(Shape(row.shape().begin() + 1, row.shape().end())));
}

/// A warning of what is too small for the voxels that a map was brought to.
std::vector<std::string> lost_labels(const Volume& before, const Volume& after) {
  if (before.size() == after.size()) return {};
  std::set<std::int64_t> lost = label_ids(before.voxels());
  for (const std::int64_t id : label_ids(after.voxels())) lost.erase(id);
  if (lost.empty()) return {};
  return {fmt::format("no voxel is left of label {} after \"resample_mm\"", fmt::join(lost, ", "))};
}

}  // namespace

std::size_t TrainingCase::bytes() const {
  return image.voxels().bytes() + (label ? label->voxels().bytes() : 0);
}

TrainingCase CaseReader::read(const Case& entry) const {
  const bool maps = options_.contract.makes_labels();
  if (!maps) image_of(entry, options_.channel);
  if (!entry.label && (maps || options_.needs_labels || options_.index_labels))
    throw DataError("{} has no label map, which this training needs", entry.name);
  TrainingCase loaded = [&] {
    if (!options_.cache) return read_files(entry);
    std::vector<std::filesystem::path> files;
    if (!maps) files.push_back(image_of(entry, options_.channel));
    if (entry.label) files.push_back(*entry.label);
    const std::string key =
        cache_key(files, "training case 1\n" + options_.spacing.text() + options_.contract_text +
                             text_of(options_.body) + options_.labels.text() + text_of(options_.channels) +
                             text_of(options_.channel) + text_of(options_.modalities.of(entry.name)));
    return unpacked_case(options_.cache->get(key, [&] { return packed(read_files(entry)); }));
  }();
  if (const auto problem = multiple_problem(crop_size(options_.crop, loaded.image.size()), options_.multiple_of))
    throw DataError("{}: its {}, as the networks need; give a \"crop\" that is", entry.name, *problem);
  loaded.identity = entry.name + '\n' + options_.spacing.text() + loaded.identity;
  if (options_.index_labels) loaded.index.emplace(*loaded.label);
  return loaded;
}

Volume CaseReader::read_image(const Case& entry) const {
  const bool within = options_.channel && entry.images.size() == 1;
  if (!within) return read_with_channels(image_of(entry, options_.channel), options_.channels, entry.name);
  return channel_of(read_volume(entry.images.front()), *options_.channel, entry.name);
}

TrainingCase CaseReader::read_files(const Case& entry) const {
  const DataContract& contract = options_.contract;
  if (contract.makes_labels()) return read_map(entry);
  const Volume file = reorient(read_image(entry), contract.orientation);
  if (const auto bad = count_non_finite(file.voxels()); bad > 0)
    throw DataError("{}: the image has {} voxels that are NaN or infinite", entry.name, bad);
  if (is_constant(file.voxels())) throw DataError("{}: the image is constant: every voxel is the same", entry.name);
  const Volume image = options_.spacing.image(file, entry.name);
  contract.check_spacing(image.geometry(), entry.name);
  const CaseModalities::Modality* modality = options_.modalities.of(entry.name);
  const IntensityRule& rule = modality == nullptr ? contract.intensity : modality->intensity;
  const IntensityTransform intensity = rule.for_input(image.voxels(), entry.name);
  TrainingCase loaded{
      image.with_voxels(scaled(intensity, image.voxels())), std::nullopt, std::nullopt, identity_of(file), {}};
  if (entry.label) loaded.label = read_label(entry, file, loaded);
  return loaded;
}

/// For a model that makes label maps: the map is what it sees, and the image is not read.
TrainingCase CaseReader::read_map(const Case& entry) const {
  const Volume map = read_with_channels(*entry.label, 1, entry.name);
  const Volume own = match_labels(map.geometry(), map, entry.name).labels;  // on its own grid
  const Volume file = reorient(options_.labels.in_model(own, entry.name), options_.contract.orientation);
  const Volume label = options_.spacing.label(file, entry.name);
  options_.contract.check_spacing(label.geometry(), entry.name);
  options_.contract.check_labels(file, entry.name);
  TrainingCase loaded{label.with_voxels(label.voxels().to(DType::F32)),
                      label.with_voxels(label.voxels().to(DType::I32)), std::nullopt, identity_of(file),
                      lost_labels(file, label)};
  if (auto warning = options_.contract.labels_warning(label_ids(file.voxels())))
    loaded.warnings.push_back(*std::move(warning));
  return loaded;
}

/// On the image's grid, and then at the voxel size that all are brought to.
Volume CaseReader::read_label(const Case& entry, const Volume& image, TrainingCase& loaded) const {
  const Volume map = read_with_channels(*entry.label, 1, entry.name);
  const MatchedLabels matched = match_labels(image.geometry(), map, entry.name);
  if (matched.warning) loaded.warnings.push_back(*matched.warning);
  Volume label = options_.labels.in_model(matched.labels, entry.name);
  options_.contract.check_labels(label, entry.name);
  if (options_.body) label = with_body(image, label, *options_.body);
  Volume fitted = options_.spacing.label(image.with_voxels(label.voxels().to(DType::I32)), entry.name);
  if (auto warning = options_.contract.labels_warning(label_ids(fitted.voxels())))
    loaded.warnings.push_back(*std::move(warning));
  for (std::string& warning : lost_labels(label, fitted)) loaded.warnings.push_back(std::move(warning));
  loaded.identity += identity_of(label);
  return fitted;
}

}  // namespace medgen
