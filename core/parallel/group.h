// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/base/share.h"

#include <optional>
#include <span>
#include <string>

namespace medgen {

/// What ended a job of several processes.
struct JobFailure {
  int rank = 0;  ///< of the process that failed
  ErrorKind kind = ErrorKind::Runtime;
  std::string message;
};

/// The processes that work on one pipeline together. Every process calls the same functions in the same order, from one
/// thread; a call that waits for the others ends with Cancelled when one of them has failed or the run is cancelled.
class Group {
 public:
  Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  virtual ~Group() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Processes on this machine.
  virtual int local_size() const = 0;

  bool alone() const { return size() == 1; }

  /// Whether this process writes and reports for all.
  bool first() const { return rank() == 0; }

  Part part() const { return {static_cast<std::size_t>(rank()), static_cast<std::size_t>(size())}; }

  /// Begins to replace `values` by their sum over all processes, and returns. Until `finish` they are the group's. The
  /// sum is taken in double in the order of ranks and rounded once: the same bits in every process and every run.
  virtual void begin_sum(std::span<float> values) = 0;
  /// Waits for all sums that were begun. @throws Cancelled
  virtual void finish() = 0;
  /// Sums a few numbers, and waits for them. @throws Cancelled
  virtual void sum(std::span<double> values) = 0;
  /// Waits until all processes are here. @throws Cancelled
  void barrier();
  /// Whether all processes have the same text. @throws Cancelled
  bool agrees(const std::string& text);

  /// Tells the others that this process cannot go on: their waiting ends, and their runs are cancelled.
  virtual void fail(ErrorKind kind, const std::string& message) noexcept = 0;
  /// The first failure of another process that was heard of.
  virtual std::optional<JobFailure> failure() const = 0;
};

/// A job of one process.
class Alone : public Group {
 public:
  int rank() const override { return 0; }

  int size() const override { return 1; }

  int local_size() const override { return 1; }

  void begin_sum(std::span<float>) override {}

  void finish() override {}

  void sum(std::span<double>) override {}

  void fail(ErrorKind, const std::string&) noexcept override {}

  std::optional<JobFailure> failure() const override { return std::nullopt; }

  static Group& instance();
};

/// Which part of a pipeline's work this process does.
struct Job {
  Group* group = &Alone::instance();  ///< with which it trains
  Part part;                          ///< of the samples
};

}  // namespace medgen
