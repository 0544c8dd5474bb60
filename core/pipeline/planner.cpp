// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/planner.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/pipeline/reference.h"
#include "core/pipeline/schema.h"
#include "core/run/resources.h"

#include <medgen/abi/medgen.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>

namespace medgen {
namespace {

/// Components are never given less.
constexpr std::uint64_t kLeastBudget = 1 << 20;
constexpr std::uint64_t kMargin = 4 << 20;  // a process is not of one size to the byte, nor is a search to be finer

/// A budget is also that of the GPU; without one its memory is not judged, because nobody has asked it.
bool device_counts(const Host& host) {
  return on_device(host) && host.options().memory_budget > 0;
}

bool fits(const MemoryPrediction& prediction, std::uint64_t allowed, bool device_too) {
  return prediction.memory <= allowed && (!device_too || prediction.device_memory <= allowed);
}

/// A component that fails to tell what it takes stops nothing: what is wrong with it shows when it works.
template <typename Ask>
Demand demand_of(const std::string& step, const Ask& ask) {
  try {
    return ask();
  } catch (const PluginError& error) {
    Demand unknown;
    unknown.timed = false;
    unknown.unknown.insert("the model of " + step);
    unknown.complaints.emplace_back(error.what());
    return unknown;
  }
}

/// Temporary files in memory would count for nothing. @throws RuntimeError
void require_disk_for_temporary_files(const Plan& plan) {
  const auto folder = temporary_folder();
  if (!lies_in_memory(folder)) return;
  for (const StepPlan& step : plan.steps) {
    // A training has such files where its options say so, and refuses the folder itself.
    if (step.scratch == 0 || step.verb == "train") continue;
    throw RuntimeError(
        "steps.{}: to keep the budget, {} would lie in temporary files, but '{}' is a file system in memory, which the "
        "budget does not count; nothing was computed. What would fit: TMPDIR set to a folder on a disk, or a larger "
        "budget",
        step.step, size_text(step.scratch), folder.string());
  }
}

/// Warns in the steps that write where it may not fit. @param processes  that have temporary files on this machine.
/// @throws RuntimeError
void check_disk(Plan& plan, std::uint64_t processes) {
  std::map<std::string, DiskUse> uses;  // by folder
  DiskUse& temporary = uses[temporary_folder().string()];
  for (const StepPlan& step : plan.steps)
    temporary.most = temporary.least = std::max(temporary.most, processes * step.scratch);
  for (const StepPlan& step : plan.steps) {
    if (step.output == 0) continue;
    DiskUse& use = uses[step.folder];
    use.least += step.output_least;
    use.most += step.output;
    use.trains = use.trains || step.verb == "train";
  }
  for (const auto& [folder, use] : uses) {
    if (use.most == 0) continue;
    DiskUse together;
    for (const auto& [other, more] : uses) {
      if (!same_disk(folder, other)) continue;
      together.least += more.least;
      together.most += more.most;
      together.trains = together.trains || more.trains;
    }
    const std::string warning = disk_warning(together, free_disk(folder), folder);
    if (warning.empty()) continue;
    for (StepPlan& step : plan.steps) {
      if (step.output > 0 && step.folder == folder) step.warnings.push_back(warning);
    }
  }
}

}  // namespace

std::string disk_warning(const DiskUse& use, std::uint64_t free, const std::string& folder) {
  if (use.least > free) {
    throw RuntimeError(
        "the run writes at least {} to the disk of '{}' (temporary files, checkpoints, and outputs however well they "
        "compress), where {} are free; nothing was computed. What would fit: {}, another disk (\"to\", or TMPDIR for "
        "temporary files), or more memory, so that less lies in temporary files",
        size_text(use.least), folder, size_text(free),
        use.trains ? "a smaller network, \"optimizer_state\": \"memory\" where it is \"disk\""
                   : "fewer or smaller samples");
  }
  if (use.most <= free) return "";
  return fmt::format(
      "up to {} are written to the disk of '{}' (temporary files, checkpoints, and outputs before compression), "
      "where {} are free; whether it fits depends on how well they compress",
      size_text(use.most), folder, size_text(free));
}

MemoryPrediction add_up(std::uint64_t process, const std::vector<std::pair<std::string, Demand>>& demands,
                        std::uint64_t kept) {
  MemoryPrediction all;
  std::uint64_t host = process + kept;
  std::uint64_t device = 0;
  for (const auto& [name, demand] : demands) {
    MemoryPrediction::Step step{name, demand, 0, 0};
    step.memory = host + std::max(demand.loading, demand.held + demand.working);
    step.device_memory = device + demand.device_held + demand.device_working;
    host += demand.held;
    device += demand.device_held;
    if (step.memory > all.memory) all.largest = name;
    all.memory = std::max(all.memory, step.memory);
    all.device_memory = std::max(all.device_memory, step.device_memory);
    all.steps.push_back(std::move(step));
  }
  return all;
}

Planner::Planner(ConfigNode document, Host& host, const Job& job)
    : document_(std::move(document)), host_(host), job_(job), graph_(document_, host, job) {}

std::uint64_t Planner::processes() const {
  return static_cast<std::uint64_t>(job_.group->local_size());
}

/// Most memory that this process could have.
std::uint64_t Planner::available() const {
  return machine_memory().available / processes() + resident_memory();
}

MemoryPrediction Planner::predict(const HostOptions& options, const TrainWhatIf& what_if) {
  HostOptions silent = options;
  silent.log = {};  // the run will tell
  Host planner(host_.registry(), std::move(silent));
  std::vector<std::pair<std::string, Demand>> demands;
  for (const auto& [name, step] : document_.at("steps").members()) {
    if (verb_of(step) == "train") {
      demands.emplace_back(
          name, demand_of(name, [&, name = name] { return graph_.training_demand(name, planner, what_if); }));
    } else if (kSampleVerbs.contains(verb_of(step)) && graph_.is_known(name)) {
      demands.emplace_back(name,
                           demand_of(name, [&, name = name] { return graph_.source(name)->demand(planner, what_if); }));
    }
  }
  // Last, when the libraries of the plugins are loaded and have made their buffers.
  return add_up(resident_memory(), demands, kept_);
}

/// Gives components less until it fits, or until that changes nothing.
MemoryPrediction Planner::fitted(HostOptions& options, std::uint64_t allowed) {
  const bool device_too = device_counts(host_);
  MemoryPrediction free = predict(options);
  if (fits(free, allowed, device_too)) return free;
  // What is asked of a component rises with what it may take: the most that fits lies between these.
  const auto with = [&](std::uint64_t budget) {
    options.memory_budget = budget;
    return predict(options);
  };
  std::uint64_t most = allowed - std::min(allowed, resident_memory());
  if (options.memory_budget > 0) most = std::min(most, options.memory_budget);
  std::uint64_t least = kLeastBudget;
  MemoryPrediction best = with(least);
  if (!fits(best, allowed, device_too)) return best;
  std::uint64_t chosen = least;
  while (most > least + kMargin) {
    const std::uint64_t middle = least + (most - least) / 2;
    MemoryPrediction prediction = with(middle);
    if (fits(prediction, allowed, device_too)) {
      best = std::move(prediction);
      chosen = least = middle;
    } else {
      most = middle;
    }
  }
  options.memory_budget = chosen;
  return best;
}

Plan Planner::plan() {
  Plan plan;
  for (const auto& [name, step] : document_.at("steps").members()) plan.steps.push_back(graph_.plan(name));
  kept_ = graph_.kept_bytes();

  HostOptions options = host_.options();
  if (options.memory_budget > 0) plan.budget = options.memory_budget;
  options.memory_budget /= processes();
  plan.allowed = plan.budget ? options.memory_budget : available();
  const MemoryPrediction prediction = fitted(options, plan.allowed);
  plan.component_budget = options.memory_budget;
  plan.memory = prediction.memory;
  plan.device_memory = prediction.device_memory;
  if (!fits(prediction, plan.allowed, device_counts(host_))) refuse(prediction, options, plan);
  fill(prediction, plan);
  if (host_.options().memory_budget > 0) require_disk_for_temporary_files(plan);
  check_disk(plan, processes());
  return plan;
}

void Planner::fill(const MemoryPrediction& prediction, Plan& plan) const {
  plan.seconds = 0;
  std::uint64_t scratch = 0;
  for (StepPlan& step : plan.steps) {
    const auto found = std::find_if(prediction.steps.begin(), prediction.steps.end(),
                                    [&](const MemoryPrediction::Step& each) { return each.name == step.step; });
    if (found == prediction.steps.end()) {
      plan.disk += step.output;
      if (step.verb != "write" && step.verb != "import") plan.seconds.reset();
      continue;
    }
    const Demand& demand = found->demand;
    step.memory = found->memory;
    step.device_memory = found->device_memory;
    step.weights = demand.held + demand.device_held;
    step.scratch = demand.scratch;
    step.output += demand.written;
    step.output_least += demand.written;
    plan.disk += step.output;
    step.precision = demand.precision;
    step.notes.assign(demand.notes.begin(), demand.notes.end());
    step.unknown.assign(demand.unknown.begin(), demand.unknown.end());
    step.warnings.insert(step.warnings.end(), demand.complaints.begin(), demand.complaints.end());
    if (demand.timed) step.seconds = demand.seconds;
    if (!demand.timed) plan.seconds.reset();
    if (plan.seconds) *plan.seconds += demand.seconds;
    plan.complete = plan.complete && demand.unknown.empty();
    scratch = std::max(scratch, demand.scratch);
  }
  plan.disk += scratch;
}

void Planner::refuse(const MemoryPrediction& least, const HostOptions& options, const Plan& plan) {
  const std::uint64_t needed = std::max(least.memory, device_counts(host_) ? least.device_memory : 0);
  std::string text =
      fmt::format("steps.{} needs about {} of memory, {}", least.largest, size_text(needed),
                  plan.budget ? fmt::format("the budget (runtime.memory) is {}", size_text(*plan.budget))
                              : fmt::format("this machine has {} available", size_text(plan.allowed * processes())));
  if (processes() > 1) text += fmt::format(" for {} processes, {} each", processes(), size_text(plan.allowed));
  text += "; nothing was computed. What would fit:";
  for (const std::string& alternative : alternatives(plan.allowed, options, least)) text += "\n  - " + alternative;
  throw OutOfMemoryError("{}", text);
}

std::optional<std::string> Planner::smaller_volumes(std::uint64_t allowed, const HostOptions& options,
                                                    const MemoryPrediction& least, TrainWhatIf what_if) {
  const ConfigNode step = document_.at("steps").at(least.largest);
  for (const double scale : {0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125}) {
    what_if.scale = scale;
    const MemoryPrediction prediction = predict(options, what_if);
    if (!fits(prediction, allowed, device_counts(host_))) continue;
    if (verb_of(step) != "train")
      return fmt::format("smaller volumes, of {:.3g} of the length along each axis, one at a time", scale);
    const auto same = std::find_if(prediction.steps.begin(), prediction.steps.end(),
                                   [&](const MemoryPrediction::Step& each) { return each.name == least.largest; });
    const int rows = job_.group->size();  // one for each process
    const std::string batch =
        step.get<int>("batch") > rows ? fmt::format(" --set steps.{}.batch={}", least.largest, rows) : "";
    return fmt::format("smaller patches: --set steps.{}.crop=[{}]{}", least.largest, fmt::join(same->demand.patch, ","),
                       batch);
  }
  return std::nullopt;
}

std::vector<std::string> Planner::alternatives(std::uint64_t allowed, const HostOptions& options,
                                               const MemoryPrediction& least) {
  const bool device_too = device_counts(host_);
  const auto fits_with = [&](const HostOptions& tried, const TrainWhatIf& what_if) {
    return fits(predict(tried, what_if), allowed, device_too);
  };
  TrainWhatIf one_at_a_time, recomputed, read_again, on_disk, recomputed_on_disk;
  one_at_a_time.one_at_a_time = true;
  recomputed.recompute = recomputed_on_disk.recompute = true;
  read_again.read_again = true;
  on_disk.on_disk = recomputed_on_disk.on_disk = true;
  std::vector<std::string> found;
  const ConfigNode largest = document_.at("steps").at(least.largest);
  const bool trains = verb_of(largest) == "train";
  const int batch = largest.get<int>("batch", 1);
  const int smallest = trains ? job_.group->size() : 1;  // a row for each process
  if (batch > smallest && batch % smallest == 0 && fits_with(options, one_at_a_time)) {
    found.push_back(
        trains ? fmt::format("batches of {1}, gathered: --set steps.{0}.batch={1} --set steps.{0}.accumulate={2}",
                             least.largest, smallest, batch / smallest * largest.get<int>("accumulate"))
               : fmt::format("--set steps.{}.batch=1 (the samples stay the same)", least.largest));
  }
  const auto in_options = [&](std::string_view what, std::string_view means) {
    found.push_back(fmt::format("{} in the options of steps.{} ({})", what, least.largest, means));
  };
  const bool recomputing = trains && fits_with(options, recomputed), with_disk = trains && fits_with(options, on_disk);
  if (recomputing) in_options("\"checkpoint_activations\": true", "the same gradients, later");
  if (with_disk) in_options("\"optimizer_state\": \"disk\"", "the same weights, later");
  if (trains && !recomputing && !with_disk && fits_with(options, recomputed_on_disk)) {
    in_options("\"checkpoint_activations\": true and \"optimizer_state\": \"disk\"",
               "the same gradients and weights, later");
  }
  if (trains && fits_with(options, read_again))
    found.push_back(fmt::format("cases that are read again each time: --set steps.{}.loader.memory=0", least.largest));
  HostOptions half = options;
  half.precision = Precision::Bf16;
  if (options.precision == Precision::Fp32 && fits_with(half, {})) found.emplace_back("--precision bf16");
  const std::uint64_t needed = std::max(least.memory, device_too ? least.device_memory : 0);
  constexpr std::uint64_t kMiB = 1 << 20;
  // What a process takes before it works differs by this from start to start.
  constexpr std::uint64_t kOfStart = 32 * kMiB;
  const std::uint64_t budget = processes() * ((needed + std::max(needed / 50, kOfStart)) / kMiB + 1);
  if (host_.options().memory_budget > 0 && needed <= available())
    found.push_back(fmt::format("a larger budget: --set runtime.memory={}MiB", budget));
  if (const auto smaller = smaller_volumes(allowed, options, least, one_at_a_time)) {
    found.push_back(*smaller);
  } else if (trains) {
    TrainWhatIf all = recomputed_on_disk;
    all.one_at_a_time = true;
    if (const auto with_all = smaller_volumes(allowed, options, least, all))
      found.push_back(*with_all +
                      R"(, with "checkpoint_activations": true and "optimizer_state": "disk" in its options)");
  }
  if (found.empty()) found.emplace_back("a machine with more memory, or a smaller model");
  return found;
}

}  // namespace medgen
