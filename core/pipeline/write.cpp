// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/write.h"

#include "core/base/file.h"
#include "core/config/json.h"
#include "core/io/contact_sheet.h"
#include "core/io/dataset.h"
#include "core/io/volume_file.h"
#include "core/run/resources.h"
#include "core/weights/safetensors.h"

#include <nlohmann/json.hpp>

#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <tuple>

namespace medgen {
namespace {

constexpr std::size_t kContactSheetRows = 12;
/// How many times smaller compression makes a volume at most: label maps by deflate's own limit
/// (https://zlib.net/zlib_tech.html), images by twice what the emptiest of a hundred real ones came to. Latents are not
/// compressed.
constexpr std::uint64_t kMostOfLabels = 1032, kMostOfImages = 64;

/// Where the parts of a sample go, relative to the folder.
struct Names {
  std::string image, label, latent;
};

Names names_of(const std::string& sample, Layout layout) {
  const std::string latent = "latents/" + sample + ".safetensors";
  switch (layout) {
    case Layout::Pairs:
      return {sample + "_image.nii.gz", sample + "_label.nii.gz", latent};
    case Layout::NnUnet:
      return {nnunet_files(sample).image, nnunet_files(sample).label, latent};
    case Layout::Folders:
      break;
  }
  return {"images/" + sample + ".nii.gz", "labels/" + sample + ".nii.gz", latent};
}

class Writer {
 public:
  Writer(SampleSource& source, const WriteOptions& options, const RunObserver& observer)
      : source_(source),
        options_(options),
        observer_(observer),
        folder_(options.to, options.fingerprint, options.overwrite, options.part, options.manifest) {}

  void run() {
    const auto start = std::chrono::steady_clock::now();
    started_ = utc_now();
    const std::vector<std::size_t> wanted = unfinished();
    if (const std::size_t all = end() - begin(); wanted.size() < all) {
      observer_.say(LogLevel::Info, fmt::format("steps.{}: {} of {} samples are already in '{}'", options_.step,
                                                all - wanted.size(), all, options_.to.string()));
    }
    if (wanted.empty() && described()) return;  // run.json tells how it was made
    refuse_to_replace(source_, options_, folder_.continued());
    folder_.start();
    try {
      source_.produce(wanted, observer_, [&](std::size_t index, Sample sample) { write(index, sample); });
      if (!options_.part.whole()) return finish_part(start);
      finish_folder();
    } catch (const Cancelled&) {
      close_interrupted(start);
      throw;
    } catch (...) {
      folder_.empty() ? folder_.discard() : close_interrupted(start);
      throw;
    }
    close(start, true);
  }

 private:
  /// The samples of this process's part. @{
  std::size_t begin() const { return options_.part.begin(source_.count()); }

  std::size_t end() const { return options_.part.end(source_.count()); }

  /// @}

  std::vector<std::size_t> unfinished() const {
    std::vector<std::size_t> wanted;
    for (std::size_t i = begin(); i < end(); ++i) {
      if (!folder_.finished(source_.name(i))) wanted.push_back(i);
    }
    return wanted;
  }

  /// Whether an earlier run finished the folder, with everything that this one would put there.
  bool described() const {
    const auto there = [&](const std::string& name) { return std::filesystem::exists(folder_.path() / name); };
    return folder_.complete() && (options_.contact_sheet.empty() || there(options_.contact_sheet)) &&
           (options_.layout != Layout::NnUnet || there("dataset.json"));
  }

  std::filesystem::path place(const std::string& relative) const {
    const auto path = folder_.path() / relative;
    std::filesystem::create_directories(path.parent_path());
    return path;
  }

  void write(std::size_t index, const Sample& sample) {
    const TraceRange range(observer_.trace, "write " + sample.name, "file");
    std::vector<std::string> written;
    try {
      write_files(sample, written);
      Json files = Json::object();
      for (const std::string& name : written) files[name] = sha256_file(folder_.path() / name);
      Json record = {{"files", std::move(files)}};
      record.update(Json::parse(sample.facts));
      folder_.add(sample.name, record);
    } catch (...) {  // a sample is there with all its files, or not at all
      std::error_code ignored;
      for (const std::string& name : written) std::filesystem::remove(folder_.path() / name, ignored);
      throw;
    }
    observer_.report({options_.step, "writing", sample.name, index + 1, source_.count(), {}});
  }

  /// @param written  gets their names, relative to the folder.
  void write_files(const Sample& sample, std::vector<std::string>& written) const {
    const Names names = names_of(sample.name, options_.layout);
    if (sample.label) {
      write_volume(place(names.label), *sample.label);
      written.push_back(names.label);
    }
    if (sample.image) {
      write_volume(place(names.image), *sample.image);
      written.push_back(names.image);
    }
    if (sample.latent.empty()) return;
    write_safetensors(place(names.latent), sample.latent, {{"medgen.facts", sample.facts}});
    written.push_back(names.latent);
  }

