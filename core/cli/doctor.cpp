// SPDX-License-Identifier: Apache-2.0
// medgen doctor

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/threads.h"
#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/cli/machine.h"
#include "core/config/parse.h"
#include "core/inspect/failure.h"
#include "core/pipeline/imported_file.h"
#include "core/pipeline/model.h"
#include "core/pipeline/selftest.h"
#include "core/plugin/cuda_driver.h"
#include "core/plugin/host.h"
#include "core/run/resources.h"
#include "core/weights/adapter.h"
#include "core/weights/safetensors.h"

#include <medgen/abi/version.h>

#include <nlohmann/json.hpp>

#include <unistd.h>

namespace medgen::cli {
namespace {

namespace fs = std::filesystem;

enum class Health { Ok, Note, Problem };

struct CheckFinding {
  std::string subject;
  Health health = Health::Ok;
  std::string text;
};

using Findings = std::vector<CheckFinding>;

std::string_view name_of(Health health) {
  return health == Health::Ok ? "ok" : health == Health::Note ? "note" : "PROBLEM";
}

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1u << 30));
}

void look_at_machine(Findings& findings) {
  std::string features;
  for (const std::string& feature : cpu_features()) features += ' ' + feature;
  findings.push_back({"cpu", features.empty() ? Health::Note : Health::Ok,
                      cpu_name() + ';' + (features.empty() ? " no AVX2: computing will be slow" : features)});
  findings.push_back({"threads", Health::Ok, fmt::format("{} cores may be used", usable_cores())});
  const Memory found = machine_memory();
  constexpr std::uint64_t kLittle = 2ull << 30;
  findings.push_back({"memory", found.available < kLittle ? Health::Note : Health::Ok,
                      fmt::format("{} of {} available", gib(found.available), gib(found.total))});
  const CudaDriver cuda = cuda_driver();
  findings.push_back({"cuda", cuda.devices > 0 ? Health::Ok : Health::Note,
                      cuda.devices > 0 ? fmt::format("{} device(s)", cuda.devices) : cuda.note + "; the CPU is used"});
}

void look_at_temporary_folder(Findings& findings) {
  try {
    const fs::path folder = temporary_folder();
    AtomicFile file(folder / fmt::format("medgen-doctor-{}", ::getpid()));  // never committed: it removes itself
    file.write(std::string(4096, ' '));
    findings.push_back({"temporary files", Health::Ok, folder.string() + " is writable"});
  } catch (...) {
    findings.push_back({"temporary files", Health::Problem, current_failure().message});
  }
}

void look_at_plugins(const Registry& registry, Findings& findings) {
  if (registry.plugins().empty()) {
    findings.push_back(
        {"plugins", Health::Problem, "none were found; see `medgen plugins --why ID` for where was looked"});
  }
  Host host(registry);
  for (const PluginInfo& plugin : registry.plugins()) {
    const std::string subject = "plugin " + plugin.id;
    try {
      host.load(plugin.id);
      findings.push_back(
          {subject, Health::Ok, fmt::format("{} loads, from {}", plugin.version, plugin.library.string())});
    } catch (...) {
      findings.push_back({subject, Health::Problem, current_failure().message});
    }
  }
  for (const Rejected& rejected : registry.rejected()) {
    const bool shadowed = registry.plugin(rejected.id) != nullptr;
    findings.push_back({"plugin " + rejected.id, shadowed ? Health::Note : Health::Problem, rejected.reason});
  }
}

/// @param base  of an adapter the model it is for; empty: where it was
CheckFinding self_test_finding(const fs::path& package, const fs::path& base, const Registry& registry) {
  if (!has_self_test(package)) return {"self-test", Health::Note, "there is none; training writes one (docs/model.md)"};
  if (const fs::path model = base.empty() ? tested_model(package) : base; !fs::exists(model))
    return {"self-test", Health::Note,
            fmt::format("was not run: the model is not in '{}'; --base tells where it is", model.string())};
  const SelfTestResult result = run_self_test(package, base, registry, {});
  return {"self-test", result.passed() ? Health::Ok : Health::Problem,
          fmt::format("gives {} it gave where the package was made: relative difference {:.1e}, at most {:.0e} is well",
                      result.passed() ? "what" : "something else than", result.difference, result.tolerance)};
}

/// What `finding` finds, or the problem that it ends with. @return whether it found something
template <typename Find>
bool look(Findings& findings, const char* subject, const Find& finding) {
  try {
    findings.push_back(finding());
    return true;
  } catch (...) {
    findings.push_back({subject, Health::Problem, current_failure().message});
    return false;
  }
}

/// A folder with an adapter in place of a model: its file is what adapter.json says, and sound.
void look_at_adapter(const fs::path& folder, const fs::path& base_folder, const Registry& registry,
                     Findings& findings) {
  const fs::path file = folder / kAdapterFile;
  const bool sound = look(findings, "adapter", [&]() -> CheckFinding {
    const Adapter adapter = read_adapter(file);
    for (const auto& [name, tensor] : adapter.tensors) require_finite(file, name, tensor, "adapter");
    const ConfigNode said = read_config(folder / kAdapterDescription);
    if (said.get<std::string>("sha256", "") != sha256_file(file))
      throw DataError("'{}' is not the file that adapter.json describes", file.string());
    const std::string base = said.contains("base") ? said.at("base").get<std::string>("name", "") : "";
    return {"adapter", Health::Ok,
            fmt::format("{}, rank {}, for weights of '{}' with sha256 {}", adapter.facts.role, adapter.facts.rank, base,
                        adapter.facts.base_sha256)};
  });
  if (sound) look(findings, "self-test", [&] { return self_test_finding(folder, base_folder, registry); });
}

