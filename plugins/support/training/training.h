// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/module.h"
#include "plugins/support/training/gradient_buckets.h"
#include "plugins/support/training/kept_tensor.h"
#include "plugins/support/training/loss_scale.h"

#include <medgen/abi/draft/train.h>
#include <medgen/sdk/sdk.hpp>

#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace medgen::support {

/// What every trainer of ours accepts in its options.
struct TrainingOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;  ///< decoupled (AdamW)
  double ema = 0;           ///< decay of the averaged weights; 0 = none
  double clip_norm = 0;     ///< largest global gradient norm; 0 = not clipped
  /// Of activations; parameters, gradients and moments are float32. float16 scales the loss (LossScale).
  at::ScalarType compute = at::kFloat;
  at::Device device = at::kCPU;         ///< where networks without weights are made
  bool checkpoint_activations = false;  ///< nn/checkpoint.h
  /// Moments and averages lie in a file of the folder for temporary files between two steps.
  bool state_on_disk = false;

  /// From the options object; keys of the trainer's own losses are left alone.
  /// @param compute  precision of activations when the options say none
  /// @param device   that of the component
  static TrainingOptions read(std::string_view options_json, at::ScalarType compute, at::Device device);

  /// Whether this machine has what they want. @throws sdk::Error where moments cannot lie on disk
  static void check(std::string_view options_json);
};

/// The modules that train together, with Adam and an average of the weights. Names are "<role>/<published name>", or
/// the published name alone for the first module.
class TrainedModules {
 public:
  struct Member {
    std::string role;  ///< "" for the component itself
    nn::Module* module;
    bool trained = true;
    nn::Module* copy_of = nullptr;  ///< an earlier member: without weights, this one starts from its tensors
    /// Further tensors that learn, with or in place of the module's own (low-rank adapters).
    std::vector<std::pair<std::string, at::Tensor>> adapters = {};
  };

  /// Weights that are not there yet are initialised from `seed`, then taken from `copy_of` where names and shapes are
  /// the same. Frozen members keep theirs.
  TrainedModules(std::vector<Member> members, const TrainingOptions& options, std::uint64_t seed);

  /// Gradients of `loss` are added to those gathered so far; `apply` takes their mean, so that clipping means the same
  /// for any number of batches.
  void backward(const at::Tensor& loss);
  /// The same; where several processes train together, their gradients are summed meanwhile. What a trainer's step
  /// calls.
  /// @param same_passes  whether the loss goes through the networks equally often in every step
  void backward(const sdk::Context& context, const at::Tensor& loss, bool same_passes = true);

  /// One step of AdamW (Loshchilov and Hutter 2019, algorithm 2; without decay Kingma and Ba 2015, algorithm 1), then
  /// the EMA. Returns the gradient norm before clipping. When it is not finite nothing is changed: in float16 the step
  /// is left out and the scale of the loss reduced. @throws sdk::Error otherwise.
  double apply(double learning_rate);
  /// What `apply` would throw for gradients that are not finite, for trainers with several of these.
  void require_sound_gradients() const;

  /// What a trainer's `step` does, as its `evaluate`: weights are their averages, modules are as in use, nothing is
  /// recorded for gradients and `backward` does nothing. Averages and weights have changed places from then on, so that
  /// they do so once for many calls; `learn`, `apply`, `save` and `load` end it.
  template <typename Losses>
  void evaluate(const Losses& losses) {
    set_evaluating(true);
    const at::NoGradGuard no_grad;
    losses();
  }

  /// What a trainer's `step` begins with.
  void learn() { set_evaluating(false); }

  /// Steps of the optimiser so far, those before a checkpoint too.
  std::int64_t steps() const { return steps_; }

  /// MEDGEN_TRAIN_* -> "weights/<name>", "ema/<name>", "optimizer/<name>/m", ".../v", "optimizer/step",
  /// "gradients/<name>" (the mean of those gathered), each after `prefix`.
  void save(std::uint32_t what, const sdk::StateSink& to, const std::string& prefix = "");
  void load(std::uint32_t what, const sdk::StateSource& from, const std::string& prefix = "");

 private:
  struct Trained {
    std::string name;
    at::Tensor value;
    KeptTensor m, v, average;
  };

  /// What a step changes beside a weight.
  struct Moments {
    at::Tensor m, v, average;
  };

  /// Factors of one optimiser step, the same for all tensors.
  struct Step {
    double scale, rate, correction1, correction2;
  };

  void set_evaluating(bool on);
  void collect(const Member& member);
  void save_gradients(const sdk::StateSink& to, const std::string& prefix) const;
  /// After gradients that are not finite. @throws sdk::Error when no scale of the loss is to blame.
  void leave_out_step();
  void add(std::string name, at::Tensor value);
  /// Every weight changes places with its average.
  void swap_averages();
  void update(Trained& each, const Step& step) const;
  /// In one pass over memory, where the tensors are on the CPU and lie alike.
  void update_by_kernel(const at::Tensor& weight, Moments& moments, const at::Tensor& gradient, const Step& step) const;
  void update_by_operators(const at::Tensor& weight, Moments& moments, at::Tensor gradient, const Step& step) const;
  /// Of the mean of the gradients gathered so far.
  double gradient_norm() const;

  TrainingOptions options_;
  LossScale scale_;
  std::vector<Member> members_;
  std::shared_ptr<KeptFile> file_;  ///< null: moments and averages are in memory
  std::vector<Trained> trained_;
  bool evaluating_ = false;
  std::unique_ptr<GradientBuckets> buckets_;  ///< where there is somebody to exchange with
  std::int64_t steps_ = 0;
  std::int64_t gathered_ = 0;  ///< backward passes since the last step
};

}  // namespace medgen::support
