// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/sample.h"

#include "core/base/error.h"
#include "core/config/utf8.h"
#include "core/io/volume_file.h"
#include "core/weights/safetensors.h"

#include <nlohmann/json.hpp>

#include <map>

namespace medgen {
namespace {

/// A file that a write step made: the facts of the sample travel in its metadata.
void read_latent(const std::filesystem::path& path, Sample& sample) {
  const SafetensorsFile file(path);
  sample.latent = file.tensors();
  const auto facts = file.metadata().find("medgen.facts");
  if (facts != file.metadata().end()) sample.facts = facts->second;
}

}  // namespace

std::uint64_t voxels_of(const Geometry& grid) {
  std::uint64_t voxels = 1;
  for (const std::int64_t axis : grid.size) voxels *= static_cast<std::uint64_t>(axis);
  return voxels;
}

Sample SampleSource::get(std::size_t index, const RunObserver& observer) {
  std::optional<Sample> made;
  produce({index}, observer, [&](std::size_t, Sample sample) { made = std::move(sample); });
  check(made.has_value(), "a source gives the sample it was asked for");
  return std::move(*made);
}

FileSource::FileSource(std::vector<std::filesystem::path> files, Kind kind)
    : files_(std::move(files)), kind_(kind), infos_(files_.size()) {
  std::map<std::string, std::filesystem::path> seen;
  for (const auto& file : files_) {
    if (first_invalid_utf8(file.filename().string()))
      throw DataError("'{}' has a name that is not UTF-8, which no record of a run can hold; rename it", file.string());
    names_.push_back(kind == Kind::Latent ? file.stem().string() : volume_stem(file));
    const auto [other, is_new] = seen.emplace(names_.back(), file);
    if (!is_new) {
      throw DataError("'{}' and '{}' would both be called '{}'; rename one or run them in two steps",
                      other->second.string(), file.string(), names_.back());
    }
  }
}

std::optional<Geometry> FileSource::grid(std::size_t index) const {
  if (kind_ == Kind::Latent) return std::nullopt;
  const VolumeInfo& info = this->info(index);
  if (kind_ == Kind::Label && info.channels != 1)
    throw DataError("'{}' has {} volumes, a label map has one; split it, or give the one that is meant",
                    files_.at(index).string(), info.channels);
  return info.geometry;
}

std::vector<std::string> FileSource::check_inputs(std::size_t from, std::size_t to) const {
  std::vector<std::string> warnings;
  if (kind_ == Kind::Latent) return warnings;
  for (std::size_t i = from; i < to; ++i)
    read_volume_info(files_.at(i), [&](const std::string& text) { warnings.push_back(text); });
  return warnings;
}

const VolumeInfo& FileSource::info(std::size_t index) const {
  auto& info = infos_.at(index);
  if (!info) info = read_volume_info(files_[index]);
  return *info;
}

std::optional<std::int64_t> FileSource::channels(std::size_t index) const {
  if (kind_ != Kind::Image) return std::nullopt;
  return info(index).channels;
}

std::optional<Shape> FileSource::latent(std::size_t index) const {
  if (kind_ != Kind::Latent) return std::nullopt;
  const SafetensorsFile file(files_.at(index));
  const auto mean = file.tensors().find("mean");
  return mean == file.tensors().end() ? std::nullopt : std::optional(mean->second.shape());
}

SampleBytes FileSource::bytes(std::size_t index) const {
  SampleBytes bytes;
  if (kind_ == Kind::Latent) {
    bytes.latent = std::filesystem::file_size(files_.at(index));
    return bytes;
  }
  const VolumeInfo& info = this->info(index);
  (kind_ == Kind::Image ? bytes.image : bytes.label) =
      voxels_of(info.geometry) * static_cast<std::uint64_t>(info.channels) * size_of(info.dtype);
  return bytes;
}

void FileSource::produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) {
  for (const std::size_t index : wanted) {
    observer.check_cancelled();
    const auto& file = files_.at(index);
    std::optional<TraceRange> range(std::in_place, observer.trace, "read " + file.filename().string(), "file");
    Sample sample;
    sample.name = names_[index];
    sample.facts = dump_compact(Json{{"source", file.filename().string()}});
    switch (kind_) {
      case Kind::Image:
        sample.image = read_volume(file);
        break;
      case Kind::Label:
        sample.label = read_volume(file);
        break;
      case Kind::Latent:
        read_latent(file, sample);
        break;
    }
    range.reset();
    sink(index, std::move(sample));
  }
}

void CachedSource::produce(const std::vector<std::size_t>& wanted, const RunObserver& observer, const Sink& sink) {
  for (const std::size_t index : wanted) {
    if (!samples_.at(index)) samples_[index] = source_->get(index, observer);
    sink(index, *samples_[index]);
  }
}

}  // namespace medgen