/// The parts that have no weights yet of a package whose compressor alone has been trained.
std::string parts_to_train(const fs::path& folder, const ModelPackage& package, Host& host) {
  std::string parts;
  if (!tests_compressor_alone(folder)) return parts;
  for (const ComponentSpec& spec : package.all()) {
    if (spec.role != "compressor" && spec.weights.empty() && needs_weights(host, spec))
      parts += (parts.empty() ? "" : ", ") + spec.role;
  }
  return parts;
}

void look_at_package(const fs::path& folder, const Registry& registry, Findings& findings) {
  std::optional<ModelPackage> package;
  const bool usable = look(findings, "package", [&]() -> CheckFinding {
    package = ModelPackage::load(folder, registry);
    return {"package", Health::Ok, fmt::format("{}, {} components", package->name(), package->all().size())};
  });
  if (!usable) return;
  look(findings, "weights", [&]() -> CheckFinding {
    package->verify_weights();
    Host host(registry);
    const std::string bare = parts_to_train(folder, *package, host);
    require_weights(host, *package, bare.empty() ? "" : "compressor");
    Model::open(bare.empty() ? *package : package->compressor_alone(), host);
    for (const ComponentSpec& spec : package->all()) {
      if (spec.weights.empty()) continue;
      const SafetensorsFile file(spec.weights);
      for (const auto& [name, tensor] : file.tensors()) require_finite(spec.weights, name, tensor, "model");
    }
    if (!bare.empty())
      return {"weights", Health::Note,
              "are those that were recorded; none yet: " + bare + ", to be trained before this model generates"};
    return {"weights", Health::Ok, "are those that were recorded, and fit"};
  });
  const bool licensed = !package->license().empty();
  findings.push_back({"licence", licensed ? Health::Ok : Health::Note,
                      licensed ? package->license() : "none is recorded; outputs cannot carry one"});
  look(findings, "self-test", [&] { return self_test_finding(folder, {}, registry); });
}

void print_findings(const Findings& findings, bool healthy, const Invocation& call) {
  if (call.json) {
    Json checks = Json::array();
    for (const CheckFinding& finding : findings) {
      const char* status = finding.health == Health::Ok ? "ok" : finding.health == Health::Note ? "note" : "problem";
      checks.push_back({{"subject", finding.subject}, {"status", status}, {"text", finding.text}});
    }
    return print_json({{"healthy", healthy}, {"medgen", MEDGEN_VERSION}, {"checks", std::move(checks)}});
  }
  std::vector<std::vector<std::string>> rows;
  for (const CheckFinding& finding : findings)
    rows.push_back(
        {std::string(name_of(finding.health)), finding.subject, finding.text.substr(0, finding.text.find('\n'))});
  print(printable(table(rows)));
}

void doctor(const std::string& package, const std::string& base, Invocation& call) {
  Findings findings = {
      {"medgen", Health::Ok, fmt::format("{}, plugin ABI {}.{}", MEDGEN_VERSION, MEDGEN_ABI_MAJOR, MEDGEN_ABI_MINOR)}};
  look_at_machine(findings);
  look_at_temporary_folder(findings);
  const Registry registry = call.registry();
  look_at_plugins(registry, findings);
  const bool is_adapter = !package.empty() && fs::exists(fs::path(package) / kAdapterDescription);
  if (!base.empty() && !is_adapter) throw UsageError("--base is for the folder of an adapter");
  if (is_adapter) {
    look_at_adapter(package, base, registry, findings);
  } else if (!package.empty()) {
    look_at_package(package, registry, findings);
  }
  const bool healthy =
      std::none_of(findings.begin(), findings.end(), [](const CheckFinding& f) { return f.health == Health::Problem; });
  print_findings(findings, healthy, call);
  if (!healthy) call.exit_code = static_cast<int>(ErrorKind::Runtime);
}

void configure_doctor(CLI::App& app, Invocation& call) {
  const auto package = std::make_shared<std::string>();
  app.add_option("PACKAGE", *package,
                 "A model package to look at too: weights, licence, self-test; or the folder of an adapter")
      ->type_name("DIR");
  const auto base = std::make_shared<std::string>();
  app.add_option("--base", *base, "Of an adapter: the model it is for, where that has moved")->type_name("DIR");
  add_plugin_dir_option(app, call);
  add_json_option(app, call);
  app.callback([package, base, &call] { doctor(*package, *base, call); });
}

}  // namespace

const Command kDoctorCommand = {
    "doctor", "Look at this machine and installation, and at a model package, for what would not work.",
    "%\n"
    "% examples/models/hippocampus-mr\n"
    "% --json",
    configure_doctor};

}  // namespace medgen::cli
