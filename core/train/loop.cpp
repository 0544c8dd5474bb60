// SPDX-License-Identifier: Apache-2.0
#include "core/train/loop.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/events/event_writer.h"
#include "core/run/folder_lock.h"
#include "core/weights/safetensors.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <numbers>
#include <optional>

namespace medgen {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kEverything = MEDGEN_TRAIN_WEIGHTS | MEDGEN_TRAIN_EMA | MEDGEN_TRAIN_OPTIMIZER;

class Loop {
 public:
  Loop(Learner& learner, const BatchMaker& make_batch, const LoopOptions& options, const RunObserver& observer)
      : learner_(learner),
        make_batch_(make_batch),
        options_(options),
        observer_(observer),
        checkpoint_(options.folder / "checkpoint.safetensors") {}

  void run() {
    std::filesystem::create_directories(options_.folder);
    const FolderLock lock(options_.folder);
    resume();
    forget_log_since(options_.folder / "log.jsonl");
    log_.open(options_.folder / "log.jsonl", std::ios::app);
    if (options_.log_every > 0) events_.emplace(options_.folder / "events", iteration_ + 1);
    start_ = Clock::now();
    while (iteration_ < options_.iterations && !out_of_time()) {
      iterate();
      ++iteration_;
      if (options_.checkpoint_every > 0 && iteration_ % options_.checkpoint_every == 0) save();
      if (!observer_.cancelled()) continue;
      save();
      throw Cancelled("training was cancelled after iteration {}; run the pipeline again to go on", iteration_);
    }
    save();
  }

 private:
  double seconds() const { return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count(); }

  bool out_of_time() const { return options_.minutes > 0 && seconds() >= 60 * options_.minutes; }

  /// How much of the training is over, by whichever limit comes first.
  double fraction() const {
    const double by_count = static_cast<double>(iteration_) / static_cast<double>(options_.iterations);
    return options_.minutes > 0 ? std::max(by_count, std::min(seconds() / (60 * options_.minutes), 1.0)) : by_count;
  }

  double learning_rate() const {
    const double warm = options_.warmup == 0
                            ? 1.0
                            : std::min(1.0, static_cast<double>(iteration_ + 1) / static_cast<double>(options_.warmup));
    return options_.learning_rate * warm * schedule_factor(options_.schedule, options_.power, fraction());
  }

  void iterate() {
    CallContext context;
    context.seed = options_.seed;
    context.flags = MEDGEN_CALL_TRAINING;
    std::map<std::string, double> sums;
    for (std::uint64_t k = 0; k < options_.accumulate; ++k) {
      const std::uint64_t batch = iteration_ * options_.accumulate + k;
      context.step = static_cast<std::uint32_t>(batch);
      for (const auto& [name, value] : learner_.step(context, make_batch_(batch)))
        sums[name] += value / static_cast<double>(options_.accumulate);
    }
    if (!std::isfinite(sums["loss"])) {
      throw RuntimeError(
          "the loss is {} at iteration {}; the last checkpoint is '{}': lower the learning rate, clip the gradients, "
          "or look for bad images",
          sums["loss"], iteration_, checkpoint_.string());
    }
    const double rate = learning_rate();
    learner_.apply(context, rate);
    report(sums, rate);
  }

  void report(const std::map<std::string, double>& scalars, double rate) {
    const double loss = scalars.at("loss");
    smooth_ = iteration_ == 0 || smooth_ == 0 ? loss : 0.98 * smooth_ + 0.02 * loss;
    const std::string note = fmt::format("loss {:.4f}", smooth_);
    observer_.report({options_.step, "training", {}, iteration_ + 1, options_.iterations, note});
    const bool last = iteration_ + 1 == options_.iterations;
    if (options_.log_every == 0 || (!last && (iteration_ + 1) % options_.log_every != 0)) return;
    std::map<std::string, double> values = scalars;
    values["learning_rate"] = rate;
    Json line = values;
    line["iteration"] = iteration_ + 1;
    line["iterations"] = options_.iterations;
    line["seconds"] = seconds();
    log_ << dump_compact(line) << std::endl;
    tell_events(values);
  }

  void tell_events(const std::map<std::string, double>& values) {
    if (!events_) return;
    try {
      events_->scalars(iteration_ + 1, values);
    } catch (const RuntimeError& error) {  // the training is worth more than its curves
      observer_.say(LogLevel::Warning, fmt::format("steps.{}: no more events: {}", options_.step, error.what()));
      events_.reset();
    }
  }

  void save() {
    const Metadata metadata = {{"medgen.iteration", std::to_string(iteration_)},
                               {"medgen.seconds", fmt::format("{}", seconds())},
                               {"medgen.fingerprint", options_.fingerprint}};
    write_safetensors(checkpoint_, learner_.save(kEverything), metadata);
  }

  void resume() {
    if (!std::filesystem::exists(checkpoint_)) return;
    const SafetensorsFile file(checkpoint_);
    const auto& metadata = file.metadata();
    const auto value = [&](const char* key) {
      const auto found = metadata.find(key);
      return found == metadata.end() ? std::string() : found->second;
    };
    if (value("medgen.fingerprint") != options_.fingerprint) {
      throw DataError(
          "'{}' belongs to another training (other data, model or options); choose another folder, or delete it to "
          "start anew",
          checkpoint_.string());
    }
    iteration_ = number<std::uint64_t>(value("medgen.iteration"));
    seconds_before_ = number<double>(value("medgen.seconds"));
    learner_.load(kEverything, file.tensors());
    observer_.say(LogLevel::Info, fmt::format("steps.{}: going on from iteration {}", options_.step, iteration_));
  }

  /// Iterations after the checkpoint are done again, and logged again.
  void forget_log_since(const std::filesystem::path& file) const {
    std::ifstream log(file);
    std::string kept;
    bool forgotten = false;
    for (std::string line; std::getline(log, line);) {
      const Json entry = Json::parse(line, nullptr, false);
      const bool past = entry.is_object() && entry.value("iteration", Json()).is_number_unsigned() &&
                        entry["iteration"].get<std::uint64_t>() <= iteration_;
      if (past) kept += line + '\n';
      forgotten = forgotten || !past;
    }
    if (forgotten) write_file(file, kept);
  }

  template <typename T>
  T number(const std::string& text) const {
    T result{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
    if (error == std::errc() && end == text.data() + text.size()) return result;
    throw DataError("'{}' is damaged: it does not say how far the training was; delete it to start anew",
                    checkpoint_.string());
  }

  Learner& learner_;
  const BatchMaker& make_batch_;
  const LoopOptions& options_;
  const RunObserver& observer_;
  std::filesystem::path checkpoint_;
  std::ofstream log_;
  std::optional<EventWriter> events_;  ///< where there is a log
  Clock::time_point start_ = Clock::now();
  double seconds_before_ = 0;
  std::uint64_t iteration_ = 0;
  double smooth_ = 0;
};

}  // namespace

double schedule_factor(LearningRate schedule, double power, double fraction) {
  switch (schedule) {
    case LearningRate::Cosine:
      return 0.5 * (1.0 + std::cos(std::numbers::pi * fraction));
    case LearningRate::Polynomial:
      return std::pow(1.0 - fraction, power);
    case LearningRate::Constant:
      break;
  }
  return 1.0;
}

void train_loop(Learner& learner, const BatchMaker& make_batch, const LoopOptions& options,
                const RunObserver& observer) {
  Loop(learner, make_batch, options, observer).run();
}

}  // namespace medgen
