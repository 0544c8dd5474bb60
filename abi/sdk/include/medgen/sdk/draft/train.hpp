// SPDX-License-Identifier: Apache-2.0
// DRAFT medgen.train/1 for classes. A component that can be trained has
//
//   static constexpr std::string_view train_options_schema = R"({...})";
//   MyTrainer train(const Context&, std::string_view options_json, std::span<const TrainPeer> peers);
//   // optional: throws what train would, as far as it can be told without weights
//   void check_training(std::string_view options_json, std::span<const TrainPeer> peers);
//   static const void* extension(std::string_view id) { return id == MEDGEN_TRAIN_1 ? &sdk::train_table<MyThing> :
//   nullptr; }
//
// and MyTrainer, which may keep references to the component and its peers, has
//
//   void step(const Context&, const Binds& batch, Outputs& out);           // gradients add up; writes "loss"
//   void apply(const Context&, double learning_rate);                      // one optimiser step, then the EMA
//   void save(const Context&, std::uint32_t what, const StateSink& to);    // MEDGEN_TRAIN_*
//   void load(const Context&, std::uint32_t what, const StateSource& from);
//   void evaluate(const Context&, const Binds& batch, Outputs& out);       // optional: what step would write
#pragma once

#include <medgen/abi/draft/train.h>
#include <medgen/sdk/component.hpp>

#include <span>
#include <vector>

namespace medgen::sdk {

/// Another component of the same plugin in the same graph.
struct TrainPeer {
  std::string_view role;
  medgen_obj_t* object = nullptr;
  bool trained = false;

  /// The peer as the class that it is; the plugin knows from the role.
  template <typename T>
  T& as() const {
    return detail::object<T>(object);
  }
};

/// Where a trainer's `save` puts its tensors, one after the other. Borrowed for the call.
class StateSink {
 public:
  explicit StateSink(const medgen_state_sink_t& sink) : sink_(&sink) {}

  /// @param tensor  on the CPU, float32 as a rule; its memory is the caller's again afterwards
  void put(std::string_view name, const medgen_tensor_t& tensor) const {
    require_ok(sink_->put(sink_->host, to_abi(name), &tensor), name);
  }

 private:
  const medgen_state_sink_t* sink_;
};

/// Where a trainer's `load` finds them. Borrowed for the call.
class StateSource {
 public:
  explicit StateSource(const medgen_state_source_t& source) : source_(&source) {}

  /// Lent until the next `get`. @throws Error when there is no tensor of this name
  TensorView get(std::string_view name) const {
    medgen_tensor_t tensor{};
    const medgen_status_t status = source_->get(source_->host, to_abi(name), &tensor);
    if (status == MEDGEN_E_NOT_FOUND) throw Error(status, text("'", name, "' is missing"));
    require_ok(status, name);
    return TensorView(tensor, std::string(name));
  }

 private:
  const medgen_state_source_t* source_;
};

/// The exchange of gradients between the processes that train together, for one call of `step`. Borrowed for the call.
class Gradients {
 public:
  explicit Gradients(const Context& context) : context_(&context.abi()), table_(find()) {}

  /// Whether this call has gradients to exchange: false in one process alone.
  bool shared() const { return share() > 0; }

  /// What gradients are multiplied by before they are handed over.
  double share() const { return table_ == nullptr ? 0.0 : table_->share(context_); }

  /// Begins to replace a dense float32 tensor by its sum over all processes; the memory stays until `finish`.
  void begin_sum(medgen_tensor_t tensor) const {
    require_ok(table_->begin_sum(context_, &tensor), "the exchange of gradients");
  }

  void finish() const { require_ok(table_->finish(context_), "the exchange of gradients"); }

 private:
  static const medgen_gradients_t* find() {
    const medgen_host_t* services = host();
    if (services == nullptr || !MEDGEN_HAS_FN(medgen_host_t, services, get_extension)) return nullptr;
    return static_cast<const medgen_gradients_t*>(services->get_extension(services->host, MEDGEN_GRADIENTS_1));
  }

  const medgen_context_t* context_;
  const medgen_gradients_t* table_;
};

namespace detail {

template <typename Trainer>
concept Evaluates = requires(Trainer& trainer, const Context& context, const Binds& batch, Outputs& out) {
  trainer.evaluate(context, batch, out);
};

template <typename T>
concept ChecksTraining = requires(T& component, std::string_view options, std::span<const TrainPeer> peers) {
  component.check_training(options, peers);
};

inline std::vector<TrainPeer> peers_from_abi(const medgen_train_peer_t* peers, std::uint32_t count) {
  std::vector<TrainPeer> list;
  for (std::uint32_t i = 0; i < count; ++i)
    list.push_back({from_abi(peers[i].role), peers[i].object, peers[i].trained != 0});
  return list;
}

template <typename T>
struct TrainTable {
  using Trainer = std::remove_cvref_t<decltype(std::declval<T&>().train(
      std::declval<const Context&>(), std::string_view(), std::span<const TrainPeer>()))>;

  static medgen_status_t begin(const medgen_context_t* context, medgen_obj_t* self, medgen_str_t options,
                               std::uint32_t n_peers, std::uint32_t, const medgen_train_peer_t* peers,
                               medgen_obj_t** trainer) noexcept {
    return guard<T>([&] {
      const std::vector<TrainPeer> list = peers_from_abi(peers, n_peers);
      *trainer = handle(
          new Trainer(object<T>(self).train(Context(*context), from_abi(options), std::span<const TrainPeer>(list))));
    });
  }

  static medgen_status_t check(const medgen_context_t*, medgen_obj_t* self, medgen_str_t options, std::uint32_t n_peers,
                               std::uint32_t, const medgen_train_peer_t* peers) noexcept {
    return guard<T>([&] {
      const std::vector<TrainPeer> list = peers_from_abi(peers, n_peers);
      object<T>(self).check_training(from_abi(options), std::span<const TrainPeer>(list));
    });
  }

  static medgen_status_t apply(const medgen_context_t* context, medgen_obj_t* trainer, double learning_rate) noexcept {
    return guard<T>([&] { object<Trainer>(trainer).apply(Context(*context), learning_rate); });
  }

  static medgen_status_t save(const medgen_context_t* context, medgen_obj_t* trainer, std::uint32_t what,
                              const medgen_state_sink_t* to) noexcept {
    return guard<T>([&] { object<Trainer>(trainer).save(Context(*context), what, StateSink(*to)); });
  }

  static medgen_status_t load(const medgen_context_t* context, medgen_obj_t* trainer, std::uint32_t what,
                              const medgen_state_source_t* from) noexcept {
    return guard<T>([&] { object<Trainer>(trainer).load(Context(*context), what, StateSource(*from)); });
  }

  static void end(medgen_obj_t* trainer) noexcept { delete &object<Trainer>(trainer); }

  static constexpr medgen_train_t make() {
    medgen_train_t table{};
    table.struct_size = sizeof table;
    table.draft = MEDGEN_TRAIN_DRAFT;
    table.options_schema_json = constant(T::train_options_schema);
    table.begin = &begin;
    table.step = &compute<Trainer, &Trainer::step>;
    table.apply = &apply;
    table.save = &save;
    table.load = &load;
    table.end = &end;
    if constexpr (Evaluates<Trainer>) table.evaluate = &compute<Trainer, &Trainer::evaluate>;
    if constexpr (ChecksTraining<T>) table.check = &check;
    return table;
  }
};

}  // namespace detail

template <typename T>
inline constexpr medgen_train_t train_table = detail::TrainTable<T>::make();

}  // namespace medgen::sdk
