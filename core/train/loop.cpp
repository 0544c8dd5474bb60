// SPDX-License-Identifier: Apache-2.0
#include "core/train/loop.h"

#include "core/base/error.h"
#include "core/run/folder_lock.h"
#include "core/train/shared_gradients.h"

#include <chrono>
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

namespace medgen {
namespace {

namespace fs = std::filesystem;

using Clock = std::chrono::steady_clock;

bool due(std::uint64_t iteration, std::uint64_t every) {
  return every > 0 && iteration > 0 && iteration % every == 0;
}

class Loop {
 public:
  Loop(Learner& learner, const BatchMaker& make_batch, const LoopOptions& options, const RunObserver& observer,
       const LoopHooks& hooks)
      : learner_(learner),
        make_batch_(make_batch),
        options_(options),
        observer_(observer),
        hooks_(hooks),
        group_(*options.group),
        checkpoint_(options.folder / kCheckpointFile),
        best_(options.folder / kBestFile),
        good_(options.folder / "good.safetensors"),
        watch_(options.watch) {}

  LoopResult run() {
    std::error_code error;
    fs::create_directories(options_.folder, error);
    if (error)
      throw RuntimeError("steps.{}: cannot make the folder '{}': {}", options_.step, options_.folder.string(),
                         error.message());
    std::optional<FolderLock> lock;
    if (group_.first()) lock.emplace(options_.folder);
    resume();
    if (group_.first() && options_.log_every > 0)
      log_.emplace(options_.folder, options_.step, state_.iteration, observer_);
    start_ = Clock::now();
    try {
      train();
    } catch (const Cancelled&) {
      rescue();
      tell_stopped("cancelled");
      throw Cancelled("steps.{}: the training was cancelled after iteration {}; run the pipeline again to go on",
                      options_.step, state_.iteration);
    } catch (const std::exception& failure) {
      if (!group_.alone()) rescue();
      tell_stopped(failure.what());
      throw;
    }
    unsaved_ = unsaved_ || out_of_time();  // that its time is over is part of the state
    save();
    if (out_of_patience() && state_.iteration < options_.iterations)
      tell_stopped(fmt::format("no lower loss on held-out cases in {} validations", state_.stale));
    return finish();
  }

 private:
  void tell_stopped(const std::string& reason) {
    if (log_) log_->stopped(state_.iteration, reason);
  }

  double seconds() const { return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count(); }

  /// As all processes see it.
  double elapsed() const { return group_.alone() ? seconds() : elapsed_; }

  bool out_of_time() const { return options_.minutes > 0 && elapsed() >= 60 * options_.minutes; }

  bool out_of_patience() const { return options_.patience > 0 && state_.stale >= options_.patience; }

  bool goes_on() const { return state_.iteration < options_.iterations && !out_of_time() && !out_of_patience(); }

  /// How much of the training is over, by whichever limit comes first.
  double fraction() const {
    const double by_count = static_cast<double>(state_.iteration) / static_cast<double>(options_.iterations);
    return options_.minutes > 0 ? std::max(by_count, std::min(elapsed() / (60 * options_.minutes), 1.0)) : by_count;
  }

  double learning_rate() const {
    const double warm =
        options_.warmup == 0
            ? 1.0
            : std::min(1.0, static_cast<double>(state_.iteration + 1) / static_cast<double>(options_.warmup));
    return options_.learning_rate * warm * schedule_factor(options_.schedule, options_.power, fraction());
  }

  /// What is due after an iteration comes before its checkpoint: whoever goes on from that has it behind.
  void train() {
    examine(false);
    while (goes_on()) {
      iterate();
      examine(!goes_on());
      if (due(state_.iteration, options_.checkpoint_every)) save();
      check_cancelled();
    }
    examine(true);  // for a training whose time was over before it began
  }

