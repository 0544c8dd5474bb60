// SPDX-License-Identifier: Apache-2.0
#include "core/parallel/transport_group.h"

#include "core/parallel/testing/processes.h"

#include <catch2/catch.hpp>

#include <cmath>

using namespace medgen;
using Catch::Matchers::Contains;
using testing::in_processes;
using testing::Process;

namespace {

std::vector<float> values_of(int rank, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = std::sin(static_cast<float>(i + 1) * static_cast<float>(rank + 1));
  return values;
}

}  // namespace

TEST_CASE("group: everybody gets the sum, rounded once", "[unit][parallel]") {
  const int count = GENERATE(1, 2, 3, 5);
  const std::size_t size = GENERATE(1, 2, 7, 100003);
  auto [results, processes] = in_processes(count, [&](Process& process) {
    std::vector<float> values = values_of(process.group.rank(), size);
    std::vector<float> more = values;
    process.group.begin_sum(values);
    process.group.begin_sum(more);
    process.group.finish();
    REQUIRE(values == more);
    return values;
  });
  std::vector<float> wanted(size);
  for (std::size_t i = 0; i < size; ++i) {
    double sum = 0;
    for (int rank = 0; rank < count; ++rank)
      sum += static_cast<double>(std::sin(static_cast<float>(i + 1) * static_cast<float>(rank + 1)));
    wanted[i] = static_cast<float>(sum);
  }
  for (auto& result : results) CHECK(result.get() == wanted);
}

TEST_CASE("group: agreement is found out, and so is one that differs", "[unit][parallel]") {
  auto [same, first] = in_processes(3, [](Process& process) { return process.group.agrees("weights"); });
  for (auto& result : same) CHECK(result.get());
  auto [other, second] = in_processes(
      3, [](Process& process) { return process.group.agrees(process.group.rank() == 2 ? "odd" : "weights"); });
  for (auto& result : other) CHECK_FALSE(result.get());
}

TEST_CASE("group: one that fails ends the waiting of the others, which learn why", "[unit][parallel]") {
  auto [results, processes] = in_processes(3, [](Process& process) {
    if (process.group.rank() == 1) return process.group.fail(ErrorKind::Data, "bad.nii\nis damaged");
    process.group.barrier();
  });
  CHECK_NOTHROW(results[1].get());
  for (const std::size_t rank : {0, 2}) {
    CHECK_THROWS_AS(results[rank].get(), Cancelled);
    const auto failure = processes[rank]->group.failure();
    REQUIRE(failure);
    CHECK(failure->rank == 1);
    CHECK(failure->kind == ErrorKind::Data);
    CHECK(failure->message == "bad.nii\nis damaged");
    CHECK(processes[rank]->cancel.cancelled());
    CHECK_THROWS_AS(processes[rank]->group.barrier(), Cancelled);
  }
}

TEST_CASE("group: a failure cancels others that do not wait", "[unit][parallel]") {
  auto [results, processes] = in_processes(2, [](Process& process) {
    if (process.group.rank() == 0) process.group.fail(ErrorKind::Runtime, "");
    while (process.group.rank() == 1 && !process.cancel.cancelled()) std::this_thread::yield();
  });
  CHECK(processes[1]->group.failure());
}

TEST_CASE("group: a cancelled run waits for a lost process a moment only", "[unit][parallel]") {
  auto [results, processes] = in_processes(2, [](Process& process) {
    if (process.group.rank() == 1) return;  // is never heard of again
    process.cancel.cancel();
    process.group.barrier();
  });
  CHECK_THROWS_AS(results[0].get(), Cancelled);
}

TEST_CASE("group: an exchange that fails is told", "[unit][parallel]") {
  auto [results, processes] = in_processes(2, [](Process& process) {
    process.transport.fails_at = 3;
    process.group.barrier();
    process.group.barrier();
  });
  for (auto& result : results) CHECK_THROWS_AS(result.get(), Cancelled);
  CHECK_THAT(processes[0]->group.failure()->message, Contains("the cable is cut"));
}

TEST_CASE("group: who cannot join throws what is wrong", "[unit][parallel]") {
  CancelToken cancel;
  const auto join = []() -> Transport* { throw RuntimeError("no MPI"); };
  CHECK_THROWS_WITH(TransportGroup(join, cancel), "no MPI");
}

TEST_CASE("group: one process alone is a job, too", "[unit][parallel]") {
  Group& alone = Alone::instance();
  double value = 3;
  alone.sum({&value, 1});
  CHECK(value == 3);
  CHECK(alone.agrees("anything"));
  CHECK(alone.first());
}
