// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/noise_table.h"

#include "plugins/schedulers/rounding.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace medgen::schedulers {
namespace {

/// Nichol and Dhariwal 2021, Eq. 17, betas capped at 0.999. The first betas are small differences of numbers near 1, so
/// the rounding of every operation shows in them.
std::vector<double> cosine_betas(int n, double offset, Rounding round) {
  std::vector<double> signal;
  for (int i = 0; i <= n; ++i) {
    const double fraction = round(round(round(static_cast<double>(i) / n) + round(offset)) / round(1 + offset));
    const double cosine = round(std::cos(round(round(fraction * round(std::numbers::pi)) * 0.5)));
    signal.push_back(round(cosine * cosine));
  }
  std::vector<double> betas;
  for (std::size_t i = 1; i < signal.size(); ++i) {
    const double kept = round(round(signal[i] / signal[0]) / round(signal[i - 1] / signal[0]));
    betas.push_back(std::min(round(1 - kept), round(0.999)));
  }
  return betas;
}

std::vector<double> make_betas(const Config& config, int n, Rounding round) {
  const double start = config.number("beta_start", 1e-4, 0.0, 1.0);
  const double end = config.number("beta_end", 0.02, 0.0, 1.0);
  switch (config.choice("schedule", 0, {"linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"})) {
    case 0:
      return linspace(start, end, n, round);
    case 1: {
      std::vector<double> betas = linspace(std::sqrt(start), std::sqrt(end), n, round);
      for (double& beta : betas) beta = round(beta * beta);
      return betas;
    }
    case 2: {
      const double range = config.number("sigmoid_range", 6.0, 0.0, 100.0);
      std::vector<double> betas = linspace(-range, range, n, round);
      for (double& beta : betas)
        beta = round(round(round(1 / (1 + std::exp(-beta))) * round(end - start)) + round(start));
      return betas;
    }
    default:
      return cosine_betas(n, config.number("cosine_offset", 0.008, 0.0, 1.0), round);
  }
}

}  // namespace

NoiseTable make_noise_table(const Config& config) {
  const int n = config.integer("num_train_timesteps", 1000, 1, 100000);
  const Rounding round{config.choice("table_dtype", 0, {"float32", "float64"}) == 0};
  NoiseTable table{make_betas(config, n, round), {}};
  double product = 1;
  for (int t = 0; t < n; ++t) {
    const double beta = table.betas[static_cast<std::size_t>(t)];
    if (!(beta > 0 && beta < 1)) {
      throw sdk::invalid("beta of time ", t, " is ", beta, ", expected between 0 and 1: check beta_start and beta_end");
    }
    product *= round(1 - beta);
    table.alpha_bars.push_back(round(product));
  }
  return table;
}

}  // namespace medgen::schedulers
