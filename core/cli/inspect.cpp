// SPDX-License-Identifier: Apache-2.0
// medgen inspect

#include "core/base/file.h"
#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/cli/signals.h"
#include "core/cli/survey_text.h"
#include "core/config/parse.h"
#include "core/survey/case_sheet.h"
#include "core/survey/document.h"

#include <nlohmann/json.hpp>

namespace medgen::cli {
namespace {

namespace fs = std::filesystem;

struct InspectArguments {
  std::vector<fs::path> data;
  fs::path drawing;
  fs::path labels;
};

/// The names of the ids, from a file of its own: {"liver": 1}, or any description that has them under "labels".
LabelTable read_table(const fs::path& file) {
  if (file.empty()) return {};
  ConfigNode node = read_config(file);
  if (node.contains("data") && node.at("data").contains("labels")) node = node.at("data");  // a model.json
  std::vector<std::string> regions;
  return read_label_table(node.contains("labels") ? node.at("labels") : node, regions);
}

void inspect(const InspectArguments& arguments, Invocation& call) {
  const LabelTable labels = read_table(arguments.labels);
  FoundCases found = find_cases(arguments.data);
  Reporter reporter(call.progress_style(), call.log_level());
  CaseSheet sheet(found.dataset.cases.size());
  if (!arguments.drawing.empty()) AtomicFile{arguments.drawing};  // can it be written? Before all is read.
  CaseViewer draw;
  if (!arguments.drawing.empty())
    draw = [&sheet](std::size_t number, const Volume& image, const std::optional<Volume>& label) {
      sheet.add(number, image, label);
    };
  const Survey result = survey(std::move(found), labels, reporter.observer(&cancel_on_signals(call.talks())), draw);
  reporter.clear();
  if (!arguments.drawing.empty() && sheet.empty()) {
    reporter.log(LogLevel::Warning, "no case could be drawn: " + arguments.drawing.string() + " is not written");
  } else if (!arguments.drawing.empty()) {
    write_png(arguments.drawing, sheet.picture());
  }
  call.json ? print_json(survey_document(result)) : print(printable(survey_text(result)));
  if (!result.ok()) call.exit_code = static_cast<int>(ErrorKind::Data);
}

void configure_inspect(CLI::App& app, Invocation& call) {
  const auto arguments = std::make_shared<InspectArguments>();
  app.add_option("DATA", arguments->data,
                 "A folder (MSD, nnU-Net, images/ and labels/, or of volumes), its dataset.json, or volume files")
      ->type_name("FILE")
      ->required();
  app.add_option("--draw", arguments->drawing, "Draw cases in three planes, with their label maps (.png)")
      ->type_name("FILE");
  app.add_option("--labels", arguments->labels, "Names of the label ids: {\"liver\": 1}, a dataset.json or model.json")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  add_json_option(app, call);
  add_progress_options(app, call);
  app.callback([arguments, &call] { inspect(*arguments, call); });
}

}  // namespace

const Command kInspectCommand = {"inspect",
                                 "Look at a data set: what it holds, what is wrong with it, what a training would use.",
                                 "% data/Task04_Hippocampus\n"
                                 "% data/Task04_Hippocampus --draw sheet.png --json > data.json\n"
                                 "% ct.nii.gz ct_label.nii.gz --labels labels.json",
                                 configure_inspect};

}  // namespace medgen::cli
