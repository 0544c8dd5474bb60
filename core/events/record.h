// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

// The bytes of TensorBoard's event files: the few messages we write, and the frames around them.

namespace medgen::events {

/// CRC-32C (Castagnoli), as iSCSI defines it.
std::uint32_t crc32c(std::string_view bytes);

/// A record as it stands in the file: length, checksum of the length, payload, checksum of the payload.
std::string framed(std::string_view payload);

// Payloads: each is one `Event` message in protobuf's encoding.

/// The first record of every file: says which format follows.
std::string file_version_event(double wall_time);
/// Training goes on from `step`: readers drop what earlier files say of this step and those after it.
std::string restart_event(double wall_time, std::uint64_t step);
std::string scalars_event(double wall_time, std::uint64_t step, const std::map<std::string, double>& values);
/// `png` is a whole PNG file. @throws DataError when it is none.
std::string image_event(double wall_time, std::uint64_t step, std::string_view tag, std::string_view png);

}  // namespace medgen::events