  /// Several processes end after the same iteration.
  void check_cancelled() const {
    if (group_.alone()) return observer_.check_cancelled();
    if (cancelled_) throw Cancelled("cancelled");
  }

  void iterate() {
    CallContext context;
    context.seed = options_.seed;
    context.flags = MEDGEN_CALL_TRAINING;
    context.sample = static_cast<std::uint32_t>(options_.share.first);
    Scalars sums = gather(context);
    if (!group_.alone()) agree(sums);
    const bool skipped = options_.scales_gradients && !std::isfinite(sums.at("loss"));
    if (const auto trouble = skipped ? std::nullopt : watch_.loss(sums.at("loss"))) stop(*trouble);
    const double rate = learning_rate();
    apply(context, rate);
    report(sums, rate);
    ++state_.iteration;
    unsaved_ = true;
  }

  /// Gradients of the batches of an iteration, which meet those of other processes in the last one.
  Scalars gather(CallContext& context) {
    SharedGradients gradients(group_, options_.share.weight());
    Scalars sums;
    for (std::uint64_t k = 0; k < options_.accumulate; ++k) {
      const std::uint64_t batch = state_.iteration * options_.accumulate + k;
      context.step = static_cast<std::uint32_t>(batch);
      if (!group_.alone() && k + 1 == options_.accumulate) context.gradients = &gradients;
      const Scalars scalars = learn(context, batch);
      if (!overflows(scalars.at("loss"))) require_finite(scalars.at("loss"), batch);
      for (const auto& [name, value] : scalars) sums[name] += value / static_cast<double>(options_.accumulate);
    }
    context.gradients = nullptr;
    if (!group_.alone()) gradients.require_used();
    return sums;
  }

  /// What the plugin refuses is mostly in the data: the message names the cases.
  Scalars learn(const CallContext& context, std::uint64_t batch) {
    const TensorMap made = make_batch_(batch);
    try {
      return learner_.step(context, made);
    } catch (const PluginError& error) {
      throw PluginError("at iteration {}{}: {}", state_.iteration, described(batch), error.what());
    }
  }

  /// Makes the scalars means over the whole batch, the clock that of the first process, and cancelling everybody's.
  void agree(Scalars& scalars) {
    std::vector<double> all = {group_.first() ? seconds() : 0.0, observer_.cancelled() ? 1.0 : 0.0};
    for (const auto& [name, value] : scalars) all.push_back(value * options_.share.weight());
    group_.sum(all);
    elapsed_ = all[0];
    cancelled_ = all[1] > 0;
    std::size_t next = 2;
    for (auto& [name, value] : scalars) value = all[next++];
  }

  /// Of fp16 the optimiser leaves the step out and scales less; for so many steps in a row nothing helps.
  bool overflows(double loss) {
    constexpr std::uint64_t kMost = 100;
    overflows_ = options_.scales_gradients && !std::isfinite(loss) ? overflows_ + 1 : 0;
    return overflows_ > 0 && overflows_ <= kMost;
  }

  void require_finite(double loss, std::uint64_t batch) {
    if (std::isfinite(loss)) return;
    bring_back();
    throw RuntimeError(
        "the loss is {} at iteration {}{}; {}: lower the learning rate, clip the gradients, or look at "
        "these cases",
        loss, state_.iteration, described(batch), last_good());
  }

  void apply(const CallContext& context, double rate) {
    sound_ = false;
    try {
      learner_.apply(context, rate);
      sound_ = true;
    } catch (const PluginError& error) {  // gradients that are not finite
      bring_back();
      throw RuntimeError("at iteration {}{}: {}; {}", state_.iteration,
                         described(state_.iteration * options_.accumulate), error.what(), last_good());
    }
  }

  std::string described(std::uint64_t batch) const {
    return hooks_.describe ? fmt::format(" ({})", hooks_.describe(batch)) : "";
  }

