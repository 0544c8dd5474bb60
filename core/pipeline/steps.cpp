// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/steps.h"

#include "core/base/file.h"
#include "core/base/text.h"
#include "core/config/json.h"
#include "core/config/paths.h"
#include "core/data/case_cache.h"
#include "core/io/volume_file.h"
#include "core/pipeline/codec.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/import_step.h"
#include "core/pipeline/reference.h"
#include "core/pipeline/relocate.h"
#include "core/pipeline/schema.h"
#include "core/pipeline/write.h"

#include <medgen/abi/version.h>
#include <nlohmann/json.hpp>

#include <array>
#include <set>

namespace medgen {
namespace {

const std::set<std::string_view> kModelVerbs = {"train", "import"};

/// Whether a train step says which cases it holds out.
bool has_split(const ConfigNode& step) {
  return step.contains("split") || step.contains("validation");
}

/// The step that says so, of those whose data is the same; the first where none does.
const ConfigNode& split_of(const std::vector<ConfigNode>& line) {
  const ConfigNode* found = nullptr;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (!has_split(line[i])) continue;
    if (found != nullptr)
      found->fail("has a split of its own, but {} brings one along", excerpt(line[i - 1].at("data").json()));
    found = &line[i];
  }
  return found != nullptr ? *found : line.front();
}

/// One reference: it must name a step before this one, of one of these verbs.
void check_reference(const ConfigNode& node, const std::vector<std::pair<std::string, std::string>>& earlier,
                     const std::set<std::string_view>& verbs) {
  if (!is_reference(node)) return;
  std::vector<std::string> fitting;
  for (const auto& [name, verb] : earlier) {
    if (verbs.contains(verb)) fitting.push_back("@" + name);
    if (name != referenced(node)) continue;
    if (verbs.contains(verb)) return;
    node.fail("refers to {}, a {} step; a {} step is needed here", excerpt(node.json()), verb,
              fmt::join(verbs, " or "));
  }
  node.fail("refers to {}, but no earlier step has that name{}", excerpt(node.json()),
            did_you_mean(node.as<std::string>(), fitting));
}

/// A train step with "lora" makes no model. @throws ConfigError at a reference that wants one
void check_no_adapter(const ConfigNode& node, const ConfigNode& steps) {
  if (!is_reference(node)) return;
  const ConfigNode maker = steps.at(referenced(node));
  if (verb_of(maker) == "train" && maker.contains("options") && maker.at("options").contains("lora"))
    node.fail("refers to {}, which makes an adapter, no model; name the model, and \"adapters\": [{}] beside it",
              excerpt(node.json()), excerpt(node.json()));
}

/// Each folder has one run's record, or one package. @throws ConfigError at the second step that writes to one
void check_own_folder(const std::string& name, const ConfigNode& step,
                      std::map<std::filesystem::path, std::string>& taken) {
  if (!step.contains("to")) return;
  const ConfigNode to = step.at("to");
  const auto folder = std::filesystem::weakly_canonical(std::filesystem::absolute(resolve_path(to) / ""));
  const auto [first, added] = taken.emplace(folder, name);
  if (!added)
    to.fail("is \"{}\", the folder that steps.{} writes to; give each a folder of its own", to.as<std::string>(),
            first->second);
}

/// The user's own times descend. Where they end is the scheduler's to say. @throws ConfigError at them
void check_times(const ConfigNode& step) {
  if (!step.contains("timesteps")) return;
  const ConfigNode node = step.at("timesteps");
  if (step.contains("steps")) node.fail("stands in place of \"steps\"; give one of the two");
  const auto times = node.as<std::vector<double>>();
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i] > 0 && (i == 0 || times[i] < times[i - 1])) continue;
    node.fail("must descend and stay above 0, but number {} is {}", i + 1, times[i]);
  }
}

bool is_latent_name(const std::filesystem::path& path) {
  return path.extension() == ".safetensors";
}

/// What changes when a file or a series does.
std::string hash_of(const std::filesystem::path& file) {
  const bool one_file = is_volume_name(file) || is_latent_name(file);
  return one_file ? sha256_file(file) : cache_key({&file, 1}, "");
}

