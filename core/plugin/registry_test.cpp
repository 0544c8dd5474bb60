// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/registry.h"

#include "core/base/error.h"

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <unistd.h>
#include <chrono>
#include <cstdlib>
#include <fstream>

using namespace medgen;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

class PluginFolder {
 public:
  PluginFolder() {
    std::string name = (fs::temp_directory_path() / "medgen-registry-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }

  ~PluginFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  PluginFolder(const PluginFolder&) = delete;
  PluginFolder& operator=(const PluginFolder&) = delete;

  const fs::path& path() const { return path_; }

  /// Writes `text` as ID.medgen-plugin.json, and a library.
  fs::path write(const std::string& id, const std::string& text) const {
    std::ofstream(path_ / "library.so") << "not looked at";
    const fs::path manifest = path_ / fmt::format("{}{}", id, kManifestSuffix);
    std::ofstream(manifest) << text;
    return manifest;
  }

  /// A good manifest, with `from` replaced by `to`.
  fs::path write_changed(const std::string& id, const std::string& from, const std::string& to) const {
    std::string text = good(id);
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return write(id, text.replace(at, from.size(), to));
  }

  static std::string good(const std::string& id) {
    return fmt::format(R"({{"medgen_plugin": 1, "id": "{0}", "version": "1.2.3", "vendor": "us", "license": "MIT",
 "summary": "For tests.", "abi": {{"major": 1, "minor": 0}}, "library": "library.so",
 "runtime": {{"libtorch": "2.15.0"}}, "methods": {{"{0}.method": {{"steps": 3}}}},
 "components": [{{"id": "{0}.unet", "kind": "medgen.denoiser/1", "summary": "A net.",
   "config_schema": {{"type": "object"}}, "io": {{"functions": {{}}}}}}]}})",
                       id);
  }

 private:
  fs::path path_;
};

std::string rejection(const PluginFolder& folder) {
  const Registry registry = Registry::scan_only({folder.path()});
  REQUIRE(registry.plugins().empty());
  REQUIRE(registry.rejected().size() == 1);
  return registry.rejected()[0].reason;
}

}  // namespace

TEST_CASE("a manifest is read whole", "[unit][plugin]") {
  const PluginFolder folder;
  const PluginInfo info = read_manifest(folder.write("tests", PluginFolder::good("tests")));
  CHECK(info.id == "tests");
  CHECK(info.version == "1.2.3");
  CHECK(info.vendor == "us");
  CHECK(info.license == "MIT");
  CHECK(info.library == fs::canonical(folder.path() / "library.so"));
  CHECK(info.runtime_json == R"({"libtorch":"2.15.0"})");
  CHECK(info.methods_json == R"({"tests.method":{"steps":3}})");
  REQUIRE(info.components.size() == 1);
  CHECK(info.components[0].id == "tests.unet");
  CHECK(info.components[0].usable());
  CHECK(info.components[0].config_schema == R"({"type":"object"})");
}

TEST_CASE("a bad manifest is rejected with the place and the reason", "[unit][plugin]") {
  const auto [from, to, reason] = GENERATE(table<std::string, std::string, std::string>({
      {R"("medgen_plugin": 1)", R"("medgen_plugin": 2)", "medgen_plugin"},
      {R"("vendor")", R"("vednor")", "did you mean 'vendor'"},
      {R"("version": "1.2.3", )", "", "version"},
      {R"("version": "1.2.3")", R"("version": 3)", "version"},
      {R"("major": 1)", R"("major": 2)", "this medgen speaks ABI 1"},
      {R"("major": 1)", R"("major": 1e99)", "major"},
      {"library.so", "absent.so", "cannot be opened"},
      {"library.so", "../library.so", "must lie in the manifest's folder"},
      {"library.so", "/usr/lib/x.so", "must lie in the manifest's folder"},
      {"library.so", ".", "no regular file"},
      {R"("id": "tests")", R"("id": "Tests!")", "id"},
      {R"("id": "tests")", R"("id": "other")", "rename the file to other.medgen-plugin.json"},
      {R"("tests.unet")", R"("unet")", "components[0].id"},
      {R"("medgen.denoiser/1")", R"("denoiser")", "components[0].kind"},
      {R"({"type": "object"})", R"([])", "config_schema"},
      {R"({"libtorch": "2.15.0"})", R"({"libtorch": 2})", "runtime"},
      {R"({"steps": 3})", "7", "methods"},
      {R"("io": {"functions": {}}})", R"("io": {}}, {"id": "tests.unet", "kind": "a/1"})", "is given twice"},
  }));
  CAPTURE(from, to);
  const PluginFolder folder;
  folder.write_changed("tests", from, to);
  CHECK_THAT(rejection(folder), Contains(reason));
}

TEST_CASE("no text makes the reader of manifests fail in another way than by rejecting it", "[unit][plugin]") {
  const std::string good = PluginFolder::good("tests");
  const PluginFolder folder;
  for (std::size_t kept = 0; kept < good.size(); kept += 7) {
    folder.write("tests", good.substr(0, kept));
    CHECK_FALSE(rejection(folder).empty());
  }
  for (const char* text : {"", "null", "[]", "{}", "\xff\xfe\x00", "[[[[[[[[[[[[[[[[[[[[", "{\"medgen_plugin\": 1"}) {
    folder.write("tests", text);
    CHECK_FALSE(rejection(folder).empty());
  }
}

