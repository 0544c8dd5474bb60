// SPDX-License-Identifier: Apache-2.0
// Times MAISI's full-size networks and, in the same run, the bare convolutions and products they are made of: the
// arithmetic limit of this machine. One line of JSON for each run; weights are random, which changes no time.
//   bench_networks decode|encode|unet|control|generate|train-vae[-lean]|train-unet[-lean] SIZE fp32|bf16 [REPEATS
//                  [THREADS [FOLDER]]]
// FOLDER gets the weights (NETWORK.safetensors), and what goes in and comes out (result.safetensors: x, y), so that
// others can do the same work.
// control is one step of the U-Net under its ControlNet, after the first of a run; generate is 30 of them and the
// decoding of a latent of SIZE^3; the last are a step of training with Adam on one image or latent of SIZE^3; a lean
// one computes activations again and keeps moments on disk.
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"
#include "plugins/support/nn/kept_weights.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/training/training.h"

#include "core/run/resources.h"
#include "core/weights/safetensors.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <ATen/TensorOperators.h>
#include <nlohmann/json.hpp>

#include <omp.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

using namespace medgen;
using nlohmann::json;

namespace {

const json kAutoencoder = {{"spatial_dims", 3},     {"in_channels", 1},
                           {"out_channels", 1},     {"latent_channels", 4},
                           {"norm_num_groups", 32}, {"num_channels", {64, 128, 256}},
                           {"num_res_blocks", 2},   {"attention_levels", {false, false, false}}};

const json kUnet = {{"spatial_dims", 3},
                    {"in_channels", 4},
                    {"out_channels", 4},
                    {"num_channels", {64, 128, 256, 512}},
                    {"num_res_blocks", 2},
                    {"attention_levels", {false, false, true, true}},
                    {"num_head_channels", {0, 0, 32, 32}},
                    {"norm_num_groups", 32},
                    {"norm_eps", 1e-6},
                    {"include_fc", true},
                    {"resblock_updown", true},
                    {"include_spacing_input", true},
                    {"num_class_embeds", 128}};

const json kControlNet = [] {
  json config = kUnet;
  for (const char* key : {"out_channels", "include_spacing_input"}) config.erase(key);
  config.update({{"conditioning_embedding_in_channels", 8}, {"conditioning_embedding_num_channels", {8, 32, 64}}});
  return config;
}();

/// Where weights, inputs and results are left for others; nowhere when empty.
std::filesystem::path folder;

void leave(const std::string& name, const std::map<std::string, at::Tensor>& tensors) {
  if (folder.empty()) return;
  std::map<std::string, TensorKind> kinds;
  for (const auto& [key, tensor] : tensors) kinds[key] = {DType::F32, tensor.sizes().vec()};
  SafetensorsWriter writer(folder / (name + ".safetensors"), kinds);
  for (const auto& [key, tensor] : tensors) {  // one after the other: copies of all would be the process's peak
    const auto copy = std::make_shared<at::Tensor>(tensor.detach().to(at::kFloat).contiguous());
    writer.write(key, Tensor(DType::F32, kinds[key].shape, copy->mutable_data_ptr(), copy));
  }
  writer.commit();
}

/// Random weights; those that published networks start with zeros, which would make results zeros, small ones too.
void start(nn::Module& network, const std::string& name) {
  constexpr double kSmall = 0.02;
  network.initialize(1);
  std::map<std::string, at::Tensor> all;
  for (const nn::NamedParameter& named : network.parameters()) {
    at::Tensor& value = named.parameter->value;
    if (named.parameter->trainable() && !value.any().item<bool>()) value.normal_(0, kSmall);
    all[named.name] = value;
  }
  leave(name, all);
}

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(int repeats, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) times.push_back(seconds(work));
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return times[static_cast<std::size_t>(repeats / 2)];
}

/// Convolutions, linear layers and attention of a pass, on tensors of the same shape and layout, by LibTorch's
/// operators.
class Arithmetic {
 public:
  explicit Arithmetic(const std::function<void()>& pass) {
    calls_.clear();
    at::RecordFunctionCallback callback(&Arithmetic::record);
    const auto handle = at::addGlobalCallback(
        callback.needsInputs(true).scopes({at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE}));
    pass();
    at::removeCallback(handle);
    std::swap(replayed_, calls_);
  }

