// SPDX-License-Identifier: Apache-2.0
#include "core/run/manifest.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fstream>

namespace medgen {
namespace {

constexpr const char* kManifest = "run.json";
constexpr const char* kJournal = "run.journal";
constexpr const char* kJournalEnd = ".jsonl";
constexpr std::uint64_t kMaxManifestBytes = 1ULL << 30;

void append_line(const std::filesystem::path& path, const std::string& line) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) throw RuntimeError("cannot write '{}': {}", path.string(), std::strerror(errno));
  const std::string text = line + "\n";
  const ssize_t written = ::write(file, text.data(), text.size());
  const bool good = written == static_cast<ssize_t>(text.size()) && ::fdatasync(file) == 0;
  const int error = errno;
  ::close(file);
  if (!good) throw RuntimeError("cannot write '{}': {}", path.string(), std::strerror(error));
}

/// A string member, "" when it is missing or something else: run.json may have been edited.
std::string text_of(const Json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_string()) return {};
  return object[key].get<std::string>();
}

/// The elements of an array member, none when it is missing or something else.
std::vector<Json> list_of(const Json& object, const char* key) {
  if (!object.contains(key) || !object[key].is_array()) return {};
  return object[key].get<std::vector<Json>>();
}

bool file_matches(const std::filesystem::path& path, const std::string& hash) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && sha256_file(path) == hash;
}

/// The record of an earlier run, gone when the user says so. @throws DataError with the reason when not
void forget(const std::filesystem::path& file, bool overwrite, const std::string& reason) {
  if (!overwrite)
    throw DataError("{}; choose another folder, delete it, or set \"overwrite\": true in the write step", reason);
  std::filesystem::remove(file);
}

/// What of a record decides the samples.
Json deciding(const Json& record) {
  Json parts = Json::object();
  if (!record.is_object()) return parts;
  for (const char* key : {"seed", "steps"}) {
    if (record.contains(key)) parts[key] = record[key];
  }
  const Json run = record.value("run", Json());
  for (const char* key : {"precision", "models", "inputs"}) {
    if (run.is_object() && run.contains(key)) parts[key] = run[key];
  }
  return parts;
}

std::string journal_name(const Part& part) {
  const std::string of_part = part.whole() ? "" : fmt::format(".{}-of-{}", part.index + 1, part.count);
  return kJournal + of_part + kJournalEnd;
}

/// Whether it was missing.
bool make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(folder, error);
  if (!error && std::filesystem::is_directory(folder)) return made;
  throw RuntimeError("cannot make the output folder '{}': {}", folder.string(),
                     error ? error.message() : "it is a file");
}

}  // namespace

RunFolder::RunFolder(std::filesystem::path folder, std::string fingerprint, bool overwrite, const Part& part,
                     std::shared_ptr<const Json> manifest)
    : folder_(std::move(folder)),
      fingerprint_(std::move(fingerprint)),
      manifest_(std::move(manifest)),
      journal_(journal_name(part)),
      part_(!part.whole()),
      made_(make_folder(folder_)),
      lock_(std::in_place, folder_, part_) {
  read_all(overwrite);
}

RunFolder::RunFolder(std::filesystem::path folder) : folder_(std::move(folder)), part_(false), made_(false) {}

bool RunFolder::check(const std::filesystem::path& folder, const std::string& fingerprint,
                      std::shared_ptr<const Json> manifest) {
  RunFolder there(folder);
  there.manifest_ = std::move(manifest);
  if (!std::filesystem::is_directory(folder)) return false;
  there.fingerprint_ = fingerprint;
  there.read_all(false);
  return there.continued();
}

void RunFolder::start() {
  append_line(folder_ / journal_, dump_compact(Json{{"fingerprint", fingerprint_}}));
  if (part_) part_lock_.emplace(folder_ / journal_);
}

std::vector<std::filesystem::path> RunFolder::journals() const {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kJournal) && name.ends_with(kJournalEnd)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Journals first: the last part writes run.json before it removes them.
void RunFolder::read_all(bool overwrite) {
  for (const auto& file : journals()) read_journal(file, overwrite);
  read_manifest(overwrite);
}

