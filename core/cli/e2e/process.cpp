// SPDX-License-Identifier: Apache-2.0
#include "core/cli/e2e/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace medgen::e2e {
namespace {

namespace fs = std::filesystem;

const std::string kBin = MEDGEN_BINARY_DIR "/bin";

void redirect(const std::string& file, int descriptor) {
  const int opened = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (opened < 0 || ::dup2(opened, descriptor) < 0) _exit(126);
}

[[noreturn]] void become(const std::vector<std::string>& command, const Folder& folder) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::setenv("MEDGEN_PLUGIN_PATH", MEDGEN_BINARY_DIR "/plugins", 1);
  ::setenv("XDG_DATA_HOME", folder.path().c_str(), 1);
  ::setenv("PATH", (kBin + ':' + std::getenv("PATH")).c_str(), 1);
  ::unsetenv("NO_COLOR");
  redirect(folder / "out", STDOUT_FILENO);
  redirect(folder / "err", STDERR_FILENO);
  ::execvp(arguments[0], arguments.data());
  _exit(127);
}

Result run_command(const std::vector<std::string>& command, const std::function<void(pid_t)>& on_start) {
  const Folder folder;
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child == 0) become(command, folder);
  if (child < 0) throw std::runtime_error("fork failed");
  if (on_start) on_start(child);
  int status = 0;
  ::waitpid(child, &status, 0);
  Result result;
  result.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.out = contents_of(folder / "out");
  result.err = contents_of(folder / "err");
  return result;
}

}  // namespace

Result run(const std::string& tool, const std::vector<std::string>& arguments,
           const std::function<void(pid_t)>& on_start) {
  std::vector<std::string> command = {kBin + '/' + tool};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_command(command, on_start);
}

Result shell(const std::string& command) {
  return run_command({"bash", "-c", command}, {});
}

Folder::Folder() {
  std::string pattern = (fs::temp_directory_path() / "medgen-e2e-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string Folder::file(const std::string& name, const std::string& contents) const {
  fs::create_directories((path_ / name).parent_path());
  std::ofstream(path_ / name, std::ios::binary) << contents;
  return (path_ / name).string();
}

std::vector<std::string> Folder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path_)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string contents_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace medgen::e2e
