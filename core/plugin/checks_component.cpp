// SPDX-License-Identifier: Apache-2.0
// Checks of one component through its bare C tables.

#include "core/component/compressor.h"
#include "core/component/denoiser.h"
#include "core/config/parse.h"
#include "core/config/schema.h"
#include "core/plugin/call_frame.h"
#include "core/plugin/check_run.h"
#include "core/plugin/invoke.h"
#include "core/plugin/plugin_component.h"
#include "core/plugin/ranges.h"

#include <medgen/abi/medgen.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace medgen {
namespace {

constexpr const char* kNotCreated = "it cannot be created without weights";

/// An object made without the host's own checks, destroyed at the end.
class RawObject {
 public:
  RawObject(const CheckedComponent& component, const medgen_create_t& create) : component_(component) {
    status_ = call_plugin("create", component.description.base->create, &create, &object_);
    text_ = error_text();
    if (status_ == MEDGEN_OK && object_ == nullptr) throw CheckFailure("create succeeded and gave no object");
    if (status_ != MEDGEN_OK && text_.empty()) {
      throw CheckFailure("create failed ({}) and gave no reason: call set_error first", status_name(status_));
    }
  }

  ~RawObject() {
    if (status_ != MEDGEN_OK) return;
    try {
      call_plugin("destroy", component_.description.base->destroy, object_);
    } catch (const PluginError&) {  // reported where the component is used through its adapter
    }
  }

  RawObject(const RawObject&) = delete;
  RawObject& operator=(const RawObject&) = delete;

  bool made() const { return status_ == MEDGEN_OK; }

  const std::string& text() const { return text_; }

  medgen_obj_t* get() const { return object_; }

