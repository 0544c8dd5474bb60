// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/process.h"
#include "plugins/schedulers/schemas.h"

namespace medgen::schedulers {

/// Ancestral sampling. Source: Ho et al. 2020, Eq. 7; learned variance: Nichol and Dhariwal 2021, Eq. 15.
class Ddpm {
 public:
  static constexpr std::string_view id = "scheduler.ddpm";
  static constexpr std::string_view summary = "Denoising diffusion, ancestral sampling (DDPM).";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;
  static constexpr std::string_view config_schema = kDdpmSchema;

  class Run {
   public:
    Run(const Ddpm& owner, std::vector<Stride> strides);

    std::span<const double> timesteps() const { return times_; }

    sdk::Update update(std::size_t i) const { return owner_->update(strides_[i]); }

   private:
    const Ddpm* owner_;
    std::vector<Stride> strides_;
    std::vector<double> times_;
  };

  explicit Ddpm(const Config& config);

  explicit Ddpm(const sdk::Create& create) : Ddpm(Config(create.config())) {}

  Run begin(const sdk::ScheduleRequest& request) const;

  sdk::Level level(double t) const { return process_.level(t); }

  double training_time(const sdk::ScheduleRequest& request, double u) const {
    return process_.training_time(request, u);
  }

 private:
  enum class Variance { FixedSmall, FixedLarge, LearnedRange };

  sdk::Update update(const Stride& stride) const;

  Process process_;
  Variance variance_;
};

}  // namespace medgen::schedulers
