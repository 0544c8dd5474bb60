// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/process.h"
#include "plugins/schedulers/schemas.h"

namespace medgen::schedulers {

/// Implicit sampling, deterministic with eta 0. Source: Song et al. 2021, Eq. 12 and 16.
class Ddim {
 public:
  static constexpr std::string_view id = "scheduler.ddim";
  static constexpr std::string_view summary = "Denoising diffusion, implicit sampling in fewer steps (DDIM).";
  static constexpr std::string_view config_schema = kDdimSchema;
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;

  class Run {
   public:
    Run(const Ddim& owner, std::vector<Stride> strides);

    std::span<const double> timesteps() const { return times_; }

    sdk::Update update(std::size_t i) const { return owner_->update(strides_[i]); }

   private:
    const Ddim* owner_;
    std::vector<Stride> strides_;
    std::vector<double> times_;
  };

  explicit Ddim(const Config& config);

  explicit Ddim(const sdk::Create& create) : Ddim(Config(create.config())) {}

  Run begin(const sdk::ScheduleRequest& request) const;

  sdk::Level level(double t) const { return process_.level(t); }

  double training_time(const sdk::ScheduleRequest& request, double u) const {
    return process_.training_time(request, u);
  }

 private:
  sdk::Update update(const Stride& stride) const;

  Process process_;
  double final_alpha_bar_;
  double eta_;
  bool use_clipped_model_output_;
};

}  // namespace medgen::schedulers
