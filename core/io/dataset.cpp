// SPDX-License-Identifier: Apache-2.0
#include "core/io/dataset.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/config/parse.h"
#include "core/dicom/dicom.h"
#include "core/io/volume_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>
#include <utility>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDescription = "dataset.json";
constexpr std::size_t kChannelDigits = 4;  // CASE_0000
constexpr std::string_view kNnUnetEnding = ".nii.gz";

/// Everything that is wrong with a data set, to be told at once.
class Problems {
 public:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    list_.push_back({"", fmt::format(format, std::forward<Args>(args)...)});
  }

  template <typename... Args>
  void add_of(const std::string& name, fmt::format_string<Args...> format, Args&&... args) {
    list_.push_back({name, fmt::format(format, std::forward<Args>(args)...)});
  }

  /// @throws DataError of all, or of those that leaving a case out does not mend
  void require_none(const std::string& what, bool without_bad_cases = false) const {
    constexpr std::size_t kShown = 10;
    std::vector<std::string> texts;
    for (const CaseProblem& each : list_) {
      if (!without_bad_cases || each.name.empty()) texts.push_back(each.text);
    }
    if (texts.empty()) return;
    const std::size_t count = texts.size();
    texts.resize(std::min(count, kShown));
    const std::string more =
        count > kShown ? fmt::format("\n  and {} more, which `medgen inspect` lists", count - kShown) : "";
    throw DataError("{}: {} problem{}:\n  {}{}", what, count, count == 1 ? "" : "s", fmt::join(texts, "\n  "), more);
  }

  const std::vector<CaseProblem>& list() const { return list_; }

 private:
  std::vector<CaseProblem> list_;
};

