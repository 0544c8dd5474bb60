// SPDX-License-Identifier: Apache-2.0
#include "core/component/scheduler.h"
#include "core/config/parse.h"
#include "core/plugin/plugin_component.h"

#include <medgen/abi/medgen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace medgen {
namespace {

constexpr int kMaxSteps = 1'000'000;
constexpr std::uint64_t kMaxEvaluations = 16'000'000;
constexpr std::uint32_t kKnownFlags = MEDGEN_UPDATE_CLAMP_X0 | MEDGEN_UPDATE_NOISE | MEDGEN_UPDATE_LEARNED_RANGE;

struct LevelField {
  const char* name;
  double medgen_level_t::*value;
};

constexpr std::array<LevelField, 6> kLevelFields{{{"alpha", &medgen_level_t::alpha},
                                                  {"sigma", &medgen_level_t::sigma},
                                                  {"target_x0", &medgen_level_t::target_x0},
                                                  {"target_eps", &medgen_level_t::target_eps},
                                                  {"x0_x", &medgen_level_t::x0_x},
                                                  {"x0_m", &medgen_level_t::x0_m}}};

struct UpdateField {
  const char* name;
  double medgen_update_t::*value;
};

constexpr std::array<UpdateField, 10> kUpdateFields{{{"x0_x", &medgen_update_t::x0_x},
                                                     {"x0_m", &medgen_update_t::x0_m},
                                                     {"clamp_low", &medgen_update_t::clamp_low},
                                                     {"clamp_high", &medgen_update_t::clamp_high},
                                                     {"x", &medgen_update_t::x},
                                                     {"m", &medgen_update_t::m},
                                                     {"x0", &medgen_update_t::x0},
                                                     {"noise_scale", &medgen_update_t::noise_scale},
                                                     {"log_variance_min", &medgen_update_t::log_variance_min},
                                                     {"log_variance_max", &medgen_update_t::log_variance_max}}};

/// The C request, which borrows `request`.
medgen_schedule_request_t abi_request(const ScheduleRequest& request) {
  if (request.steps < 1 || request.steps > kMaxSteps) {
    throw ConfigError("a scheduler was asked for {} steps: 1 to {} are possible", request.steps, kMaxSteps);
  }
  if (!(request.start > 0.0 && request.start <= 1.0)) {
    throw ConfigError("a scheduler was asked to start at {}: more than 0 and at most 1 is possible", request.start);
  }
  medgen_schedule_request_t abi{};
  abi.struct_size = sizeof abi;
  abi.steps = static_cast<std::uint32_t>(request.steps);
  abi.start = request.start;
  abi.shape = request.latent_shape.data();
  abi.ndim = request.latent_shape.size();
  abi.timesteps = request.timesteps.empty() ? nullptr : request.timesteps.data();
  abi.n_timesteps = request.timesteps.size();
  return abi;
}

/// The `level` slot of a scheduler, with or without a run.
NoiseLevel level_at(const PluginObject& object, medgen_obj_t* run, double t) {
  const auto slot = object.slot(&medgen_scheduler_t::level);
  if (slot == nullptr) object.fail_missing("level");
  medgen_level_t level{};
  level.struct_size = sizeof level;
  object.call("level", slot, object.get(), run, t, &level);
  for (const LevelField& field : kLevelFields) {
    if (!std::isfinite(level.*field.value))
      object.fail_defect("level", "gave {} = {} at t = {}", field.name, level.*field.value, t);
  }
  return level;
}

class PluginSchedule final : public Schedule {
 public:
  PluginSchedule(std::shared_ptr<PluginObject> object, const ScheduleRequest& request) : object_(std::move(object)) {
    require("begin", object_->slot(&medgen_scheduler_t::begin));
    require("end", object_->slot(&medgen_scheduler_t::end));
    require("timesteps", object_->slot(&medgen_scheduler_t::timesteps));
    require("update", object_->slot(&medgen_scheduler_t::update));
    const medgen_schedule_request_t abi = abi_request(request);
    medgen_obj_t* run = nullptr;
    object_->call("begin", table().begin, object_->get(), &abi, &run);
    if (run == nullptr) object_->fail_defect("begin", "reported success and gave no run");
    run_ = {run, End{object_.get()}};
    read_timesteps();
  }

