// SPDX-License-Identifier: Apache-2.0
#include "core/view/run_record.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/parse.h"
#include "core/io/volume_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <map>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostBytes = 1ULL << 30;

/// The member, or null.
const Json& member(const Json& object, const std::string& key) {
  static const Json kNull;
  return object.is_object() && object.contains(key) ? object[key] : kNull;
}

/// Whether a recorded name stays inside the folder: the record may have been edited, and what it names is shown.
bool stays_inside(const fs::path& relative) {
  const fs::path normal = relative.lexically_normal();
  return !normal.empty() && normal.is_relative() && *normal.begin() != "..";
}

bool names_label(const fs::path& relative) {
  const std::string folder = relative.parent_path().filename().string();
  return folder.starts_with("labels") || volume_stem(relative).ends_with("_label");
}

void add_sample(RunRecord& record, const fs::path& folder, const Json& entry) {
  SampleRecord sample{text_at(entry, {"name"}), {}, std::nullopt};
  const Json& files = member(entry, "files");
  if (!files.is_object()) return record.problems.push_back("a sample without a list of files");
  for (const auto& [name, hash] : files.items()) {
    if (!stays_inside(name)) {
      record.problems.push_back(sample.name + ": the file '" + name + "' lies outside the folder");
    } else if (is_volume_name(name)) {
      names_label(name) ? sample.label = folder / name : sample.image = folder / name;
    }
  }
  if (sample.image.empty() && sample.label) std::swap(sample.image, *sample.label);
  if (sample.image.empty()) return;  // latents
  if (sample.label && sample.label->empty()) sample.label.reset();
  record.samples.push_back(std::move(sample));
}

/// What is wrong with a file that holds no JSON object, and where.
std::string problem_of(const fs::path& file) {
  try {
    read_config(file);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return fmt::format("'{}' is no JSON object", file.string());
}

void read_manifest(RunRecord& record, const fs::path& folder) {
  auto manifest = std::make_shared<Json>(parse_record(read_file(folder / "run.json", kMostBytes)));
  if (!manifest->is_object()) throw DataError("{}", problem_of(folder / "run.json"));
  const Json& samples = member(member(*manifest, "run"), "samples");
  if (samples.is_array()) {
    for (const Json& sample : samples) add_sample(record, folder, sample);
  }
  record.manifest = std::move(manifest);
}

/// Of the whole run, or of its parts.
std::vector<fs::path> journals_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("run.journal.") && name.ends_with(".jsonl")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The last line may be torn.
void read_journal(RunRecord& record, const fs::path& folder, const fs::path& file) {
  std::ifstream journal(file);
  for (std::string line; std::getline(journal, line);) {
    const Json entry = parse_record(line);
    if (entry.is_object() && entry.contains("sample")) add_sample(record, folder, entry["sample"]);
  }
}

}  // namespace

std::optional<RunRecord> read_run_record(const fs::path& folder) {
  RunRecord record;
  const bool finished = fs::exists(folder / "run.json");
  const std::vector<fs::path> journals = journals_in(folder);
  if (!finished && journals.empty()) return std::nullopt;
  if (finished) read_manifest(record, folder);
  for (const fs::path& journal : journals) read_journal(record, folder, journal);
  return record;
}

Json parse_record(const std::string& text) {
  constexpr int kDeepest = 100;
  return Json::parse(
      text, [](int depth, Json::parse_event_t, Json&) { return depth < kDeepest; }, false);
}

std::string text_at(const Json& object, const std::vector<std::string>& keys) {
  const Json* place = &object;
  for (const std::string& key : keys) place = &member(*place, key);
  if (place->is_null()) return "";
  return place->is_string() ? place->get<std::string>() : place->dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace medgen
