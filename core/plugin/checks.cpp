// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/checks.h"

#include "core/config/parse.h"
#include "core/plugin/check_run.h"
#include "core/plugin/descriptor.h"
#include "core/plugin/elf_file.h"
#include "core/plugin/invoke.h"

#include <medgen/abi/draft/train.h>

#include <dlfcn.h>

#include <algorithm>
#include <iterator>

namespace medgen {
namespace {

void check_library(const PluginInfo& info) {
  const ElfFile elf = read_elf(info.library);
  if (elf.executable_stack) throw CheckFailure("its stack is executable: link with -Wl,-z,noexecstack");
  if (elf.exported == std::vector<std::string>{kEntryPoint}) return;
  const std::vector<std::string> first_names(
      elf.exported.begin(), elf.exported.begin() + std::min<std::ptrdiff_t>(5, std::ssize(elf.exported)));
  throw CheckFailure("it exports {} symbols ({} ...): export {} alone, with -fvisibility=hidden and a version script",
                     elf.exported.size(), fmt::join(first_names, ", "), kEntryPoint);
}

void check_life_cycle(const PluginInfo& info, const std::shared_ptr<HostServices>& host) {
  for (int round = 0; round < 3; ++round) const PluginSession session(info, host);
}

void check_other_majors(const PluginInfo& info) {
  void* handle = ::dlopen(info.library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  void* entry = handle == nullptr ? nullptr : ::dlsym(handle, kEntryPoint);
  if (entry == nullptr) throw CheckFailure("the entry point cannot be found again");
  const auto query_plugin = reinterpret_cast<decltype(&medgen_plugin_v1)>(entry);
  for (const std::uint32_t major : {0u, 2u, 99u}) {
    medgen_query_t query{};
    query.struct_size = sizeof query;
    query.abi_major = major;
    if (call_plugin(kEntryPoint, query_plugin, &query) != nullptr) {
      throw CheckFailure("it gives a plugin when asked for ABI {}", major);
    }
  }
}

void expect_text(std::string_view field, medgen_str_t in_library, const std::string& in_manifest) {
  if (raw_text(in_library) == in_manifest) return;
  throw CheckFailure("{} is '{}' in the library and '{}' in the manifest: write the manifest anew", field,
                     message_text(in_library), in_manifest);
}

void expect_json(std::string_view field, medgen_str_t in_library, const std::string& in_manifest) {
  const ConfigNode library = parse_config(std::string(raw_text(in_library)), fmt::format("{} of the library", field));
  const ConfigNode manifest = parse_config(in_manifest, fmt::format("{} of the manifest", field));
  if (same_content(library.json(), manifest.json())) return;
  throw CheckFailure("{} differs between the library and the manifest: write the manifest anew", field);
}

void compare_plugin(const PluginInfo& info, const medgen_plugin_t& plugin) {
  expect_text("version", plugin.version, info.version);
  expect_text("vendor", plugin.vendor, info.vendor);
  expect_text("license", plugin.license, info.license);
  expect_text("summary", plugin.summary, info.summary);
  expect_json("runtime", plugin.runtime_json, info.runtime_json);
  expect_json("methods", plugin.methods_json, info.methods_json);
  if (static_cast<int>(plugin.abi_minor) != info.abi_minor) {
    throw CheckFailure("it was built for ABI 1.{}, the manifest says 1.{}", plugin.abi_minor, info.abi_minor);
  }
  if (plugin.component_count != info.components.size()) {
    throw CheckFailure("the library has {} components, the manifest {}", plugin.component_count,
                       info.components.size());
  }
}

medgen_str_t train_options(const medgen_component_t& base) {
  if (!MEDGEN_HAS_FN(medgen_component_t, &base, get_extension)) return {};
  const auto* train =
      static_cast<const medgen_train_t*>(call_plugin("get_extension", base.get_extension, MEDGEN_TRAIN_1));
  return train == nullptr ? medgen_str_t{} : train->options_schema_json;
}

void compare_component(const ComponentInfo& info, const medgen_component_desc_t& description) {
  expect_text("summary", description.summary, info.summary);
  expect_json("config_schema", description.config_schema_json, info.config_schema);
  expect_json("io", description.io_json, info.io);
  const medgen_str_t options = train_options(*description.base);
  if ((options.len == 0) != info.train_options.empty())
    throw CheckFailure("train_options is in one of library and manifest only: write the manifest anew");
  if (options.len > 0) expect_json("train_options", options, info.train_options);
  if (info.summary.empty()) throw CheckFailure("it has no summary: one sentence helps its users");
}

void check_unknown_extensions(const medgen_plugin_t& plugin) {
  if (!MEDGEN_HAS_FN(medgen_plugin_t, &plugin, get_extension)) return;
  for (const char* id : {"", "medgen.no-such-thing/1", "medgen.train/1 and more"}) {
    if (call_plugin("get_extension", plugin.get_extension, id) != nullptr) {
      throw CheckFailure("it answers to the unknown extension id '{}'", id);
    }
  }
}

}  // namespace

std::vector<CheckResult> check_plugin(const std::filesystem::path& manifest,
                                      const std::function<void(const CheckResult&)>& report) {
  CheckRun run(report);
  PluginInfo info;
  if (!run.check("manifest: well formed", [&] { info = read_manifest(manifest); })) return run.take_results();
  run.check("library: one exported symbol, no executable stack", [&] { check_library(info); });

  const auto host = std::make_shared<HostServices>(HostOptions{});
  std::shared_ptr<PluginSession> session;
  const bool loaded = run.check("plugin: loads", [&] { session = std::make_shared<PluginSession>(info, host); });
  if (!loaded) return run.take_results();
  session.reset();
  run.check("plugin: init and shutdown can be repeated", [&] { check_life_cycle(info, host); });
  run.check("plugin: other ABI majors are declined", [&] { check_other_majors(info); });
  if (!run.check("plugin: initialises again", [&] { session = std::make_shared<PluginSession>(info, host); })) {
    return run.take_results();
  }
  run.check("plugin: manifest says what the library says", [&] { compare_plugin(info, session->plugin()); });
  run.check("plugin: unknown extensions are declined", [&] { check_unknown_extensions(session->plugin()); });
  for (const ComponentInfo& component : info.components) {
    const CheckedComponent checked{session, component, *find_component(session->plugin(), component.id)};
    run.check(checked.named("manifest says what the library says"),
              [&] { compare_component(component, checked.description); });
    if (component.usable()) check_component(run, checked);
  }
  run.check("plugin: ranges nest", [&] {
    if (const std::string defect = host->range_defect(); !defect.empty()) throw CheckFailure("{}", defect);
  });
  return run.take_results();
}

}  // namespace medgen
