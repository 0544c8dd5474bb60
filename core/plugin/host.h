// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/compressor.h"
#include "core/component/conditioner.h"
#include "core/component/denoiser.h"
#include "core/component/propagator.h"
#include "core/component/scheduler.h"
#include "core/plugin/registry.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace medgen {

class ConfigNode;
class Trace;
class WeightStore;

enum class Precision : std::uint32_t { Fp32 = MEDGEN_PRECISION_FP32, Bf16 = MEDGEN_PRECISION_BF16 };

/// (MEDGEN_LOG_*, text). Called from any thread, one call at a time.
using LogSink = std::function<void(int level, std::string_view message)>;

struct HostOptions {
  int threads = 0;  ///< for components; 0 = as many as this process may use
  Precision precision = Precision::Fp32;
  medgen_device_t device = {MEDGEN_DEVICE_CPU, 0};  ///< where components compute; tensors are handed over on the CPU
  std::uint64_t memory_budget = 0;                  ///< bytes that a component may take, 0 = none
  std::uint64_t memory_limit = 0;                   ///< above which no array is made, 0 = memory_budget
  LogSink log;                                      ///< may be empty
  Trace* trace = nullptr;                           ///< where calls and layers are noted; outlives the host
};

/// Loads plugins when a component of theirs is first wanted, creates components, and offers the services of
/// medgen_host_t. Plugins are initialised once per process, shut down when the last Host and the last component that
/// use them are gone, and never unmapped. A component may outlive its Host; the log sink is not called after the Host's
/// end. Thread: any.
class Host {
 public:
  explicit Host(Registry registry, HostOptions options = {});
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const Registry& registry() const;
  const HostOptions& options() const;
  void set_log(LogSink log);

  /// Creates a component. `config` is checked against the component's schema, with messages that name its file and
  /// line, and completed with its defaults. `weights` may be null and lives as long as the component.
  /// @throws ConfigError: unknown id, or a config that does not fit, by the schema or by the plugin's own word;
  /// PluginError: the plugin cannot be loaded or refuses.
  std::shared_ptr<Component> create(std::string_view component_id, const ConfigNode& config,
                                    std::shared_ptr<const WeightStore> weights = nullptr);
  /// The same with a JSON text; "" is {}.
  std::shared_ptr<Component> create(std::string_view component_id, const std::string& config_json,
                                    std::shared_ptr<const WeightStore> weights = nullptr);

  /// The same for one kind, with `Config` a ConfigNode or a text. @throws ConfigError, before anything is loaded, when
  /// the component is of another kind. @{
  template <typename Config>
  std::shared_ptr<Scheduler> create_scheduler(std::string_view component_id, const Config& config) {
    return create_as<Scheduler>(MEDGEN_SCHEDULER_1, component_id, config, nullptr);
  }

  template <typename Config>
  std::shared_ptr<Denoiser> create_denoiser(std::string_view component_id, const Config& config,
                                            std::shared_ptr<const WeightStore> weights = nullptr) {
    return create_as<Denoiser>(MEDGEN_DENOISER_1, component_id, config, std::move(weights));
  }

  template <typename Config>
  std::shared_ptr<Conditioner> create_conditioner(std::string_view component_id, const Config& config,
                                                  std::shared_ptr<const WeightStore> weights = nullptr) {
    return create_as<Conditioner>(MEDGEN_CONDITIONER_1, component_id, config, std::move(weights));
  }

  template <typename Config>
  std::shared_ptr<Compressor> create_compressor(std::string_view component_id, const Config& config,
                                                std::shared_ptr<const WeightStore> weights = nullptr) {
    return create_as<Compressor>(MEDGEN_COMPRESSOR_1, component_id, config, std::move(weights));
  }

  template <typename Config>
  std::shared_ptr<Propagator> create_propagator(std::string_view component_id, const Config& config,
                                                std::shared_ptr<const WeightStore> weights = nullptr) {
    return create_as<Propagator>(MEDGEN_PROPAGATOR_1, component_id, config, std::move(weights));
  }

  /// @}

  /// Loads and checks a plugin without creating anything (`medgen doctor`). @throws PluginError
  void load(std::string_view plugin_id);

 private:
  struct State;

  void check_kind(std::string_view component_id, std::string_view kind) const;

  template <typename Kind, typename Config>
  std::shared_ptr<Kind> create_as(std::string_view kind, std::string_view component_id, const Config& config,
                                  std::shared_ptr<const WeightStore> weights) {
    check_kind(component_id, kind);
    return std::dynamic_pointer_cast<Kind>(create(component_id, config, std::move(weights)));
  }

  std::shared_ptr<State> state_;
};

}  // namespace medgen