  /// Calls that had one thread each share the threads, as they did in the pass.
  void replay() const {
    for (std::size_t i = 0; i < replayed_.size(); ++i) {
      if (!replayed_[i].alone) {
        replayed_[i].run();
        continue;
      }
      std::size_t end = i;
      while (end < replayed_.size() && replayed_[end].alone) ++end;
      at::parallel_for(static_cast<std::int64_t>(i), static_cast<std::int64_t>(end), 1, [&](auto from, auto to) {
        const int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        for (auto call = from; call < to; ++call) replayed_[static_cast<std::size_t>(call)].run();
        omp_set_num_threads(threads);
      });
      i = end - 1;
    }
  }

 private:
  struct Call {
    std::function<void()> run;
    bool alone;  ///< had one thread
  };

  static std::unique_ptr<at::ObserverContext> record(const at::RecordFunction& function) {
    if (function.scope() == at::RecordScope::USER_SCOPE) return record_own(function);
    const auto handle = function.operator_name();
    if (!handle || !is_arithmetic(handle->name)) return nullptr;
    const std::lock_guard lock(mutex_);  // parts of a convolution are computed on several threads
    const auto op = c10::Dispatcher::singleton().findSchema(*handle);
    std::vector<c10::IValue> inputs(function.inputs().begin(), function.inputs().end());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].isTensor()) inputs[i] = stand_in(inputs[i].toTensor(), i);
    }
    const auto run = [op, inputs] {
      std::vector<c10::IValue> stack = inputs;
      op->callBoxed(&stack);
    };
    calls_.push_back({run, omp_get_max_threads() == 1});
    return nullptr;
  }

  /// What our own products stand for.
  static std::unique_ptr<at::ObserverContext> record_own(const at::RecordFunction& function) {
    const std::string name = function.name();
    if (name == "medgen::wide_attention") return record_attention(function.inputs());
    if (name != "medgen::winograd_conv" && name != "medgen::gathered_conv" && name != "medgen::row_products")
      return nullptr;
    const std::lock_guard lock(mutex_);
    const at::Tensor x = stand_in(function.inputs()[0].toTensor(), 0);
    const at::Tensor weight = stand_in(function.inputs()[1].toTensor(), 1, x.scalar_type());
    if (name == "medgen::row_products") {
      calls_.push_back({[x, weight] { at::linear(x, weight.flatten(1)); }, false});
      return nullptr;
    }
    std::vector<std::int64_t> padding(static_cast<std::size_t>(x.dim() - 2), 1);
    if (x.dim() == 5) padding[0] = function.inputs()[2].toInt();
    const std::vector<std::int64_t> one(padding.size(), 1), none(padding.size(), 0);
    calls_.push_back({[=] { at::convolution(x, weight, {}, one, padding, one, false, none, 1); }, false});
    return nullptr;
  }

  static std::unique_ptr<at::ObserverContext> record_attention(c10::ArrayRef<const c10::IValue> inputs) {
    const std::lock_guard lock(mutex_);
    std::vector<at::Tensor> heads;
    for (std::size_t i = 0; i < 3; ++i) {
      const at::Tensor tokens = stand_in(inputs[i].toTensor(), i);
      heads.push_back(tokens.unflatten(2, {inputs[3].toInt(), -1}).transpose(1, 2));
    }
    calls_.push_back({[heads] { at::scaled_dot_product_attention(heads[0], heads[1], heads[2]); }, false});
    return nullptr;
  }

  /// A tensor of the same form, one for all calls that have such a one as their argument `index`. Packed weights stay.
  static at::Tensor stand_in(const at::Tensor& tensor, std::size_t index, std::optional<at::ScalarType> dtype = {}) {
    if (!tensor.defined() || tensor.is_mkldnn()) return tensor;
    const at::ScalarType type = dtype.value_or(tensor.scalar_type());
    at::Tensor& made = stand_ins_[{index, type, tensor.sizes().vec(), tensor.strides().vec()}];
    if (!made.defined()) made = at::empty_like(tensor, type);
    return made;
  }

  /// The operators that a pass spends its multiplications in, none of which calls another one of them.
  static bool is_arithmetic(const std::string& name) {
    return name == "aten::convolution" || name == "aten::convolution_backward" ||
           name.starts_with("mkldnn::_convolution") || name == "aten::linear" ||
           name == "aten::scaled_dot_product_attention";
  }

  using Form = std::tuple<std::size_t, at::ScalarType, std::vector<std::int64_t>, std::vector<std::int64_t>>;
  static inline std::mutex mutex_;
  static inline std::map<Form, at::Tensor> stand_ins_;
  static inline std::vector<Call> calls_;
  std::vector<Call> replayed_;
};

