// SPDX-License-Identifier: Apache-2.0
#include "core/sample/update.h"

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

/// m of x's shape, from a network that may have given further channels (a learned variance).
struct ModelOutput {
  std::span<const float> values;
  std::int64_t per_sample;        ///< elements of one sample of x
  std::int64_t per_sample_model;  ///< elements of one sample of m

  float at(std::int64_t i) const {
    const std::int64_t sample = i / per_sample;
    return values[static_cast<std::size_t>(sample * per_sample_model + i % per_sample)];
  }

  float variance_at(std::int64_t i) const { return at_offset(i, per_sample); }

 private:
  float at_offset(std::int64_t i, std::int64_t offset) const {
    const std::int64_t sample = i / per_sample;
    return values[static_cast<std::size_t>(sample * per_sample_model + offset + i % per_sample)];
  }
};

ModelOutput model_output(const Tensor& x, const Tensor& m, bool learned_range) {
  const bool same_layout = m.shape().size() == x.shape().size() && x.shape().size() >= 2 &&
                           m.shape()[0] == x.shape()[0] &&
                           std::equal(x.shape().begin() + 2, x.shape().end(), m.shape().begin() + 2);
  const bool right_channels = same_layout && (m.shape()[1] == x.shape()[1] || m.shape()[1] == 2 * x.shape()[1]);
  if (!right_channels || (learned_range && m.shape()[1] != 2 * x.shape()[1])) {
    throw PluginError("the denoiser gave {} for a sample of shape {}{}", to_string(m.shape()), to_string(x.shape()),
                      learned_range ? "; a learned variance range needs twice its channels" : "");
  }
  const std::int64_t samples = std::max<std::int64_t>(x.shape()[0], 1);
  return {m.values<float>(), x.size() / samples, m.size() / samples};
}

Tensor combine(const Tensor& a, double factor_a, const Tensor& b, double factor_b) {
  if (a.shape() != b.shape()) {
    throw PluginError("cannot combine tensors of shape {} and {}", to_string(a.shape()), to_string(b.shape()));
  }
  Tensor result(DType::F32, a.shape());
  const auto in_a = a.values<float>();
  const auto in_b = b.values<float>();
  const auto out = result.values<float>();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(factor_a * in_a[i] + factor_b * in_b[i]);
  return result;
}

double clean(const Update& u, double x, double m) {
  const double x0 = u.x0_x * x + u.x0_m * m;
  return (u.flags & MEDGEN_UPDATE_CLAMP_X0) != 0 ? std::clamp(x0, u.clamp_low, u.clamp_high) : x0;
}

double noise_factor(const Update& u, const ModelOutput& m, std::int64_t i) {
  if ((u.flags & MEDGEN_UPDATE_LEARNED_RANGE) == 0) return u.noise_scale;
  const double fraction = (static_cast<double>(m.variance_at(i)) + 1.0) / 2.0;
  return u.noise_scale * std::exp(0.5 * (fraction * u.log_variance_max + (1.0 - fraction) * u.log_variance_min));
}

void check_history(const Update& u, const Tensor& x, const History& history) {
  for (std::size_t k = 0; k < history.size(); ++k) {
    if (u.history[k] == 0.0) continue;
    if (history[k].empty() || history[k].shape() != x.shape()) {
      throw PluginError("the scheduler uses history slot {} before it has stored anything there", k);
    }
  }
}

void keep(const Update& u, const Tensor& x, const ModelOutput& m, History& history) {
  const auto store = [&](std::int32_t slot, auto value) {
    if (slot < 0) return;
    if (slot >= MEDGEN_HISTORY)
      throw PluginError("the scheduler stores into history slot {} of {}", slot, MEDGEN_HISTORY);
    Tensor kept(DType::F32, x.shape());
    const auto out = kept.values<float>();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(value(static_cast<std::int64_t>(i)));
    history[static_cast<std::size_t>(slot)] = std::move(kept);
  };
  const auto in = x.values<float>();
  store(u.keep_x, [&](std::int64_t i) { return in[static_cast<std::size_t>(i)]; });
  store(u.keep_m, [&](std::int64_t i) { return m.at(i); });
  store(u.keep_x0, [&](std::int64_t i) { return clean(u, in[static_cast<std::size_t>(i)], m.at(i)); });
}

}  // namespace

Tensor apply_update(const Update& u, const Tensor& x, const Tensor& m, const Tensor& noise, History& history) {
  const ModelOutput model = model_output(x, m, (u.flags & MEDGEN_UPDATE_LEARNED_RANGE) != 0);
  const bool noisy = (u.flags & MEDGEN_UPDATE_NOISE) != 0;
  if (noisy && noise.shape() != x.shape()) throw PluginError("the scheduler wants noise where none was drawn");
  check_history(u, x, history);

  Tensor next(DType::F32, x.shape());
  const auto in = x.values<float>();
  const auto out = next.values<float>();
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i);
    const double mi = model.at(n);
    double sum = u.x * in[i] + u.m * mi;
    if (u.x0 != 0.0) sum += u.x0 * clean(u, in[i], mi);
    for (std::size_t k = 0; k < history.size(); ++k) {
      if (u.history[k] != 0.0) sum += u.history[k] * history[k].values<float>()[i];
    }
    if (noisy) sum += noise_factor(u, model, n) * noise.values<float>()[i];
    out[i] = static_cast<float>(sum);
  }
  keep(u, x, model, history);
  return next;
}

Tensor add_noise(const NoiseLevel& level, const Tensor& x0, const Tensor& eps) {
  return combine(x0, level.alpha, eps, level.sigma);
}

Tensor training_target(const NoiseLevel& level, const Tensor& x0, const Tensor& eps) {
  return combine(x0, level.target_x0, eps, level.target_eps);
}

Tensor clean_estimate(const NoiseLevel& level, const Tensor& x, const Tensor& m) {
  const ModelOutput model = model_output(x, m, false);
  Tensor result(DType::F32, x.shape());
  const auto in = x.values<float>();
  const auto out = result.values<float>();
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(level.x0_x * in[i] + level.x0_m * model.at(static_cast<std::int64_t>(i)));
  }
  return result;
}

Tensor guide(const Tensor& conditional, const Tensor& unconditional, double scale, std::int64_t channels) {
  if (conditional.shape() != unconditional.shape()) {
    throw PluginError("guidance: the denoiser gave {} with conditions and {} without", to_string(conditional.shape()),
                      to_string(unconditional.shape()));
  }
  Tensor result = conditional.clone();
  const auto c = conditional.values<float>();
  const auto u = unconditional.values<float>();
  const auto out = result.values<float>();
  const std::int64_t per_channel = element_count({conditional.shape().begin() + 2, conditional.shape().end()});
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::int64_t channel = (static_cast<std::int64_t>(i) / per_channel) % conditional.shape()[1];
    if (channel < channels) out[i] = static_cast<float>(u[i] + scale * (static_cast<double>(c[i]) - u[i]));
  }
  return result;
}

}  // namespace medgen
