// SPDX-License-Identifier: Apache-2.0
#include "core/data/case_cache.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/dicom/dicom.h"
#include "core/weights/safetensors.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <vector>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVersion = "medgen case cache 1";
constexpr std::string_view kChecksum = "medgen.checksum";
constexpr std::string_view kExtension = ".safetensors";
constexpr std::chrono::hours kAbandoned{24};  // a temporary file of a process that was killed

std::string folder_hash(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const fs::path& file : files) all += sha256_file(file);
  return sha256(all);
}

std::string source_hash(const fs::path& path) {
  if (fs::is_directory(path)) return folder_hash(path);
  if (!is_dicom_file(path)) return sha256_file(path);
  // Which of several series is meant is told by the file.
  return sha256_file(path) + folder_hash(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

std::string checksum(const TensorMap& tensors) {
  std::string all;
  for (const auto& [name, tensor] : tensors) {
    const auto* bytes = static_cast<const std::byte*>(tensor.data());
    all += fmt::format("{} {} {} {}\n", name, name_of(tensor.dtype()), to_string(tensor.shape()),
                       sha256(std::span(bytes, tensor.bytes())));
  }
  return sha256(all);
}

/// @throws DataError for an entry that is damaged, or gone.
TensorMap read(const fs::path& file) {
  const SafetensorsFile entry(file);
  const auto expected = entry.metadata().find(std::string(kChecksum));
  if (expected == entry.metadata().end() || expected->second != checksum(entry.tensors())) {
    throw DataError("{}: the checksum differs", file.string());
  }
  return entry.tensors();
}

/// Nothing for an entry that is not there. @throws DataError for one that is damaged.
std::optional<TensorMap> load(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  try {
    return read(file);
  } catch (const Error&) {
    // Another process may have removed it meanwhile, and perhaps made it again.
    if (!fs::exists(file, error)) return std::nullopt;
    return read(file);
  }
}

struct Entry {
  fs::path file;
  fs::file_time_type used;
  std::uint64_t bytes = 0;
};

/// Other processes may remove entries meanwhile: what is gone does not count.
std::vector<Entry> entries_of(const fs::path& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    Entry entry{at->path(), at->last_write_time(gone), 0};
    if (!gone) entry.bytes = at->file_size(gone);
    if (gone) continue;
    if (entry.file.extension() == kExtension) entries.push_back(entry);
    const bool temporary = entry.file.extension() == ".tmp";
    if (temporary && fs::file_time_type::clock::now() - entry.used > kAbandoned) fs::remove(entry.file, gone);
  }
  return entries;
}

std::uint64_t bytes_of(const TensorMap& tensors) {
  std::uint64_t bytes = 0;
  for (const auto& entry : tensors) bytes += entry.second.bytes();
  return bytes;
}

}  // namespace

std::string cache_key(std::span<const fs::path> files, std::string_view preprocessing) {
  std::string all = fmt::format("{}\n{}\n", kVersion, preprocessing);
  for (const fs::path& file : files) all += source_hash(file) + "\n";
  return sha256(all);
}

CaseCache::CaseCache(fs::path folder, std::uint64_t max_bytes, Warn warn)
    : folder_(std::move(folder)), max_bytes_(max_bytes), warn_(std::move(warn)) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw RuntimeError("{}: the cache folder cannot be made: {}", folder_.string(), error.message());
}

fs::path CaseCache::file_of(const std::string& key) const {
  return folder_ / (key + std::string(kExtension));
}

void CaseCache::warn(const std::string& message) {
  const std::lock_guard lock(mutex_);
  if (warn_) warn_(message);
}

TensorMap CaseCache::get(const std::string& key, const Make& make) {
  const fs::path file = file_of(key);
  try {
    if (auto found = load(file)) {
      std::error_code ignored;  // a cache that may not be written is still read
      fs::last_write_time(file, fs::file_time_type::clock::now(), ignored);
      return std::move(*found);
    }
  } catch (const Error& error) {
    warn(fmt::format("a cache entry is damaged and made again: {}", error.what()));
  }
  TensorMap tensors = make();
  store(file, tensors);
  return tensors;
}

void CaseCache::store(const fs::path& file, const TensorMap& tensors) {
  if (bytes_of(tensors) > max_bytes_) return;
  try {
    write_safetensors(file, tensors, {{std::string(kChecksum), checksum(tensors)}});
    trim();
  } catch (const std::exception& error) {
    warn(fmt::format("a case is not cached: {}", error.what()));
  }
}

void CaseCache::trim() {
  const std::lock_guard lock(mutex_);
  std::vector<Entry> entries = entries_of(folder_);
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  std::uint64_t total = 0;
  for (const Entry& entry : entries) total += entry.bytes;
  for (const Entry& entry : entries) {
    if (total <= max_bytes_) return;
    std::error_code ignored;
    fs::remove(entry.file, ignored);
    total -= entry.bytes;
  }
}

}  // namespace medgen
