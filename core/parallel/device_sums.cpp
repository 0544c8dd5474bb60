// SPDX-License-Identifier: Apache-2.0
#include "core/parallel/device_sums.h"

#include "core/parallel/group.h"
#include "core/parallel/launch.h"
#include "core/parallel/module.h"

#include <array>

namespace medgen {
namespace {

/// The first process's meeting, for all: sums of bytes of which all but one are 0.
std::array<char, kMeetingBytes> meet(Group& group, DeviceMeeting* make) {
  std::array<char, kMeetingBytes> meeting{};
  const bool made = !group.first() || make(meeting.data());
  std::array<double, kMeetingBytes> bytes{};
  for (std::size_t i = 0; i < kMeetingBytes; ++i) bytes[i] = static_cast<unsigned char>(meeting[i]);
  group.sum(bytes);
  if (!made) throw DeviceError("NCCL cannot be used: it found no way between the processes");
  for (std::size_t i = 0; i < kMeetingBytes; ++i) meeting[i] = static_cast<char>(static_cast<int>(bytes[i]));
  return meeting;
}

DeviceSums* join(Group& group, int device) {
  void* const library = open_module("medgen-nccl.so");
  if (library == nullptr) {
    throw DeviceError(
        "gradients on GPUs cannot be exchanged: this medgen was built without NCCL ('{}' cannot be loaded)",
        module_path("medgen-nccl.so").string());
  }
  const auto meeting = meet(group, symbol<DeviceMeeting>(library, kDeviceMeeting));
  const char* problem = "";
  DeviceSums* const sums =
      symbol<DeviceJoin>(library, kDeviceJoin)(meeting.data(), group.rank(), group.size(), device, &problem);
  if (sums == nullptr) throw DeviceError("NCCL cannot be used: {}", problem);
  return sums;
}

}  // namespace

DeviceSums& device_sums(Group& group, int device) {
  static DeviceSums* const joined = join(group, device);
  return *joined;
}

}  // namespace medgen
