// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/selftest.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/config/parse.h"
#include "core/config/paths.h"
#include "core/io/nifti.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/model.h"
#include "core/pipeline/pipeline.h"
#include "core/volume/axis_order.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

#include <stdlib.h>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "self-test";
constexpr double kSmallest = 16, kLargest = 64;  // voxels along an axis
constexpr int kSteps = 2;

/// A folder for as long as the object lives.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (temporary_folder() / "medgen-self-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw RuntimeError("cannot make a folder in '{}'; set TMPDIR to a writable one", temporary_folder().string());
    path_ = name;
  }

  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// The smallest that the model was trained for, within reason.
Geometry grid_of(const DataContract& contract) {
  const GridLimits& limits = contract.limits;
  Geometry grid;
  Vec3 spacing{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double voxels = limits.size.minimum ? (*limits.size.minimum)[axis] : kSmallest;
    grid.size[axis] = static_cast<std::int64_t>(std::clamp(voxels, kSmallest, kLargest));
    const double low = limits.spacing_mm.minimum ? (*limits.spacing_mm.minimum)[axis] : 1;
    const double high = limits.spacing_mm.maximum ? (*limits.spacing_mm.maximum)[axis] : low;
    spacing[axis] = limits.spacing_mm.minimum ? 0.5 * (low + high) : high;
  }
  grid.affine = Affine<Ras>::from_spacing(spacing);
  return grid;
}

/// A volume of `value(u)`, where u runs from -1 to 1 along each axis of the grid.
template <typename T, typename Rule>
Volume volume_by(const Geometry& grid, DType type, const Rule& value) {
  Tensor voxels(type, zyx_of(grid.size));
  const auto at = [&](std::int64_t index, std::size_t axis) {
    return (2.0 * static_cast<double>(index) + 1.0) / static_cast<double>(grid.size[axis]) - 1.0;
  };
  auto out = voxels.values<T>().begin();
  for (std::int64_t k = 0; k < grid.size[2]; ++k)
    for (std::int64_t j = 0; j < grid.size[1]; ++j)
      for (std::int64_t i = 0; i < grid.size[0]; ++i)
        *out++ = static_cast<T>(value(Vec3{at(i, 0), at(j, 1), at(k, 2)}));
  return Volume(std::move(voxels), grid.affine);
}

Json pipeline_of(const Json& steps) {
  Json all = steps;
  all["save"] = {{"write", "@image"}, {"to", "out"}, {"overwrite", true}};
  return {
      {"medgen", 1}, {"seed", 1}, {"runtime", {{"precision", "fp32"}, {"device", "cpu"}}}, {"steps", std::move(all)}};
}

/// A model whose compressor alone has been trained so far can only encode and decode.
bool can_generate(const ModelPackage& package) {
  const auto& denoiser = package.part("denoiser");
  return denoiser && (!denoiser->weights.empty() || !package.part("compressor"));
}

/// Channels of an image that the package's compressor encodes.
std::int64_t image_channels(const ModelPackage& package, const Registry& registry) {
  Host host(registry);
  return std::max<std::int64_t>(Model::open(package.compressor_alone(), host).image_channels, 1);
}

/// What a self-test runs.
struct Tested {
  fs::path package;             ///< of the model
  std::string name;             ///< what the pipeline calls it
  Json adapters = nullptr;      ///< of it
  std::string conditions = {};  ///< a JSON object, or nothing
};

/// The generate step, and the inputs that it reads, which are written to `folder`.
Json generate_step(const ModelPackage& package, const Tested& tested, const Registry& registry,
                   const fs::path& folder) {
  const DataContract& contract = package.contract();
  Json step = {{"generate", tested.name}, {"steps", kSteps}, {"outside_contract", "warn"}};
  if (!tested.adapters.is_null()) step["adapters"] = tested.adapters;
  if (const Json given = Json::parse(tested.conditions, nullptr, false); given.is_object() && !given.empty())
    step["conditions"] = given;
  if (conditioner_with_input(package, registry, "image") != nullptr) {
    step["image"] = "image.nii.gz";
    write_nifti(folder / "image.nii.gz", self_test_image(contract));
  }
  if (conditioner_in_want_of_mask(package, registry) != nullptr) {
    step["mask"] = "input.nii.gz";
    write_nifti(folder / "input.nii.gz", self_test_mask(contract));
  } else {
    const Geometry grid = grid_of(contract);
    step["size"] = grid.size;
    step["spacing_mm"] = grid.affine.spacing_mm();
  }
  return step;
}

/// Pipeline and the inputs that it reads, written to `folder`.
void compose(const Tested& tested, const Registry& registry, const fs::path& folder) {
  const ModelPackage package = ModelPackage::load(tested.package, registry);
  const DataContract& contract = package.contract();
  Json steps;
  if (can_generate(package)) {
    steps["image"] = generate_step(package, tested, registry, folder);
  } else {
    steps["latent"] = {{"encode", tested.name}, {"image", "input.nii.gz"}};
    steps["image"] = {{"decode", tested.name}, {"latent", "@latent"}};
    write_nifti(folder / "input.nii.gz", contract.makes_labels()
                                             ? self_test_mask(contract)
                                             : self_test_image(contract, image_channels(package, registry)));
  }
  write_file(folder / "pipeline.json", dump_pretty(pipeline_of(steps)));
}