/// What is timed; keeps its network alive.
struct Work {
  at::Tensor x;  ///< what the result is made of; undefined of a training
  std::function<at::Tensor()> run;
};

maisi::UnetInputs unet_inputs(std::int64_t size) {
  maisi::UnetInputs in;
  in.x = at::randn({1, 4, size, size, size});
  in.timesteps = at::ones({1}).mul(500);
  in.class_labels = at::ones({1});
  in.spacing_tensor = at::ones({1, 3}).mul(100);
  return in;
}

/// Those of a component without a budget.
std::shared_ptr<nn::KeptWeights> kept_weights() {
  return std::make_shared<nn::KeptWeights>(nn::KeptWeights::most_bytes(0));
}

/// Predictions of the U-Net, with the residuals of a ControlNet or without.
std::function<at::Tensor(const at::Tensor&, const maisi::ControlNetResiduals&)> work_of_unet(std::int64_t size,
                                                                                             at::ScalarType precision) {
  const auto network =
      std::make_shared<maisi::DiffusionModelUNetMaisi>(maisi::DiffusionModelUNetMaisiConfig::from_json(kUnet));
  start(*network, "unet");
  network->set_precision(precision);
  const maisi::UnetInputs in = unet_inputs(size);
  return [network, in, kept = kept_weights()](const at::Tensor& x, const maisi::ControlNetResiduals& residuals) {
    const nn::KeptWeights::Use use(*kept);
    maisi::UnetInputs all = in;
    all.x = x;
    all.down_block_additional_residuals = residuals.down;
    all.mid_block_additional_residual = residuals.mid;
    return network->forward(all);
  };
}

/// A step of training: prediction, L1, gradients, Adam.
Work training_of(nn::Module& network, const support::TrainingOptions& options,
                 const std::function<at::Tensor()>& loss) {
  const auto trained = std::make_shared<support::TrainedModules>(
      std::vector<support::TrainedModules::Member>{{"", &network}}, options, 1);
  return {{}, [trained, loss] {
            const at::AutoGradMode with_gradients(true);
            const at::Tensor value = loss();
            trained->backward(value);
            trained->apply(1e-4);
            return value.detach();
          }};
}

Work training_of_unet(std::int64_t size, const support::TrainingOptions& options) {
  const auto network =
      std::make_shared<maisi::DiffusionModelUNetMaisi>(maisi::DiffusionModelUNetMaisiConfig::from_json(kUnet));
  start(*network, "unet");
  const maisi::UnetInputs in = unet_inputs(size);
  const at::Tensor target = at::randn_like(in.x);
  return training_of(*network, options, [network, in, target] { return (network->forward(in) - target).abs().mean(); });
}

Work training_of_vae(std::int64_t size, const support::TrainingOptions& options) {
  const auto network =
      std::make_shared<maisi::AutoencoderKlMaisi>(maisi::AutoencoderKlMaisiConfig::from_json(kAutoencoder));
  start(*network, "autoencoder");
  const at::Tensor x = at::randn({1, 1, size, size, size});
  return training_of(*network, options, [network, x] {
    const auto posterior = network->encode(x);
    const at::Tensor variance = posterior.sigma.square();
    const at::Tensor kl = 0.5 * (posterior.mean.square() + variance - (variance + 1e-10).log() - 1).sum();
    const at::Tensor z = posterior.mean + posterior.sigma * at::randn_like(posterior.sigma);
    return (network->decode(z) - x).abs().mean() + 1e-7 * kl;
  });
}

/// Predictions for latents x, under a ControlNet whose condition is the same each time.
std::function<at::Tensor(const at::Tensor&)> work_of_control(std::int64_t size, at::ScalarType precision) {
  const auto unet = work_of_unet(size, precision);
  const auto network = std::make_shared<maisi::ControlNetMaisi>(maisi::ControlNetMaisiConfig::from_json(kControlNet));
  start(*network, "controlnet");
  network->set_precision(precision);
  maisi::ControlNetInputs in;
  in.timesteps = at::ones({1}).mul(500);
  in.class_labels = at::ones({1});
  in.controlnet_cond = at::ones({1, 8, 4 * size, 4 * size, 4 * size});
  return [network, in, unet, kept = kept_weights()](const at::Tensor& x) {
    const nn::KeptWeights::Use use(*kept);
    maisi::ControlNetInputs all = in;
    all.x = x;
    return unet(x, network->forward(all));
  };
}

