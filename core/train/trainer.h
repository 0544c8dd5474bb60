// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"
#include "core/config/json.h"
#include "core/config/node.h"

#include <medgen/abi/draft/train.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace medgen {

/// Takes a tensor of a learner's state. It is lent: its memory is another's afterwards.
using TakeTensor = std::function<void(const std::string& name, const Tensor& tensor)>;
/// Gives one by its name, which stays until the next is asked for; null where there is none.
using FindTensor = std::function<const Tensor*(const std::string& name)>;

/// Of a map that stays.
inline const Tensor* find_tensor(const TensorMap& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

/// What the training loop drives.
class Learner {
 public:
  Learner() = default;
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;
  virtual ~Learner() = default;

  /// Forward, loss and backward of one batch: named scalars, "loss" among them.
  virtual std::map<std::string, double> step(const CallContext& context, const TensorMap& batch) = 0;
  /// One optimiser step with the gradients gathered so far.
  virtual void apply(const CallContext& context, double learning_rate) = 0;
  /// Its state, tensor by tensor, each time in the same order. What `take` throws ends it. @param what  MEDGEN_TRAIN_*
  virtual void save(std::uint32_t what, const TakeTensor& take) = 0;
  virtual void load(std::uint32_t what, const FindTensor& find) = 0;
};

/// A component being trained: the medgen.train/1 extension as an object. One thread.
class Trainer : public Learner {
 public:
  struct Peer {
    std::string role;
    std::shared_ptr<Component> component;
    bool trained = true;
  };

  /// @param options  validated against the extension's own schema here.
  /// @throws ConfigError when the component cannot be trained or an option does not fit, PluginError
  Trainer(std::shared_ptr<Component> component, std::vector<Peer> peers, const ConfigNode& options, std::uint64_t seed);
  ~Trainer() override;

  /// Whether the component's trainer would take these options and peers, as far as it can tell from components without
  /// weights. @throws ConfigError at the options
  static void check(const Component& component, const std::vector<Peer>& peers, const ConfigNode& options);

  /// With every default filled in.
  const Json& options() const { return *options_; }

  std::map<std::string, double> step(const CallContext& context, const TensorMap& batch) override;
  void apply(const CallContext& context, double learning_rate) override;
  void save(std::uint32_t what, const TakeTensor& take) override;
  void load(std::uint32_t what, const FindTensor& find) override;

  /// What `step` would give for a batch, with the averaged weights where there are any; nothing is learnt.
  /// @throws ConfigError when the component cannot tell.
  std::map<std::string, double> evaluate(const CallContext& context, const TensorMap& batch);
  bool can_evaluate() const;

 private:
  using Compute = medgen_status_t (*)(const medgen_context_t*, medgen_obj_t*, const medgen_binds_t*,
                                      const medgen_outputs_t*);

  std::map<std::string, double> losses(const char* what, Compute compute, const CallContext& context,
                                       const TensorMap& batch);

  std::shared_ptr<Component> component_;
  std::vector<Peer> peers_;
  const medgen_train_t* table_ = nullptr;
  std::shared_ptr<const Json> options_;
  medgen_obj_t* trainer_ = nullptr;
};

}  // namespace medgen
