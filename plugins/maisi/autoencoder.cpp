// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/autoencoder.h"

#include "plugins/maisi/cost.h"
#include "plugins/maisi/networks/limits.h"
#include "plugins/maisi/training_cost.h"
#include "plugins/support/bridge.h"
#include "plugins/support/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {

namespace {

/// The network's own part of the config: how to decode is a matter of the call, not of the published constructor.
AutoencoderKlMaisiConfig autoencoder_config(nlohmann::json config) {
  config.erase("decode_roi");
  config.erase("decode_overlap");
  config.erase("classes");
  return AutoencoderKlMaisiConfig::from_json(config);
}

std::optional<LabelCoding> label_coding(const nlohmann::json& config, std::int64_t planes, std::int64_t channels) {
  const auto classes = config.value("classes", std::vector<std::int64_t>{});
  if (classes.empty()) return std::nullopt;
  support::require(classes.size() == static_cast<std::size_t>(channels),
                   "\"classes\" has {} entries; it wants one for each of the {} \"out_channels\"", classes.size(),
                   channels);
  return LabelCoding(planes, classes);
}

WindowOptions window_options(const nlohmann::json& config) {
  WindowOptions options;
  if (config.contains("decode_roi")) options.roi = config["decode_roi"].get<std::array<std::int64_t, 3>>();
  options.overlap = config.value("decode_overlap", options.overlap);
  return options;
}

std::uint64_t bytes_of(std::int64_t elements, at::ScalarType type) {
  return static_cast<std::uint64_t>(elements) * c10::elementSize(type);
}

/// Of (N, C, X, Y, Z).
std::int64_t voxels_of(at::IntArrayRef shape) {
  return c10::multiply_integers(shape.slice(2));
}

/// Shape of one window of one row of z.
std::vector<std::int64_t> shape_of(const Windows& windows, at::IntArrayRef z) {
  return {1, z[1], windows.size[0], windows.size[1], windows.size[2]};
}

std::string slab_note(const nn::StreamOptions& options) {
  constexpr std::int64_t kMiB = 1 << 20;
  return "slabs of about " + std::to_string(options.slab_bytes / kMiB) + " MiB";
}

/// Blocks that the allocator keeps for the next slab, as measured (docs/performance.md).
constexpr std::int64_t kKeptByAllocator = std::int64_t{72} << 20;

std::uint64_t peak_of(const nn::StreamCost& cost) {
  return static_cast<std::uint64_t>(cost.memory + std::min(2 * cost.slabs, kKeptByAllocator));
}

/// Tells the host, who may stop the call, of row `n` of `rows`.
std::function<void(double)> progress_of_row(const sdk::Context& context, const char* phase, std::int64_t n,
                                            std::int64_t rows) {
  constexpr std::uint64_t kUnits = 1000;
  return [&context, phase, n, rows](double part) {
    const double done = (static_cast<double>(n) + part) * kUnits;
    context.progress(phase, static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(rows) * kUnits);
  };
}

}  // namespace

Autoencoder::Autoencoder(const sdk::Create& create)
    : config_(autoencoder_config(nlohmann::json::parse(create.config()))),
      labels_(label_coding(nlohmann::json::parse(create.config()), config_.in_channels, config_.out_channels)),
      windows_(window_options(nlohmann::json::parse(create.config()))),
      memory_budget_(create.memory_budget()),
      device_(support::prepare_device(create)),
      compute_(support::compute_type(create)),
      network_(std::make_unique<AutoencoderKlMaisi>(config_)) {
  support::load_weights(*network_, create, device_);
}

nn::StreamOptions Autoencoder::stream_options(std::uint64_t bytes) const {
  const std::uint64_t weights = device_.is_cpu() ? weight_bytes(*network_, compute_, device_) : 0;
  return support::stream_options(memory_budget_, bytes + weights, device_);
}