/// The autoencoder, and what its component does without a budget.
std::pair<std::shared_ptr<maisi::AutoencoderKlMaisi>, nn::StreamOptions> autoencoder(at::ScalarType precision) {
  const auto network =
      std::make_shared<maisi::AutoencoderKlMaisi>(maisi::AutoencoderKlMaisiConfig::from_json(kAutoencoder));
  start(*network, "autoencoder");
  network->set_precision(precision);
  nn::StreamOptions options;
  options.memory = std::int64_t{3} << 29;
  return {network, options};
}

/// A mask to an image: rectified flow in 30 of Euler's steps, then the decoder.
Work work_of_generation(std::int64_t size, at::ScalarType precision) {
  constexpr int kSteps = 30;
  const at::Tensor noise = at::randn({1, 4, size, size, size});
  const auto predict = work_of_control(size, precision);
  const auto [network, options] = autoencoder(precision);
  return {noise, [=, network = network, options = options] {
            at::Tensor x = noise;
            for (int step = 0; step < kSteps; ++step) x = x + predict(x).to(at::kFloat).mul(1.0 / kSteps);
            return network->decode(x, options);
          }};
}

/// Whether it is about memory more than about time.
bool is_lean(std::string_view what) {
  return what.ends_with("-lean");
}

Work work_of(const std::string& what, std::int64_t size, at::ScalarType precision) {
  if (what.starts_with("train-")) {
    support::TrainingOptions options;
    options.compute = precision;
    options.checkpoint_activations = options.state_on_disk = is_lean(what);
    return what.starts_with("train-unet") ? training_of_unet(size, options) : training_of_vae(size, options);
  }
  if (what == "generate") return work_of_generation(size, precision);
  const at::Tensor z = at::randn({1, 4, size, size, size});
  if (what == "control") return {z, [predict = work_of_control(size, precision), z] { return predict(z); }};
  if (what == "unet") return {z, [predict = work_of_unet(size, precision), z] { return predict(z, {}); }};
  const auto [network, options] = autoencoder(precision);
  if (what == "decode") return {z, [network = network, z, options = options] { return network->decode(z, options); }};
  const at::Tensor x = at::randn({1, 1, size, size, size});
  return {x, [network = network, x, options = options] { return network->encode(x, options).mean; }};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs(
        "usage: bench_networks decode|encode|unet|control|generate|train-vae[-lean]|train-unet[-lean] SIZE "
        "fp32|bf16 [REPEATS [THREADS [FOLDER]]]\n",
        stderr);
    return 2;
  }
  const std::string what = argv[1], precision = argv[3];
  const std::int64_t size = std::stoll(argv[2]);
  const int repeats = argc > 4 ? std::stoi(argv[4]) : 3;
  if (argc > 5) at::set_num_threads(std::stoi(argv[5]));
  // As a run of medgen treats what is freed, and a training besides.
  return_freed_memory();
  std::optional<TrainingHeap> heap;
  using Room = TrainingHeap::Room;
  if (what.starts_with("train")) heap.emplace(is_lean(what) ? Room::Scarce : Room::Plenty);
  std::optional<nn::KeepArrays> keep;
  if (!what.starts_with("train")) keep.emplace();
  const at::NoGradGuard no_grad;
  if (argc > 6) folder = argv[6];
  at::manual_seed(1);
  const auto [x, run] = work_of(what, size, precision == "bf16" ? at::kBFloat16 : at::kFloat);
  const auto work = [run = run] { run(); };
  const double time = median(repeats, work);
  const std::uint64_t peak = peak_memory();
  if (!folder.empty() && x.defined()) leave("result", {{"x", x}, {"y", run()}});
  const Arithmetic arithmetic(work);
  const double limit = median(repeats, [&] { arithmetic.replay(); });
  std::puts(json{{"who", "medgen"},
                 {"work", what},
                 {"size", size},
                 {"precision", precision},
                 {"seconds", time},
                 {"arithmetic_seconds", limit},
                 {"peak_bytes", peak},
                 {"threads", at::get_num_threads()}}
                .dump()
                .c_str());
}
