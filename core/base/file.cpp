// SPDX-License-Identifier: Apache-2.0
#include "core/base/file.h"

#include "core/base/error.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporarySuffix = ".tmp";

std::string reason(int error) {
  return std::generic_category().message(error);
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    check(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "SHA-256 is available");
  }

  void add(const void* data, std::size_t bytes) {
    check(EVP_DigestUpdate(context_.get(), data, bytes) == 1, "SHA-256 takes data");
  }

  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int length = 0;
    check(EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1, "SHA-256 ends");
    std::string text;
    for (unsigned int i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

/// A folder's entry survives a power cut only when the folder is flushed too. Some file systems refuse; the file is
/// whole anyway.
void flush_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// What the names of temporary files of this machine start with.
std::string temporary_prefix() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format(".medgen-{}-", host.data());
}

/// Removes it if the process that made it is gone: a lock lives as long as who holds it. Where there are no locks, it
/// stays.
void remove_if_abandoned(const fs::path& temporary) {
  const int descriptor = ::open(temporary.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (descriptor < 0) return;
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) ::unlink(temporary.c_str());
  ::close(descriptor);
}

/// Temporary files that killed processes left behind, looked for once in each folder that is written to. Those of other
/// machines stay: not every shared disk shares its locks.
void tidy(const fs::path& folder) {
  static std::mutex mutex;
  static std::set<fs::path> tidied;
  const std::lock_guard guard(mutex);
  std::error_code error;
  if (!tidied.insert(fs::absolute(folder, error)).second) return;
  const std::string prefix = temporary_prefix();
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(kTemporarySuffix)) remove_if_abandoned(entry->path());
  }
}

/// Locked, unless it was taken for abandoned before that.
bool stays(int descriptor) {
  while (::flock(descriptor, LOCK_EX) != 0 && errno == EINTR) continue;

  struct stat status {};

  return ::fstat(descriptor, &status) != 0 || status.st_nlink > 0;
}

}  // namespace

InputFile::InputFile(fs::path path) : path_(std::move(path)) {
  // Non-blocking, so that a FIFO is refused below and not waited for.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) throw DataError("{}: cannot be opened: {}", path_.string(), reason(errno));

  struct stat status {};

  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw DataError("{}: is not a regular file", path_.string());
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

std::size_t InputFile::read(std::span<std::byte> buffer) {
  std::size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t count = ::read(descriptor_, buffer.data() + done, buffer.size() - done);
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw DataError("{}: cannot be read: {}", path_.string(), reason(errno));
    done += static_cast<std::size_t>(count);
  }
  return done;
}

std::string read_file(const fs::path& path, std::uint64_t max_bytes) {
  InputFile input(path);
  if (input.size() > max_bytes) {
    throw DataError("{}: has {} bytes; at most {} are accepted here", path.string(), input.size(), max_bytes);
  }
  std::string contents(static_cast<std::size_t>(input.size()), '\0');
  contents.resize(input.read(std::as_writable_bytes(std::span(contents))));
  return contents;
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  static std::atomic<unsigned> counter{0};
  constexpr int kTries = 1000;
  const fs::path folder = folder_of(path_);
  tidy(folder);
  const std::string prefix = temporary_prefix();
  // mkstemp would give mode 0600; this way the user's umask holds.
  for (int tries = 0; descriptor_ < 0 && tries < kTries; ++tries) {
    temporary_ = folder / fmt::format("{}{}-{}{}", prefix, ::getpid(), counter++, kTemporarySuffix);
    descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) break;
    if (descriptor_ >= 0 && !stays(descriptor_)) {
      ::close(descriptor_);
      descriptor_ = -1;
    }
  }
  if (descriptor_ < 0) fail("created", errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("written", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void AtomicFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("written", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void AtomicFile::commit() {
  check(descriptor_ >= 0, "a file is committed once");
  if (::fsync(descriptor_) != 0) fail("written", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("renamed into place", errno);
  ::close(descriptor_);
  descriptor_ = -1;
  flush_folder(folder_of(path_));
}

void AtomicFile::fail(std::string_view action, int error) const {
  throw RuntimeError("{}: cannot be {}: {}", path_.string(), action, reason(error));
}

void write_file(const fs::path& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.hex();
}

std::string sha256(std::string_view text) {
  return sha256(std::as_bytes(std::span(text)));
}

std::string sha256_file(const fs::path& path) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  InputFile input(path);
  Sha256 hash;
  std::vector<std::byte> piece(kPiece);
  for (std::size_t count = 0; (count = input.read(piece)) > 0;) hash.add(piece.data(), count);
  return hash.hex();
}

std::filesystem::path temporary_folder() {
  std::error_code error;
  const auto folder = std::filesystem::temp_directory_path(error);
  if (!error) return folder;
  const char* const named = std::getenv("TMPDIR");
  throw RuntimeError("there is no folder for temporary files: '{}'; set TMPDIR to one that can be written",
                     named != nullptr ? named : "/tmp");
}

}  // namespace medgen