TEST_CASE("a link out of the manifest's folder is rejected", "[unit][plugin]") {
  const PluginFolder outside;
  outside.write("unused", "{}");
  const PluginFolder folder;
  folder.write_changed("tests", "library.so", "link.so");
  fs::create_symlink(outside.path() / "library.so", folder.path() / "link.so");
  CHECK_THAT(rejection(folder), Contains("is a link out of the manifest's folder"));
}

TEST_CASE("the first plugin with an id wins, and the other is listed", "[unit][plugin]") {
  const PluginFolder first, second;
  first.write("tests", PluginFolder::good("tests"));
  second.write("tests", PluginFolder::good("tests"));
  const Registry registry = Registry::scan_only({first.path(), second.path(), first.path()});
  REQUIRE(registry.plugins().size() == 1);
  CHECK(registry.plugins()[0].manifest.parent_path() == first.path());
  REQUIRE(registry.rejected().size() == 1);
  CHECK_THAT(registry.rejected()[0].reason, Contains("already found at " + first.path().string()));
  CHECK(registry.searched().size() == 2);
}

TEST_CASE("two plugins do not offer one component", "[unit][plugin]") {
  const PluginFolder folder;
  folder.write("a", PluginFolder::good("a"));
  folder.write_changed("b", "b.unet", "a.unet");
  const Registry registry = Registry::scan_only({folder.path()});
  CHECK(registry.plugin_of("a.unet").id == "a");
  REQUIRE(registry.rejected().size() == 1);
  CHECK_THAT(registry.rejected()[0].reason, Contains("already offered by plugin 'a'"));
}

TEST_CASE("an unknown component is explained", "[unit][plugin]") {
  const PluginFolder folder;
  folder.write("tests", PluginFolder::good("tests"));
  folder.write_changed("broken", "library.so", "absent.so");
  const Registry registry = Registry::scan_only({folder.path()});
  CHECK(registry.component("tests.unet").summary == "A net.");
  CHECK_THROWS_WITH(registry.component("tests.unit"), Contains("did you mean 'tests.unet'?"));
  CHECK_THROWS_WITH(registry.component("broken.unet"), Contains("found and not taken") && Contains("absent.so"));
  CHECK_THROWS_AS(registry.component(""), ConfigError);
}

TEST_CASE("why tells where a plugin was looked for and what became of it", "[unit][plugin]") {
  const PluginFolder folder;
  folder.write("tests", PluginFolder::good("tests"));
  folder.write_changed("broken", "library.so", "absent.so");
  const fs::path missing = folder.path() / "nothing";
  const Registry registry = Registry::scan_only({folder.path(), missing});
  CHECK_THAT(registry.why("tests"), Contains("plugin 'tests' 1.2.3 is taken from " + folder.path().string()));
  CHECK_THAT(registry.why("tests.unet"), Contains("it offers component 'tests.unet'"));
  CHECK_THAT(registry.why("tests.other"), Contains("it offers no component 'tests.other'"));
  CHECK_THAT(registry.why("broken.unet"), Contains("not taken") && Contains("absent.so"));
  CHECK_THAT(registry.why("x"),
             Contains("no manifest tells of 'x'") && Contains(missing.string() + " (no such folder)"));
}

TEST_CASE("folders of the environment are searched, relative ones are not", "[unit][plugin]") {
  const PluginFolder folder, data;
  folder.write("tests", PluginFolder::good("tests"));
  fs::create_directories(data.path() / "medgen/plugins");
  ::setenv("MEDGEN_PLUGIN_PATH", (":relative:" + folder.path().string() + ":").c_str(), 1);
  ::setenv("XDG_DATA_HOME", data.path().c_str(), 1);
  const Registry registry = Registry::scan({"extra"});
  ::unsetenv("MEDGEN_PLUGIN_PATH");
  ::unsetenv("XDG_DATA_HOME");
  REQUIRE(registry.searched().size() >= 3);
  CHECK(registry.searched()[0] == fs::absolute("extra"));
  CHECK(registry.searched()[1] == folder.path());
  CHECK(registry.searched()[2] == data.path() / "medgen/plugins");
  CHECK(registry.plugin("tests") != nullptr);
  REQUIRE_FALSE(registry.rejected().empty());
  CHECK(registry.rejected().front().manifest == "relative");
  CHECK_THAT(registry.why("tests"), Catch::Contains("not taken: relative"));
}

TEST_CASE("scanning twenty plugins is quick", "[unit][plugin]") {
  const PluginFolder folder;
  for (int i = 0; i < 20; ++i) folder.write(fmt::format("plugin{}", i), PluginFolder::good(fmt::format("plugin{}", i)));
  const auto start = std::chrono::steady_clock::now();
  CHECK(Registry::scan_only({folder.path()}).plugins().size() == 20);
  // Five times what it may take, for busy machines.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(150));
}