  std::string last_good() const {
    return fs::exists(checkpoint_) ? fmt::format("the last good state is '{}'", checkpoint_.string())
                                   : "there is no checkpoint yet";
  }

  /// The last state that nothing spoke against.
  void bring_back() {
    sound_ = false;
    if (group_.first() && fs::exists(good_)) fs::rename(good_, checkpoint_);
  }

  [[noreturn]] void stop(const std::string& trouble) {
    bring_back();
    throw RuntimeError(
        "training stops at iteration {}: {}; {}: lower the learning rate, clip the gradients, or set "
        "\"watch\" in the step",
        state_.iteration, trouble, last_good());
  }

  void examine(bool at_end) {
    const std::uint64_t now = state_.iteration;
    const bool validates = hooks_.validate && options_.validate_every > 0 && now > 0;
    if (validates && state_.validated != now && (at_end || due(now, options_.validate_every))) validate();
    if (hooks_.sample && state_.sampled != now && due(now, options_.sample_every)) sample();
  }

  void validate() {
    const Scalars scalars = validated();
    const double loss = scalars.at("loss");
    if (!std::isfinite(loss)) stop(fmt::format("the loss on the held-out cases is {}", loss));
    const bool better = !state_.best || loss < state_.best->loss;
    state_.validated = state_.iteration;
    state_.stale = better ? 0 : state_.stale + 1;
    state_.scalars = scalars;
    if (better) state_.best = BestLoss{loss, state_.iteration, scalars};
    if (better && group_.first()) save_checkpoint(best_, learner_, current(), options_.fingerprint);
    unsaved_ = true;
    Scalars named;
    for (const auto& [name, value] : scalars) named["validation_" + name] = value;
    if (log_) log_->tell(state_.iteration, options_.iterations, seconds(), named);
    last_validation_ = fmt::format(", held-out {:.4f}", loss);
    if (out_of_patience()) {
      observer_.say(LogLevel::Info,
                    fmt::format("steps.{}: {} validations without a lower loss than {:.4g} (iteration {}): it ends",
                                options_.step, state_.stale, state_.best->loss, state_.best->iteration));
    }
  }

  /// What fails in between may leave the learner with something else than its weights.
  Scalars validated() {
    try {
      return hooks_.validate();
    } catch (const Cancelled&) {
      throw;
    } catch (...) {
      sound_ = false;
      throw;
    }
  }

  void sample() {
    const TrainingSample made = group_.first() ? hooks_.sample(state_.iteration) : TrainingSample();
    if (log_ && !made.png.empty()) log_->show(state_.iteration, "samples", made.png);
    if (log_ && !made.spreads.empty()) log_->tell(state_.iteration, options_.iterations, seconds(), made.spreads);
    if (const auto trouble = watch_.spread(made.spreads)) stop(*trouble);
    state_.sampled = state_.iteration;
    unsaved_ = true;
  }

  void report(const Scalars& scalars, double rate) {
    const std::uint64_t done = state_.iteration + 1;
    const double loss = scalars.at("loss");
    if (std::isfinite(loss)) smooth_ = state_.iteration == 0 || smooth_ == 0 ? loss : 0.98 * smooth_ + 0.02 * loss;
    const std::string note = fmt::format("loss {:.4f}{}", smooth_, last_validation_);
    observer_.report({options_.step, "training", {}, done, options_.iterations, note});
    if (!log_ || (done != options_.iterations && done % options_.log_every != 0)) return;
    Scalars values = scalars;
    std::erase_if(values, [](const auto& value) { return !std::isfinite(value.second); });  // of a step left out
    values["learning_rate"] = rate;
    log_->tell(done, options_.iterations, seconds(), values);
  }

  LoopState current() const {
    LoopState state = state_;
    state.seconds = seconds();
    state.watch = watch_.state();
    return state;
  }

  /// While the loss rises, the state before it did is kept beside the last one.
  void save() {
    if (!unsaved_) return;
    if (!group_.alone()) require_agreement();
    if (group_.first()) write_checkpoint();
    unsaved_ = false;
  }

