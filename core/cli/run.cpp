// SPDX-License-Identifier: Apache-2.0
// medgen run, medgen plan

#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/cli/plan_text.h"
#include "core/cli/signals.h"
#include "core/inspect/inspect.h"
#include "core/parallel/launch.h"
#include "core/pipeline/pipeline.h"
#include "core/plugin/cuda_driver.h"
#include "core/run/run_trace.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <iterator>
#include <optional>

namespace medgen::cli {
namespace {

struct RunOptions {
  std::string pipeline;
  std::vector<std::string> settings;
  std::optional<std::uint64_t> seed;
  std::optional<int> threads;
  std::string precision;
  std::string device;
  std::string trace;
  std::optional<std::string> shard;
  bool dry_run = false;
};

/// The settings in the order of their power: options of their own come after --set.
std::vector<std::string> all_settings(const RunOptions& options) {
  std::vector<std::string> settings = options.settings;
  if (options.seed) settings.push_back(fmt::format("seed={}", *options.seed));
  if (options.threads) settings.push_back(fmt::format("runtime.threads={}", *options.threads));
  if (!options.precision.empty()) settings.push_back("runtime.precision=" + options.precision);
  if (!options.device.empty()) settings.push_back("runtime.device=" + options.device);
  return settings;
}

Pipeline load(const RunOptions& options) {
  if (options.pipeline != "-") return Pipeline::load(options.pipeline, all_settings(options));
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  return Pipeline::parse(text, std::filesystem::current_path(), all_settings(options));
}

/// Processes on one machine divide its cores and its GPUs, unless they were told which to use.
void share_machine(HostOptions& options, int processes) {
  if (options.threads == 0) options.threads = threads_of_one(processes);
  const int devices = options.device.type == MEDGEN_DEVICE_CUDA ? cuda_driver().devices : 0;
  if (devices > 0) options.device.index = (options.device.index + local_rank()) % devices;
}

HostOptions host_options(const Pipeline& pipeline, Reporter& reporter, int local_processes = 1) {
  HostOptions options = pipeline.host_options();
  if (local_processes > 1) share_machine(options, local_processes);
  options.log = [&reporter](int level, std::string_view text) { reporter.log(log_level(level), text); };
  return options;
}

void print_plan(const Pipeline& pipeline, Host& host, const Invocation& call) {
  const Plan plan = pipeline.plan(host);
  if (call.json) return print_json(plan_document(plan, pipeline.seed()));
  print(printable(plan_text(plan)));
}

void print_result(const Pipeline& pipeline, const std::vector<std::filesystem::path>& outputs, double seconds,
                  const Invocation& call) {
  if (!call.json) {
    for (const auto& folder : outputs) print(folder.lexically_normal().string() + '\n');
    return;
  }
  Json folders = Json::array();
  for (const auto& folder : outputs) folders.push_back(folder.string());
  print_json({{"status", "done"},
              {"seed", pipeline.seed()},
              {"steps", pipeline.steps()},
              {"outputs", folders},
              {"seconds", seconds}});
}

/// Finds the processes that were started together with this one. All but the first are silent.
CancelToken& join(Invocation& call) {
  CancelToken& cancel = cancel_on_signals(call.talks());
  call.group = join_launched(cancel);
  if (!call.speaks()) {
    call.quiet = true;
    cancel_on_signals(false);
  }
  return cancel;
}

/// The part of the samples that --shard names, divided again among the processes that were started together.
Job job_of(const RunOptions& options, const Invocation& call) {
  Job job;
  if (options.shard) job.part = *options.shard == "slurm" ? slurm_array_part() : parse_part(*options.shard);
  if (!call.group) return job;
  job.group = call.group.get();
  const Part own = job.group->part();
  job.part = {job.part.index * own.count + own.index, job.part.count * own.count};
  return job;
}

/// Samples and checkpoints stay, so an interrupted run goes on when it is started again.
std::vector<std::filesystem::path> run_to_end(const Pipeline& pipeline, Host& host, const RunObserver& observer,
                                              const Job& job) {
  try {
    return pipeline.run(host, observer, job);
  } catch (const Cancelled& cancelled) {
    const std::string text = cancelled.what();
    if (text.find("to go on") != std::string::npos) throw;
    throw Cancelled("{}; run the pipeline again to go on", text);
  }
}

void run(const RunOptions& options, Invocation& call) {
  const auto start = std::chrono::steady_clock::now();
  CancelToken* const cancel = options.dry_run ? nullptr : &join(call);
  const Pipeline pipeline = load(options);
  const Job job = job_of(options, call);
  Reporter reporter(call.progress_style(), call.log_level());
  RunTrace trace(options.dry_run || !call.speaks() ? "" : options.trace,
                 [&reporter](std::string_view text) { reporter.log(LogLevel::Warning, text); });
  HostOptions for_host = host_options(pipeline, reporter, job.group->local_size());
  for_host.trace = trace.get();
  Host host(call.registry(), for_host);
  if (options.dry_run) return print_plan(pipeline, host, call);
  RunObserver observer = reporter.observer(cancel);
  observer.trace = trace.get();
  const auto outputs = run_to_end(pipeline, host, observer, job);
  reporter.clear();
  if (call.speaks())
    print_result(pipeline, outputs, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                 call);
  trace.finish();
}

void plan(const RunOptions& options, const Invocation& call) {
  const Pipeline pipeline = load(options);
  Reporter reporter(ProgressStyle::None, call.log_level());
  Host host(call.registry(), host_options(pipeline, reporter));
  print_plan(pipeline, host, call);
}

void add_pipeline_options(CLI::App& app, RunOptions& options, Invocation& call) {
  app.add_option("PIPELINE", options.pipeline, "The pipeline's JSON file; - reads standard input")->required();
  add_set_option(app, options.settings, "Override a value: --set steps.ct.steps=10; may be given again");
  app.add_option("--seed", options.seed, "Override the pipeline's seed")->type_name("N")->check(seed_range());
  app.add_option("--threads", options.threads, "Threads to compute with; 0: as many as there are")
      ->type_name("N")
      ->check(CLI::Range(0, 4096));
  app.add_option("--precision", options.precision, "What networks compute in")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}));
  app.add_option("--device", options.device, "Where networks compute: auto, cpu, cuda:0")->type_name("DEVICE");
  add_plugin_dir_option(app, call);
  add_json_option(app, call);
}

