// SPDX-License-Identifier: Apache-2.0
#include "core/cli/e2e/process.h"
#include "core/config/json.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using medgen::Json;
using medgen::e2e::Result;
using medgen::e2e::run;
using medgen::e2e::shell;
using medgen::e2e::tool;

TEST_CASE("every command has help on standard output", "[e2e][cli]") {
  for (const char* command : {"run", "plan", "validate", "inspect", "body", "describe", "view", "plugins", "import",
                              "probe", "doctor", "schema", "check-plugin", "completion", "version"}) {
    INFO(command);
    const Result result = tool({command, "--help"});
    CHECK(result.code == 0);
    CHECK(result.err.empty());
    CHECK(result.out.find("Examples:") != std::string::npos);
    CHECK(tool({"help", command}).out == result.out);
    CHECK(tool({command, "-h"}).out == result.out);
  }
}

TEST_CASE("the tool's help lists the commands, quickly", "[e2e][cli]") {
  const Result result = tool({"--help"});
  CHECK(result.code == 0);
  CHECK(result.out.find("check-plugin") != std::string::npos);
  WARN("medgen --help took " << result.seconds * 1000 << " ms");
  WARN("medgen plugins took " << tool({"plugins"}).seconds * 1000 << " ms");
}

TEST_CASE("a wrong command line is exit code 2 and one message on standard error", "[e2e][cli]") {
  const std::vector<std::vector<std::string>> wrong = {{},
                                                       {"plugin"},
                                                       {"plugins", "--jsn"},
                                                       {"run"},
                                                       {"plugins", "x"},
                                                       {"plugins", "--json=maybe"},
                                                       {"run", "p.json", "--seed", "many"},
                                                       {"run", "p.json", "--seed", "-1"},
                                                       {"run", "p.json", "--threads", "-1"},
                                                       {"run", "p.json", "--precision", "fp7"},
                                                       {"run", "p.json", "-q", "-v"},
                                                       {"completion", "tcsh"},
                                                       {"plugins", "--plugin-dir", "/no/such/folder"},
                                                       {"probe", "null.denoiser"},
                                                       {"probe", "null.denoiser", "predict"},
                                                       {"import", "m", "file.pt", "--to", "x"},
                                                       {"check-plugin", "/no/such/file"}};
  for (const auto& arguments : wrong) {
    INFO(::Catch::Detail::stringify(arguments));
    const Result result = tool(arguments);
    CHECK(result.code == 2);
    CHECK(result.out.empty());
    CHECK(result.err.starts_with("medgen: error: "));
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  }
}

TEST_CASE("a mistyped word is answered with the one that was meant", "[e2e][cli]") {
  CHECK(tool({"plugin"}).err == "medgen: error: no command 'plugin' (did you mean 'plugins'?); see `medgen --help`\n");
  CHECK(tool({"plugins", "--jsn"}).err ==
        "medgen: error: unknown option '--jsn' (did you mean '--json'?); see `medgen plugins --help`\n");
}

TEST_CASE("with --json an error is a document too", "[e2e][cli]") {
  const Result usage = tool({"plugins", "--json", "--nonsense"});
  CHECK(usage.code == 2);
  CHECK(Json::parse(usage.out).at("error").at("kind") == "usage");
  const Result config = tool({"describe", "no.such", "--json"});
  CHECK(config.code == 3);
  const Json error = Json::parse(config.out).at("error");
  CHECK(error.at("code") == 3);
  CHECK(config.err == "medgen: error: " + error.at("message").get<std::string>() + '\n');
}

TEST_CASE("versions are printed as text and as JSON", "[e2e][cli]") {
  CHECK(tool({"--version"}).out.starts_with("medgen "));
  CHECK(run("medgen-run", {"--version"}).out == tool({"--version"}).out);
  CHECK(Json::parse(tool({"version", "--json"}).out).contains("abi"));
}

TEST_CASE("medgen-run is medgen run", "[e2e][cli]") {
  CHECK(run("medgen-run", {"--help"}).out.find("Usage: medgen-run PIPELINE") != std::string::npos);
  const Result result = run("medgen-run", {"missing.json"});
  CHECK(result.code == 3);
  CHECK(result.err.find("missing.json") != std::string::npos);
}

TEST_CASE("a reader that goes away is no error, a full disk is", "[e2e][cli]") {
  CHECK(shell("set -o pipefail; medgen schema | head -c 1 > /dev/null").code == 0);
  const Result full = shell("medgen schema > /dev/full");
  CHECK(full.code == 1);
  CHECK(full.err.find("No space left") != std::string::npos);
}

TEST_CASE("completion scripts are accepted by bash and complete commands and components", "[e2e][cli]") {
  CHECK(shell("medgen completion bash | bash -n").code == 0);
  CHECK(tool({"__complete", "plug"}).out == "plugins\n");
  CHECK(tool({"__complete", "describe", "null.den"}).out.starts_with("null.denoiser\n"));
  const Result completed = shell(
      "source <(medgen completion bash); COMP_WORDS=(medgen run --dry); COMP_CWORD=2; _medgen medgen; echo "
      "\"${COMPREPLY[@]}\"");
  CHECK(completed.out == "--dry-run\n");
}
