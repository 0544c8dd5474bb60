// SPDX-License-Identifier: Apache-2.0
#include "core/run/resources.h"

#include <linux/magic.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

/// A "Key:   123 kB" line of /proc/meminfo, in bytes.
std::uint64_t meminfo(const std::string& key) {
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key + ':')) continue;
    std::uint64_t kibibytes = 0;
    std::istringstream(line.substr(key.size() + 1)) >> kibibytes;
    return kibibytes * 1024;
  }
  return 0;
}

/// A number in a file of the control group; the largest one when there is no limit.
std::uint64_t cgroup_number(const char* file) {
  std::uint64_t number = 0;
  return std::ifstream(file) >> number ? number : kUnlimited;
}

/// File pages of the control group, which are given up when memory is wanted.
std::uint64_t cgroup_cache() {
  std::ifstream in("/sys/fs/cgroup/memory.stat");
  std::uint64_t sum = 0;
  std::string key;
  for (std::uint64_t bytes = 0; in >> key >> bytes;) {
    if (key == "inactive_file" || key == "active_file") sum += bytes;
  }
  return sum;
}

/// The part of a path that exists.
fs::path existing(const fs::path& path) {
  std::error_code error;
  fs::path part = fs::absolute(path, error);
  while (part.has_relative_path() && !fs::exists(part, error)) part = part.parent_path();
  return part;
}

}  // namespace

Memory machine_memory() {
  const Memory memory{meminfo("MemTotal"), meminfo("MemAvailable")};
  const std::uint64_t limit = cgroup_number("/sys/fs/cgroup/memory.max");
  if (limit >= memory.total) return memory;
  const std::uint64_t current = cgroup_number("/sys/fs/cgroup/memory.current");
  const std::uint64_t used = std::min(current - std::min(current, cgroup_cache()), limit);
  return {limit, std::min(memory.available, limit - used)};
}

std::uint64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::uint64_t resident_memory() {
  std::uint64_t pages = 0;
  std::ifstream in("/proc/self/statm");
  in >> pages >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t free_disk(const fs::path& path) {
  std::error_code error;
  const fs::space_info space = fs::space(existing(path), error);
  return error ? kUnlimited : space.available;
}

bool lies_in_memory(const fs::path& path) {
  struct statfs about {};

  return ::statfs(existing(path).c_str(), &about) == 0 && about.f_type == TMPFS_MAGIC;
}

bool same_disk(const fs::path& a, const fs::path& b) {
  struct stat of_a {};

  struct stat of_b {};

  if (::stat(existing(a).c_str(), &of_a) != 0 || ::stat(existing(b).c_str(), &of_b) != 0) return true;
  return of_a.st_dev == of_b.st_dev;
}

namespace {

constexpr int kLargeBlock = 32 << 20;
constexpr int kLargeWhereScarce = 4 << 20;
constexpr int kMostBlocks = 65536;  ///< of their own; glibc's
std::atomic<bool> returns_freed_memory = false;

}  // namespace

void return_freed_memory() {
  constexpr int kArenas = 2;
  ::mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  ::mallopt(M_TRIM_THRESHOLD, 2 * kLargeBlock);
  ::mallopt(M_ARENA_MAX, kArenas);
  returns_freed_memory = true;
}

TrainingHeap::TrainingHeap(Room room) {
  if (!returns_freed_memory) return;
  if (room == Room::Plenty) {
    // The threshold for blocks of their own has a highest value, 32 MiB; none at all is how larger ones stay.
    ::mallopt(M_MMAP_MAX, 0);
    ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  } else {
    ::mallopt(M_MMAP_THRESHOLD, kLargeWhereScarce);
  }
}

TrainingHeap::~TrainingHeap() {
  if (!returns_freed_memory) return;
  ::mallopt(M_MMAP_MAX, kMostBlocks);
  ::mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  ::mallopt(M_TRIM_THRESHOLD, 2 * kLargeBlock);
  ::malloc_trim(0);
}

void yield_idle_cores() {
  constexpr int kKeep = 0;
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", "2000", kKeep);
}

}  // namespace medgen
