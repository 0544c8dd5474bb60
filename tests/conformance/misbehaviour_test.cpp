// SPDX-License-Identifier: Apache-2.0
// What becomes of components that fail, throw, or give back nonsense.

#include "core/base/error.h"
#include "core/base/trace.h"
#include "core/config/json.h"
#include "core/plugin/plugin_call.h"
#include "core/random/noise.h"
#include "plugin_folder.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <map>

using namespace medgen;
using namespace medgen::test;
using Catch::Matchers::Contains;

namespace {

class Fixture {
 public:
  Fixture() {
    install(folder_.path(), "misbehaving", "misbehaving",
            {{"misbehaving.denoiser", "medgen.denoiser/1"},
             {"misbehaving.conditioner", "medgen.conditioner/1"},
             {"misbehaving.compressor", "medgen.compressor/1"},
             {"misbehaving.scheduler", "medgen.scheduler/1"},
             {"misbehaving.propagator", "medgen.propagator/1"},
             {"misbehaving.empty", "medgen.denoiser/1"},
             {"misbehaving.nan", "medgen.denoiser/1"},
             {"misbehaving.name", "medgen.denoiser/1"}});
    HostOptions options;
    options.threads = 3;
    options.memory_budget = 1 << 30;
    options.log = [this](int, std::string_view line) { log_.emplace_back(line); };
    host_ = std::make_unique<Host>(Registry::scan_only({folder_.path()}), options);
  }

  static std::string config(const std::string& defect) { return fmt::format(R"({{"defect":"{}"}})", defect); }

  Host& host() { return *host_; }

  const std::vector<std::string>& log() const { return log_; }

  const TemporaryFolder& folder() const { return folder_; }

  std::shared_ptr<Denoiser> denoiser(const std::string& defect) {
    return host().create_denoiser("misbehaving.denoiser", config(defect));
  }

  std::shared_ptr<Scheduler> scheduler(const std::string& defect) {
    return host().create_scheduler("misbehaving.scheduler", config(defect));
  }

  std::shared_ptr<Propagator> propagator(const std::string& defect) {
    return host().create_propagator("misbehaving.propagator", config(defect));
  }

 protected:
  std::vector<std::string> log_;

