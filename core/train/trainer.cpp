// SPDX-License-Identifier: Apache-2.0
#include "core/train/trainer.h"

#include "core/base/error.h"
#include "core/config/json.h"
#include "core/config/schema.h"
#include "core/plugin/abi_text.h"
#include "core/plugin/plugin_call.h"

#include <nlohmann/json.hpp>

#include <cstddef>

namespace medgen {
namespace {

const medgen_train_t& train_table(const Component& component) {
  const auto* table = static_cast<const medgen_train_t*>(component.extension(MEDGEN_TRAIN_1));
  if (table == nullptr) throw ConfigError("{} cannot be trained: it offers no {}", component.id(), MEDGEN_TRAIN_1);
  if (table->struct_size >= offsetof(medgen_train_t, options_schema_json) && table->draft != MEDGEN_TRAIN_DRAFT) {
    throw PluginError("{}: its {} is of draft {}, this medgen knows draft {}: build the plugin anew", component.id(),
                      MEDGEN_TRAIN_1, table->draft, MEDGEN_TRAIN_DRAFT);
  }
  const bool complete = table->struct_size >= offsetof(medgen_train_t, evaluate) && table->begin != nullptr &&
                        table->step != nullptr && table->apply != nullptr && table->save != nullptr &&
                        table->load != nullptr && table->end != nullptr;
  if (!complete) throw PluginError("{}: its {} lacks functions", component.id(), MEDGEN_TRAIN_1);
  return *table;
}

/// The options, with defaults. @throws ConfigError for one that the trainer does not know
Json resolved(const medgen_train_t& table, const Component& component, const ConfigNode& options) {
  const medgen_str_t text = table.options_schema_json;
  return Schema::parse(std::string(text.ptr, text.len), component.id() + " training options").resolve(options).json();
}

/// As the plugin gets them. They live as long as the peers.
std::vector<medgen_train_peer_t> abi_peers(const std::vector<Trainer::Peer>& peers) {
  std::vector<medgen_train_peer_t> list;
  for (const Trainer::Peer& peer : peers)
    list.push_back({{peer.role.data(), peer.role.size()}, peer.component->object(), peer.trained ? 1U : 0U, 0});
  return list;
}

CallContext training_context(std::uint64_t seed) {
  CallContext context;
  context.seed = seed;
  context.flags = MEDGEN_CALL_TRAINING;
  return context;
}

/// Where a plugin's `save` puts its tensors.
class StateSink {
 public:
  StateSink(PluginCall& call, const TakeTensor& take) : call_(call), take_(take) {}

  StateSink(const StateSink&) = delete;
  StateSink& operator=(const StateSink&) = delete;

  const medgen_state_sink_t* abi() const { return &abi_; }

 private:
  static medgen_status_t put(medgen_hobj_t* host, medgen_str_t name, const medgen_tensor_t* tensor) noexcept {
    const auto& sink = *reinterpret_cast<StateSink*>(host);
    try {
      if (raw_text(name).empty() || tensor == nullptr)
        throw PluginError("a tensor of the training's state came without a name, or a name without a tensor");
      sink.take_(std::string(raw_text(name)), lent(name, *tensor));
      return MEDGEN_OK;
    } catch (...) {
      return sink.call_.keep_callback_error();
    }
  }

  /// The plugin's, for the call.
  static Tensor lent(medgen_str_t name, const medgen_tensor_t& tensor) {
    try {
      const std::shared_ptr<const void> nobody(std::shared_ptr<const void>(), &tensor);
      return Tensor::from_abi(tensor, nobody);
    } catch (const DataError& error) {
      throw PluginError("'{}' of the training's state makes no sense: {}", message_text(name), error.what());
    }
  }

  PluginCall& call_;
  const TakeTensor& take_;
  medgen_state_sink_t abi_{sizeof abi_, 0, reinterpret_cast<medgen_hobj_t*>(this), &put};
};

/// Where a plugin's `load` gets them.
class StateSource {
 public:
  StateSource(PluginCall& call, const FindTensor& find) : call_(call), find_(find) {}

  StateSource(const StateSource&) = delete;
  StateSource& operator=(const StateSource&) = delete;

  const medgen_state_source_t* abi() const { return &abi_; }

