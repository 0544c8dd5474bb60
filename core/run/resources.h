// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

namespace medgen {

struct Memory {
  std::uint64_t total = 0;      ///< of the machine, or the limit of the container when that is less
  std::uint64_t available = 0;  ///< without swapping
};

Memory machine_memory();

/// Largest resident memory of this process so far, and what is resident now, in bytes. @{
std::uint64_t peak_memory();
std::uint64_t resident_memory();
/// @}

/// Bytes that may be written below `path`, of which only a part need exist; very many when it cannot be told.
std::uint64_t free_disk(const std::filesystem::path& path);

/// Whether files below `path` take memory, not a disk (tmpfs).
bool lies_in_memory(const std::filesystem::path& path);

/// Whether two places share their free space.
bool same_disk(const std::filesystem::path& a, const std::filesystem::path& b);

/// Makes glibc give large blocks back as soon as they are free, so that a process holds what it uses: its own threshold
/// grows with every large block that is freed, and later blocks of that size then stay in the heap. For programs, once,
/// before threads start.
void return_freed_memory();

/// What a training frees, in a program that returns freed memory, for as long as this lives. A step frees what the next
/// takes again, and the kernel clears every page of it in between. Where there is room, all of it stays with the
/// process, gaps between blocks too, which makes steps up to a quarter faster and the process up to a quarter larger.
/// Where there is not, blocks from 4 MiB on are given back at once, and the process holds what it uses.
class TrainingHeap {
 public:
  enum class Room { Plenty, Scarce };

  explicit TrainingHeap(Room room);
  ~TrainingHeap();
  TrainingHeap(const TrainingHeap&) = delete;
  TrainingHeap& operator=(const TrainingHeap&) = delete;
};

/// Lets idle threads of GNU OpenMP wait actively for microseconds instead of milliseconds, which is as fast on a quiet
/// machine, and on a busy one does not keep the cores from those that work. What the user says by OMP_WAIT_POLICY or
/// GOMP_SPINCOUNT stays. For programs, once, before threads start and plugins are loaded.
void yield_idle_cores();

}  // namespace medgen
