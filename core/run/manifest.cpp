// SPDX-License-Identifier: Apache-2.0
#include "core/run/manifest.h"

#include "core/base/error.h"
#include "core/base/file.h"

#include <sys/resource.h>

#include <fcntl.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fstream>

namespace medgen {
namespace {

constexpr const char* kManifest = "run.json";
constexpr const char* kJournal = "run.journal.jsonl";
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

bool file_matches(const std::filesystem::path& path, const std::string& hash) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && sha256_file(path) == hash;
}

}  // namespace

RunFolder::RunFolder(std::filesystem::path folder, std::string fingerprint, bool overwrite)
    : folder_(std::move(folder)), fingerprint_(std::move(fingerprint)) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error || !std::filesystem::is_directory(folder_)) {
    throw RuntimeError("cannot make the output folder '{}': {}", folder_.string(),
                       error ? error.message() : "it is a file");
  }
  read_manifest(overwrite);
  read_journal();
  append_line(folder_ / kJournal, dump_compact(Json{{"fingerprint", fingerprint_}}));
}

void RunFolder::read_manifest(bool overwrite) {
  const auto file = folder_ / kManifest;
  if (!std::filesystem::exists(file)) return;
  const Json manifest = Json::parse(read_file(file, kMaxManifestBytes), nullptr, false);
  const bool ours = manifest.is_object() && manifest.contains("run") && manifest["run"].is_object();
  const std::string fingerprint = ours ? manifest["run"].value("fingerprint", "") : "";
  if (fingerprint == fingerprint_) {
    continued_ = true;
    for (const Json& sample : manifest["run"].value("samples", Json::array()))
      samples_[sample.value("name", "")] = sample;
    return;
  }
  if (!overwrite) {
    throw DataError(
        "'{}' holds the results of another run (another pipeline, seed, model or input); choose another folder, delete "
        "it, "
        "or set \"overwrite\": true in the write step",
        folder_.string());
  }
  std::filesystem::remove(file);
  std::filesystem::remove(folder_ / kJournal);
}

void RunFolder::read_journal() {
  std::ifstream journal(folder_ / kJournal);
  std::string line;
  while (std::getline(journal, line)) {
    // The last line of a killed run may be torn; everything before it counts.
    const Json entry = Json::parse(line, nullptr, false);
    if (!entry.is_object() || entry.value("fingerprint", "") != fingerprint_) continue;
    continued_ = true;
    if (entry.contains("sample")) samples_[entry["sample"].value("name", "")] = entry["sample"];
  }
}

bool RunFolder::finished(const std::string& sample) const {
  const auto found = samples_.find(sample);
  if (found == samples_.end()) return false;
  const Json files = found->second.value("files", Json::object());
  for (const auto& [name, hash] : files.items()) {
    if (!file_matches(folder_ / name, hash.get<std::string>())) return false;
  }
  return true;
}

void RunFolder::add(const std::string& sample, Json record) {
  Json entry = {{"name", sample}};
  entry.update(record);
  append_line(folder_ / kJournal, dump_compact(Json{{"fingerprint", fingerprint_}, {"sample", entry}}));
  samples_[sample] = std::move(entry);
}

void RunFolder::close(Json manifest, bool complete) {
  manifest["run"]["status"] = complete ? "complete" : "incomplete";
  manifest["run"]["fingerprint"] = fingerprint_;
  Json samples = Json::array();
  for (const auto& [name, record] : samples_) samples.push_back(record);
  manifest["run"]["samples"] = std::move(samples);
  write_file(folder_ / kManifest, dump_pretty(manifest));
  std::filesystem::remove(folder_ / kJournal);
}

std::uint64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
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
