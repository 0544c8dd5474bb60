// SPDX-License-Identifier: Apache-2.0
#include "core/parallel/transport_group.h"

#include <sys/prctl.h>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

namespace medgen {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kLook = 20ms;    // between looks for notices while nothing is to be done
constexpr auto kGrace = 250ms;  // for the others to arrive after the run was cancelled; mpirun leaves us a second
constexpr auto kGoodbye = 30s;  // for the others to end after a failure
constexpr auto kShortest = 20us;
constexpr auto kLongest = 500us;               // between looks at an operation that is going on
constexpr std::size_t kMostValues = 16 << 20;  // of one operation

/// Ends an operation that cannot be completed.
struct GivenUp {};

/// The blocks into which `values` values fall, one for each process, in bytes.
struct Blocks {
  std::vector<int> bytes, at;

  Blocks(std::size_t values, std::size_t each, int processes) {
    for (int k = 0; k < processes; ++k) {
      const Part part{static_cast<std::size_t>(k), static_cast<std::size_t>(processes)};
      at.push_back(static_cast<int>(part.begin(values) * each));
      bytes.push_back(static_cast<int>((part.end(values) - part.begin(values)) * each));
    }
  }
};

template <typename T>
std::span<T> values_in(std::vector<std::byte>& memory, std::size_t count) {
  memory.resize(std::max(memory.size(), count * sizeof(T)));
  return {reinterpret_cast<T*>(memory.data()), count};
}

}  // namespace

TransportGroup::TransportGroup(const std::function<Transport*()>& join, CancelToken& cancel)
    : cancel_(cancel), server_([this, &join] { serve(join); }) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return joined_ || join_error_ != nullptr; });
  if (!join_error_) return;
  lock.unlock();
  server_.join();
  std::rethrow_exception(join_error_);
}

TransportGroup::~TransportGroup() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (ended()) {
    // A lost process never says goodbye.
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kGoodbye, [this] { return left_; })) std::_Exit(static_cast<int>(ErrorKind::Runtime));
  }
  server_.join();
}

bool TransportGroup::ended() const {
  const std::lock_guard lock(mutex_);
  return failure_.has_value() || !own_failure_.empty() || broken_;
}

void TransportGroup::post(const Task& task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(task);
  changed_.notify_all();
}

void TransportGroup::begin_sum(std::span<float> values) {
  for (; values.size() > kMostValues; values = values.subspan(kMostValues)) post({values.first(kMostValues), {}});
  if (!values.empty()) post({values, {}});
}

void TransportGroup::sum(std::span<double> values) {
  post({{}, values});
  finish();
}

void TransportGroup::finish() {
  std::unique_lock lock(mutex_);
  const auto over = [this] { return tasks_.empty() || failure_ || !own_failure_.empty() || broken_; };
  std::optional<Clock::time_point> cancelled;
  while (!changed_.wait_for(lock, kLook, over)) {
    if (!cancel_.cancelled()) continue;
    if (!cancelled) cancelled = Clock::now();
    if (Clock::now() - *cancelled < kGrace) continue;
    lock.unlock();
    fail(ErrorKind::Cancelled, "");
    lock.lock();
    // The memory is the caller's again only when nobody works on it any more.
    changed_.wait(lock, [this] { return told_ || failure_; });
  }
  if (tasks_.empty()) return;
  changed_.wait(lock, [this] { return broken_; });
  tasks_.clear();
  throw Cancelled("cancelled while waiting for the other processes of the job");
}

void TransportGroup::fail(ErrorKind kind, const std::string& message) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    if (own_failure_.empty() && !failure_) {
      own_failure_ = fmt::format("{}\n{}", static_cast<int>(kind), message);
      own_failure_.resize(std::min<std::size_t>(own_failure_.size(), kMostNotice));
    }
  } catch (const std::exception&) {  // no memory for the text: the others are told by the end of this process
  }
  changed_.notify_all();
}

std::optional<JobFailure> TransportGroup::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void TransportGroup::serve(const std::function<Transport*()>& join) {
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // nanoseconds: short sleeps are short
  try {
    transport_ = join();
    rank_ = transport_->rank();
    size_ = transport_->size();
    local_size_ = transport_->local_size();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    join_error_ = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    joined_ = true;
  }
  changed_.notify_all();
  if (join_error_) return;
  work();
  transport_->leave();
  {
    const std::lock_guard lock(mutex_);
    left_ = true;
  }
  changed_.notify_all();
}