void RunFolder::read_manifest(bool overwrite) {
  const auto file = folder_ / kManifest;
  if (!std::filesystem::exists(file)) return;
  const Json manifest = Json::parse(read_file(file, kMaxManifestBytes), nullptr, false);
  const Json run = manifest.is_object() ? manifest.value("run", Json()) : Json();
  const std::string fingerprint = text_of(run, "fingerprint");
  if (fingerprint.empty())
    return forget(
        file, overwrite,
        fmt::format("'{}' is damaged (it has no \"run.fingerprint\"), so which run wrote this folder cannot be told",
                    file.string()));
  if (fingerprint != fingerprint_) return forget_other_run(file, overwrite, manifest);
  continued_ = true;
  complete_ = text_of(run, "status") == "complete";
  for (const Json& sample : list_of(run, "samples")) remember(sample);
  if (parts_.empty()) parts_ = list_of(run, "parts");
}

void RunFolder::read_journal(const std::filesystem::path& file, bool overwrite) {
  std::ifstream journal(file);
  std::string line;
  bool others = false;
  while (std::getline(journal, line)) {
    // The last line of a killed run may be torn; everything before it counts.
    const Json entry = Json::parse(line, nullptr, false);
    const bool sample = entry.is_object() && entry.contains("sample");
    if (text_of(entry, "fingerprint") == fingerprint_) {
      continued_ = true;
      if (sample) remember(entry["sample"]);
      if (entry.contains("part")) parts_.push_back(entry["part"]);
    } else {
      others = others || sample;
    }
  }
  if (others) forget_other_run(file, overwrite, {});
}

void RunFolder::forget_other_run(const std::filesystem::path& file, bool overwrite, const Json& earlier) const {
  const std::string what = manifest_ && earlier.is_object() ? differences(deciding(earlier), deciding(*manifest_)) : "";
  forget(file, overwrite,
         fmt::format("'{}' holds the results of another run ({})", folder_.string(),
                     what.empty() ? "another pipeline, seed, model or input" : what));
}

void RunFolder::remember(const Json& sample) {
  const std::string name = text_of(sample, "name");
  if (!name.empty()) samples_[name] = std::make_shared<const Json>(sample);
}

bool RunFolder::finished(const std::string& sample) const {
  const auto found = samples_.find(sample);
  if (found == samples_.end() || !found->second->contains("files")) return false;
  const Json& files = found->second->at("files");
  if (!files.is_object() || files.empty()) return false;
  for (const auto& [name, hash] : files.items()) {
    if (!hash.is_string() || !file_matches(folder_ / name, hash.get<std::string>())) return false;
  }
  return true;
}

void RunFolder::add(const std::string& sample, const Json& record) {
  Json entry = {{"name", sample}};
  entry.update(record);
  append_line(folder_ / journal_, dump_compact(Json{{"fingerprint", fingerprint_}, {"sample", entry}}));
  remember(entry);
}

void RunFolder::add_part(const Json& facts) {
  append_line(folder_ / journal_, dump_compact(Json{{"fingerprint", fingerprint_}, {"part", facts}}));
}

bool RunFolder::last_of(const std::vector<std::string>& samples) {
  if (!lock_->take_whole()) return false;
  parts_.clear();
  read_all(false);
  return std::all_of(samples.begin(), samples.end(), [&](const auto& name) { return samples_.contains(name); });
}

void RunFolder::close(const Json& manifest, bool complete) {
  Json whole = manifest;
  whole["run"]["status"] = complete ? "complete" : "incomplete";
  whole["run"]["fingerprint"] = fingerprint_;
  Json samples = Json::array();
  for (const auto& [name, record] : samples_) samples.push_back(*record);
  whole["run"]["samples"] = std::move(samples);
  if (!parts_.empty()) whole["run"]["parts"] = parts_;
  write_file(folder_ / kManifest, dump_pretty(whole));
  for (const auto& file : journals()) std::filesystem::remove(file);
}

void RunFolder::discard() {
  std::filesystem::remove(folder_ / journal_);
  if (!made_ || part_) return;  // other parts may be about to write to it
  std::error_code not_empty;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    if (entry.is_directory()) std::filesystem::remove(entry.path(), not_empty);
  }
  std::filesystem::remove(folder_, not_empty);
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

}  // namespace medgen