/// Runs the pipeline of a self-test and returns the one file it makes.
fs::path run(const fs::path& pipeline_file, const fs::path& model, const fs::path& to, const Registry& registry,
             const RunObserver& observer) {
  std::vector<std::string> changes = {"steps.save.to=" + Json(to.string()).dump()};
  if (!model.empty()) changes.push_back("steps.image.generate=" + Json(fs::absolute(model).string()).dump());
  const Pipeline pipeline = Pipeline::load(pipeline_file, changes);
  Host host(registry, pipeline.host_options());
  pipeline.run(host, observer);
  for (const char* kind : {"images", "labels"}) {
    if (!fs::exists(to / kind)) continue;
    for (const auto& entry : fs::directory_iterator(to / kind)) return entry.path();
  }
  throw DataError("'{}' makes no volume", pipeline_file.string());
}

double relative_difference(const Tensor& now, const Tensor& then) {
  const Tensor a = now.to(DType::F64), b = then.to(DType::F64);
  double difference = 0, norm = 0;
  const auto x = a.values<double>(), y = b.values<double>();
  for (std::size_t i = 0; i < y.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

}  // namespace

Volume self_test_mask(const DataContract& contract) {
  const Geometry grid = grid_of(contract);
  std::vector<std::int64_t> ids;
  for (const auto& [id, name] : contract.labels.names()) {
    if (id != 0) ids.push_back(id);
  }
  if (ids.empty()) ids = {1};
  const auto longest =
      static_cast<std::size_t>(std::max_element(grid.size.begin(), grid.size.end()) - grid.size.begin());
  constexpr double kRadius = 0.8;
  return volume_by<std::int32_t>(grid, DType::I32, [&](const Vec3& u) -> std::int64_t {
    if (u[0] * u[0] + u[1] * u[1] + u[2] * u[2] > kRadius * kRadius) return 0;
    const double part = (u[longest] + kRadius) / (2 * kRadius) * static_cast<double>(ids.size());
    return ids[std::min(static_cast<std::size_t>(part), ids.size() - 1)];
  });
}

Volume self_test_image(const DataContract& contract, std::int64_t channels) {
  const IntensityRule& rule = contract.intensity;
  const bool window = rule.kind == IntensityRule::Kind::Window;
  const double low = window ? rule.low : 0, high = window ? rule.high : rule.scale;
  const Volume one = volume_by<float>(grid_of(contract), DType::F32, [&](const Vec3& u) {
    const auto wave = [&](std::size_t axis, double periods) { return std::cos(std::numbers::pi * periods * u[axis]); };
    return low + (high - low) * (0.5 + (wave(0, 1) + wave(1, 2) + wave(2, 3)) / 6);
  });
  if (channels == 1) return one;
  Shape shape = one.voxels().shape();
  shape.insert(shape.begin(), 1);
  const std::vector<Tensor> rows(static_cast<std::size_t>(channels), one.voxels().reshape(shape));
  return one.with_voxels(concat_rows(rows));
}

bool has_self_test(const fs::path& package) {
  return fs::exists(package / kFolder / "pipeline.json");
}

namespace {

void write_test(const fs::path& folder, const Tested& tested, const Registry& registry, const RunObserver& observer) {
  fs::remove_all(folder);
  fs::create_directories(folder);
  try {
    compose(tested, registry, folder);
    const TemporaryFolder temporary;
    const fs::path made = run(folder / "pipeline.json", {}, temporary.path(), registry, observer);
    write_nifti(folder / "expected.nii.gz", read_nifti(made).volume);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    throw;
  }
}

}  // namespace

void write_self_test(const fs::path& package, const std::string& conditions, const Registry& registry,
                     const RunObserver& observer) {
  write_test(package / kFolder, {package, "..", nullptr, conditions}, registry, observer);
}

void write_adapter_self_test(const fs::path& adapter, const fs::path& base, const std::string& conditions,
                             const Registry& registry, const RunObserver& observer) {
  const fs::path folder = adapter / kFolder;
  const fs::path model = fs::weakly_canonical(base).lexically_relative(fs::weakly_canonical(folder));
  write_test(folder, {base, model.string(), Json{".."}, conditions}, registry, observer);
}

namespace {

/// The step that makes the volume.
ConfigNode tested_step(const fs::path& package) {
  return read_config(package / kFolder / "pipeline.json").at("steps").at("image");
}

}  // namespace

bool tests_compressor_alone(const fs::path& package) {
  return has_self_test(package) && tested_step(package).contains("decode");
}

fs::path tested_model(const fs::path& package) {
  const ConfigNode image = tested_step(package);
  return resolve_path(image.at(image.contains("generate") ? "generate" : "decode")).lexically_normal();
}

SelfTestResult run_self_test(const fs::path& package, const fs::path& model, const Registry& registry,
                             const RunObserver& observer) {
  const fs::path folder = package / kFolder;
  if (!has_self_test(package))
    throw DataError("'{}' has no self-test: '{}' is missing", package.string(), (folder / "pipeline.json").string());
  const Volume then = read_nifti(folder / "expected.nii.gz").volume;
  const TemporaryFolder temporary;
  const Volume now = read_nifti(run(folder / "pipeline.json", model, temporary.path(), registry, observer)).volume;
  if (!(now.geometry() == then.geometry()))
    throw DataError("the self-test of '{}' gives another grid than '{}'", package.string(),
                    (folder / "expected.nii.gz").string());
  return {.difference = relative_difference(now.voxels(), then.voxels())};
}

}  // namespace medgen
