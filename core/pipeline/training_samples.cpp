// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/training_samples.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/io/contact_sheet.h"
#include "core/io/volume_file.h"
#include "core/pipeline/codec.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/generate.h"
#include "core/tensor/moments.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace medgen {
namespace {

double deviation(const Tensor& tensor) {
  Moments moments;
  moments.add(tensor);
  const double variance = moments.variance();
  return std::isfinite(variance) ? std::sqrt(std::max(variance, 0.0)) : std::nan("");
}

/// The smaller of two, and NaN when one is.
void lower(double& least, double value) {
  if (!(value >= least)) least = value;
}

/// One volume of a sample, in the contract's units.
struct Made {
  std::string name;
  Volume image, real;
  std::optional<Volume> label;
  IntensityTransform intensity;  ///< from the contract's units to the image's
};

/// Label maps, or images, and grids of some cases, for a generate step.
class CaseVolumes : public SampleSource {
 public:
  enum class Kind { Label, Image };

  CaseVolumes(const std::vector<Made>& cases, Kind kind) : cases_(cases), kind_(kind) {}

  std::size_t count() const override { return cases_.size(); }

  std::string name(std::size_t index) const override { return cases_.at(index).name; }

  std::optional<Geometry> grid(std::size_t index) const override { return cases_.at(index).real.geometry(); }

  void produce(const std::vector<std::size_t>& wanted, const RunObserver&, const Sink& sink) override {
    for (const std::size_t index : wanted) {
      Sample sample{name(index), std::nullopt, std::nullopt, {}, "{}"};
      if (kind_ == Kind::Label) sample.label = cases_[index].label;
      if (kind_ == Kind::Image) sample.image = cases_[index].real;
      sink(index, std::move(sample));
    }
  }

 private:
  const std::vector<Made>& cases_;
  Kind kind_;
};

class SampleRun {
 public:
  SampleRun(const ModelPackage& package, const TrainingData& data, std::uint64_t iteration,
            const TrainingSampleOptions& options, Host& host, const RunObserver& observer)
      : package_(package), data_(data), iteration_(iteration), options_(options), host_(host), observer_(observer) {
    const auto& cases = data.validation().empty() ? data.training() : data.validation();
    for (std::size_t i = 0; i < std::min(options.count, cases.size()); ++i) {
      Patch patch = data.still_patch(cases[i]);
      const IntensityTransform intensity = data.intensity(cases[i]).for_output();
      Volume real = patch.image.with_voxels(unscaled(intensity, patch.image.voxels(), DType::F32));
      made_.push_back({data.name(cases[i]), patch.image, std::move(real), std::move(patch.label), intensity});
    }
  }

  TrainingSample compress() {
    const Model model = Model::open(package_.compressor_alone(), host_);
    for (Made& each : made_) {
      observer_.check_cancelled();
      const ModelGrid grid(each.image.geometry(), model.contract, model.multiple_of);
      const Tensor x = grid.to_model(each.image, 0);
      const Tensor z = model.compressor->encode(CallContext{}, {{"x", x}}).mean;
      const Tensor y = model.compressor->decode(CallContext{}, {{"z", z}});
      lower(sample_.spreads.try_emplace("latent_spread", kMost).first->second, deviation(z));
      each.image = image_from_model(y, grid, model.contract, each.intensity, DType::F32, nullptr);
    }
    return finish();
  }

  TrainingSample generate() {
    GenerateOptions options;
    options.step = options_.step;
    options.seed = options_.seed;
    options.steps = options_.steps > 0 ? options_.steps : package_.default_steps();
    options.guidance = package_.default_guidance();
    options.beyond_contract = true;  // patches may be smaller than what the model will be used for
    for (const Made& each : made_) options.conditions_of_each.push_back(options_.conditions.of(each.name));
    const bool masks = std::all_of(made_.begin(), made_.end(), [](const Made& each) { return each.label.has_value(); });
    if (!masks) {
      options.grid = made_.front().real.geometry();
      options.count = static_cast<int>(made_.size());
    }
    if (conditioner_with_input(package_, host_.registry(), "image") != nullptr)
      options.images = std::make_shared<CaseVolumes>(made_, CaseVolumes::Kind::Image);
    GenerateSource source(package_, host_,
                          masks ? std::make_shared<CaseVolumes>(made_, CaseVolumes::Kind::Label) : nullptr, options);
    RunObserver quiet;  // the bar is the training's
    quiet.cancel = observer_.cancel;
    std::vector<std::size_t> all(made_.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    source.produce(all, quiet, [&](std::size_t index, Sample sample) {
      const Volume& volume = sample.image ? *sample.image : *sample.label;  // of a model that makes label maps
      made_[index].image = volume.with_voxels(volume.voxels().to(DType::F32));
    });
    return finish();
  }

 private:
  static constexpr double kMost = std::numeric_limits<double>::max();

  TrainingSample finish() {
    double contrast = kMost;
    for (const Made& each : made_)
      lower(contrast, deviation(each.image.voxels()) / std::max(deviation(each.real.voxels()), 1e-12));
    sample_.spreads["sample_contrast"] = contrast;
    try {
      write();
    } catch (const Cancelled&) {
      throw;
    } catch (const std::exception& error) {  // the training is worth more than its pictures
      observer_.say(LogLevel::Warning,
                    fmt::format("steps.{}: a sample is not written: {}", options_.step, error.what()));
    }
    return std::move(sample_);
  }

  void write() {
    std::filesystem::create_directories(options_.folder);
    const std::string stem = fmt::format("{:07}", iteration_);
    std::vector<ContactSheetRow> rows;
    for (const Made& each : made_) {
      write_volume(options_.folder / fmt::format("{}_{}.nii.gz", stem, each.name), each.image);
      rows.push_back({each.real, each.label});
      rows.push_back({each.image, each.label});
    }
    sample_.png = encode_png(draw_contact_sheet(rows));
    write_file(options_.folder / (stem + ".png"), sample_.png);
  }

  const ModelPackage& package_;
  const TrainingData& data_;
  std::uint64_t iteration_;
  const TrainingSampleOptions& options_;
  Host& host_;
  const RunObserver& observer_;
  std::vector<Made> made_;
  TrainingSample sample_;
};

}  // namespace

TrainingSample make_training_sample(const ModelPackage& package, bool compressor, const TrainingData& data,
                                    std::uint64_t iteration, const TrainingSampleOptions& options, Host& host,
                                    const RunObserver& observer) {
  SampleRun run(package, data, iteration, options, host, observer);
  return compressor ? run.compress() : run.generate();
}

}  // namespace medgen
