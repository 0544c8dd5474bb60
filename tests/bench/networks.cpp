// SPDX-License-Identifier: Apache-2.0
// Times MAISI's full-size networks and, in the same run, the bare convolutions and products they are made of: the
// arithmetic limit of this machine. One line of JSON for each run; weights are random, which changes no time.
//   bench_networks decode|encode|unet SIZE fp32|bf16 [REPEATS [THREADS]]
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <nlohmann/json.hpp>

#include <sys/resource.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

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

/// Convolutions, linear layers and attention of a pass, on tensors of the same shape and layout.
class Arithmetic {
 public:
  explicit Arithmetic(const std::function<void()>& pass) {
    calls_.clear();
    at::RecordFunctionCallback callback(&Arithmetic::record);
    const auto handle = at::addGlobalCallback(callback.needsInputs(true).scopes({at::RecordScope::FUNCTION}));
    pass();
    at::removeCallback(handle);
    std::swap(replayed_, calls_);
  }

  void replay() const {
    for (const auto& call : replayed_) call();
  }

 private:
  static std::unique_ptr<at::ObserverContext> record(const at::RecordFunction& function) {
    const std::string_view name = function.name();
    const auto in = function.inputs();
    const auto like = [&](std::size_t i) { return in[i].isTensor() ? at::empty_like(in[i].toTensor()) : at::Tensor(); };
    const auto optional = [](const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; };
    if (name == "aten::convolution") {
      const at::Tensor x = like(0), w = like(1), b = like(2);
      const auto stride = in[3].toIntVector(), padding = in[4].toIntVector(), dilation = in[5].toIntVector(),
                 output_padding = in[7].toIntVector();
      const bool transposed = in[6].toBool();
      calls_.push_back(
          [=] { at::convolution(x, w, optional(b), stride, padding, dilation, transposed, output_padding, 1); });
    } else if (name == "aten::linear") {
      const at::Tensor x = like(0), w = like(1), b = like(2);
      calls_.push_back([=] { at::linear(x, w, optional(b)); });
    } else if (name == "aten::scaled_dot_product_attention") {
      const at::Tensor q = like(0), k = like(1), v = like(2);
      calls_.push_back([=] { at::scaled_dot_product_attention(q, k, v); });
    }
    return nullptr;
  }

  static inline std::vector<std::function<void()>> calls_;
  std::vector<std::function<void()>> replayed_;
};

/// What is timed; keeps its network alive.
std::function<void()> work_of(const std::string& what, std::int64_t size, at::ScalarType precision) {
  if (what == "unet") {
    const auto network =
        std::make_shared<maisi::DiffusionModelUNetMaisi>(maisi::DiffusionModelUNetMaisiConfig::from_json(kUnet));
    network->initialize(1);
    network->set_precision(precision);
    maisi::UnetInputs in;
    in.x = at::randn({1, 4, size, size, size});
    in.timesteps = at::ones({1}).mul(500);
    in.class_labels = at::ones({1});
    in.spacing_tensor = at::ones({1, 3}).mul(100);
    return [network, in] { network->forward(in); };
  }
  const auto network =
      std::make_shared<maisi::AutoencoderKlMaisi>(maisi::AutoencoderKlMaisiConfig::from_json(kAutoencoder));
  network->initialize(1);
  network->set_precision(precision);
  nn::StreamOptions options;
  options.memory = std::int64_t{3} << 29;  // what the component does without a budget
  if (what == "decode") {
    const at::Tensor z = at::randn({1, 4, size, size, size});
    return [network, z, options] { network->decode(z, options); };
  }
  const at::Tensor x = at::randn({1, 1, size, size, size});
  return [network, x, options] { network->encode(x, options); };
}

std::int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: bench_networks decode|encode|unet SIZE fp32|bf16 [REPEATS [THREADS]]\n", stderr);
    return 2;
  }
  const std::string what = argv[1], precision = argv[3];
  const std::int64_t size = std::stoll(argv[2]);
  const int repeats = argc > 4 ? std::stoi(argv[4]) : 3;
  if (argc > 5) at::set_num_threads(std::stoi(argv[5]));
  const at::NoGradGuard no_grad;
  const auto work = work_of(what, size, precision == "bf16" ? at::kBFloat16 : at::kFloat);
  const double time = median(repeats, work);
  const std::int64_t peak = peak_memory();
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
