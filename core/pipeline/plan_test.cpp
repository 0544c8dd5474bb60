// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/planner.h"

#include "core/base/error.h"
#include "core/config/json.h"
#include "core/parallel/group.h"
#include "core/run/resources.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen {
namespace {

Demand demand(std::uint64_t held, std::uint64_t loading, std::uint64_t working) {
  Demand demand;
  demand.held = held;
  demand.loading = loading;
  demand.working = working;
  return demand;
}

TEST_CASE("sizes and durations are short and never wrong by a unit", "[unit][pipeline]") {
  CHECK(size_text(0) == "0 B");
  CHECK(size_text(999) == "999 B");
  CHECK(size_text(1000) == "0.98 KiB");
  CHECK(size_text(1 << 20) == "1.00 MiB");
  CHECK(size_text(45 << 20) == "45.0 MiB");
  CHECK(size_text(std::uint64_t{1411} << 20) == "1.38 GiB");
  CHECK(size_text(UINT64_MAX) == "16777216 TiB");
  CHECK(duration_text(0) == "1 s");
  CHECK(duration_text(90) == "90 s");
  CHECK(duration_text(240) == "4.0 min");
  CHECK(duration_text(3 * 3600) == "3.0 h");
  CHECK(duration_text(30 * 86400) == "30 days");
}

TEST_CASE("a step takes the process, its models, and what is largest of loading and working", "[unit][pipeline]") {
  CHECK(add_up(100, {{"a", demand(10, 30, 5)}}, 0).memory == 130);
  CHECK(add_up(100, {{"a", demand(10, 30, 50)}}, 0).memory == 160);
  CHECK(add_up(100, {}, 0).memory == 0);
}

TEST_CASE("models stay, work does not, and samples that several steps read are kept", "[unit][pipeline]") {
  const MemoryPrediction two = add_up(100, {{"a", demand(10, 10, 500)}, {"b", demand(20, 20, 50)}}, 7);
  REQUIRE(two.steps.size() == 2);
  CHECK(two.steps[0].memory == 617);
  CHECK(two.steps[1].memory == 187);
  CHECK(two.memory == 617);
  CHECK(two.largest == "a");
}

/// So many processes on this machine, of which this is one.
class Together : public Alone {
 public:
  explicit Together(int processes) : processes_(processes) {}

  int size() const override { return processes_; }

  int local_size() const override { return processes_; }

 private:
  int processes_;
};

TEST_CASE("processes on one machine share the budget, or what is free", "[unit][pipeline]") {
  const Registry registry = Registry::scan_only({});
  const ConfigNode nothing = ConfigNode::make(Json::parse(R"({"steps": {}})"), "p.json");
  for (const int processes : {1, 2, 4}) {
    Together group(processes);
    const Job job{&group, group.part()};
    const auto part = static_cast<std::uint64_t>(processes);
    HostOptions options;
    Host free(registry, options);
    CHECK(Planner(nothing, free, job).plan().allowed < machine_memory().total / part + resident_memory());
    options.memory_budget = std::uint64_t{64} << 30;
    Host budgeted(registry, options);
    const Plan plan = Planner(nothing, budgeted, job).plan();
    CHECK(plan.allowed == options.memory_budget / part);
    CHECK(plan.component_budget == options.memory_budget / part);
    CHECK(plan.budget == options.memory_budget);
  }
}

TEST_CASE("the GPU's memory is counted by itself", "[unit][pipeline]") {
  Demand gpu = demand(0, 40, 5);
  gpu.device_held = 1000;
  gpu.device_working = 300;
  const MemoryPrediction all = add_up(100, {{"a", gpu}, {"b", gpu}}, 0);
  CHECK(all.memory == 140);
  CHECK(all.steps[0].device_memory == 1300);
  CHECK(all.device_memory == 2300);
}

TEST_CASE("samples of several shapes take what the largest takes, and the time of all", "[unit][pipeline]") {
  Demand all = demand(10, 30, 5);
  all.seconds = 2;
  Demand other = demand(10, 30, 500);
  other.seconds = 3;
  other.scratch = 9;
  other.timed = false;
  other.unknown = {"x.y"};
  other.complaints = {"broken"};
  all.then(other);
  all.then(other);
  CHECK(all.working == 500);
  CHECK(all.held == 10);
  CHECK(all.scratch == 9);
  CHECK(all.seconds == 8);
  CHECK_FALSE(all.timed);
  CHECK(all.unknown.size() == 1);
  CHECK(all.complaints.size() == 1);
}

TEST_CASE("what fits on the disk as it is needs no warning", "[unit][pipeline]") {
  CHECK(disk_warning({0, 0}, 0, "out").empty());
  CHECK(disk_warning({10, 1000}, 1000, "out").empty());
}

TEST_CASE("what fits on the disk only when it compresses is warned of", "[unit][pipeline]") {
  const std::string warning = disk_warning({10, 2000}, 1000, "out");
  CHECK_THAT(warning, Catch::Matchers::Contains("1.95 KiB") && Catch::Matchers::Contains("0.98 KiB are free") &&
                          Catch::Matchers::Contains("'out'"));
  CHECK_FALSE(disk_warning({1000, 1001}, 1000, "out").empty());
}

TEST_CASE("what does not fit on the disk however well it compresses is refused", "[unit][pipeline]") {
  CHECK_THROWS_AS(disk_warning({1001, 5000}, 1000, "out"), RuntimeError);
  CHECK_THROWS_WITH(disk_warning({1, 1}, 0, "out"),
                    Catch::Matchers::Contains("at least 1 B") && Catch::Matchers::Contains("fewer or smaller samples"));
  CHECK_THROWS_WITH(disk_warning({1, 1, true}, 0, "out"),
                    Catch::Matchers::Contains("optimizer_state") && !Catch::Matchers::Contains("samples"));
}

TEST_CASE("an axis shrinks to a multiple, and never to nothing", "[unit][pipeline]") {
  CHECK(scaled_axis(100, 1.0, 32) == 100);
  CHECK(scaled_axis(128, 0.5, 16) == 64);
  CHECK(scaled_axis(128, 0.4, 16) == 48);
  CHECK(scaled_axis(8, 0.25, 16) == 16);
}

/// Tells what it is asked for, or fails to.
class Compressing final : public Compressor {
 public:
  std::optional<CallCost> cost;
  bool fails = false;

