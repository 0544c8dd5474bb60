// SPDX-License-Identifier: Apache-2.0
// What a model package proves itself with, in its folder self-test/: a small input that a rule made (of no patient),
// the pipeline that puts it through the model, and what came out where the package was made. docs/model.md
#pragma once

#include "core/pipeline/contract.h"
#include "core/plugin/registry.h"
#include "core/run/observer.h"

#include <filesystem>

namespace medgen {

struct SelfTestResult {
  double difference = 0;  ///< relative L2 between what came out now and then
  double tolerance = 1e-3;

  bool passed() const { return difference <= tolerance; }
};

/// Label map of a self-test: an ellipsoid cut along its longest axis into one piece for each label of the contract, in
/// the order of the ids; one label 1 where the contract names none.
Volume self_test_mask(const DataContract& contract);
/// Image of a self-test: three cosine waves over the range of intensities that the contract takes, in every channel.
Volume self_test_image(const DataContract& contract, std::int64_t channels = 1);

bool has_self_test(const std::filesystem::path& package);

/// Runs the package in fp32 on the CPU and keeps input, pipeline and output, replacing an older self-test.
/// @param conditions  for the conditioners, a JSON object, or nothing.
/// @throws whatever keeps the package from running; then there is no self-test.
void write_self_test(const std::filesystem::path& package, const std::string& conditions, const Registry& registry,
                     const RunObserver& observer);

/// The same of an adapter's folder, with the model that it is for.
void write_adapter_self_test(const std::filesystem::path& adapter, const std::filesystem::path& base,
                             const std::string& conditions, const Registry& registry, const RunObserver& observer);

/// The package that a self-test runs: for an adapter the model that it was trained for, where that was then.
std::filesystem::path tested_model(const std::filesystem::path& package);

/// Whether a package has a self-test of its compressor alone: the denoiser was still to be trained.
bool tests_compressor_alone(const std::filesystem::path& package);

/// Runs it again. @param model  in place of `tested_model`, where it is not empty.
/// @throws DataError when the package has no self-test or gives another grid, else what the run throws.
SelfTestResult run_self_test(const std::filesystem::path& package, const std::filesystem::path& model,
                             const Registry& registry, const RunObserver& observer);

}  // namespace medgen