void Autoencoder::encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  const nn::DeviceScope scope(device_);
  support::require_weights(*network_, id);
  at::Tensor x = support::float_input(in, "x", device_);
  if (labels_ && x.dim() == 5 && x.size(1) == 1) x = labels_->planes(x);
  nn::StreamOptions options = stream_options(x.nbytes());
  at::Tensor sigma;
  const at::Tensor mean = support::row_by_row(x.size(0), [&](std::int64_t n) {
    options.progress = progress_of_row(context, "encode", n, x.size(0));
    auto posterior = network_->encode(support::row_of(x, n), options);
    sigma = sigma.defined() ? at::cat({sigma, posterior.sigma}) : posterior.sigma;
    return posterior.mean;
  });
  support::emit(out, "mean", mean);
  support::emit(out, "sigma", sigma);
}

void Autoencoder::decode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  const nn::DeviceScope scope(device_);
  support::require_weights(*network_, id);
  const at::Tensor z = support::float_input(in, "z", device_);
  check_feature_map(id, "z", z, 3, config_.latent_channels);
  const Windows windows = windows_over(z.sizes(), windows_);
  const at::Tensor x = support::output(out, "x", decoded_shape(z.sizes()));
  const nn::FinishPlanes finish = finishing();
  nn::StreamOptions options = decode_options(z.sizes(), windows);
  for (std::int64_t n = 0; n < z.size(0); ++n) {
    const at::Tensor row = support::row_of(z, n);
    const at::Tensor image = x.narrow(0, n, 1);
    options.progress = progress_of_row(context, "decode", n, z.size(0));
    if (windows.count() > 1) {
      finish(blended_row(row, windows, options), image);
    } else {
      network_->decode_into(row, image, options, finish);
    }
  }
}

at::Tensor Autoencoder::blended_row(const at::Tensor& z, const Windows& windows,
                                    const nn::StreamOptions& options) const {
  const auto count = static_cast<double>(windows.count());
  double finished = 0;
  return decode_in_windows(z, windows, config_.compression(), [&](const at::Tensor& latent) {
    nn::StreamOptions window = options;
    window.progress = [&](double part) { options.progress((finished + part) / count); };
    window.progress(0);
    const at::Tensor image = network_->decode(latent, window);
    ++finished;
    return image;
  });
}

nn::FinishPlanes Autoencoder::finishing() const {
  if (!labels_) return nn::copy_planes;
  return [this](const at::Tensor& logits, const at::Tensor& out) { labels_->labels_into(logits, out); };
}

std::vector<std::int64_t> Autoencoder::decoded_shape(at::IntArrayRef z) const {
  std::vector<std::int64_t> shape = network_->image_shape(z);
  if (labels_) shape[1] = 1;
  return shape;
}

/// Of windows the sums of values and of weights.
std::uint64_t Autoencoder::beside_decode(at::IntArrayRef z, const Windows& windows) const {
  if (windows.count() == 1) return 0;
  return bytes_of((config_.out_channels + 1) * voxels_of(network_->image_shape(z)), at::kFloat);
}

/// The last row of the result is empty while it is made, or filled by the network itself.
nn::StreamOptions Autoencoder::decode_options(at::IntArrayRef z, const Windows& windows) const {
  const std::uint64_t rows = bytes_of(c10::multiply_integers(decoded_shape(z)), at::kFloat);
  const auto count = static_cast<std::uint64_t>(z[0]);
  return stream_options(rows / count * (count - 1) + beside_decode(z, windows));
}

std::string Autoencoder::estimate(std::string_view request_json) const {
  const nlohmann::json request = nlohmann::json::parse(request_json);
  if (request.at("function") == "train") return estimate_training(request).dump();
  const bool encodes = request.at("function") == "encode";
  if (!encodes && request.at("function") != "decode")
    throw sdk::invalid("only encode, decode and train can be estimated");
  const std::vector<std::int64_t> shape = requested_shape(request, encodes ? "x" : "z");
  // Created without weights, it was not told yet; one that is in use, or trained, keeps what it has.
  if (!network_->parameters().front().parameter->value.defined()) network_->set_compute_dtype(compute_);
  return (encodes ? estimate_encode(shape) : estimate_decode(shape)).dump();
}