 private:
  const CheckedComponent& component_;
  medgen_obj_t* object_ = nullptr;
  medgen_status_t status_ = MEDGEN_OK;
  std::string text_;
};

medgen_create_t creation(const CheckedComponent& component, std::string_view config) {
  medgen_create_t create{};
  create.struct_size = sizeof create;
  create.host = component.session->services().table();
  create.config_json = abi_text(config);
  create.device = {MEDGEN_DEVICE_CPU, 0};
  return create;
}

/// The config that an empty one becomes; nothing when some values have no default.
std::optional<std::string> default_config(const CheckedComponent& component) {
  const Schema schema = Schema::parse(component.info.config_schema, "config schema of " + component.info.id);
  const ConfigNode empty = parse_config("{}", "defaults of " + component.info.id);
  if (!schema.problems(empty).empty()) return std::nullopt;
  return dump_compact(schema.resolve(empty).json());
}

void check_schema(const CheckedComponent& component) {
  const Schema schema = Schema::parse(component.info.config_schema, "config schema of " + component.info.id);
  for (const char* wrong : {"[]", "3", "null", R"({"medgen-no-such-key": 0})"}) {
    if (schema.problems(parse_config(wrong, "config")).empty()) {
      throw CheckFailure("its config schema accepts {}: add \"type\": \"object\" and \"additionalProperties\": false",
                         wrong);
    }
  }
}

void check_sound_object(const CheckedComponent& component, const std::string& config) {
  const RawObject first(component, creation(component, config));
  if (!first.made()) {
    const bool needs_no_weights =
        component.info.kind == MEDGEN_SCHEDULER_1 || component.info.kind == MEDGEN_PROPAGATOR_1;
    if (needs_no_weights) throw CheckFailure("{}", first.text());
    throw CheckRun::Skipped{"without weights it says: " + first.text()};
  }
  const RawObject second(component, creation(component, config));
  if (!second.made()) throw CheckFailure("a second object beside the first is refused: {}", second.text());
}

void check_bad_configs(const CheckedComponent& component) {
  const std::string deep(60000, '[');
  for (const std::string_view config :
       {std::string_view(), std::string_view("{"), std::string_view("[]"), std::string_view("null"),
        std::string_view("\xff\xfe"), std::string_view(R"({"medgen-no-such-key": {"a": [1, 2, 3]}})"),
        std::string_view(deep)}) {
    const RawObject object(component, creation(component, config));
  }
}

/// A host of an earlier minor has a shorter table; one of a later minor longer structs.
void check_other_hosts(const CheckedComponent& component, const std::string& config) {
  medgen_host_t older = *component.session->services().table();
  older.struct_size = offsetof(medgen_host_t, progress);
  std::memset(reinterpret_cast<char*>(&older) + older.struct_size, 0xA5, sizeof older - older.struct_size);
  medgen_create_t create = creation(component, config);
  create.host = &older;
  const bool with_older = RawObject(component, create).made();

  struct {
    medgen_create_t create;
    char later[64];
  } newer{};

  newer.create = creation(component, config);
  newer.create.struct_size = sizeof newer;
  std::memset(newer.later, 0xA5, sizeof newer.later);
  const bool with_newer = RawObject(component, newer.create).made();

  const bool usually = RawObject(component, creation(component, config)).made();
  if (with_older != usually) throw CheckFailure("create depends on host services that an older host does not have");
  if (with_newer != usually) throw CheckFailure("create refuses a newer host's longer structs");
}

void check_extensions(const CheckedComponent& component) {
  const medgen_component_t& base = *component.description.base;
  if (!MEDGEN_HAS_FN(medgen_component_t, &base, get_extension)) return;
  for (const char* id : {"", "medgen.no-such-thing/1", "medgen.train/1 and more", "medgen.train/"}) {
    if (call_plugin("get_extension", base.get_extension, id) != nullptr) {
      throw CheckFailure("it answers to the unknown extension id '{}'", id);
    }
  }
}

struct NamedSlot {
  std::string_view name;
  medgen_compute_fn slot;
};

std::vector<NamedSlot> compute_slots(const CheckedComponent& component) {
  const void* interface = component.description.interface;
  if (component.info.kind == MEDGEN_DENOISER_1) {
    const auto* table = static_cast<const medgen_denoiser_t*>(interface);
    return {{"predict", slot_of(*table, &medgen_denoiser_t::predict)}};
  }
  if (component.info.kind == MEDGEN_CONDITIONER_1) {
    const auto* table = static_cast<const medgen_conditioner_t*>(interface);
    return {{"encode", slot_of(*table, &medgen_conditioner_t::encode)},
            {"step", slot_of(*table, &medgen_conditioner_t::step)}};
  }
  if (component.info.kind == MEDGEN_COMPRESSOR_1) {
    const auto* table = static_cast<const medgen_compressor_t*>(interface);
    return {{"encode", slot_of(*table, &medgen_compressor_t::encode)},
            {"decode", slot_of(*table, &medgen_compressor_t::decode)},
            {"prior", slot_of(*table, &medgen_compressor_t::prior)}};
  }
  return {};
}

/// The functions that "io" lists are those the table has.
void check_io(const CheckedComponent& component) {
  const auto slots = compute_slots(component);
  const ConfigNode io = parse_config(component.info.io, "io of " + component.info.id);
  if (!io.contains("functions")) throw CheckRun::Skipped{"its io lists no functions"};
  const ConfigNode functions = io.at("functions");
  for (const auto& [name, slot] : slots) {
    if (functions.contains(name) && slot == nullptr)
      throw CheckFailure("its io lists '{}', its table does not have it", name);
    if (!functions.contains(name) && slot != nullptr)
      throw CheckFailure("its table has '{}', its io does not list it", name);
  }
  for (const auto& [name, function] : functions.members()) {
    const bool known =
        std::any_of(slots.begin(), slots.end(), [&](const NamedSlot& slot) { return slot.name == name; });
    if (!known) throw CheckFailure("its io lists '{}', which its kind does not have", name);
  }
}

/// Calls a computing function; ranges that it leaves open are noted, and closed.
medgen_status_t compute(const CheckedComponent& component, std::string_view name, medgen_compute_fn function,
                        const RawObject& object, CallFrame& frame, const AbiBinds& binds) {
  const CallRange range(component.session->services(), fmt::format("{}: {}", component.info.id, name));
  return call_plugin(name, function, frame.context(), object.get(), binds.get(), frame.outputs());
}

/// Nonsense in, an error or something sensible out; never a crash.
void check_bad_inputs(const CheckedComponent& component, const std::string& config) {
  const RawObject object(component, creation(component, config));
  if (!object.made()) throw CheckRun::Skipped{kNotCreated};
  const Tensor odd = Tensor::zeros(DType::U8, {3});
  const Tensor none = Tensor::zeros(DType::F32, {0, 4, 0});
  const std::vector<Inputs> nonsense{
      {{}, ""},
      {{}, "{"},
      {{{"x", odd}, {"timesteps", odd}, {"z", odd}, {"mask", odd}}, "{}"},
      {{{"x", none}, {"timesteps", none}, {"z", none}}, R"({"batch": -1})"},
  };
  for (const auto& [name, slot] : compute_slots(component)) {
    if (slot == nullptr) continue;
    for (const Inputs& in : nonsense) {
      const CallContext context;
      CallFrame frame(component.session->services(), context);
      const AbiBinds binds(in.tensors, in.params_json);
      const medgen_status_t status = compute(component, name, slot, object, frame, binds);
      if (status != MEDGEN_OK && error_text().empty()) {
        throw CheckFailure("{} failed ({}) and gave no reason: call set_error first", name, status_name(status));
      }
    }
  }
}

/// Something sound for every function: noise-free arrays of the size the component's own description asks for.
TensorMap sound_inputs(const CheckedComponent& component, const std::string& config) {
  auto object = std::make_shared<PluginObject>(component.session, component.info, config, nullptr);
  const ConfigNode facts = parse_config(adapt(std::move(object))->describe(), "description");
  const auto latent = facts.get<std::int64_t>("latent_channels", facts.get<std::int64_t>("in_channels", 1));
  const auto side = 4 * facts.get<std::int64_t>("multiple_of", 1) * facts.get<std::int64_t>("compression", 1);
  const auto half = [](Shape shape) {
    const std::vector<float> values(static_cast<std::size_t>(element_count(shape)), 0.5F);
    return Tensor::from<float>(values, std::move(shape));
  };
  const bool denoiser = component.info.kind == MEDGEN_DENOISER_1;
  return {{"x", half({1, denoiser ? latent : 1, side, side, side})},
          {"z", half({1, latent, 4, 4, 4})},
          {"timesteps", half({1})},
          {"mask", Tensor::zeros(DType::I32, {1, 1, side, side, side})}};
}

/// One function, by the host's own adapter, which holds its results to what the kind promises.
void call_soundly(Component& component, std::string_view function, const Inputs& in) {
  const CallContext context;
  if (auto* denoiser = dynamic_cast<Denoiser*>(&component)) {
    denoiser->predict(context, in.tensors);
  } else if (auto* compressor = dynamic_cast<Compressor*>(&component); compressor != nullptr && function == "encode") {
    compressor->encode(context, in.tensors);
  } else if (compressor != nullptr && function == "decode") {
    compressor->decode(context, in.tensors);
  } else {
    component.call(function, context, in);
  }
}

/// What succeeds gives what its kind promises, in finite numbers. A function that needs more than these inputs may
/// refuse them.
void check_results(const CheckedComponent& component, const std::string& config) {
  const RawObject raw(component, creation(component, config));
  if (!raw.made()) throw CheckRun::Skipped{kNotCreated};
  const auto object = adapt(std::make_shared<PluginObject>(component.session, component.info, config, nullptr));
  const Inputs in{sound_inputs(component, config), "{}"};
  std::size_t tried = 0;
  for (const auto& [name, slot] : compute_slots(component)) {
    if (slot == nullptr) continue;
    const CallContext context;
    CallFrame frame(component.session->services(), context);
    const AbiBinds binds(in.tensors, in.params_json);
    if (compute(component, name, slot, raw, frame, binds) != MEDGEN_OK) continue;
    call_soundly(*object, name, in);
    ++tried;
  }
  if (tried == 0) throw CheckRun::Skipped{"its functions refuse the inputs of this check"};
}

void check_description(const CheckedComponent& component, const std::string& config) {
  std::shared_ptr<PluginObject> object;
  try {
    object = std::make_shared<PluginObject>(component.session, component.info, config, nullptr);
  } catch (const PluginError& error) {
    throw CheckRun::Skipped{error.what()};
  }
  adapt(object)->describe();
}

}  // namespace