  std::string id() const override { return "test.compressor"; }

  std::string describe() const override { return "{}"; }

  TensorMap call(std::string_view, const CallContext&, const Inputs&) override { return {}; }

  const void* extension(const char*) const override { return nullptr; }

  medgen_obj_t* object() const override { return nullptr; }

  Latent encode(const CallContext&, const TensorMap&) override { return {}; }

  Tensor decode(const CallContext&, const TensorMap&) override { return {}; }

  Tensor prior(const CallContext&, const Inputs&) override { return {}; }

  std::optional<CallCost> estimate(std::string_view, const ShapeMap&) const override {
    if (fails) throw PluginError("test.compressor: estimate fails");
    return cost;
  }
};

CallCost told(std::uint64_t peak, std::uint64_t weights = 0, double flops = 0) {
  CallCost cost;
  cost.peak_bytes = peak;
  cost.weights_bytes = weights;
  cost.flops = flops;
  return cost;
}

struct Decoding {
  std::shared_ptr<Compressing> compressor = std::make_shared<Compressing>();

  Demand run(bool on_device = false) const {
    Model model;
    model.compressor = compressor;
    model.compression = 2;
    model.contract.output = DType::I16;
    const ModelPackage package = ModelPackage::load(
        ConfigNode::make(Json::parse(R"({"components": {"compressor": {"component": "test.compressor"}}})"), "model"),
        Registry::scan_only({}));
    return demand_to_decode(model, package, on_device, {1, 4, 8, 8, 8}, 3);
  }
};

constexpr std::uint64_t kLatent = 4 * 4 * 512;
constexpr std::uint64_t kImage = 4 * 4096;

TEST_CASE("decoding takes the call, latent and image, and afterwards the copies of the image", "[unit][pipeline]") {
  const Decoding decoding;
  CallCost cost = told(1 << 20, 300, 1e9);
  cost.flops_per_second = 1e8;
  cost.precision = "fp32";
  cost.note = "slabs";
  cost.outputs = {{"x", {1, 1, 16, 16, 16}}};
  decoding.compressor->cost = cost;
  const Demand demand = decoding.run();
  CHECK(demand.held == 300);
  CHECK(demand.working == (1 << 20) + 2 * kLatent + kImage);
  CHECK(demand.seconds == Approx(30));
  CHECK(demand.timed);
  CHECK(demand.precision == "fp32");
  CHECK(demand.notes == std::set<std::string>{"slabs"});
  decoding.compressor->cost->peak_bytes = 0;
  CHECK(decoding.run().working == 2 * kLatent + 3 * kImage + kImage / 2);
}

TEST_CASE("on a GPU the call is the GPU's and the volumes are the host's", "[unit][pipeline]") {
  const Decoding decoding;
  CallCost cost = told(1 << 20, 300);
  cost.kept_bytes = 40;
  decoding.compressor->cost = cost;
  const Demand demand = decoding.run(true);
  CHECK(demand.held == 0);
  CHECK(demand.device_held == 340);
  CHECK(demand.device_working == 1 << 20);
  CHECK(demand.working == 2 * kLatent + 3 * kImage + kImage / 2);
  SECTION("but for what the call takes of the host beside") {
    decoding.compressor->cost->host_bytes = 1 << 22;
    CHECK(decoding.run(true).working == (1 << 22) + 2 * kLatent);
    CHECK(decoding.run(false).working < 1 << 22);
  }
}

TEST_CASE("what a component keeps from call to call is held, but not while models are loaded", "[unit][pipeline]") {
  const Decoding decoding;
  decoding.compressor->cost = told(1 << 20, 300);
  const Demand without = decoding.run();
  decoding.compressor->cost->kept_bytes = 5000;
  const Demand with = decoding.run();
  CHECK(with.held == without.held + 5000);
  CHECK(with.working == without.working);
  CHECK(with.loading == without.loading);
}

TEST_CASE("a component that cannot tell, or fails to, is unknown; the rest is told", "[unit][pipeline]") {
  const Decoding decoding;
  Demand demand = decoding.run();
  CHECK(demand.unknown == std::set<std::string>{"test.compressor"});
  CHECK(demand.complaints.empty());
  CHECK_FALSE(demand.timed);
  CHECK(demand.working > kImage);
  decoding.compressor->fails = true;
  demand = decoding.run();
  CHECK(demand.unknown.size() == 1);
  REQUIRE(demand.complaints.size() == 1);
  CHECK(demand.complaints[0] == "test.compressor: estimate fails");
}

TEST_CASE("operations without a rate have no time", "[unit][pipeline]") {
  const Decoding decoding;
  decoding.compressor->cost = told(1, 0, 1e9);
  CHECK_FALSE(decoding.run().timed);
  decoding.compressor->cost = told(1);
  CHECK(decoding.run().timed);
}

}  // namespace
}  // namespace medgen
