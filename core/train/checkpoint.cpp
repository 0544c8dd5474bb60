// SPDX-License-Identifier: Apache-2.0
#include "core/train/checkpoint.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/tensor/finite.h"
#include "core/weights/safetensors.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <span>

namespace medgen {
namespace {

constexpr std::uint32_t kEverything = MEDGEN_TRAIN_WEIGHTS | MEDGEN_TRAIN_EMA | MEDGEN_TRAIN_OPTIMIZER;

template <typename T>
T number(const std::filesystem::path& path, const std::string& text) {
  T result{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
  if (error == std::errc() && end == text.data() + text.size()) return result;
  throw DataError("'{}' is damaged: it does not say how far the training was; delete it to start anew", path.string());
}

/// What decides how the training goes on, beside the weights. Numbers come back to the last bit.
std::string watched(const LoopState& state) {
  Json json = {{"mean", state.watch.mean},     {"lowest", state.watch.lowest}, {"first", state.watch.first},
               {"seen", state.watch.seen},     {"flat", state.watch.flat},     {"stale", state.stale},
               {"validated", state.validated}, {"sampled", state.sampled},     {"scalars", state.scalars}};
  if (state.best) {
    json["best"] = {{"loss", state.best->loss}, {"iteration", state.best->iteration}, {"scalars", state.best->scalars}};
  }
  return dump_compact(json);
}

void read_watched(const std::filesystem::path& path, const std::string& text, LoopState& state) {
  if (text.empty()) return;  // written before there was any
  try {
    const Json json = Json::parse(text);
    state.watch = {json.at("mean"), json.at("lowest"), json.value("first", 0.0), json.at("seen"), json.at("flat")};
    state.stale = json.at("stale");
    state.validated = json.at("validated");
    state.sampled = json.at("sampled");
    state.scalars = json.value("scalars", Scalars());
    if (!json.contains("best")) return;
    const Json& best = json["best"];
    state.best = BestLoss{best.at("loss"), best.at("iteration"), best.value("scalars", Scalars())};
  } catch (const nlohmann::json::exception& error) {
    throw DataError("'{}' is damaged ({}); delete it to start anew", path.string(), error.what());
  }
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, Learner& learner, const LoopState& state,
                     const std::string& fingerprint) {
  std::map<std::string, TensorKind> kinds;
  learner.save(kEverything, [&](const std::string& name, const Tensor& tensor) {
    if (count_non_finite(tensor) > 0) {
      throw RuntimeError("{} has values that are not finite after iteration {}; '{}' keeps the last good state", name,
                         state.iteration, path.string());
    }
    kinds[name] = {tensor.dtype(), tensor.shape()};
  });
  SafetensorsWriter file(path, kinds,
                         {{"medgen.iteration", std::to_string(state.iteration)},
                          {"medgen.seconds", fmt::format("{}", state.seconds)},
                          {"medgen.fingerprint", fingerprint},
                          {"medgen.watched", watched(state)}});
  learner.save(kEverything, [&](const std::string& name, const Tensor& tensor) { file.write(name, tensor); });
  file.commit();
}

namespace {

std::string differences_of(const std::string& was, const std::string& is) {
  const Json before = Json::parse(was, nullptr, false), now = Json::parse(is, nullptr, false);
  return before.is_object() && now.is_object() ? differences(before, now) : "";
}

/// @throws DataError that says what can be done about a damaged one
SafetensorsFile opened(const std::filesystem::path& path) {
  try {
    return SafetensorsFile(path);
  } catch (const DataError& error) {
    throw DataError("{}; the checkpoint is damaged: put another one in its place, or delete it to start anew",
                    error.what());
  }
}

std::string value_of(const SafetensorsFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? std::string() : found->second;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
  throw DataError(
      "'{}' belongs to another training ({}); choose another folder, where \"train\" may name the "
      "package that came of it, or delete it to start anew",
      path.string(), what.empty() ? "other data, model, precision or options" : what);
}

}  // namespace

std::uint64_t iteration_of_checkpoint(const std::filesystem::path& path, const std::map<std::string, Json>& known) {
  const SafetensorsFile file = opened(path);
  const Json there = Json::parse(value_of(file, "medgen.fingerprint"), nullptr, false);
  Json was = Json::object(), is = Json::object();
  for (const auto& [name, value] : known) {
    const Json::json_pointer place(name);
    is[place] = value;
    if (there.is_object() && there.contains(place)) was[place] = there[place];
  }
  if (!same_content(was, is)) refuse(path, differences(was, is));
  return number<std::uint64_t>(path, value_of(file, "medgen.iteration"));
}

LoopState load_checkpoint(const std::filesystem::path& path, Learner& learner, const std::string& fingerprint) {
  const SafetensorsFile file = opened(path);
  const auto value = [&](const char* key) { return value_of(file, key); };
  if (const std::string there = value("medgen.fingerprint"); there != fingerprint)
    refuse(path, differences_of(there, fingerprint));
  LoopState state;
  state.iteration = number<std::uint64_t>(path, value("medgen.iteration"));
  state.seconds = number<double>(path, value("medgen.seconds"));
  read_watched(path, value("medgen.watched"), state);
  learner.load(kEverything, [&](const std::string& name) {
    file.drop_pages();  // of those before it, which have been copied
    return find_tensor(file.tensors(), name);
  });
  return state;
}

std::string weights_hash(Learner& learner) {
  std::string all;
  learner.save(MEDGEN_TRAIN_WEIGHTS, [&](const std::string&, const Tensor& tensor) {
    all += sha256(std::span(static_cast<const std::byte*>(tensor.data()), tensor.bytes()));
  });
  return sha256(all);
}

}  // namespace medgen
