// SPDX-License-Identifier: Apache-2.0
// medgen schema, completion, version

#include "core/cli/command.h"
#include "core/cli/completion.h"
#include "core/cli/console.h"
#include "core/pipeline/pipeline.h"

#include <medgen/abi/version.h>

#include <nlohmann/json.hpp>

namespace medgen::cli {
namespace {

void configure_schema(CLI::App& app, Invocation&) {
  app.callback([] { print(pipeline_schema()); });
}

void configure_completion(CLI::App& app, Invocation&) {
  const auto shell = std::make_shared<std::string>();
  app.add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  app.callback([shell] { print(completion_script(*shell)); });
}

void configure_version(CLI::App& app, Invocation& call) {
  add_json_option(app, call);
  app.callback([&call] {
    const std::string abi = fmt::format("{}.{}", MEDGEN_ABI_MAJOR, MEDGEN_ABI_MINOR);
    if (call.json) return print_json({{"medgen", MEDGEN_VERSION}, {"abi", abi}});
    print(fmt::format("medgen {} (plugin ABI {})\n", MEDGEN_VERSION, abi));
  });
}

}  // namespace

const Command kSchemaCommand = {"schema", "Print the JSON Schema of pipeline files, for editors.",
                                "% > pipeline.schema.json", configure_schema};

const Command kCompletionCommand = {"completion", "Print the completion script of a shell.",
                                    "source <(% bash)\n"
                                    "% zsh > ~/.zfunc/_medgen\n"
                                    "% fish > ~/.config/fish/completions/medgen.fish",
                                    configure_completion};

const Command kVersionCommand = {"version", "Print the versions of medgen and of the plugin ABI.",
                                 "%\n"
                                 "% --json",
                                 configure_version};

}  // namespace medgen::cli
