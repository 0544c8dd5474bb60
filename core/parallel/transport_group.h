// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/parallel/group.h"
#include "core/parallel/transport.h"
#include "core/run/observer.h"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace medgen {

/// The processes that a transport connects. A thread of its own moves the bytes, so that sums go on while the caller
/// computes; it sleeps between looks, because it shares the processor with the computation.
class TransportGroup : public Group {
 public:
  /// Joins the others; waits for them. `join` is called in the thread that moves the bytes, and throws what is wrong.
  /// @param cancel  cancelled when another process fails; when it is cancelled, whoever waits stops waiting soon after.
  TransportGroup(const std::function<Transport*()>& join, CancelToken& cancel);
  ~TransportGroup() override;

  int rank() const override { return rank_; }

  int size() const override { return size_; }

  int local_size() const override { return local_size_; }

  void begin_sum(std::span<float> values) override;
  void finish() override;
  void sum(std::span<double> values) override;
  void fail(ErrorKind kind, const std::string& message) noexcept override;
  std::optional<JobFailure> failure() const override;

 private:
  /// Values to be summed; one of the two spans is empty.
  struct Task {
    std::span<float> floats;
    std::span<double> doubles;
  };

  void serve(const std::function<Transport*()>& join);
  void work();
  void post(const Task& task);
  template <typename T>
  void reduce(std::span<T> values);
  template <typename T>
  void add_up(std::span<const T> received, std::span<T> sums);
  void complete(bool started);
  void listen();
  void tell_all();
  void note(JobFailure failure);
  bool ended() const;

  CancelToken& cancel_;
  int rank_ = 0;
  int size_ = 1;
  int local_size_ = 1;
  Transport* transport_ = nullptr;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;  ///< the first is being worked on
  std::optional<JobFailure> failure_;
  std::string own_failure_;  ///< as it is told to the others
  bool joined_ = false;
  bool told_ = false;
  bool closing_ = false;
  bool left_ = false;
  bool broken_ = false;  ///< an operation was given up: no other can follow
  std::exception_ptr join_error_;

  std::vector<std::byte> received_, gathered_;
  std::vector<double> doubles_;
  std::thread server_;
};

}  // namespace medgen