std::vector<fs::path> volume_files(const fs::path& folder) {
  return files_in(folder, is_volume);
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// A file, or a folder with a DICOM series.
bool is_there(const fs::path& path) {
  return is_file(path) || is_dicom_folder(path);
}

std::string without_suffix(std::string name, std::string_view suffix) {
  if (name.size() > suffix.size() && name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  return name;
}

/// Sorts the cases.
void finish(Dataset& dataset, Problems& problems) {
  auto& cases = dataset.cases;
  std::stable_sort(cases.begin(), cases.end(), [](const Case& a, const Case& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < cases.size(); ++i) {
    if (cases[i].name == cases[i - 1].name) problems.add("the case '{}' comes twice", cases[i].name);
  }
  if (cases.empty())
    problems.add("the data set has no cases (a dataset.json lists cases that have folders of their own)");
}

std::int64_t id_of_text(const ConfigNode& node, std::string_view text) {
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size())
    node.fail("must be the id of a label, got \"{}\"", text);
  return id;
}

/// {"0": "T1", "1": "T2"} in the order of the numbers.
std::vector<std::string> read_channels(const ConfigNode& channels) {
  std::map<std::int64_t, std::string> names;
  for (const auto& [key, value] : channels.members()) names[id_of_text(value, key)] = value.as<std::string>();
  std::vector<std::string> result;
  for (const auto& entry : names) result.push_back(entry.second);
  return result;
}

std::string channel_file(const std::string& name, std::size_t channel, std::string_view ending) {
  return fmt::format("{}_{:0{}}{}", name, channel, kChannelDigits, ending);
}

/// The image as listed, or nnU-Net's files of that case, one a channel.
std::vector<fs::path> listed_images(const fs::path& listed, std::size_t channels) {
  if (is_file(listed) || !is_volume_name(listed)) return {listed};
  const std::string stem = volume_stem(listed);
  const std::string ending = listed.filename().string().substr(stem.size());
  std::vector<fs::path> images;
  for (std::size_t c = 0; c < std::max<std::size_t>(1, channels); ++c) {
    images.push_back(listed.parent_path() / channel_file(stem, c, ending));
  }
  return is_file(images.front()) ? images : std::vector{listed};
}

void require_files(const Case& one, Problems& problems) {
  for (const fs::path& image : one.images) {
    if (!is_there(image)) problems.add_of(one.name, "case '{}': the image {} is missing", one.name, image.string());
  }
  if (one.label && !is_there(*one.label))
    problems.add_of(one.name, "case '{}': the label map {} is missing", one.name, one.label->string());
}

/// Where every case has a folder, and the images one name, cases are named by their folders.
void name_by_folder(std::vector<Case>& cases) {
  const auto is_named_alike = [&](const Case& one) { return one.name == cases.front().name; };
  const auto folder_of = [](const Case& one) {
    return (one.images.empty() ? *one.label : one.images.front()).parent_path();
  };
  const auto is_beside = [&](const Case& one) { return folder_of(one) == folder_of(cases.front()); };
  if (cases.size() < 2 || !std::all_of(cases.begin(), cases.end(), is_named_alike)) return;
  if (std::all_of(cases.begin(), cases.end(), is_beside)) return;  // one case, listed again
  for (Case& one : cases) one.name = folder_of(one).filename().string();
}

/// "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}], or names of images alone, or labels.
void read_list(const ConfigNode& training, Dataset& dataset, Problems& problems) {
  const auto file = [](const ConfigNode& node) { return (node.folder() / node.as<std::string>()).lexically_normal(); };
  for (const ConfigNode& item : training.items()) {
    if (item.is_object() && !item.contains("image") && item.contains("label")) {  // for models that make label maps
      const fs::path label = file(item.at("label"));
      dataset.cases.push_back({volume_stem(label), {}, label});
      continue;
    }
    const fs::path image = file(item.is_string() ? item : item.at("image"));
    if (image.filename().string().starts_with("._")) continue;
    if (!is_volume(image)) {
      problems.add_of(image.filename().string(), "{}: {} is no volume; supported are {}", item.where(), image.string(),
                      supported_volume_formats());
      continue;
    }
    Case one{volume_stem(image), listed_images(image, dataset.channels.size()), std::nullopt};
    if (item.contains("label")) one.label = file(item.at("label"));
    dataset.cases.push_back(std::move(one));
  }
  name_by_folder(dataset.cases);
  for (const Case& one : dataset.cases) require_files(one, problems);
}

/// Every CASE_0000 of imagesTr with its other channels and its label map.
void read_folders(const ConfigNode& description, Dataset& dataset, Problems& problems) {
  const fs::path images = description.folder() / "imagesTr";
  const fs::path labels = description.folder() / "labelsTr";
  const auto ending = description.get<std::string>("file_ending", ".nii.gz");
  if (!is_volume_name("case" + ending)) {
    description.at("file_ending").fail("must be one of {}, got \"{}\"", supported_volume_formats(), ending);
  }
  const std::string first = channel_file("", 0, ending);
  for (const fs::path& file : volume_files(images)) {
    const std::string name = file.filename().string();
    if (name.size() <= first.size() || !name.ends_with(first)) continue;
    Case one{without_suffix(name, first), {}, std::nullopt};
    for (std::size_t c = 0; c < dataset.channels.size(); ++c)
      one.images.push_back(images / channel_file(one.name, c, ending));
    one.label = labels / (one.name + ending);
    require_files(one, problems);
    dataset.cases.push_back(std::move(one));
  }
  for (const fs::path& label : fs::is_directory(labels) ? volume_files(labels) : std::vector<fs::path>()) {
    const std::string name = without_suffix(label.filename().string(), ending);
    if (!is_file(images / (name + first)))
      problems.add_of(name, "the label map {} has no image {}", label.string(), name + first);
  }
}

Dataset read_description(const fs::path& file, Problems& problems) {
  const ConfigNode description = read_config(file);
  Dataset dataset;
  dataset.description = file;
  dataset.name = description.get<std::string>("name", fs::absolute(file).parent_path().filename().string());
  for (const char* key : {"channel_names", "modality"}) {
    if (dataset.channels.empty() && description.contains(key)) dataset.channels = read_channels(description.at(key));
  }
  if (description.contains("labels")) dataset.labels = read_label_table(description.at("labels"), dataset.warnings);
  if (description.contains("training")) {
    read_list(description.at("training"), dataset, problems);
  } else if (!dataset.channels.empty()) {
    read_folders(description, dataset, problems);
  } else {
    description.fail("has neither \"training\" (Medical Segmentation Decathlon) nor \"channel_names\" (nnU-Net)");
  }
  finish(dataset, problems);
  return dataset;
}

/// File of each name. Doubles are problems.
std::map<std::string, fs::path> by_name(const std::vector<fs::path>& files, std::string_view suffix,
                                        Problems& problems) {
  std::map<std::string, fs::path> names;
  for (const fs::path& file : files) {
    const auto [known, is_new] = names.emplace(without_suffix(volume_stem(file), suffix), file);
    if (!is_new)
      problems.add("{} and {} would be the same case '{}'", known->second.string(), file.string(), known->first);
  }
  return names;
}

Dataset paired(const std::vector<fs::path>& images, const std::vector<fs::path>& labels, bool need_labels,
               Problems& problems) {
  Dataset dataset;
  dataset.channels = {"image"};
  const auto image_of = by_name(images, "_image", problems);
  const auto label_of = by_name(labels, "_label", problems);
  for (const auto& [name, image] : image_of) {
    const auto label = label_of.find(name);
    if (need_labels && label == label_of.end()) problems.add_of(name, "the image {} has no label map", image.string());
    dataset.cases.push_back({name, {image}, label == label_of.end() ? std::nullopt : std::optional(label->second)});
  }
  for (const auto& [name, label] : label_of) {
    if (!image_of.contains(name)) problems.add_of(name, "the label map {} has no image", label.string());
  }
  finish(dataset, problems);
  return dataset;
}

/// Cases that are label maps and nothing else, for models that make them.
Dataset maps_alone(const std::vector<fs::path>& labels, Problems& problems) {
  Dataset dataset;
  for (const auto& [name, label] : by_name(labels, "_label", problems)) dataset.cases.push_back({name, {}, label});
  finish(dataset, problems);
  return dataset;
}

std::string name_of_folder(const fs::path& folder) {
  return fs::absolute(folder / "").lexically_normal().parent_path().filename().string();
}

Dataset read_plain(const fs::path& folder, Problems& problems) {
  const bool labelled = fs::is_directory(folder / "labels");
  const auto labels = labelled ? volume_files(folder / "labels") : std::vector<fs::path>();
  Dataset dataset = fs::is_directory(folder / "images")
                        ? paired(volume_files(folder / "images"), labels, labelled, problems)
                        : maps_alone(labels, problems);
  dataset.name = name_of_folder(folder);
  return dataset;
}

/// The dataset.json that a path names or holds. @throws DataError for a volume, which is neither
std::optional<fs::path> description_of(const fs::path& path) {
  if (is_volume_name(path) && is_file(path))
    throw DataError("{}: is a volume; a data set is a folder, or a {}", path.string(), kDescription);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw DataError("{}: the data set does not exist", path.string());
  const fs::path description = fs::is_directory(status) ? path / kDescription : path;
  if (fs::is_directory(status) && !is_file(description)) return std::nullopt;
  return description;
}

Dataset described(const fs::path& description, Problems& problems) {
  try {
    return read_description(description, problems);
  } catch (const ConfigError& wrong) {
    throw DataError("{}", wrong.what());  // the place is in the message; what is wrong is the data set
  }
}

/// Names that end in "_label" are label maps.
Dataset read_loose(const std::vector<fs::path>& files, Problems& problems) {
  std::vector<fs::path> images, labels;
  for (const fs::path& file : files) (volume_stem(file).ends_with("_label") ? labels : images).push_back(file);
  return paired(images, labels, false, problems);
}

/// What says of itself what it is.
std::optional<Dataset> read_arranged(const fs::path& path, Problems& problems) {
  if (const auto description = description_of(path)) return described(*description, problems);
  if (fs::is_directory(path / "images") || fs::is_directory(path / "labels")) return read_plain(path, problems);
  return std::nullopt;
}

Dataset read_path(const fs::path& path, Problems& problems) {
  if (auto arranged = read_arranged(path, problems)) return *std::move(arranged);
  Dataset dataset = read_loose(volume_files(path), problems);
  dataset.name = name_of_folder(path);
  return dataset;
}

Dataset read_dataset(const fs::path& path, Problems& problems) {
  if (auto arranged = read_arranged(path, problems)) return *std::move(arranged);
  throw DataError("{}: is no data set: it holds neither {} nor folders images/ or labels/", path.string(),
                  kDescription);
}

/// For messages.
std::string place_of(const Dataset& dataset, const fs::path& path) {
  return dataset.description.empty() ? path.string() : dataset.description.string();
}

}  // namespace

LabelTable read_label_table(const ConfigNode& labels, std::vector<std::string>& warnings) {
  LabelTable table;
  for (const auto& [key, value] : labels.members()) {
    if (value.is_array()) {
      warnings.push_back(fmt::format("{}: the region '{}' is more than one label and is left out", value.where(), key));
    } else if (value.is_string()) {
      table.add(id_of_text(value, key), value.as<std::string>());
    } else {
      table.add(value.as<std::int64_t>(), key);
    }
  }
  return table;
}

Dataset open_dataset(const fs::path& path) {
  Problems problems;
  Dataset dataset = read_dataset(path, problems);
  problems.require_none(place_of(dataset, path));
  return dataset;
}

FoundCases open_with_bad_cases(const fs::path& path) {
  Problems problems;
  Dataset dataset = read_dataset(path, problems);
  problems.require_none(place_of(dataset, path), true);
  return {std::move(dataset), problems.list()};
}

namespace {

/// A volume file, a folder with a DICOM series, or a file of one.
bool is_one_volume(const fs::path& path) {
  return is_volume_name(path) ? is_file(path) : is_dicom_file(path) || is_dicom_folder(path);
}

}  // namespace

FoundCases find_cases(const std::vector<fs::path>& paths) {
  Problems problems;
  if (paths.size() == 1 && !is_one_volume(paths[0])) return {read_path(paths[0], problems), problems.list()};
  for (const fs::path& path : paths) {
    if (is_one_volume(path)) continue;
    throw DataError("{}: of several paths each must be a volume file ({})", path.string(), supported_volume_formats());
  }
  return {read_loose(paths, problems), problems.list()};
}

Dataset pair_files(const std::vector<fs::path>& images, const std::vector<fs::path>& labels) {
  Problems problems;
  Dataset dataset = paired(images, labels, !labels.empty(), problems);
  problems.require_none("the list of images and label maps");
  return dataset;
}

NnUnetFiles nnunet_files(const std::string& name) {
  return {"imagesTr/" + channel_file(name, 0, kNnUnetEnding), fmt::format("labelsTr/{}{}", name, kNnUnetEnding)};
}

void write_nnunet_description(const fs::path& folder, const std::string& channel, const LabelTable& labels,
                              std::size_t cases) {
  Json ids = Json::object();
  if (!labels.names().contains(0)) ids["background"] = 0;
  for (const auto& [id, name] : labels.names()) ids[name] = id;
  const Json description = {{"channel_names", {{"0", channel}}},
                            {"labels", std::move(ids)},
                            {"numTraining", cases},
                            {"file_ending", kNnUnetEnding}};
  write_file(folder / kDescription, dump_pretty(description));
}

}  // namespace medgen
