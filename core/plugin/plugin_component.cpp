// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/plugin_component.h"

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/config/parse.h"
#include "core/plugin/call_cost.h"
#include "core/plugin/plugin_call.h"
#include "core/plugin/training_cost.h"
#include "core/tensor/finite.h"

#include <medgen/abi/medgen.h>

#include <algorithm>

namespace medgen {
namespace {

constexpr std::size_t kMaxDescription = 16 << 20;

/// Collects what a plugin writes.
struct TextSink {
  std::string text;

  static std::int64_t write(medgen_hobj_t* host, const void* bytes, std::uint64_t n) noexcept {
    auto& sink = *reinterpret_cast<TextSink*>(host);
    if (bytes == nullptr && n > 0) return MEDGEN_E_INVALID;
    if (n > kMaxDescription - sink.text.size()) return MEDGEN_E_OUT_OF_MEMORY;
    try {
      sink.text.append(static_cast<const char*>(bytes), n);
    } catch (const std::exception&) {
      return MEDGEN_E_OUT_OF_MEMORY;
    }
    return static_cast<std::int64_t>(n);
  }

  /// What `call` has written to the writer that it was given.
  template <typename Call>
  static std::string collect(const Call& call) {
    TextSink sink;
    medgen_writer_t writer{};
    writer.struct_size = sizeof writer;
    writer.host = reinterpret_cast<medgen_hobj_t*>(&sink);
    writer.write = TextSink::write;
    call(&writer);
    return std::move(sink.text);
  }
};

const PluginComponent& plugin_component(const Component& component) {
  const auto* known = dynamic_cast<const PluginComponent*>(&component);
  if (known == nullptr) throw ConfigError("component '{}' is not a plugin's and has no extensions", component.id());
  return *known;
}

}  // namespace

PluginComponent::PluginComponent(std::shared_ptr<PluginObject> object) : object_(std::move(object)) {}

std::string PluginComponent::id() const {
  return self().id();
}

std::string PluginComponent::describe() const {
  if (!MEDGEN_HAS_FN(medgen_component_t, &self().base(), describe)) return "{}";
  const std::string text =
      TextSink::collect([&](auto* writer) { self().call("describe", self().base().describe, self().get(), writer); });
  try {
    if (!parse_config(text, "description").is_object()) throw ConfigError("it is no object");
  } catch (const ConfigError& error) {
    self().fail_defect("describe", "gave no JSON object: {}", error.what());
  }
  return text;
}

namespace {

/// What `read` makes of the reply to a request; nothing when the component has no estimate.
template <typename Cost>
std::optional<Cost> estimated(PluginObject& object, const std::string& request, Cost (*read)(const std::string&)) {
  if (!MEDGEN_HAS_FN(medgen_component_t, &object.base(), estimate)) return std::nullopt;
  const std::string reply = TextSink::collect(
      [&](auto* writer) { object.call("estimate", object.base().estimate, object.get(), abi_text(request), writer); });
  try {
    return read(reply);
  } catch (const ConfigError& error) {
    object.fail_defect("estimate", "gave no cost: {}", error.what());
  }
}

}  // namespace

std::optional<CallCost> PluginComponent::estimate(std::string_view function, const ShapeMap& inputs) const {
  return estimated(self(), estimate_request(function, inputs), read_call_cost);
}

std::optional<TrainingCost> estimate_training(const Component& component, const TrainingShape& shape) {
  return estimated(*plugin_component(component).plugin_object(), training_request(shape), read_training_cost);
}

TensorMap PluginComponent::call(std::string_view function, const CallContext& context, const Inputs& in) {
  std::vector<std::string> known;
  for (const Function& candidate : functions()) {
    if (candidate.name == function) return compute(candidate, context, in.tensors, in.params_json);
    known.emplace_back(candidate.name);
  }
  fail_unknown_function(function, known);
}

const void* PluginComponent::extension(const char* extension_id) const {
  if (!MEDGEN_HAS_FN(medgen_component_t, &self().base(), get_extension)) return nullptr;
  return call_plugin(self().name_of("get_extension"), self().base().get_extension, extension_id);
}

medgen_obj_t* PluginComponent::object() const {
  return self().get();
}

TensorMap PluginComponent::compute(const Function& function, const CallContext& context, const TensorMap& in,
                                   std::string_view params_json) const {
  if (function.slot == nullptr) self().fail_missing(function.name);
  CallFrame frame(self().services(), context);
  const AbiBinds binds(in, params_json);
  frame.run(
      [&] { self().call(function.name, function.slot, frame.context(), self().get(), binds.get(), frame.outputs()); });
  TensorMap outputs = frame.take_outputs();
  if (outputs.empty() && !frame.complaint().empty()) {
    self().fail_defect(function.name, "reported success after: {}", frame.complaint());
  }
  check_finite(function.name, in, outputs);
  return outputs;
}

void PluginComponent::check_finite(std::string_view function, const TensorMap& in, const TensorMap& outputs) const {
  for (const auto& [name, tensor] : outputs) {
    const std::int64_t bad = count_non_finite(tensor);
    if (bad == 0) continue;
    const auto spoilt =
        std::find_if(in.begin(), in.end(), [](const auto& each) { return count_non_finite(each.second) > 0; });
    throw PluginError("{} gave '{}' with {} of {} values NaN or infinite{}", self().name_of(function), name, bad,
                      tensor.size(),
                      spoilt == in.end() ? "; its weights or its arithmetic are broken"
                                         : fmt::format("; its input '{}' already held such values", spoilt->first));
  }
}

Tensor PluginComponent::take(TensorMap& outputs, std::string_view function, const std::string& name) const {
  auto node = outputs.extract(name);
  if (node.empty()) self().fail_defect(function, "reported success without output '{}'", name);
  return std::move(node.mapped());
}

void PluginComponent::fail_unknown_function(std::string_view function, const std::vector<std::string>& known) const {
  throw UsageError("{} has no function '{}'{}; its functions are {}", id(), function, did_you_mean(function, known),
                   known.empty() ? "none that can be called one by one" : fmt::format("{}", fmt::join(known, ", ")));
}

std::shared_ptr<Component> adapt(std::shared_ptr<PluginObject> object) {
  const std::string& kind = object->info().kind;
  if (kind == MEDGEN_DENOISER_1) return adapt_denoiser(std::move(object));
  if (kind == MEDGEN_CONDITIONER_1) return adapt_conditioner(std::move(object));
  if (kind == MEDGEN_COMPRESSOR_1) return adapt_compressor(std::move(object));
  if (kind == MEDGEN_SCHEDULER_1) return adapt_scheduler(std::move(object));
  if (kind == MEDGEN_PROPAGATOR_1) return adapt_propagator(std::move(object));
  throw ConfigError("component '{}' is a {}, which this medgen does not know: a newer one is needed", object->id(),
                    kind);
}

PluginCall::PluginCall(const Component& component, std::string_view function, const CallContext& context, Inputs in)
    : component_(plugin_component(component)),
      function_(function),
      in_(std::move(in)),
      frame_(std::make_unique<CallFrame>(component_.plugin_object()->services(), context)),
      binds_(std::make_unique<AbiBinds>(in_.tensors, in_.params_json)) {}

PluginCall::~PluginCall() = default;

const medgen_context_t* PluginCall::context() const {
  return frame_->context();
}

const medgen_binds_t* PluginCall::inputs() const {
  return binds_->get();
}

const medgen_outputs_t* PluginCall::outputs() const {
  return frame_->outputs();
}

void PluginCall::run(const std::function<medgen_status_t()>& function) {
  const PluginObject& object = *component_.plugin_object();
  const auto held = object.lock();
  const CallRange range(object.services(), object.name_of(function_));
  set_error_text({});
  frame_->run([&] {
    if (const medgen_status_t status = function(); status != MEDGEN_OK) throw_status(object.name_of(function_), status);
  });
}

medgen_status_t PluginCall::keep_callback_error() noexcept {
  frame_->keep_callback_error();
  return MEDGEN_E_CANCELLED;
}

TensorMap PluginCall::take_outputs() {
  return frame_->take_outputs();
}

}  // namespace medgen
