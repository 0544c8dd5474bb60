// SPDX-License-Identifier: Apache-2.0
// medgen view

#include "core/base/file.h"
#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/cli/signals.h"
#include "core/view/run_page.h"

#include <nlohmann/json.hpp>

namespace medgen::cli {
namespace {

struct ViewArguments {
  std::filesystem::path run;
  std::filesystem::path to;
  std::size_t samples = 16;
};

void view(const ViewArguments& arguments, const Invocation& call) {
  const std::filesystem::path to = arguments.to.empty() ? arguments.run / "view.html" : arguments.to;
  Reporter reporter(call.progress_style(), call.log_level());
  const RunPage page =
      make_run_page(arguments.run, arguments.samples, reporter.observer(&cancel_on_signals(call.talks())));
  write_file(to, page.html);
  reporter.clear();
  if (!call.json) return print(printable(to.string()) + '\n');
  print_json({{"page", to.string()},
              {"bytes", page.html.size()},
              {"samples", page.samples},
              {"curves", page.curves},
              {"problems", page.problems}});
}

void configure_view(CLI::App& app, Invocation& call) {
  const auto arguments = std::make_shared<ViewArguments>();
  app.add_option("RUN", arguments->run, "Folder of a run or a training, finished or not")->type_name("DIR")->required();
  app.add_option("--to", arguments->to, "The page to write; RUN/view.html when not given")->type_name("FILE");
  app.add_option("--samples", arguments->samples, "Most samples to draw; 16 when not given")
      ->type_name("N")
      ->check(whole_number(0));
  add_json_option(app, call);
  add_progress_options(app, call);
  app.callback([arguments, &call] { view(*arguments, call); });
}

}  // namespace

const Command kViewCommand = {"view",
                              "Write a page about a run: what was run, its samples, and the curves of a training.",
                              "% out\n"
                              "% models/mine --to training.html --samples 8",
                              configure_view};

}  // namespace medgen::cli