  /// The state after the last iteration, for the run that goes on from what ends here.
  void rescue() {
    if (!unsaved_ || !sound_ || !group_.first()) return;
    write_checkpoint();
    unsaved_ = false;
    if (!group_.alone())
      observer_.say(LogLevel::Info,
                    fmt::format("steps.{}: checkpoint after iteration {}", options_.step, state_.iteration));
  }

  void require_agreement() {
    if (group_.agrees(weights_hash(learner_))) return;
    sound_ = false;
    throw RuntimeError(
        "the processes do not hold the same weights any more after iteration {}; they must run on processors of one "
        "kind, with one build; {}",
        state_.iteration, last_good());
  }

  void write_checkpoint() {
    const bool doubtful = watch_.doubtful();
    if (doubtful && !fs::exists(good_) && fs::exists(checkpoint_)) fs::rename(checkpoint_, good_);
    save_checkpoint(checkpoint_, learner_, current(), options_.fingerprint);
    if (!doubtful) fs::remove(good_);
  }

  void resume() {
    load_last();
    elapsed_ = seconds_before_;
    if (!group_.agrees(std::to_string(state_.iteration))) {
      throw DataError("'{}' is not the same for all processes of the job: they must share the folder",
                      checkpoint_.string());
    }
  }

  /// A training killed between the renaming of one and the writing of the next has only the good state.
  void load_last() {
    const bool renamed = !fs::exists(checkpoint_) && fs::exists(good_);
    const fs::path& from = renamed ? good_ : checkpoint_;
    if (!fs::exists(from)) return;
    state_ = load_checkpoint(from, learner_, options_.fingerprint);
    seconds_before_ = state_.seconds;
    watch_ = Watch(options_.watch, state_.watch);
    observer_.say(LogLevel::Info,
                  state_.iteration < options_.iterations
                      ? fmt::format("steps.{}: going on from iteration {}", options_.step, state_.iteration)
                      : fmt::format("steps.{}: all {} iterations are done", options_.step, state_.iteration));
  }

  LoopResult finish() {
    LoopResult result{current(), state_.iteration, out_of_patience()};
    if (!options_.keep_best || !state_.best || state_.best->iteration == state_.iteration) return result;
    if (iteration_of_checkpoint(best_, {}) != state_.best->iteration) {  // written after the checkpoint gone on from
      observer_.say(LogLevel::Warning,
                    fmt::format("steps.{}: '{}' is not of the best iteration, {}; the last weights are kept",
                                options_.step, best_.string(), state_.best->iteration));
      return result;
    }
    result.kept = load_checkpoint(best_, learner_, options_.fingerprint).iteration;
    return result;
  }

  Learner& learner_;
  const BatchMaker& make_batch_;
  const LoopOptions& options_;
  const RunObserver& observer_;
  const LoopHooks& hooks_;
  Group& group_;
  fs::path checkpoint_, best_, good_;
  Watch watch_;
  std::optional<LogWriter> log_;
  Clock::time_point start_ = Clock::now();
  double seconds_before_ = 0;
  double elapsed_ = 0;      ///< of several processes, after the last iteration
  bool cancelled_ = false;  ///< any of them
  LoopState state_;
  bool unsaved_ = false;         ///< the checkpoint does not hold the state
  bool sound_ = true;            ///< the learner is between two optimiser steps, and nothing speaks against its numbers
  std::uint64_t overflows_ = 0;  ///< losses in a row that were not finite
  double smooth_ = 0;
  std::string last_validation_;  ///< for the bar
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

LoopResult train_loop(Learner& learner, const BatchMaker& make_batch, const LoopOptions& options,
                      const RunObserver& observer, const LoopHooks& hooks) {
  return Loop(learner, make_batch, options, observer, hooks).run();
}

}  // namespace medgen