  const std::vector<double>& timesteps() const override { return timesteps_; }

  Update update(std::size_t evaluation) const override {
    check(evaluation < timesteps_.size(), "an evaluation of the schedule");
    Update update{};
    update.struct_size = sizeof update;
    update.keep_x = update.keep_m = update.keep_x0 = -1;
    object_->call("update", table().update, object_->get(), run_.get(), std::uint64_t{evaluation}, &update);
    check_update(evaluation, update);
    return update;
  }

  NoiseLevel level(double t) const override { return level_at(*object_, run_.get(), t); }

 private:
  struct End {
    PluginObject* object;

    void operator()(medgen_obj_t* run) const {
      const auto held = object->lock();
      try {
        call_plugin(object->name_of("end"), object->table<medgen_scheduler_t>().end, object->get(), run);
      } catch (const std::exception& error) {
        object->services().host().log(MEDGEN_LOG_ERROR, error.what());
      }
    }
  };

  template <typename Slot>
  void require(std::string_view name, Slot slot) const {
    if (slot == nullptr) object_->fail_missing(name);
  }

  const medgen_scheduler_t& table() const { return object_->table<medgen_scheduler_t>(); }

  void read_timesteps() {
    const double* t = nullptr;
    std::uint64_t n = 0;
    object_->call("timesteps", table().timesteps, object_->get(), run_.get(), &t, &n);
    if (t == nullptr || n == 0 || n > kMaxEvaluations)
      object_->fail_defect("timesteps", "gave {} times", t == nullptr ? 0 : n);
    timesteps_.assign(t, t + n);
    for (std::size_t i = 0; i < timesteps_.size(); ++i) {
      if (!std::isfinite(timesteps_[i]))
        object_->fail_defect("timesteps", "gave {} at evaluation {}", timesteps_[i], i);
    }
  }

  void check_update(std::size_t i, const Update& update) const {
    for (const UpdateField& field : kUpdateFields) {
      if (!std::isfinite(update.*field.value))
        object_->fail_defect("update", "gave {} = {} at evaluation {}", field.name, update.*field.value, i);
    }
    for (const double h : update.history) {
      if (!std::isfinite(h)) object_->fail_defect("update", "gave a history coefficient {} at evaluation {}", h, i);
    }
    for (const std::int32_t slot : {update.keep_x, update.keep_m, update.keep_x0}) {
      if (slot < -1 || slot >= MEDGEN_HISTORY)
        object_->fail_defect("update", "keeps a tensor in slot {} at evaluation {}", slot, i);
    }
    if ((update.flags & ~kKnownFlags) != 0) {
      object_->fail_defect("update", "uses flags {:#x} at evaluation {}, which this medgen does not know", update.flags,
                           i);
    }
    if ((update.flags & MEDGEN_UPDATE_CLAMP_X0) != 0 && update.clamp_low > update.clamp_high) {
      object_->fail_defect("update", "clamps to [{}, {}] at evaluation {}", update.clamp_low, update.clamp_high, i);
    }
  }

  std::shared_ptr<PluginObject> object_;
  std::unique_ptr<medgen_obj_t, End> run_;
  std::vector<double> timesteps_;
};

ScheduleRequest read_request(const ConfigNode& params) {
  ScheduleRequest request;
  request.steps = params.get<int>("num_inference_steps", 30);
  request.start = params.get<double>("start", 1.0);
  request.latent_shape = params.get<Shape>("shape", {});
  request.timesteps = params.get<std::vector<double>>("timesteps", {});
  return request;
}

/// A list that `medgen probe` gives as a tensor or among the parameters.
std::vector<double> read_list(const std::string& name, const Inputs& in, const ConfigNode& params) {
  const auto found = in.tensors.find(name);
  if (found == in.tensors.end()) return params.get<std::vector<double>>(name);
  const Tensor list = found->second.to(DType::F64);
  const auto values = list.values<double>();
  return {values.begin(), values.end()};
}

Tensor column(const std::vector<double>& values) {
  return Tensor::from<double>(values, {static_cast<std::int64_t>(values.size())});
}

class PluginScheduler final : public Scheduler, public PluginComponent {
 public:
  using PluginComponent::PluginComponent;

