// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/pipeline.h"

#include "core/base/file.h"
#include "core/base/text.h"
#include "core/config/json.h"
#include "core/config/override.h"
#include "core/config/parse.h"
#include "core/data/split.h"
#include "core/pipeline/case_conditions.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/data_split.h"
#include "core/pipeline/import_step.h"
#include "core/pipeline/planner.h"
#include "core/pipeline/schema.h"
#include "core/pipeline/steps.h"
#include "core/pipeline/train_options.h"
#include "core/run/resources.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>

namespace medgen {
namespace {

constexpr std::uint64_t kLeastMemory = 1 << 20;
const std::vector<std::string> kCreatable = {"runtime", "seed"};

bool processor_has_bf16() {
  return __builtin_cpu_supports("avx512bf16") != 0 || __builtin_cpu_supports("amx-bf16") != 0;
}

/// GPUs that this is built for have bf16.
Precision precision_of(const std::string& name, const medgen_device_t& device) {
  if (name == "auto")
    return device.type == MEDGEN_DEVICE_CUDA || processor_has_bf16() ? Precision::Bf16 : Precision::Fp32;
  return name == "bf16" ? Precision::Bf16 : Precision::Fp32;
}

medgen_device_t device_of(const ConfigNode& runtime) {
  const auto name = runtime.get<std::string>("device");
  if (!name.starts_with("cuda")) return {MEDGEN_DEVICE_CPU, 0};
  const std::size_t colon = name.find(':');
  return {MEDGEN_DEVICE_CUDA, colon == std::string::npos ? 0 : std::stoi(name.substr(colon + 1))};
}

/// Parts without a group know nothing of each other: a model that one of them trains is made by all.
void check_part(const ConfigNode& steps, const Job& job) {
  if (job.part.count == job.group->part().count) return;
  for (const auto& [name, step] : steps.members()) {
    const std::string verb(verb_of(step));
    if (verb == "train" || verb == "import") {
      throw UsageError("--shard divides samples, but steps.{} is a {} step: run it first, in a pipeline of its own",
                       name, verb);
    }
  }
}

/// What a train step says in tables beside the pipeline. @throws DataError with the line
CaseConditions read_tables(const ConfigNode& step) {
  const SplitOptions split = SplitOptions::read(step, 0);
  if (!split.subjects.empty()) read_subject_table(split.subjects);
  return CaseConditions::read(step);
}

/// The document with every step checked against its verb's schema and completed.
ConfigNode resolve_document(const ConfigNode& document) {
  const ConfigNode root = document_schema().resolve(document);
  Json resolved = root.json();
  std::vector<std::string> problems;
  for (const auto& [name, step] : root.at("steps").members()) {
    resolved["steps"][name] = verb_schema(verb_of(step)).resolve(step).json();
  }
  return root.with_value(std::move(resolved));
}

}  // namespace

struct Pipeline::Impl {
  ConfigNode document;
};

Pipeline::Pipeline(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;
Pipeline& Pipeline::operator=(Pipeline&&) noexcept = default;

namespace {

ConfigNode prepared(const ConfigNode& document, const std::vector<std::string>& overrides) {
  const ConfigNode resolved = resolve_document(apply_overrides(document, overrides, kCreatable));
  check_references(resolved.at("steps"));
  return resolved;
}

}  // namespace

Pipeline Pipeline::load(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  return Pipeline(std::make_unique<Impl>(Impl{prepared(read_config(file), overrides)}));
}

Pipeline Pipeline::parse(const std::string& text, const std::filesystem::path& folder,
                         const std::vector<std::string>& overrides) {
  return Pipeline(std::make_unique<Impl>(Impl{prepared(parse_config(text, "pipeline", folder), overrides)}));
}

std::string Pipeline::resolved() const {
  return dump_pretty(impl_->document.json());
}

std::uint64_t Pipeline::seed() const {
  return impl_->document.get<std::uint64_t>("seed");
}

HostOptions Pipeline::host_options() const {
  const ConfigNode runtime = impl_->document.at("runtime");
  HostOptions options;
  options.threads = runtime.get<int>("threads");
  options.device = device_of(runtime);
  options.precision = precision_of(runtime.get<std::string>("precision"), options.device);
  if (runtime.contains("memory")) {
    options.memory_budget = runtime.at("memory").as_bytes();
    if (options.memory_budget < kLeastMemory)
      runtime.at("memory").fail("must be at least 1MiB, got {} bytes", options.memory_budget);
  }
  return options;
}

std::vector<std::string> Pipeline::steps() const {
  std::vector<std::string> names;
  for (const auto& [name, step] : impl_->document.at("steps").members()) names.push_back(name);
  return names;
}

void Pipeline::check(Host& host) const {
  plan(host);
}

void Pipeline::check_models(Host& host) const {
  const Registry& registry = host.registry();
  const ConfigNode steps = impl_->document.at("steps");
  for (const auto& [name, step] : steps.members()) {
    const std::string verb(verb_of(step));
    if (step.contains("scheduler")) create_component(host, read_scheduler(step.at("scheduler"), registry));
    const CaseConditions conditions = verb == "train" ? read_tables(step) : CaseConditions();
    const ConfigNode model = verb == "train" ? described_model(steps, step.at(verb)) : step.at(verb);
    if (verb == "import") check_import(step, host);
    if (!model.is_object() || verb == "import") continue;
    const ModelPackage package = ModelPackage::load(model, registry);
    check_configs(host, package);
    const auto masks = mask_maker(step, package, registry);
    check_conditions(step, package, registry, masks ? &*masks : nullptr);
    if (verb != "train") continue;
    check_train_keys(step, Preparation(data_line(steps, step)), package, registry);
    check_trainer(step, package, host);
    conditions.check_columns(package, registry);
  }
}

Plan Pipeline::plan(Host& host, const Job& job) const {
  return Planner(impl_->document, host, job).plan();
}

namespace {

/// A training that may hold on to what it frees takes up to a quarter more than what was planned.
TrainingHeap::Room room_beside(const StepPlan& step, std::uint64_t allowed) {
  const bool known = step.memory > 0 && step.unknown.empty();
  return known && step.memory + step.memory / 3 <= allowed ? TrainingHeap::Room::Plenty : TrainingHeap::Room::Scarce;
}

}  // namespace

std::vector<std::filesystem::path> Pipeline::run(Host& host, const RunObserver& observer, const Job& job) const {
  check_part(impl_->document.at("steps"), job);
  const Plan plan = this->plan(host, job);
  for (const StepPlan& step : plan.steps) {
    for (const std::string& warning : step.warnings) observer.say(LogLevel::Warning, warning);
  }
  HostOptions options = host.options();
  // What components give may be larger than what they are to work with; both are planned.
  options.memory_limit = options.memory_budget;
  options.memory_budget = plan.component_budget;
  Host worker(host.registry(), std::move(options));
  job.group->barrier();  // all have looked at the folders before anybody writes to them
  StepGraph graph(impl_->document, worker, job);
  std::vector<std::filesystem::path> folders;
  for (const StepPlan& step : plan.steps) {
    observer.check_cancelled();
    const TraceRange range(observer.trace, "step " + step.step, "step");
    std::optional<TrainingHeap> heap;
    if (step.verb == "train") heap.emplace(room_beside(step, plan.allowed));
    if (const auto folder = graph.run(step.step, observer)) folders.push_back(*folder);
    job.group->barrier();  // the next step may read what this one wrote
  }
  return folders;
}

}  // namespace medgen
