// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/parallel/transport_group.h"

#include <atomic>
#include <cstring>
#include <functional>
#include <future>
#include <map>
#include <memory>

// For tests: the processes of a job as threads of this one.

namespace medgen::testing {

/// What the processes of a job share when they are threads.
struct Board {
  struct Operation {
    std::vector<const void*> sent;
    int posted = 0, copied = 0;
  };

  std::mutex mutex;
  std::map<int, Operation> operations;
  std::vector<std::deque<std::pair<int, std::string>>> notices;
  int size;

  explicit Board(int processes) : notices(static_cast<std::size_t>(processes)), size(processes) {}
};

class ThreadTransport : public Transport {
 public:
  std::atomic<int> fails_at{-1};  ///< the operation that cannot be started

  ThreadTransport(std::shared_ptr<Board> board, int rank) : shared_(std::move(board)), board_(*shared_), rank_(rank) {}

  /// Of nothing from nowhere, too.
  static void copy(char* to, const void* from, int bytes) {
    if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }

  int rank() const noexcept override { return rank_; }

  int size() const noexcept override { return board_.size; }

  int local_size() const noexcept override { return board_.size; }

  bool start_swap(const void* send, const int* bytes, const int* at, void* receive) noexcept override {
    return start(send, [=, this](int from, const void* sent) {
      copy(static_cast<char*>(receive) + from * bytes[rank_], static_cast<const char*>(sent) + at[rank_], bytes[rank_]);
    });
  }

  bool start_gather(const void* mine, void* all, const int* bytes, const int* at) noexcept override {
    return start(mine,
                 [=](int from, const void* sent) { copy(static_cast<char*>(all) + at[from], sent, bytes[from]); });
  }

  int test() noexcept override {
    const std::lock_guard lock(board_.mutex);
    Board::Operation& operation = board_.operations[number_];
    if (operation.posted < board_.size) return 0;
    if (copy_) {
      for (int from = 0; from < board_.size; ++from) copy_(from, operation.sent[static_cast<std::size_t>(from)]);
      copy_ = nullptr;
      ++operation.copied;
    }
    return operation.copied == board_.size ? 1 : 0;
  }

  bool tell(int rank, const char* text, int length) noexcept override {
    const std::lock_guard lock(board_.mutex);
    board_.notices[static_cast<std::size_t>(rank)].emplace_back(rank_,
                                                                std::string(text, static_cast<std::size_t>(length)));
    return true;
  }

  int hear(char* text, int, int* from) noexcept override {
    const std::lock_guard lock(board_.mutex);
    auto& mine = board_.notices[static_cast<std::size_t>(rank_)];
    if (mine.empty()) return 0;
    const auto [sender, notice] = mine.front();
    mine.pop_front();
    *from = sender;
    std::memcpy(text, notice.data(), notice.size());
    return static_cast<int>(notice.size());
  }

  const char* problem() const noexcept override { return "the cable is cut"; }

  void leave() noexcept override {}

 private:
  bool start(const void* mine, std::function<void(int, const void*)> copy) {
    const std::lock_guard lock(board_.mutex);
    if (++number_ == fails_at) return false;
    Board::Operation& operation = board_.operations[number_];
    operation.sent.resize(static_cast<std::size_t>(board_.size));
    operation.sent[static_cast<std::size_t>(rank_)] = mine;
    ++operation.posted;
    copy_ = std::move(copy);
    return true;
  }

  std::shared_ptr<Board> shared_;
  Board& board_;
  int rank_;
  int number_ = 0;
  std::function<void(int, const void*)> copy_;
};

/// One process of a job, as a thread.
struct Process {
  ThreadTransport transport;
  CancelToken cancel;
  TransportGroup group;

  Process(const std::shared_ptr<Board>& board, int rank)
      : transport(board, rank), group([this] { return &transport; }, cancel) {}
};

/// Runs `work` in each of `count` processes; gives what they return, or throw, by rank.
template <typename Work>
std::pair<std::vector<std::future<std::invoke_result_t<Work, Process&>>>, std::vector<std::unique_ptr<Process>>>
in_processes(int count, const Work& work) {
  const auto board = std::make_shared<Board>(count);
  std::vector<std::unique_ptr<Process>> processes;
  for (int rank = 0; rank < count; ++rank) processes.push_back(std::make_unique<Process>(board, rank));
  std::vector<std::future<std::invoke_result_t<Work, Process&>>> results;
  for (auto& process : processes)
    results.push_back(std::async(std::launch::async, [&work, &process] { return work(*process); }));
  for (auto& result : results) result.wait();
  return std::pair(std::move(results), std::move(processes));
}

}  // namespace medgen::testing
