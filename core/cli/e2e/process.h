// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace medgen::e2e {

struct Result {
  int code = -1;  ///< exit code, or 128 + signal
  std::string out;
  std::string err;
  double seconds = 0;
};

/// Runs "medgen" or "medgen-run" of this build and waits for it. `on_start` is told the process id (to send signals).
/// The tool sees the plugins of this build and nothing of the user's settings.
Result run(const std::string& tool, const std::vector<std::string>& arguments,
           const std::function<void(pid_t)>& on_start = {});

inline Result tool(const std::vector<std::string>& arguments) {
  return run("medgen", arguments);
}

/// A shell command line in which "medgen" is the tool of this build.
Result shell(const std::string& command);

/// A folder for one test that goes away with it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  /// Writes a file and gives its path.
  std::string file(const std::string& name, const std::string& contents) const;
  /// Names of everything in the folder, sorted.
  std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
};

std::string contents_of(const std::filesystem::path& file);

}  // namespace medgen::e2e