/// The files, and folders of a DICOM series, that a pattern or a folder stands for.
std::vector<std::filesystem::path> files_of(const ConfigNode& node, FileSource::Kind kind) {
  const bool latents = kind == FileSource::Kind::Latent;
  std::vector<std::filesystem::path> files;
  for (const auto& path : expand_paths(node)) {
    if (!std::filesystem::is_directory(path) || (!latents && is_volume(path))) {
      files.push_back(path.has_filename() ? path : path.parent_path());
      continue;
    }
    const auto inside = files_in(path, latents ? is_latent_name : is_volume);
    if (inside.empty()) {
      node.fail("names the folder '{}', in which there is no {}", path.string(),
                latents ? ".safetensors file" : supported_volume_formats());
    }
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

/// The inputs of a step that may be files, and what the files hold.
constexpr std::array<std::pair<const char*, FileSource::Kind>, 3> kInputs = {
    {{"mask", FileSource::Kind::Label}, {"image", FileSource::Kind::Image}, {"latent", FileSource::Kind::Latent}}};

/// What of a model decides the samples of a step, and whom to name for them.
Json model_facts(const std::string& step, const ModelPackage& model) {
  return {{"step", step},
          {"name", model.name()},
          {"license", model.license()},
          {"credit", model.credit()},
          {"weights", model.weight_hashes()},
          {"description", content_hash(model.json_without_weights())}};
}

}  // namespace

void check_references(const ConfigNode& steps) {
  std::vector<std::pair<std::string, std::string>> earlier;
  std::map<std::filesystem::path, std::string> folders;
  for (const auto& [name, step] : steps.members()) {
    const std::string verb(verb_of(step));
    check_own_folder(name, step, folders);
    if (verb == "generate") check_times(step);
    if (verb == "write") check_reference(step.at("write"), earlier, kSampleVerbs);
    if (verb == "generate" || verb == "encode" || verb == "decode" || verb == "train") {
      check_reference(step.at(verb), earlier, kModelVerbs);
      check_no_adapter(step.at(verb), steps);
    }
    for (const auto& [key, kind] : kInputs) {
      const bool latents = kind == FileSource::Kind::Latent;
      if (step.contains(key)) check_reference(step.at(key), earlier, latents ? kLatentVerbs : kSampleVerbs);
    }
    if (verb == "train") {
      check_reference(step.at("data"), earlier, {"train"});
      split_of(data_line(steps, step));
    }
    if (verb == "generate" && step.contains("adapters")) {
      for (const ConfigNode& each : step.at("adapters").items())
        check_reference(each.is_object() ? each.at("adapter") : each, earlier, {"train"});
    }
    if (verb == "generate" || verb == "train") check_no_host_conditions(step);
    if (verb == "generate" && step.contains("mask") == step.contains("size"))
      step.fail("{}", step.contains("mask")
                          ? "has \"mask\" and \"size\"; the grid is that of the mask, so leave \"size\" out"
                          : "needs either \"mask\", or \"size\" with \"spacing_mm\"");
    if (verb == "generate" && step.contains("outside_mask") && !step.contains("image"))
      step.at("outside_mask").fail("means nothing without an \"image\"");
    if (verb == "generate" && step.contains("size") && !step.contains("spacing_mm"))
      step.fail("has \"size\" without \"spacing_mm\"");
    earlier.emplace_back(name, verb);
  }
}

ConfigNode described_model(const ConfigNode& steps, const ConfigNode& model) {
  if (!is_reference(model)) return model;
  const ConfigNode maker = steps.at(referenced(model));
  if (verb_of(maker) == "import") return maker.with_value(Json{{"method", maker.at("method").json()}});
  return described_model(steps, maker.at("train"));
}

StepGraph::StepGraph(ConfigNode document, Host& host, const Job& job)
    : document_(std::move(document)), host_(host), job_(job) {}

std::uint64_t StepGraph::seed() const {
  return document_.get<std::uint64_t>("seed");
}

std::size_t StepGraph::readers_of(const std::string& name) const {
  std::size_t readers = 0;
  for (const auto& [other, step] : document_.at("steps").members()) {
    for (const auto& [key, value] : step.members()) readers += is_reference(value) && referenced(value) == name ? 1 : 0;
  }
  return readers;
}

std::shared_ptr<SampleSource> StepGraph::source(const std::string& name) {
  auto& slot = sources_[name];
  if (slot) return slot;
  slot = make_source(name);
  if (readers_of(name) > 1) slot = std::make_shared<CachedSource>(slot);
  return slot;
}

std::shared_ptr<SampleSource> StepGraph::make_source(const std::string& name) {
  const ConfigNode node = step(name);
  const std::string_view verb = verb_of(node);
  if (verb == "generate") return generate(name);
  if (verb == "encode") {
    return std::make_shared<EncodeSource>(name, package(node.at("encode")), host_,
                                          inputs(node.at("image"), FileSource::Kind::Image), seed());
  }
  check(verb == "decode", "a step that makes samples");
  return std::make_shared<DecodeSource>(name, package(node.at("decode")), host_,
                                        inputs(node.at("latent"), FileSource::Kind::Latent), seed());
}

std::shared_ptr<SampleSource> StepGraph::inputs(const ConfigNode& node, FileSource::Kind kind) {
  if (is_reference(node)) return source(referenced(node));
  return std::make_shared<FileSource>(files_of(node, kind), kind);
}

bool StepGraph::model_is_made_here(const ConfigNode& node) const {
  return is_reference(node) && !std::filesystem::exists(resolve_path(step(referenced(node)).at("to")) / "model.json");
}

ConfigNode StepGraph::model_reference(const ConfigNode& node) const {
  if (!is_reference(node)) return node;
  return node.with_value(resolve_path(step(referenced(node)).at("to")).string());
}

ModelPackage StepGraph::package(const ConfigNode& node) {
  return ModelPackage::load(model_reference(node), host_.registry());
}

TrainStep StepGraph::train_step(const std::string& name) const {
  const ConfigNode node = step(name);
  const std::vector<ConfigNode> line = data_line(document_.at("steps"), node);
  const bool is_made = !model_is_made_here(node.at("train"));
  ConfigNode model =
      is_made ? model_reference(node.at("train")) : described_model(document_.at("steps"), node.at("train"));
  const std::filesystem::path data = resolve_path(line.back().at("data"));
  return {name, node, std::move(model), is_made, data, Preparation(line), split_of(line), seed(), job_.group};
}

std::optional<std::filesystem::path> StepGraph::run(const std::string& name, const RunObserver& observer) {
  const std::string_view verb = verb_of(step(name));
  if (verb == "train") return run_train_step(train_step(name), host_, observer);
  if (verb == "import") {
    if (job_.group->first()) return import_package(name, observer);
    return resolve_path(step(name).at("to"));
  }
  if (verb == "write") return write(name, observer);
  return std::nullopt;
}

std::filesystem::path StepGraph::import_package(const std::string& name, const RunObserver& observer) {
  const ImportOptions options = import_options(step(name));
  observer.say(LogLevel::Info, import_model(host_, options, observer));
  return options.to;
}

WriteOptions StepGraph::write_options(const std::string& name) {
  const ConfigNode node = step(name);
  Json facts = {{"models", Json::array()}, {"inputs", Json::object()}};
  WriteOptions options;
  collect_facts(referenced(node.at("write")), facts, options.inputs);
  options.step = name;
  options.to = resolve_path(node.at("to"));
  options.layout = layout_of(node.get<std::string>("layout"));
  options.contact_sheet = node.get<std::string>("contact_sheet", "");
  options.overwrite = node.get<bool>("overwrite");
  options.part = job_.part;
  const ConfigNode maker = step(referenced(node.at("write")));
  if (verb_of(maker) == "generate") options.labels = generator_package(maker).contract().labels;
  options.manifest = std::make_shared<const Json>(manifest(options.to, facts));
  options.fingerprint = content_hash(Json{{"facts", facts},
                                          {"seed", seed()},
                                          {"layout", node.at("layout").json()},
                                          {"precision", static_cast<int>(host_.options().precision)}});
  return options;
}

std::filesystem::path StepGraph::write(const std::string& name, const RunObserver& observer) {
  const WriteOptions options = write_options(name);
  write_samples(*source(referenced(step(name).at("write"))), options, observer);
  return options.to;
}

/// Everything that decides the samples of a step: its options, the models' weights, the contents of the input files.
void StepGraph::collect_facts(const std::string& name, Json& facts, std::set<std::filesystem::path>& inputs) {
  const ConfigNode node = step(name);
  const std::string verb(verb_of(node));
  Json options = node.json();
  for (const char* key : {"batch", "batched_guidance", "outside_contract"}) options.erase(key);

  const ModelPackage model = verb == "generate" ? generator_package(node) : package(node.at(verb));
  facts["models"].push_back(model_facts(name, model));
  if (const auto maker = mask_maker(node, model, host_.registry()))
    facts["models"].push_back(model_facts(name, *maker));
  options.erase(verb);
  options.erase("adapters");  // hashed with the weights
  for (const auto& [key, kind] : kInputs) {
    if (!node.contains(key)) continue;
    options.erase(key);
    if (is_reference(node.at(key))) {
      collect_facts(referenced(node.at(key)), facts, inputs);
      continue;
    }
    Json& hashes = facts["inputs"][name + '.' + key];
    for (const auto& file : files_of(node.at(key), kind)) {
      hashes[file.filename().string()] = hash_of(file);
      inputs.insert(std::filesystem::weakly_canonical(file));
    }
  }
  facts["options"][name] = std::move(options);
}

Json StepGraph::manifest(const std::filesystem::path& folder, const Json& facts) const {
  Json manifest = relocated(document_, folder);
  manifest.erase("run");
  Json plugins = Json::array();
  for (const PluginInfo& plugin : host_.registry().plugins()) {
    plugins.push_back({{"id", plugin.id}, {"version", plugin.version}, {"sha256", plugin.sha256}});
  }
  manifest["run"] = {{"medgen_version", MEDGEN_VERSION},
                     {"precision", host_.options().precision == Precision::Bf16 ? "bf16" : "fp32"},
                     {"plugins", std::move(plugins)},
                     {"models", facts["models"]},
                     {"inputs", facts["inputs"]}};
  return manifest;
}

}  // namespace medgen