void configure_run(CLI::App& app, Invocation& call) {
  const auto options = std::make_shared<RunOptions>();
  add_pipeline_options(app, *options, call);
  app.add_flag("-n,--dry-run", options->dry_run, "Check and plan; compute and write nothing");
  app.add_option("--trace", options->trace, "Write how long everything took, for Perfetto and chrome://tracing")
      ->type_name("FILE");
  app.add_option("--shard", options->shard,
                 "Make this part of the samples: 2/8 is the second of eight; slurm: that of the task of a job array")
      ->type_name("I/N");
  add_progress_options(app, call);
  app.callback([options, &call] { run(*options, call); });
}

void configure_plan(CLI::App& app, Invocation& call) {
  const auto options = std::make_shared<RunOptions>();
  add_pipeline_options(app, *options, call);
  app.callback([options, &call] { plan(*options, call); });
}

}  // namespace

const Command kRunCommand = {"run", "Run a pipeline. Run it again after an interruption and it goes on where it was.",
                             "% pipeline.json\n"
                             "% pipeline.json --set steps.ct.steps=10 --seed 7\n"
                             "% pipeline.json --json --progress=json",
                             configure_run};

const Command kPlanCommand = {"plan", "Check a pipeline, its models and inputs, and say what a run would do.",
                              "% pipeline.json\n"
                              "% pipeline.json --set steps.ct.count=100 --json",
                              configure_plan};

}  // namespace medgen::cli
