// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

// What a module that moves bytes between processes offers to core/parallel. Both come from one build: the class crosses
// between them, exceptions and types of the standard library do not.

namespace medgen {

/// Moves bytes between the processes of a job. One thread, the one that made it. Every process starts the same
/// operations in the same order; one operation at a time.
class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  virtual int rank() const noexcept = 0;
  virtual int size() const noexcept = 0;
  /// Processes on this machine.
  virtual int local_size() const noexcept = 0;

  /// `send` has a block for each process, block k with bytes[k] bytes at at[k]. Starts to send them, and to receive
  /// this process's block of every process, one after the other. False when that failed.
  virtual bool start_swap(const void* send, const int* bytes, const int* at, void* receive) noexcept = 0;
  /// Starts to put every process's block `mine` into `all`, that of process k with bytes[k] bytes at at[k].
  virtual bool start_gather(const void* mine, void* all, const int* bytes, const int* at) noexcept = 0;
  /// How the operation stands that was started last: 1 done, 0 going on, -1 failed.
  virtual int test() noexcept = 0;

  /// Sends a short message past all operations; it may arrive after this process has gone on.
  virtual bool tell(int rank, const char* text, int length) noexcept = 0;
  /// The length of a message that has arrived, and the message; 0 while there is none.
  virtual int hear(char* text, int room, int* from) noexcept = 0;

  /// What failed last.
  virtual const char* problem() const noexcept = 0;
  /// The last call; waits for the other processes to make it, too.
  virtual void leave() noexcept = 0;
};

/// What a module exports: "medgen_transport_version", which must be this build's, and "medgen_transport_join", which
/// gives the one transport of the process, or null with a text. @{
using TransportVersion = const char*();
using TransportJoin = Transport*(const char** problem);
inline constexpr const char* kTransportVersion = "medgen_transport_version";
inline constexpr const char* kTransportJoin = "medgen_transport_join";
/// @}

/// The longest message of `tell`.
inline constexpr int kMostNotice = 4000;

}  // namespace medgen
