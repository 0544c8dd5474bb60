// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/base/trace.h"
#include "core/tensor/tensor.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace medgen {

/// Asks a run to stop at its next step. `cancel` is safe from any thread and from a signal handler.
class CancelToken {
 public:
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }

  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

  /// @throws Cancelled
  void check() const {
    if (cancelled()) throw Cancelled("cancelled");
  }

 private:
  std::atomic<bool> cancelled_{false};
};

/// Where a run stands. `done` and `total` count in `unit`s within one task of one step.
struct Progress {
  std::string_view step;  ///< name of the pipeline step, "ct"
  std::string_view task;  ///< "sampling", "decoding", "training" ...
  std::string_view item;  ///< sample name, or empty
  std::uint64_t done = 0;
  std::uint64_t total = 0;  ///< 0 = unknown
  std::string_view note;    ///< "loss 0.123", or empty
};

enum class LogLevel { Error, Warning, Info, Debug };

/// What a run tells whoever started it. Called from the thread that runs, one call at a time.
struct RunObserver {
  std::function<void(const Progress&)> progress = [](const Progress&) {};
  std::function<void(LogLevel, std::string_view)> log = [](LogLevel, std::string_view) {};
  /// The current estimate of what is being sampled: a latent, (N, C, spatial...). May be empty: previews cost time.
  std::function<void(std::string_view step, std::string_view item, const Tensor& x0)> preview;
  CancelToken* cancel = nullptr;
  Trace* trace = nullptr;  ///< where the time of the run's parts is noted

  void report(const Progress& p) const {
    if (progress) progress(p);
  }

  void say(LogLevel level, std::string_view text) const {
    if (log) log(level, text);
  }

  /// @throws Cancelled
  void check_cancelled() const {
    if (cancel != nullptr) cancel->check();
  }

  bool cancelled() const { return cancel != nullptr && cancel->cancelled(); }
};

}  // namespace medgen
