// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/autoencoder.h"

#include "plugins/maisi/cost.h"
#include "plugins/maisi/networks/limits.h"
#include "plugins/support/bridge.h"
#include "plugins/support/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {

namespace {

/// The network's own part of the config: how to decode is a matter of the call, not of the published constructor.
AutoencoderKlMaisiConfig network_config(nlohmann::json config) {
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

/// Blocks that the allocator keeps for the next slab, as measured (docs/performance.md).
constexpr std::int64_t kKeptByAllocator = std::int64_t{48} << 20;

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
    : config_(network_config(nlohmann::json::parse(create.config()))),
      labels_(label_coding(nlohmann::json::parse(create.config()), config_.in_channels, config_.out_channels)),
      windows_(window_options(nlohmann::json::parse(create.config()))),
      memory_budget_(create.memory_budget()),
      device_(support::prepare_device(create)),
      compute_(support::compute_type(create)),
      network_(std::make_unique<AutoencoderKlMaisi>(config_)) {
  support::load_weights(*network_, create, device_);
}

nn::StreamOptions Autoencoder::stream_options(std::uint64_t bytes) const {
  return support::stream_options(memory_budget_, bytes + bytes_of(network_->parameter_count(), compute_));
}

void Autoencoder::encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
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
  support::require_weights(*network_, id);
  const at::Tensor z = support::float_input(in, "z", device_);
  check_feature_map(id, "z", z, 3, config_.latent_channels);
  std::vector<std::int64_t> shape = network_->image_shape(z.sizes());
  const std::uint64_t decoded = bytes_of(c10::multiply_integers(shape), at::kFloat);
  if (labels_) shape[1] = 1;
  const at::Tensor x = support::output(out, "x", shape);
  nn::StreamOptions options = stream_options(decoded);
  for (std::int64_t n = 0; n < z.size(0); ++n) {
    const at::Tensor row = support::row_of(z, n);
    const at::Tensor image = x.narrow(0, n, 1);
    if (windows_.whole()) options.progress = progress_of_row(context, "decode", n, z.size(0));
    if (labels_) {
      const at::Tensor logits = at::empty(network_->image_shape(row.sizes()), at::TensorOptions().dtype(at::kFloat));
      decode_row(row, logits, options);
      image.copy_(labels_->labels(logits));
    } else {
      decode_row(row, image, options);
    }
  }
}

void Autoencoder::decode_row(const at::Tensor& z, const at::Tensor& image, const nn::StreamOptions& options) const {
  if (windows_.whole()) return network_->decode_into(z, image, options);
  image.copy_(decode_in_windows(z, windows_, config_.compression(),
                                [&](const at::Tensor& latent) { return network_->decode(latent, options); }));
}

std::string Autoencoder::estimate(std::string_view request_json) const {
  const nlohmann::json request = nlohmann::json::parse(request_json);
  const bool encodes = request.at("function") == "encode";
  if (!encodes && request.at("function") != "decode") throw sdk::invalid("only encode and decode can be estimated");
  const std::vector<std::int64_t> shape = requested_shape(request, encodes ? "x" : "z");
  // Created without weights, it was not told yet; one that is in use, or trained, keeps what it has.
  if (!network_->parameters().front().parameter->value.defined()) network_->set_compute_dtype(compute_);
  std::vector<std::int64_t> image = encodes ? shape : network_->image_shape(shape);
  const nn::StreamOptions options = stream_options(bytes_of(c10::multiply_integers(image), at::kFloat));
  const nn::StreamCost cost = encodes ? network_->encode_cost(shape, options) : network_->decode_cost(shape, options);
  double logits = 0;
  if (labels_ && !encodes) {
    logits = static_cast<double>(bytes_of(c10::multiply_integers(image) / image[0], at::kFloat));
    image[1] = 1;
  }
  const auto peak = logits + static_cast<double>(cost.memory + std::min(2 * cost.slabs, kKeptByAllocator));
  nlohmann::json reply = cost_reply({peak, cost.flops}, shape[0], weight_bytes(*network_, compute_), compute_);
  reply["scratch_bytes"] = cost.files;
  constexpr std::int64_t kMiB = 1 << 20;
  reply["note"] = "slabs of about " + std::to_string(options.slab_bytes / kMiB) + " MiB";
  if (!encodes) reply["outputs"] = {{"x", image}};
  return reply.dump();
}

std::string Autoencoder::describe() const {
  return nlohmann::json{{"parameters", network_->parameter_count()}, {"latent_channels", config_.latent_channels},
                        {"compression", config_.compression()},      {"in_channels", config_.in_channels},
                        {"out_channels", config_.out_channels},      {"weights", support::weight_list(*network_)},
                        {"ignored_weights", {kUnusedProjections}}}
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