  /// The last part to be finished describes the folder for all.
  void finish_part(std::chrono::steady_clock::time_point start) {
    Json facts = {{"part", to_string(options_.part)}};
    facts.update(circumstances(start));
    folder_.add_part(facts);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < source_.count(); ++i) names.push_back(source_.name(i));
    if (!folder_.last_of(names)) return;
    finish_folder();
    close(start, true);
  }

  /// What describes the folder as a whole.
  void finish_folder() {
    if (options_.layout == Layout::NnUnet) {
      write_nnunet_description(folder_.path(), "image", options_.labels, source_.count());
    }
    if (!options_.contact_sheet.empty()) write_contact_sheet();
  }

  void write_contact_sheet() {
    std::vector<ContactSheetRow> rows;
    for (std::size_t i = 0; i < std::min(source_.count(), kContactSheetRows); ++i) {
      const Names names = names_of(source_.name(i), options_.layout);
      const bool has_image = std::filesystem::exists(folder_.path() / names.image);
      ContactSheetRow row{read_volume(folder_.path() / (has_image ? names.image : names.label)), std::nullopt};
      if (std::filesystem::exists(folder_.path() / names.label)) row.label = read_volume(folder_.path() / names.label);
      rows.push_back(std::move(row));
    }
    medgen::write_contact_sheet(folder_.path() / options_.contact_sheet, rows);
  }

  /// The journal already holds the finished samples: failing to write the manifest must not hide what stopped the run.
  void close_interrupted(std::chrono::steady_clock::time_point start) {
    if (!options_.part.whole()) return;  // others may be at work; the journal says it all
    try {
      close(start, false);
    } catch (const std::exception& error) {
      observer_.say(LogLevel::Warning, fmt::format("run.json could not be written: {}", error.what()));
    }
  }

  void close(std::chrono::steady_clock::time_point start, bool complete) {
    Json manifest = *options_.manifest;
    manifest["run"].update(circumstances(start));
    folder_.close(manifest, complete);
  }

  Json circumstances(std::chrono::steady_clock::time_point start) const {
    return {{"started", started_},
            {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()},
            {"peak_memory_bytes", peak_memory()}};
  }

  SampleSource& source_;
  const WriteOptions& options_;
  const RunObserver& observer_;
  RunFolder folder_;
  std::string started_;
};

}  // namespace

Layout layout_of(const std::string& name) {
  if (name == "pairs") return Layout::Pairs;
  return name == "nnunet" ? Layout::NnUnet : Layout::Folders;
}

/// Whether files could be written to the folder. @throws RuntimeError
void check_folder(const std::filesystem::path& folder) {
  std::filesystem::path there = std::filesystem::absolute(folder).lexically_normal();
  while (!std::filesystem::exists(there) && there.has_relative_path()) there = there.parent_path();
  if (!std::filesystem::is_directory(there))
    throw RuntimeError("cannot make the output folder '{}': '{}' is a file", folder.string(), there.string());
  if (::access(there.c_str(), W_OK | X_OK) != 0)
    throw RuntimeError("cannot write to the output folder '{}': {}: {}", folder.string(), there.string(),
                       std::strerror(errno));
}

void refuse_to_replace(const SampleSource& source, const WriteOptions& options, bool continued) {
  const bool strict = !continued && !options.overwrite;
  for (std::size_t i = options.part.begin(source.count()); i < options.part.end(source.count()); ++i) {
    const Names names = names_of(source.name(i), options.layout);
    for (const std::string& name : {names.image, names.label, names.latent}) {
      const auto file = options.to / name;
      if (options.inputs.contains(std::filesystem::weakly_canonical(file)))
        throw DataError("'{}' is an input of this run, which would replace it; choose another folder in steps.{}",
                        file.string(), options.step);
      if (!strict || !std::filesystem::exists(file)) continue;
      throw DataError(
          "'{}' exists and was not written by this pipeline; choose another folder, or set \"overwrite\": true in "
          "steps.{}",
          file.string(), options.step);
    }
  }
}

void plan_writing(const SampleSource& source, const std::filesystem::path& to, Layout layout, StepPlan& plan) {
  constexpr std::size_t kShown = 3;
  plan.folder = to.lexically_normal().string();
  const bool goes_on = std::filesystem::exists(to);
  for (std::size_t i = 0; i < source.count(); ++i) {
    const Names names = names_of(source.name(i), layout);
    const SampleBytes bytes = source.bytes(i);
    for (const auto& [file, size, shrinks] :
         {std::tuple{&names.label, bytes.label, kMostOfLabels}, std::tuple{&names.image, bytes.image, kMostOfImages},
          std::tuple{&names.latent, bytes.latent, std::uint64_t{1}}}) {
      if (size == 0) continue;
      if (!goes_on || !std::filesystem::exists(to / *file)) {
        plan.output += size;
        plan.output_least += size / shrinks;
      }
      if (plan.files.size() < kShown) {
        plan.files.push_back(*file);
      } else {
        ++plan.more_files;
      }
    }
  }
}

void write_samples(SampleSource& source, const WriteOptions& options, const RunObserver& observer) {
  Writer(source, options, observer).run();
}

}  // namespace medgen