 private:
  static medgen_status_t get(medgen_hobj_t* host, medgen_str_t name, medgen_tensor_t* out) noexcept {
    const auto& source = *reinterpret_cast<StateSource*>(host);
    try {
      if (out == nullptr) return MEDGEN_E_INVALID;
      const Tensor* const found = source.find_(std::string(raw_text(name)));
      if (found == nullptr) return MEDGEN_E_NOT_FOUND;
      *out = found->abi();
      return MEDGEN_OK;
    } catch (...) {
      return source.call_.keep_callback_error();
    }
  }

  PluginCall& call_;
  const FindTensor& find_;
  medgen_state_source_t abi_{sizeof abi_, 0, reinterpret_cast<medgen_hobj_t*>(this), &get};
};

}  // namespace

Trainer::Trainer(std::shared_ptr<Component> component, std::vector<Peer> peers, const ConfigNode& options,
                 std::uint64_t seed)
    : component_(std::move(component)),
      peers_(std::move(peers)),
      table_(&train_table(*component_)),
      options_(std::make_shared<const Json>(resolved(*table_, *component_, options))) {
  const std::string text = dump_compact(*options_);
  const std::vector<medgen_train_peer_t> list = abi_peers(peers_);
  PluginCall call(*component_, "train begin", training_context(seed));
  call.run([&] {
    return table_->begin(call.context(), component_->object(), {text.data(), text.size()},
                         static_cast<std::uint32_t>(list.size()), 0, list.data(), &trainer_);
  });
  if (trainer_ == nullptr) throw PluginError("{}: train begin gave no trainer", component_->id());
}

void Trainer::check(const Component& component, const std::vector<Peer>& peers, const ConfigNode& options) {
  const medgen_train_t& table = train_table(component);
  const std::string text = dump_compact(resolved(table, component, options));
  if (!MEDGEN_HAS_FN(medgen_train_t, &table, check)) return;
  const std::vector<medgen_train_peer_t> list = abi_peers(peers);
  PluginCall call(component, "train check", training_context(0));
  try {
    call.run([&] {
      return table.check(call.context(), component.object(), {text.data(), text.size()},
                         static_cast<std::uint32_t>(list.size()), 0, list.data());
    });
  } catch (const PluginError& error) {
    options.fail("cannot be trained with: {}", error.what());
  }
}

Trainer::~Trainer() {
  if (trainer_ != nullptr) table_->end(trainer_);
}

std::map<std::string, double> Trainer::losses(const char* what, Compute compute, const CallContext& context,
                                              const TensorMap& batch) {
  const Inputs inputs{batch, {}};
  PluginCall call(*component_, what, context, inputs);
  call.run([&] { return compute(call.context(), trainer_, call.inputs(), call.outputs()); });
  std::map<std::string, double> scalars;
  for (const auto& [name, tensor] : call.take_outputs()) {
    if (tensor.size() == 1) scalars[name] = tensor.to(DType::F64).values<double>()[0];
  }
  if (!scalars.contains("loss")) throw PluginError("{}: {} gave no loss", component_->id(), what);
  return scalars;
}

std::map<std::string, double> Trainer::step(const CallContext& context, const TensorMap& batch) {
  return losses("train step", table_->step, context, batch);
}

bool Trainer::can_evaluate() const {
  return MEDGEN_HAS_FN(medgen_train_t, table_, evaluate);
}

std::map<std::string, double> Trainer::evaluate(const CallContext& context, const TensorMap& batch) {
  if (!can_evaluate()) throw ConfigError("{} cannot be validated: its trainer has no evaluate", component_->id());
  return losses("train evaluate", table_->evaluate, context, batch);
}

void Trainer::apply(const CallContext& context, double learning_rate) {
  PluginCall call(*component_, "train apply", context);
  call.run([&] { return table_->apply(call.context(), trainer_, learning_rate); });
}

void Trainer::save(std::uint32_t what, const TakeTensor& take) {
  PluginCall call(*component_, "train save", CallContext());
  const StateSink sink(call, take);
  call.run([&] { return table_->save(call.context(), trainer_, what, sink.abi()); });
}

void Trainer::load(std::uint32_t what, const FindTensor& find) {
  PluginCall call(*component_, "train load", CallContext());
  const StateSource source(call, find);
  call.run([&] { return table_->load(call.context(), trainer_, what, source.abi()); });
}

}  // namespace medgen