  std::unique_ptr<Schedule> begin(const ScheduleRequest& request) override {
    return std::make_unique<PluginSchedule>(plugin_object(), request);
  }

  NoiseLevel level(double t) override { return level_at(self(), nullptr, t); }

  double training_time(const ScheduleRequest& request, double u) override {
    const auto slot = self().slot(&medgen_scheduler_t::training_time);
    if (slot == nullptr) self().fail_missing("training_time");
    const medgen_schedule_request_t abi = abi_request(request);
    double t = std::nan("");
    self().call("training_time", slot, self().get(), &abi, u, &t);
    if (!std::isfinite(t)) self().fail_defect("training_time", "gave {} for u = {}", t, u);
    return t;
  }

  /// A scheduler's functions take scalars, so they are spelled out here: see docs/plugin-guide.md.
  TensorMap call(std::string_view function, const CallContext&, const Inputs& in) override {
    const std::string text = in.params_json.empty() ? "{}" : in.params_json;
    const ConfigNode params = parse_config(text, "parameters of " + id());
    if (function == "timesteps") return {{"timesteps", column(begin(read_request(params))->timesteps())}};
    if (function == "updates") return updates(read_request(params));
    if (function == "levels") return levels(read_list("timesteps", in, params));
    if (function == "training_times") return training_times(read_request(params), read_list("u", in, params));
    fail_unknown_function(function, {"timesteps", "updates", "levels", "training_times"});
  }

 private:
  std::vector<Function> functions() const override { return {}; }

  TensorMap updates(const ScheduleRequest& request) {
    const auto schedule = begin(request);
    const std::size_t n = schedule->timesteps().size();
    const auto rows = static_cast<std::int64_t>(n);
    std::vector<Update> all(n);
    for (std::size_t i = 0; i < n; ++i) all[i] = schedule->update(i);
    TensorMap out{{"timesteps", column(schedule->timesteps())}};
    for (const UpdateField& field : kUpdateFields) {
      std::vector<double> values(n);
      for (std::size_t i = 0; i < n; ++i) values[i] = all[i].*field.value;
      out[field.name] = column(values);
    }
    Tensor& history = out["history"] = Tensor(DType::F64, {rows, MEDGEN_HISTORY});
    for (std::size_t i = 0; i < n; ++i) {
      std::copy_n(all[i].history, MEDGEN_HISTORY, history.values<double>().data() + i * MEDGEN_HISTORY);
    }
    const auto integers = [&](const char* name, auto member) {
      std::vector<std::int64_t> values(n);
      for (std::size_t i = 0; i < n; ++i) values[i] = all[i].*member;
      out[name] = Tensor::from<std::int64_t>(values, {rows});
    };
    integers("flags", &Update::flags);
    integers("keep_x", &Update::keep_x);
    integers("keep_m", &Update::keep_m);
    integers("keep_x0", &Update::keep_x0);
    integers("completes_step", &Update::completes_step);
    return out;
  }

  TensorMap levels(const std::vector<double>& times) {
    TensorMap out;
    std::vector<NoiseLevel> all;
    for (const double t : times) all.push_back(level(t));
    for (const LevelField& field : kLevelFields) {
      std::vector<double> values;
      for (const NoiseLevel& level : all) values.push_back(level.*field.value);
      out[field.name] = column(values);
    }
    return out;
  }

  TensorMap training_times(const ScheduleRequest& request, const std::vector<double>& us) {
    std::vector<double> times;
    for (const double u : us) times.push_back(training_time(request, u));
    return {{"timesteps", column(times)}};
  }
};

}  // namespace

std::shared_ptr<Component> adapt_scheduler(std::shared_ptr<PluginObject> object) {
  return std::make_shared<PluginScheduler>(std::move(object));
}

}  // namespace medgen
