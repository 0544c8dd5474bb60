// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace medgen {

/// Sums of gradients that lie on GPUs, by a module that knows how (medgen-nccl.so). As Transport, it crosses between
/// files of one build. One thread.
class DeviceSums {
 public:
  DeviceSums() = default;
  DeviceSums(const DeviceSums&) = delete;
  DeviceSums& operator=(const DeviceSums&) = delete;
  virtual ~DeviceSums() = default;

  /// Begins to sum `count` floats on `device` when `stream` has come so far. False when that failed.
  virtual bool begin_sum(float* values, std::size_t count, void* stream) noexcept = 0;
  /// How the sums that were begun stand: 1 done, 0 going on, -1 failed.
  virtual int test() noexcept = 0;
  /// Gives up what is going on.
  virtual void abandon() noexcept = 0;
  virtual const char* problem() const noexcept = 0;
};

/// Bytes of the name under which the processes find each other: made by the first, given to all.
inline constexpr std::size_t kMeetingBytes = 128;

/// What the module exports: "medgen_transport_version", "medgen_device_meeting" and "medgen_device_join". @{
using DeviceMeeting = bool(char* meeting);
using DeviceJoin = DeviceSums*(const char* meeting, int rank, int size, int device, const char** problem);
inline constexpr const char* kDeviceMeeting = "medgen_device_meeting";
inline constexpr const char* kDeviceJoin = "medgen_device_join";
/// @}

class Group;

/// Joins the other processes of the group for sums on GPUs; every process calls it at the same point.
/// @throws DeviceError when this build has no NCCL, or it fails.
DeviceSums& device_sums(Group& group, int device);

}  // namespace medgen