void check_component(CheckRun& run, const CheckedComponent& component) {
  run.check(component.named("config schema is of the accepted subset and strict"), [&] { check_schema(component); });
  if (!compute_slots(component).empty()) {
    run.check(component.named("io lists the functions there are"), [&] { check_io(component); });
  }
  run.check(component.named("unknown extensions are declined"), [&] { check_extensions(component); });
  run.check(component.named("bad configs are survived"), [&] { check_bad_configs(component); });
  std::optional<std::string> config;
  const bool complete = run.check(component.named("defaults are complete"), [&] {
    config = default_config(component);
    if (!config) throw CheckRun::Skipped{"some values have no default"};
  });
  if (!complete) return;
  run.check(component.named("created from its defaults, twice"), [&] { check_sound_object(component, *config); });
  run.check(component.named("created by older and newer hosts"), [&] { check_other_hosts(component, *config); });
  run.check(component.named("describes itself in JSON"), [&] { check_description(component, *config); });
  run.check(component.named("bad inputs are survived"), [&] { check_bad_inputs(component, *config); });
  if (!compute_slots(component).empty()) {
    run.check(component.named("gives what its kind promises"), [&] { check_results(component, *config); });
  }
  if (component.info.kind == MEDGEN_SCHEDULER_1) check_scheduler(run, component, *config);
  if (component.info.kind == MEDGEN_PROPAGATOR_1) check_propagator(run, component, *config);
}

}  // namespace medgen
