// SPDX-License-Identifier: Apache-2.0
// What becomes of plugins that cannot be loaded or do not describe themselves well.

#include "core/base/error.h"
#include "core/base/file.h"
#include "plugin_folder.h"

#include <catch2/catch.hpp>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using namespace medgen;
using namespace medgen::test;
using Catch::Matchers::Contains;

namespace {

const ListedComponent kNothing{"plain.nothing", "medgen.conditioner/1"};

/// The message with which a host refuses the library.
std::string refusal_of(const std::string& library, const std::string& more = "") {
  const TemporaryFolder folder;
  install(folder.path(), library, "plain", {kNothing}, more);
  Host host(Registry::scan_only({folder.path()}));
  REQUIRE(host.registry().rejected().empty());
  try {
    host.create("plain.nothing", "");
  } catch (const PluginError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a sound plugin is loaded, and again by a second host", "[conformance][plugin]") {
  const TemporaryFolder folder;
  const auto manifest = install(folder.path(), "sound", "plain", {kNothing});
  for (int round = 0; round < 2; ++round) {
    Host host(Registry::scan_only({folder.path()}));
    const auto conditioner = host.create_conditioner("plain.nothing", std::string("{}"));
    CHECK(conditioner->id() == "plain.nothing");
    CHECK(conditioner->has_encode());
    CHECK_FALSE(conditioner->has_step());
    CHECK(conditioner->encode({}, {}).empty());
    CHECK_THROWS_WITH(conditioner->step({}, {}), Contains("plain.nothing offers no 'step'"));
  }
}

TEST_CASE("a component outlives its host", "[conformance][plugin]") {
  const TemporaryFolder folder;
  install(folder.path(), "sound", "plain", {kNothing});
  std::shared_ptr<Conditioner> conditioner;
  {
    Host host(Registry::scan_only({folder.path()}));
    conditioner = host.create_conditioner("plain.nothing", std::string());
  }
  CHECK(conditioner->encode({}, {}).empty());
}

TEST_CASE("a plugin that is wrong about itself is refused with the reason", "[conformance][plugin]") {
  const auto [library, reason] = GENERATE(table<std::string, std::string>({
      {"no_symbol", "has no symbol medgen_plugin_v1"},
      {"returns_null", "does not offer ABI 1"},
      {"other_id", "calls itself 'pla'"},
      {"other_kind", "is a medgen.conditioner/1 in its manifest and a medgen.conditioner/ in the library"},
      {"short_plugin", "its description is 40 bytes long"},
      {"short_component", "a component's description is 16 bytes long"},
      {"short_table", "table of component 'plain.nothing' is too small"},
      {"null_component", "a component's description is NULL"},
      {"null_text", "a string of its description is NULL"},
      {"no_create", "has no create"},
      {"no_init", "no init"},
      {"many_components", "claims 18446744073709551615 components"},
      {"entry_throws", "an exception left the plugin"},
      {"needs_absent_library", "absent_library.so"},
      {"init_fails", "the licence server is asleep (STATE)"},
  }));
  CAPTURE(library);
  const std::string message = refusal_of(library);
  CHECK_THAT(message, Contains(reason));
  CHECK_THAT(message, Contains("plain") && Contains(library + ".so"));
}

TEST_CASE("a manifest that lists what the library does not have is refused", "[conformance][plugin]") {
  const TemporaryFolder folder;
  install(folder.path(), "sound", "plain", {kNothing, {"plain.more", "medgen.denoiser/1"}});
  Host host(Registry::scan_only({folder.path()}));
  CHECK_THROWS_WITH(host.load("plain"), Contains("lists component 'plain.more'"));
}

TEST_CASE("a library that differs from its manifest's hash is not loaded", "[conformance][plugin]") {
  const std::string wrong = std::string(64, '0');
  CHECK_THAT(refusal_of("sound", fmt::format(R"(,"sha256":"{}")", wrong)), Contains("the manifest says " + wrong));
  const std::string right = sha256_file(std::string(MEDGEN_BAD_PLUGINS) + "/sound.so");
  CHECK(refusal_of("sound", fmt::format(R"(,"sha256":"{}")", right)).empty());
}

TEST_CASE("a library that is no library is refused", "[conformance][plugin]") {
  const TemporaryFolder folder;
  install(folder.path(), "sound", "plain", {kNothing});
  const auto path = folder.path() / "sound.so";
  const auto bytes = read_file(path, 1 << 24);
  for (const std::size_t kept : {std::size_t{0}, std::size_t{3}, std::size_t{64}, bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(path, std::ios::trunc | std::ios::binary) << bytes.substr(0, kept);
    Host host(Registry::scan_only({folder.path()}));
    CHECK_THROWS_AS(host.load("plain"), PluginError);
  }
}

TEST_CASE("two versions of one runtime do not come into one process", "[conformance][plugin]") {
  CHECK(refusal_of("sound", R"(,"runtime":{"libexample":"1.0"})").empty());
  CHECK_THAT(refusal_of("sound", R"(,"runtime":{"libexample":"2.0"})"), Contains("has already brought 1.0"));
}

#if defined(__x86_64__)
TEST_CASE("a library that changes the floating-point mode is refused for good, and the mode restored",
          "[conformance][plugin]") {
  const TemporaryFolder folder;
  install(folder.path(), "flushes_to_zero", "plain", {kNothing});
  const unsigned before = _mm_getcsr();
  for (int round = 0; round < 2; ++round) {
    Host host(Registry::scan_only({folder.path()}));
    CHECK_THROWS_WITH(host.load("plain"), Contains("-ffast-math"));
    CHECK((_mm_getcsr() & 0x8040) == (before & 0x8040));
  }
}
#endif

TEST_CASE("a file everybody may write is reported", "[conformance][plugin]") {
  const TemporaryFolder folder;
  install(folder.path(), "sound", "plain", {kNothing});
  std::filesystem::permissions(folder.path() / "sound.so", std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  std::vector<std::string> lines;
  HostOptions options;
  options.log = [&](int level, std::string_view line) {
    if (level == MEDGEN_LOG_WARN) lines.emplace_back(line);
  };
  Host host(Registry::scan_only({folder.path()}), options);
  host.load("plain");
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0], Contains("chmod o-w"));
}

TEST_CASE("an unknown component, kind, key or type is explained", "[conformance][plugin]") {
  const TemporaryFolder folder;
  install(folder.path(), "sound", "plain", {kNothing, {"plain.future", "medgen.weaver/3"}});
  Host host(Registry::scan_only({folder.path()}));
  CHECK_THROWS_WITH(host.create("plain.nothign", ""), Contains("did you mean 'plain.nothing'?"));
  CHECK_THROWS_WITH(host.create("plain.future", ""), Contains("medgen.weaver/3"));
  CHECK_THROWS_WITH(host.create_denoiser("plain.nothing", std::string()),
                    Contains("is a conditioner, a denoiser is needed"));
  CHECK_THROWS_AS(host.create("plain.nothing", R"({"defect": 5})"), ConfigError);
  CHECK_THROWS_WITH(host.create("plain.nothing", R"({"defct": "x"})"), Contains("config of plain.nothing:1:"));
  CHECK_THROWS_AS(host.create("plain.nothing", "{"), ConfigError);
  CHECK_THROWS_AS(host.load("nothing"), PluginError);
}
