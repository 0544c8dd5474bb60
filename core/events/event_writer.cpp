// SPDX-License-Identifier: Apache-2.0
#include "core/events/event_writer.h"

#include "core/base/error.h"
#include "core/events/record.h"

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

/// Seconds in the name of an event file, 0 for other files.
std::uint64_t seconds_in(std::string_view name) {
  std::uint64_t seconds = 0;
  if (name.starts_with(kPrefix)) std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), seconds);
  return seconds;
}

/// Readers take files in the order of their names, so a new one comes after all there are, whatever the clock says.
fs::path next_file(const fs::path& folder) {
  auto seconds = static_cast<std::uint64_t>(wall_time());
  for (const auto& entry : fs::directory_iterator(folder))
    seconds = std::max(seconds, seconds_in(entry.path().filename().string()) + 1);
  return folder / fmt::format("{}{:010}.{}.{}.medgen", kPrefix, seconds, host_name(), ::getpid());
}

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

EventWriter::EventWriter(const fs::path& folder, std::uint64_t first_step) {
  try {
    fs::create_directories(folder);
    path_ = next_file(folder);
  } catch (const fs::filesystem_error& error) {
    throw RuntimeError("event files cannot be written to '{}': {}", folder.string(), error.code().message());
  }
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw RuntimeError("'{}' cannot be written: {}", path_.string(), std::strerror(errno));
  try {
    append(events::file_version_event(wall_time()));
    if (first_step > 0) append(events::restart_event(wall_time(), first_step));
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

EventWriter::~EventWriter() {
  ::close(descriptor_);
}

void EventWriter::scalars(std::uint64_t step, const std::map<std::string, double>& values) {
  append(events::scalars_event(wall_time(), step, values));
}

void EventWriter::image(std::uint64_t step, std::string_view tag, std::string_view png) {
  append(events::image_event(wall_time(), step, tag, png));
}

void EventWriter::append(std::string_view payload) {
  const off_t before = ::lseek(descriptor_, 0, SEEK_END);
  if (write_all(descriptor_, events::framed(payload))) return;
  const int error = errno;
  [[maybe_unused]] const int cut = ::ftruncate(descriptor_, before);  // no torn record in the middle of the file
  throw RuntimeError("'{}' cannot be written: {}", path_.string(), std::strerror(error));
}

}  // namespace medgen