void TransportGroup::work() {
  const auto awake = [this] { return (!tasks_.empty() && !broken_) || (!own_failure_.empty() && !told_) || closing_; };
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLook, awake);
    const bool to_tell = !own_failure_.empty() && !told_;
    const bool to_do = !tasks_.empty() && !broken_;
    if (!to_tell && !to_do && closing_) return;
    const Task task = to_do ? tasks_.front() : Task{};
    lock.unlock();
    try {
      if (to_tell) tell_all();
      listen();
      if (!to_do) continue;
      if (ended()) throw GivenUp();
      task.doubles.empty() ? reduce(task.floats) : reduce(task.doubles);
      lock.lock();
      tasks_.pop_front();
    } catch (const GivenUp&) {
      lock.lock();
      broken_ = true;
    } catch (const std::exception& error) {
      note({rank_, ErrorKind::Runtime, error.what()});
      lock.lock();
      broken_ = true;
    }
    lock.unlock();
    changed_.notify_all();
  }
}

/// Every process adds up one block of all, then everybody gets all blocks: each value crosses the network twice.
template <typename T>
void TransportGroup::reduce(std::span<T> values) {
  const Blocks blocks(values.size(), sizeof(T), size_);
  const auto own = static_cast<std::size_t>(blocks.bytes[static_cast<std::size_t>(rank_)]) / sizeof(T);
  const std::span<T> received = values_in<T>(received_, own * static_cast<std::size_t>(size_));
  // What arrives late, after an operation was given up, lands in memory of this object and not of the caller.
  const std::span<T> gathered = values_in<T>(gathered_, values.size() + own);
  complete(transport_->start_swap(values.data(), blocks.bytes.data(), blocks.at.data(), received.data()));
  const std::span<T> sums = gathered.last(own);
  add_up<T>(received, sums);
  complete(transport_->start_gather(sums.data(), gathered.data(), blocks.bytes.data(), blocks.at.data()));
  std::copy_n(gathered.begin(), values.size(), values.begin());
}

template <typename T>
void TransportGroup::add_up(std::span<const T> received, std::span<T> sums) {
  constexpr std::size_t kTile = 2048;  // stays in the first-level cache
  std::array<double, kTile> tile;
  for (std::size_t start = 0; start < sums.size(); start += kTile) {
    const std::size_t count = std::min(kTile, sums.size() - start);
    for (std::size_t i = 0; i < count; ++i) tile[i] = static_cast<double>(received[start + i]);
    for (std::size_t from = sums.size(); from < received.size(); from += sums.size()) {
      for (std::size_t i = 0; i < count; ++i) tile[i] += static_cast<double>(received[from + start + i]);
    }
    for (std::size_t i = 0; i < count; ++i) sums[start + i] = static_cast<T>(tile[i]);
  }
}

void TransportGroup::complete(bool started) {
  auto pause = std::chrono::duration_cast<std::chrono::microseconds>(kShortest);
  for (int state = started ? transport_->test() : -1; state != 1; state = transport_->test()) {
    if (state < 0) throw RuntimeError("the exchange between the processes failed: {}", transport_->problem());
    listen();
    if (ended()) throw GivenUp();
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::microseconds>(pause + pause / 4, kLongest);
  }
}

void TransportGroup::listen() {
  std::array<char, kMostNotice> text;
  int from = 0;
  const int length = transport_->hear(text.data(), kMostNotice, &from);
  if (length <= 0) return;
  const std::string notice(text.data(), static_cast<std::size_t>(length));
  const std::size_t line = std::min(notice.find('\n'), notice.size());
  note({from, static_cast<ErrorKind>(std::atoi(notice.c_str())), notice.substr(std::min(line + 1, notice.size()))});
}

void TransportGroup::note(JobFailure failure) {
  {
    const std::lock_guard lock(mutex_);
    // That somebody waits no longer is not news once a cause is known, and gives way to one that comes later.
    if (!failure_ || failure_->kind == ErrorKind::Cancelled) failure_ = std::move(failure);
  }
  cancel_.cancel();
  changed_.notify_all();
}

void TransportGroup::tell_all() {
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    text = own_failure_;
  }
  for (int other = 0; other < size_; ++other) {
    if (other != rank_) transport_->tell(other, text.data(), static_cast<int>(text.size()));
  }
  {
    const std::lock_guard lock(mutex_);
    told_ = true;
  }
  changed_.notify_all();
}

}  // namespace medgen
