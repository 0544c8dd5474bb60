// SPDX-License-Identifier: Apache-2.0
// medgen body

#include "core/volume/body.h"
#include "core/base/error.h"
#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/io/volume_file.h"
#include "core/volume/grid_difference.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen::cli {
namespace {

namespace fs = std::filesystem;

struct BodyArguments {
  fs::path image, labels, to;
  BodyRule rule;
  bool overwrite = false;
};

Volume read_labels(const BodyArguments& arguments, const Volume& ct, const Invocation& call) {
  if (arguments.labels.empty()) return ct.with_voxels(Tensor::zeros(DType::U8, ct.voxels().shape()));
  const std::string name = arguments.labels.string();
  const MatchedLabels matched = match_labels(ct.geometry(), read_volume(arguments.labels), name);
  if (matched.warning) {
    Reporter(ProgressStyle::None, call.log_level())
        .log(LogLevel::Warning, fmt::format("{}: {}; its voxels are taken as the CT's", name, *matched.warning));
  }
  return ct.with_voxels(matched.labels.voxels());
}

std::int64_t count(const Volume& labels, std::int64_t label) {
  const Tensor wide = labels.voxels().to(DType::I64);
  return std::ranges::count(wide.values<std::int64_t>(), label);
}

void add_body(const BodyArguments& arguments, Invocation& call) {
  if (!arguments.overwrite && fs::exists(arguments.to))
    throw DataError("{} exists already; --overwrite replaces it", arguments.to.string());
  const Volume ct = read_volume(arguments.image);
  const Volume result = with_body(ct, read_labels(arguments, ct, call), arguments.rule);
  const std::int64_t voxels = count(result, arguments.rule.label);
  if (voxels == 0)
    throw DataError("{} shows no body: all of it is below {} HU", arguments.image.string(), arguments.rule.air_below);
  write_volume(arguments.to, result);
  if (call.json) {
    print_json({{"file", arguments.to.string()}, {"label", arguments.rule.label}, {"voxels", voxels}});
  } else {
    print(fmt::format("{}: {} voxels of the body ({})\n", arguments.to.string(), voxels, arguments.rule.label));
  }
}

void configure_body(CLI::App& app, Invocation& call) {
  const auto arguments = std::make_shared<BodyArguments>();
  app.add_option("CT", arguments->image, "The CT, in Hounsfield units: a volume file or a folder with a DICOM series")
      ->type_name("FILE")
      ->required();
  app.add_option("LABELS", arguments->labels, "Its label map, which stays as it is elsewhere; none when missing")
      ->type_name("FILE");
  app.add_option("--to", arguments->to, "The new label map (.nii, .nii.gz)")->type_name("FILE")->required();
  app.add_option("--label", arguments->rule.label, "The body's label")->capture_default_str()->check(whole_number(1));
  app.add_option("--air-below", arguments->rule.air_below, "Hounsfield units")
      ->capture_default_str()
      ->check(finite_number());
  app.add_option("--least-part", arguments->rule.least_part,
                 "Parts of this size, relative to the largest, are body too (legs)")
      ->capture_default_str()
      ->check(CLI::Range(1e-6, 1.0));
  app.add_flag("--overwrite", arguments->overwrite, "Replace the file");
  add_json_option(app, call);
  app.callback([arguments, &call] { add_body(*arguments, call); });
}

}  // namespace

const Command kBodyCommand = {"body", "Give a label map of a CT the label of the body, which MAISI's ControlNet needs.",
                              "% ct.nii.gz segmentation.nii.gz --to mask.nii.gz\n"
                              "% dicom-folder --to body.nii.gz --label 1",
                              configure_body};

}  // namespace medgen::cli
