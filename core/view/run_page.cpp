// SPDX-License-Identifier: Apache-2.0
#include "core/view/run_page.h"

#include "core/base/file.h"
#include "core/io/contact_sheet.h"
#include "core/io/volume_file.h"
#include "core/run/manifest.h"
#include "core/view/html.h"
#include "core/view/run_record.h"
#include "core/view/training_log.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

namespace fs = std::filesystem;

using html::escaped;
using Facts = std::vector<std::pair<std::string, std::string>>;

/// "12 s", "4 min 10 s", "3 h 5 min"
std::string duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e12)) return "?";
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{:.3g} s", seconds);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

double number_of(const std::string& text) {
  return text.empty() ? std::nan("") : std::strtod(text.c_str(), nullptr);
}

void add_fact(Facts& facts, const std::string& name, const std::string& value) {
  if (!value.empty()) facts.emplace_back(name, value);
}

class PageWriter {
 public:
  PageWriter(fs::path folder, std::size_t most_samples, const RunObserver& observer)
      : folder_(std::move(folder)), most_samples_(most_samples), observer_(observer) {}

  RunPage write() {
    const std::vector<fs::path> trainings = training_folders(folder_);
    const std::optional<RunRecord> record = read_run_record(folder_);
    if (trainings.empty() && !record) {
      throw DataError(
          "'{}' holds no run: neither run.json nor run.journal.jsonl nor log.jsonl, here or in training/STEP",
          folder_.string());
    }
    for (const fs::path& training : trainings) write_training(read_training_log(training));
    write_model();
    if (record) write_run(*record);
    write_problems();
    page_.html = html::filled(html::kPageTemplate,
                              {{"title", escaped(title())},
                               {"subtitle", escaped(fs::absolute(folder_).lexically_normal().string())},
                               {"body", body_},
                               {"footer", escaped(fmt::format("Written {} by medgen view. The page is a copy of that "
                                                              "moment; write it again to see more.",
                                                              utc_now()))}});
    return std::move(page_);
  }

 private:
  std::string title() const {
    return "medgen: " + fs::absolute(folder_ / "").lexically_normal().parent_path().filename().string();
  }

  void write_training(const TrainingLog& log) {
    body_ += fmt::format("<section><h2>Training {}</h2>\n", escaped(log.name));
    Facts facts = {{"state", state_of(log)}, {"iteration", iteration_of(log)}, {"time spent", duration(log.seconds)}};
    if (const auto left = log.seconds_left(); left && !ended(log) && !log.stopped)
      facts.emplace_back("time left", duration(*left));
    const auto last = [&](const char* name) {
      const auto curve = log.curves.find(name);
      return curve == log.curves.end() ? "" : fmt::format("{:.4g}", curve->second.back().second);
    };
    add_fact(facts, "loss", last("loss"));
    add_fact(facts, "iterations a second", last("speed"));
    body_ += html::facts(facts);
    write_charts(log);
    write_pictures(log.folder / "samples");
    if (log.torn > 0)
      page_.problems.push_back(fmt::format("{}: {} lines of log.jsonl are no records", log.name, log.torn));
    body_ += "</section>\n";
  }

  static std::string iteration_of(const TrainingLog& log) {
    return log.iterations ? fmt::format("{} of {}", log.iteration, *log.iterations) : std::to_string(log.iteration);
  }

  /// The package is written at the end: it tells of a training that ended by its minutes, or whose log does not say how
  /// long it is.
  bool ended(const TrainingLog& log) const {
    if (log.complete()) return true;
    std::error_code none, error;
    const auto model = fs::last_write_time(folder_ / "model.json", none);
    if (none) return false;
    return !log.iterations || model >= fs::last_write_time(log.folder / "log.jsonl", error);
  }

  std::string state_of(const TrainingLog& log) const {
    if (log.stopped) return (ended(log) ? "complete, ended early: " : "stopped: ") + *log.stopped;
    if (ended(log)) return "complete";
    std::error_code error;
    const auto changed = fs::last_write_time(log.folder / "log.jsonl", error);
    if (error) return "not complete";
    const double age = std::chrono::duration<double>(fs::file_time_type::clock::now() - changed).count();
    return fmt::format("not complete, last line {} ago", duration(std::max(0.0, age)));
  }

  void write_charts(const TrainingLog& log) {
    body_ += "<div class=\"charts\">\n";
    const auto draw = [&](const std::string& name, const Curve& curve) {
      const std::string chart = svg_chart(name, curve, name != "learning_rate");
      page_.curves += chart.empty() ? 0 : 1;
      body_ += chart;
    };
    const auto loss = log.curves.find("loss");
    if (loss != log.curves.end()) draw("loss", loss->second);
    for (const auto& [name, curve] : log.curves) {
      if (name != "loss") draw(name, curve);
    }
    body_ += "</div>\n";
  }

  /// Pictures that a training made of what it can do, newest last; the last ones are shown.
  void write_pictures(const fs::path& folder) {
    constexpr std::uint64_t kMostBytes = 16u << 20;
    std::error_code error;
    if (!fs::is_directory(folder, error)) return;
    std::vector<fs::path> files = files_in(folder, [](const fs::path& path) { return path.extension() == ".png"; });
    if (files.size() > most_samples_)
      files.erase(files.begin(), files.end() - static_cast<std::ptrdiff_t>(most_samples_));
    for (const fs::path& file : files) {
      try {
        add_picture(file.stem().string(), read_file(file, kMostBytes));
      } catch (const DataError& unreadable) {
        page_.problems.emplace_back(unreadable.what());
      }
    }
  }