nlohmann::json Autoencoder::estimate_training(const nlohmann::json& request) const {
  const TrainingSetup setup = TrainingSetup::read(request, compute_);
  const nlohmann::json options = request.value("options", nlohmann::json::object());
  double bytes = training_bytes(config_, setup);
  if (options.value("adversarial_weight", 0.0) > 0) bytes += adversary_bytes(config_.out_channels, setup);
  if (options.value("perceptual_weight", 0.0) > 0)
    bytes += perceptual_bytes(options.value("perceptual_slices", 0.2), setup);
  return training_reply(bytes, network_->parameter_count(), setup);
}

nlohmann::json Autoencoder::estimate_encode(const std::vector<std::int64_t>& x) const {
  const nn::StreamOptions options = stream_options(bytes_of(c10::multiply_integers(x), at::kFloat));
  const nn::StreamCost cost = network_->encode_cost(x, options);
  nlohmann::json reply = reply_for(cost, peak_of(cost), x[0]);
  reply["note"] = slab_note(options);
  return reply;
}

nlohmann::json Autoencoder::estimate_decode(const std::vector<std::int64_t>& z) const {
  const Windows windows = windows_over(z, windows_);
  const nn::StreamOptions options = decode_options(z, windows);
  const bool whole = windows.count() == 1;
  const std::vector<std::int64_t> window = shape_of(windows, z);
  nn::StreamCost cost =
      network_->decode_cost(window, whole ? decoded_shape(window) : network_->image_shape(window), options);
  cost.flops *= static_cast<double>(windows.count());
  const std::uint64_t peak = whole ? peak_of_whole(cost, window) : peak_of(cost) + beside_decode(z, windows);
  nlohmann::json reply = reply_for(cost, peak, z[0]);
  reply["note"] = slab_note(options);
  if (!whole) reply["note"] = std::to_string(windows.count()) + " windows, " + slab_note(options);
  reply["outputs"] = {{"x", decoded_shape(z)}};
  return reply;
}

/// The host counts the result whole; the pass has counted what it fills of it.
std::uint64_t Autoencoder::peak_of_whole(const nn::StreamCost& cost, at::IntArrayRef row) const {
  const std::uint64_t filled = bytes_of(c10::multiply_integers(decoded_shape(row)), at::kFloat);
  return peak_of(cost) - std::min(peak_of(cost), filled);
}

nlohmann::json Autoencoder::reply_for(const nn::StreamCost& cost, std::uint64_t peak, std::int64_t rows) const {
  const auto of_device = static_cast<double>(cost.slabs + cost.slabs / 2);  // with what its libraries take
  const PassCost pass{device_.is_cpu() ? static_cast<double>(peak) : of_device, cost.flops};
  nlohmann::json reply = cost_reply(pass, rows, weight_bytes(*network_, compute_, device_), compute_, device_);
  if (!device_.is_cpu()) reply["host_bytes"] = peak;
  reply["scratch_bytes"] = cost.files;
  return reply;
}

std::string Autoencoder::describe() const {
  return nlohmann::json{{"parameters", network_->parameter_count()},
                        {"latent_channels", config_.latent_channels},
                        {"compression", config_.compression()},
                        {"in_channels", config_.in_channels},
                        {"out_channels", config_.out_channels},
                        {"weights", support::weight_list(*network_)},
                        {"ignored_weights", unused_projections(config_.include_fc)}}
      .dump();
}

AutoencoderTrainer Autoencoder::train(const sdk::Context& context, std::string_view options_json,
                                      std::span<const sdk::TrainPeer> peers) {
  return AutoencoderTrainer(*this, context, options_json, peers);
}

const void* Autoencoder::extension(std::string_view extension_id) {
  return extension_id == MEDGEN_TRAIN_1 ? &sdk::train_table<Autoencoder> : nullptr;
}

medgen_status_t Autoencoder::status_of(const std::exception& error) noexcept {
  return support::status_of(error);
}

std::string Autoencoder::message_of(const std::exception& error) {
  return support::message_of(error);
}

}  // namespace medgen::maisi