 private:
  TemporaryFolder folder_;
  std::unique_ptr<Host> host_;
};

TensorMap batch() {
  const std::vector<float> values{1, 2, 3, 4};
  return {{"x", Tensor::from<float>(values, {1, 2, 1, 2, 1})}, {"timesteps", Tensor::scalar(0)}};
}

ScheduleRequest steps(int n) {
  ScheduleRequest request;
  request.steps = n;
  request.latent_shape = {1, 2, 2, 2};
  return request;
}

CoverRequest cube() {
  return {2, {3, 4, 5}, {}};
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a denoiser without a defect works through the same door", "[conformance][plugin]") {
  const Tensor out = denoiser("none")->predict({}, batch());
  REQUIRE(out.shape() == Shape{1, 2, 1, 2, 1});
  CHECK(out.values<float>()[3] == 8);
  CHECK(denoiser("none")->call("predict", {}, {batch(), ""}).count("out") == 1);
  CHECK(denoiser("none")->describe() == R"({"latent_channels": 4})");
  denoiser("none")->prepare({}, {});
}

TEST_CASE_METHOD(Fixture, "NaN that went in is not blamed on the component", "[conformance][plugin]") {
  TensorMap in = batch();
  in["x"].values<float>()[1] = std::nanf("");
  CHECK_THROWS_WITH(denoiser("none")->predict({}, in), Contains("its input 'x' already held such values"));
}

TEST_CASE_METHOD(Fixture, "a failing create is reported", "[conformance][plugin]") {
  const auto [defect, reason] = GENERATE(table<std::string, std::string>({
      {"create fails silently", "the plugin gave no reason (INTERNAL)"},
      {"create throws", "an exception left the plugin, which is a defect of it: thrown by create"},
      {"create gives nothing", "gave no object"},
  }));
  CHECK_THROWS_AS(denoiser(defect), PluginError);
  CHECK_THROWS_WITH(denoiser(defect), Contains(reason));
}

TEST_CASE_METHOD(Fixture, "a config that create finds wrong is the config's fault", "[conformance][plugin]") {
  CHECK_THROWS_AS(denoiser("create fails"), ConfigError);
  CHECK_THROWS_WITH(denoiser("create fails"),
                    Contains("misbehaving.denoiser: create failed: channels must be even (INVALID)"));
}

TEST_CASE_METHOD(Fixture, "a failing call is reported with the plugin's text and the status", "[conformance][plugin]") {
  const auto [defect, reason] = GENERATE(table<std::string, std::string>({
      {"predict throws", "thrown by predict"},
      {"predict throws an int", "unknown type"},
      {"unknown status", "something new (INTERNAL, unknown status -12345)"},
      {"positive status", "(INTERNAL, unknown status 7)"},
      {"no reason", "gave no reason (INTERNAL)"},
      {"not text", "bad ?? bytes (INVALID)"},
      {"no output", "reported success without output 'out'"},
      {"wrong shape", "gave 'out' as F32 3x3 for x 1x2x1x2x1"},
      {"negative shape", "impossible tensor shape 1x-4x2x2x2"},
      {"huge shape", "impossible tensor shape"},
      {"unknown dtype", "element type"},
      {"nameless output", "without a sensible name"},
      {"NULL shape", "3 axes"},
      {"ignored refusal", "reported success after: impossible tensor shape -1"},
      {"nan output", "gave 'out' with 1 of 4 values NaN or infinite; its weights"},
      {"infinite output", "gave 'out' with 1 of 4 values NaN or infinite"},
      {"two shapes", "asked for as F32 1x1 and again as F32 1x2"},
  }));
  CAPTURE(defect);
  CHECK_THROWS_AS(denoiser(defect)->predict({}, batch()), PluginError);
  CHECK_THROWS_WITH(denoiser(defect)->predict({}, batch()),
                    Contains(reason) && Contains("misbehaving.denoiser: predict"));
}

TEST_CASE_METHOD(Fixture, "statuses become the errors they mean", "[conformance][plugin]") {
  CHECK_THROWS_AS(denoiser("out of memory")->predict({}, batch()), OutOfMemoryError);
  CHECK_THROWS_AS(denoiser("more than the memory")->predict({}, batch()), OutOfMemoryError);
  CHECK_THROWS_AS(denoiser("device lost")->predict({}, batch()), DeviceError);
}

TEST_CASE_METHOD(Fixture, "a progress callback can stop a call, and its exceptions come out", "[conformance][plugin]") {
  CallContext context;
  std::string phase;
  context.progress = [&](std::string_view name, std::uint64_t done, std::uint64_t total) {
    phase = name;
    return done == total;
  };
  CHECK_THROWS_AS(denoiser("progress")->predict(context, batch()), Cancelled);
  CHECK(phase == "working");
  context.progress = [](auto...) -> bool { throw DataError("from the callback"); };
  CHECK_THROWS_AS(denoiser("progress")->predict(context, batch()), DataError);
  context.progress = [](auto...) { return true; };
  CHECK_NOTHROW(denoiser("progress")->predict(context, batch()));
}

TEST_CASE_METHOD(Fixture, "a function that is not there is named", "[conformance][plugin]") {
  CHECK_THROWS_WITH(denoiser("none")->call("predcit", {}, {}), Contains("did you mean 'predict'?"));
  const auto empty = host().create_denoiser("misbehaving.empty", std::string());
  CHECK_THROWS_WITH(empty->predict({}, batch()), Contains("misbehaving.empty offers no 'predict'"));
  const auto compressor = host().create_compressor("misbehaving.compressor", std::string());
  CHECK_THROWS_WITH(compressor->prior({}, {}), Contains("offers no 'prior'"));
  CHECK_THROWS_WITH(compressor->decode({}, {}), Contains("offers no 'decode'"));
  CHECK_THROWS_AS(propagator("none")->call("next", {}, {}), UsageError);
  CHECK_THROWS_AS(scheduler("none")->training_time(steps(1), 0.5), PluginError);
}

TEST_CASE_METHOD(Fixture, "a latent whose parts disagree is refused", "[conformance][plugin]") {
  const auto compressor = host().create_compressor("misbehaving.compressor", std::string());
  CHECK_THROWS_WITH(compressor->encode({}, batch()), Contains("'sigma' of shape 1"));
}

TEST_CASE_METHOD(Fixture, "a destroy that throws is logged and survived", "[conformance][plugin]") {
  denoiser("destroy throws").reset();
  REQUIRE(log().size() == 1);
  CHECK_THAT(log()[0], Contains("destroy"));
  CHECK_THROWS_WITH(denoiser("describe is no json")->describe(), Contains("gave no JSON object"));
}

TEST_CASE_METHOD(Fixture, "extensions are found by their id", "[conformance][plugin]") {
  const auto component = denoiser("none");
  CHECK(component->extension("tests.extension/1") != nullptr);
  CHECK(component->extension("tests.extension/1 ") == nullptr);
  const Inputs in{batch(), ""};
  PluginCall call(*component, "an extension", {}, in);
  CHECK(call.inputs()->count == 2);
  call.run([] { return MEDGEN_OK; });
  CHECK_THROWS_WITH(call.run([] { return MEDGEN_E_STATE; }), Contains("misbehaving.denoiser: an extension failed"));
}

TEST_CASE_METHOD(Fixture, "the host's services do what the header says", "[conformance][plugin]") {
  const auto conditioner = host().create_conditioner("misbehaving.conditioner", std::string());
  CallContext context;
  context.seed = 7;
  context.sample = 3;
  context.step = 2;
  TensorMap out = conditioner->encode(context, {});
  Tensor expected(DType::F32, {2, 5});
  fill_noise(expected, {7, 3, "init", 2});
  CHECK(std::memcmp(out.at("noise").data(), expected.data(), expected.bytes()) == 0);
  CHECK(out.at("squares").values<float>()[999] == 998001);
  REQUIRE(log().size() == 2);
  CHECK(log()[0] == "misbehaving: a warning");
  CHECK(log()[1] == "misbehaving: a warning through the context");
}

TEST_CASE_METHOD(Fixture, "ranges of a plugin nest in the trace, whatever it does", "[conformance][plugin]") {
  const std::filesystem::path file = folder().path() / "trace.json";
  Trace trace(file);
  HostOptions options;
  options.trace = &trace;
  options.log = [this](int, std::string_view line) { log_.emplace_back(line); };
  Host host(Registry::scan_only({folder().path()}), options);
  const auto predict = [&](const char* defect) {
    const TraceRange around(&trace, defect, "loop");
    host.create_denoiser("misbehaving.denoiser", config(defect))->predict({}, batch());
  };
  predict("ranges");
  CHECK(log().empty());
  predict("ranges left open");
  predict("ranges closed twice");
  predict("ranges");
  REQUIRE(log().size() == 1);
  CHECK_THAT(log()[0], Contains("misbehaving.denoiser: predict leaves 2 ranges open and closes 0"));
  trace.finish();
  const Json document = Json::parse(read_file(file, 1 << 20));
  std::map<std::string, int> counts;
  double predict_end = 0, inner_end = 0;
  for (const Json& event : document.at("traceEvents")) {
    const std::string name = event.at("name");
    ++counts[name];
    if (event.at("ph") != "X") continue;
    const double end = event.at("ts").get<double>() + event.at("dur").get<double>();
    if (name == "one") inner_end = end;
    if (name == "misbehaving.denoiser: predict" && counts[name] == 2) predict_end = end;
  }
  CHECK(counts["misbehaving.denoiser: predict"] == 4);
  CHECK(counts["ranges closed twice"] == 1);
  CHECK(counts["layer"] == 2);
  CHECK(counts["one"] == 1);
  CHECK(counts["two"] == 1);
  CHECK(inner_end <= predict_end);
}

TEST_CASE_METHOD(Fixture, "a scheduler's numbers are checked", "[conformance][plugin]") {
  const auto schedule = scheduler("none")->begin(steps(4));
  CHECK(schedule->timesteps() == std::vector<double>{3, 2, 1, 0});
  CHECK(schedule->update(2).x == 2);
  CHECK(schedule->update(2).keep_m == -1);
  CHECK(schedule->level(0.5).sigma == 0.5);
  for (const char* defect : {"no run", "nan time", "NULL times", "no times", "too many times"}) {
    CAPTURE(defect);
    CHECK_THROWS_AS(scheduler(defect)->begin(steps(4)), PluginError);
  }
  for (const char* defect : {"nan coefficient", "infinite history", "unknown slot", "unknown flag", "crossed clamp"}) {
    CAPTURE(defect);
    CHECK_THROWS_AS(scheduler(defect)->begin(steps(4))->update(0), PluginError);
  }
  CHECK_THROWS_AS(scheduler("nan level")->level(0), PluginError);
  CHECK_THROWS_AS(scheduler("none")->begin(steps(0)), ConfigError);
}

TEST_CASE_METHOD(Fixture, "a scheduler is probed by its numbers", "[conformance][plugin]") {
  const auto component = scheduler("none");
  const TensorMap updates = component->call("updates", {}, {{}, R"({"num_inference_steps": 4})"});
  CHECK(updates.at("x").values<double>()[3] == 3);
  CHECK(updates.at("history").shape() == Shape{4, 8});
  CHECK(updates.at("completes_step").values<std::int64_t>()[0] == 1);
  const TensorMap levels = component->call("levels", {}, {{}, R"({"timesteps": [0.25, 0.5]})"});
  CHECK(levels.at("sigma").values<double>()[1] == 0.5);
  CHECK_THROWS_AS(component->call("step", {}, {}), UsageError);
  CHECK_THROWS_AS(component->call("updates", {}, {{}, "{"}), ConfigError);
}

TEST_CASE_METHOD(Fixture, "a propagator's windows are checked", "[conformance][plugin]") {
  const auto component = propagator("none");
  const auto cover = component->begin({}, cube());
  const auto window = cover->next({});
  REQUIRE(window);
  CHECK(window->extent == Shape{3, 4, 5});
  CHECK(window->order == std::vector<int>{0, 1, 2});
  cover->accept({}, *window, Tensor::zeros(DType::F32, {2, 3, 4, 5}));
  CHECK_FALSE(cover->next({}));
  CHECK(cover->finish({}).shape() == Shape{2, 3, 4, 5});
  CHECK(component->count(cube()) == 0);
  CHECK_THROWS_AS(propagator("no cover")->begin({}, cube()), PluginError);
  for (const char* defect :
       {"window outside", "window overflows", "empty window", "window of two axes", "window of many axes", "axes twice",
        "unknown rule", "known is missing", "conditions are missing", "known without data"}) {
    CAPTURE(defect);
    CHECK_THROWS_AS(propagator(defect)->begin({}, cube())->next({}), PluginError);
  }
  for (const char* defect : {"finish gives nothing", "finish gives less"}) {
    CAPTURE(defect);
    CHECK_THROWS_AS(propagator(defect)->begin({}, cube())->finish({}), PluginError);
  }
}