  void add_picture(const std::string& name, const std::string& png) {
    body_ +=
        fmt::format("<figure><img loading=\"lazy\" alt=\"{0}\" src=\"{1}\"><figcaption>{0}</figcaption></figure>\n",
                    escaped(name), html::png_uri(png));
    ++page_.samples;
  }

  /// The package that a training has written.
  void write_model() {
    constexpr std::uint64_t kMostBytes = 16u << 20;
    if (!fs::exists(folder_ / "model.json")) return;
    const Json model = parse_record(read_file(folder_ / "model.json", kMostBytes));
    if (!model.is_object()) {
      page_.problems.emplace_back("model.json is no JSON object");
      return;
    }
    body_ += "<section><h2>Model</h2>\n";
    Facts facts;
    for (const char* key : {"name", "title", "version", "license"}) add_fact(facts, key, text_at(model, {key}));
    body_ += html::facts(facts);
    if (const std::string credit = text_at(model, {"credit"}); !credit.empty())
      body_ += fmt::format("<p class=\"soft\">{}</p>\n", escaped(credit));
    write_details("model.json", model);
    body_ += "</section>\n";
  }

  void write_run(const RunRecord& record) {
    page_.problems.insert(page_.problems.end(), record.problems.begin(), record.problems.end());
    body_ += "<section><h2>Run</h2>\n";
    const Json manifest = record.manifest ? *record.manifest : Json::object();
    body_ += html::facts(run_facts(record, manifest));
    write_models(manifest);
    if (record.manifest) write_details("run.json", manifest);
    body_ += "</section>\n<section><h2>Samples</h2>\n";
    write_samples(record.samples);
    body_ += "</section>\n";
  }

  static Facts run_facts(const RunRecord& record, const Json& manifest) {
    Facts facts;
    const std::string status = text_at(manifest, {"run", "status"});
    add_fact(facts, "state", record.manifest ? status : "not ended: running, or stopped from outside");
    add_fact(facts, "samples", std::to_string(record.samples.size()));
    add_fact(facts, "seed", text_at(manifest, {"seed"}));
    add_fact(facts, "started", text_at(manifest, {"run", "started"}));
    if (const std::string seconds = text_at(manifest, {"run", "seconds"}); !seconds.empty())
      add_fact(facts, "time", duration(number_of(seconds)));
    if (const std::string bytes = text_at(manifest, {"run", "peak_memory_bytes"}); !bytes.empty())
      add_fact(facts, "peak memory", fmt::format("{:.0f} MiB", number_of(bytes) / (1 << 20)));
    add_fact(facts, "precision", text_at(manifest, {"run", "precision"}));
    add_fact(facts, "medgen", text_at(manifest, {"run", "medgen_version"}));
    return facts;
  }

  void write_models(const Json& manifest) {
    const Json models = manifest.contains("run") && manifest["run"].is_object() && manifest["run"].contains("models")
                            ? manifest["run"]["models"]
                            : Json();
    if (!models.is_array() || models.empty()) return;
    body_ += "<table><tr><th>step</th><th>model</th><th>licence</th><th>credit</th></tr>\n";
    for (const Json& model : models) {
      body_ += "<tr>";
      for (const char* key : {"step", "name", "license", "credit"})
        body_ += fmt::format("<td>{}</td>", escaped(text_at(model, {key})));
      body_ += "</tr>\n";
    }
    body_ += "</table>\n";
  }

  void write_details(const char* title, const Json& json) {
    body_ += fmt::format("<details><summary>{}</summary><pre>{}</pre></details>\n", title,
                         escaped(json.dump(2, ' ', false, Json::error_handler_t::replace)));
  }

  void write_samples(const std::vector<SampleRecord>& samples) {
    const std::size_t shown = std::min(samples.size(), most_samples_);
    for (std::size_t i = 0; i < shown; ++i) {
      observer_.check_cancelled();
      observer_.report({{}, "drawing", samples[i].name, i + 1, shown, {}});
      write_sample(samples[i]);
    }
    if (samples.empty()) body_ += "<p>none is finished yet</p>\n";
    if (shown < samples.size())
      body_ += fmt::format("<p class=\"soft\">{} more are not drawn</p>\n", samples.size() - shown);
  }

  /// Three planes, each the label map beside the image with its outlines.
  void write_sample(const SampleRecord& sample) {
    ContactSheetOptions options;
    options.outlines = true;
    try {
      ContactSheetRow row{read_volume(sample.image), std::nullopt};
      if (sample.label) row.label = read_volume(*sample.label);
      add_picture(sample.name, encode_png(draw_contact_sheet({row}, options)));
    } catch (const DataError& unreadable) {
      body_ += fmt::format("<p class=\"bad\">{}: {}</p>\n", escaped(sample.name), escaped(unreadable.what()));
      page_.problems.push_back(sample.name + ": " + unreadable.what());
    }
  }

  void write_problems() {
    if (page_.problems.empty()) return;
    body_ += "<section><h2>What could not be shown</h2><ul>\n";
    for (const std::string& problem : page_.problems) body_ += fmt::format("<li>{}</li>\n", escaped(problem));
    body_ += "</ul></section>\n";
  }

  fs::path folder_;
  std::size_t most_samples_;
  const RunObserver& observer_;
  std::string body_;
  RunPage page_;
};

}  // namespace

RunPage make_run_page(const fs::path& folder, std::size_t most_samples, const RunObserver& observer) {
  return PageWriter(folder, most_samples, observer).write();
}

}  // namespace medgen
