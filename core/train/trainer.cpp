// SPDX-License-Identifier: Apache-2.0
#include "core/train/trainer.h"

#include "core/base/error.h"
#include "core/config/json.h"
#include "core/config/schema.h"
#include "core/plugin/plugin_call.h"

#include <cstddef>

namespace medgen {
namespace {

const medgen_train_t& train_table(const Component& component) {
  const auto* table = static_cast<const medgen_train_t*>(component.extension(MEDGEN_TRAIN_1));
  if (table == nullptr) throw ConfigError("{} cannot be trained: it offers no {}", component.id(), MEDGEN_TRAIN_1);
  const bool complete = table->struct_size >= offsetof(medgen_train_t, evaluate) && table->begin != nullptr &&
                        table->step != nullptr && table->apply != nullptr && table->save != nullptr &&
                        table->load != nullptr && table->end != nullptr;
  if (!complete) throw PluginError("{}: its {} lacks functions", component.id(), MEDGEN_TRAIN_1);
  return *table;
}

}  // namespace

Trainer::Trainer(std::shared_ptr<Component> component, std::vector<Peer> peers, const ConfigNode& options,
                 std::uint64_t seed)
    : component_(std::move(component)), peers_(std::move(peers)), table_(&train_table(*component_)) {
  const medgen_str_t schema_text = table_->options_schema_json;
  const Schema schema =
      Schema::parse(std::string(schema_text.ptr, schema_text.len), component_->id() + " training options");
  const std::string resolved = dump_compact(schema.resolve(options).json());

  std::vector<medgen_train_peer_t> list;
  for (const Peer& peer : peers_) {
    list.push_back({{peer.role.data(), peer.role.size()}, peer.component->object(), peer.trained ? 1U : 0U, 0});
  }
  CallContext context;
  context.seed = seed;
  context.flags = MEDGEN_CALL_TRAINING;
  PluginCall call(*component_, "train begin", context);
  call.run([&] {
    return table_->begin(call.context(), component_->object(), {resolved.data(), resolved.size()},
                         static_cast<std::uint32_t>(list.size()), 0, list.data(), &trainer_);
  });
  if (trainer_ == nullptr) throw PluginError("{}: train begin gave no trainer", component_->id());
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

TensorMap Trainer::save(std::uint32_t what) {
  const CallContext context;
  PluginCall call(*component_, "train save", context);
  call.run([&] { return table_->save(call.context(), trainer_, what, call.outputs()); });
  return call.take_outputs();
}

void Trainer::load(std::uint32_t what, const TensorMap& tensors) {
  const CallContext context;
  const Inputs inputs{tensors, {}};
  PluginCall call(*component_, "train load", context, inputs);
  call.run([&] { return table_->load(call.context(), trainer_, what, call.inputs()); });
}

}  // namespace medgen
