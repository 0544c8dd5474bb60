// SPDX-License-Identifier: Apache-2.0
#include "core/sample/update.h"

#include "core/base/error.h"
#include "core/base/threads.h"
#include "kernels/update.h"

#include <algorithm>

namespace medgen {
namespace {

const float* values(const Tensor& tensor) {
  return tensor.empty() ? nullptr : tensor.values<float>().data();
}

void check_prediction(const Tensor& x, const Prediction& prediction, bool learned_range) {
  const Tensor& m = prediction.conditional;
  if (prediction.guided() && m.shape() != prediction.unconditional.shape()) {
    throw PluginError("guidance: the denoiser gave {} with conditions and {} without", to_string(m.shape()),
                      to_string(prediction.unconditional.shape()));
  }
  const bool same_layout = m.shape().size() == x.shape().size() && x.shape().size() >= 2 &&
                           m.shape()[0] == x.shape()[0] &&
                           std::equal(x.shape().begin() + 2, x.shape().end(), m.shape().begin() + 2);
  const bool right_channels = same_layout && (m.shape()[1] == x.shape()[1] || m.shape()[1] == 2 * x.shape()[1]);
  if (!right_channels || (learned_range && m.shape()[1] != 2 * x.shape()[1])) {
    throw PluginError("the denoiser gave {} for a sample of shape {}{}", to_string(m.shape()), to_string(x.shape()),
                      learned_range ? "; a learned variance range needs twice its channels" : "");
  }
}

void check_slots(const Update& u, const Tensor& x, const History& history) {
  for (std::size_t k = 0; k < history.size(); ++k) {
    if (u.history[k] == 0.0) continue;
    if (history[k].empty() || history[k].shape() != x.shape()) {
      throw PluginError("the scheduler uses history slot {} before it has stored anything there", k);
    }
  }
  for (const std::int32_t slot : {u.keep_x, u.keep_m, u.keep_x0}) {
    if (slot >= MEDGEN_HISTORY)
      throw PluginError("the scheduler stores into history slot {} of {}", slot, MEDGEN_HISTORY);
  }
}

/// What one update reads and writes, of all samples of the batch.
struct Arrays {
  const Tensor& x;
  const Prediction& m;
  const Tensor& noise;
  const History& history;
  Tensor next, kept_m, kept_x0;
};

/// The kernel for sample n of the batch.
kernels::UpdateStep step_of(const Update& u, Arrays& arrays, std::int64_t n) {
  const std::int64_t samples = arrays.x.shape()[0];
  const std::int64_t count = arrays.x.size() / samples;
  const std::int64_t model_count = arrays.m.conditional.size() / samples;
  const auto at = [n](auto* first, std::int64_t stride) { return first == nullptr ? nullptr : first + n * stride; };
  kernels::UpdateStep step{};
  step.u = u;
  step.count = count;
  step.guidance = arrays.m.scale;
  step.x = at(values(arrays.x), count);
  step.m = at(values(arrays.m.conditional), model_count);
  step.without = at(values(arrays.m.unconditional), model_count);
  step.variance = step.m + count;
  step.noise = at(values(arrays.noise), count);
  for (std::size_t k = 0; k < arrays.history.size(); ++k) step.history[k] = at(values(arrays.history[k]), count);
  const auto to = [&](Tensor& tensor) { return at(tensor.empty() ? nullptr : tensor.values<float>().data(), count); };
  step.next = to(arrays.next);
  step.keep_m = to(arrays.kept_m);
  step.keep_x0 = to(arrays.kept_x0);
  return step;
}

void run(const Update& u, Arrays& arrays, unsigned threads) {
  for (std::int64_t n = 0; n < arrays.x.shape()[0]; ++n) launch(on_threads(threads), step_of(u, arrays, n));
}

/// factor_a a + factor_b b
Tensor combine(const Tensor& a, double factor_a, const Tensor& b, double factor_b, unsigned threads) {
  if (a.shape() != b.shape()) {
    throw PluginError("cannot combine tensors of shape {} and {}", to_string(a.shape()), to_string(b.shape()));
  }
  Tensor result(DType::F32, a.shape());
  kernels::UpdateStep step{};
  step.u.x = factor_a;
  step.u.m = factor_b;
  step.count = a.size();
  step.x = values(a);
  step.m = values(b);
  step.next = result.values<float>().data();
  launch(on_threads(threads), step);
  return result;
}

}  // namespace

Tensor apply_update(const Update& u, const Tensor& x, const Prediction& m, const Tensor& noise, History& history,
                    unsigned threads) {
  check_prediction(x, m, (u.flags & MEDGEN_UPDATE_LEARNED_RANGE) != 0);
  const bool noisy = (u.flags & MEDGEN_UPDATE_NOISE) != 0;
  if (noisy && noise.shape() != x.shape()) throw PluginError("the scheduler wants noise where none was drawn");
  check_slots(u, x, history);

  // x and an output as it came are kept without a copy: neither is written to again.
  const bool m_is_kept_as_it_is = !m.guided() && m.conditional.shape() == x.shape();
  Arrays arrays{x, m, noise, history, Tensor(DType::F32, x.shape()), {}, {}};
  if (u.keep_m >= 0 && !m_is_kept_as_it_is) arrays.kept_m = Tensor(DType::F32, x.shape());
  if (u.keep_x0 >= 0) arrays.kept_x0 = Tensor(DType::F32, x.shape());
  run(u, arrays, threads);
  const auto keep = [&](std::int32_t slot, const Tensor& tensor) {
    if (slot >= 0) history[static_cast<std::size_t>(slot)] = tensor;
  };
  keep(u.keep_x, x);
  keep(u.keep_m, m_is_kept_as_it_is ? m.conditional : arrays.kept_m);
  keep(u.keep_x0, arrays.kept_x0);
  return arrays.next;
}

Tensor add_noise(const NoiseLevel& level, const Tensor& x0, const Tensor& eps, unsigned threads) {
  return combine(x0, level.alpha, eps, level.sigma, threads);
}

Tensor training_target(const NoiseLevel& level, const Tensor& x0, const Tensor& eps, unsigned threads) {
  return combine(x0, level.target_x0, eps, level.target_eps, threads);
}

Tensor clean_estimate(const NoiseLevel& level, const Tensor& x, const Prediction& m, unsigned threads) {
  Update u{};
  u.x = level.x0_x;
  u.m = level.x0_m;
  u.keep_x = u.keep_m = u.keep_x0 = -1;
  History none;
  return apply_update(u, x, m, {}, none, threads);
}

}  // namespace medgen
