// SPDX-License-Identifier: Apache-2.0
#include "core/parallel/launch.h"

#include "core/base/threads.h"
#include "core/parallel/module.h"
#include "core/parallel/transport_group.h"

#include <medgen/abi/version.h>

#include <unistd.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace medgen {
namespace {

std::optional<int> number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (error != std::errc() || *end != '\0') return std::nullopt;
  return value;
}

/// What the module gives, loaded once and never unloaded. @throws RuntimeError
Transport* join_by_module() {
  const std::filesystem::path path = module_path("medgen-mpi.so");
  if (!std::filesystem::exists(path)) {
    throw RuntimeError(
        "{} processes were started together, but this medgen was built without MPI ('{}' is missing): build it where "
        "Open MPI's headers are (libopenmpi-dev), or divide samples by --shard",
        launched_processes(), path.string());
  }
  void* const library = open_module("medgen-mpi.so");
  if (library == nullptr) throw RuntimeError("MPI cannot be used: {}", ::dlerror());
  const auto join = symbol<TransportJoin>(library, kTransportJoin);
  const char* problem = "";
  Transport* const transport = join(&problem);
  if (transport == nullptr) throw RuntimeError("MPI cannot be used: {}", problem);
  if (transport->size() == launched_processes()) return transport;
  const int seen = transport->size();
  const int launched = launched_processes();
  transport->leave();
  throw RuntimeError(
      "the launcher started {} processes, MPI sees {}: it is another MPI's launcher; with Slurm use srun --mpi=pmix",
      launched, seen);
}

}  // namespace

void* open_module(const std::string& name) {
  const std::filesystem::path path = module_path(name);
  // Global: the plugins of Open MPI look for its symbols there.
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) return nullptr;
  const auto version = symbol<TransportVersion>(library, kTransportVersion);
  if (version == nullptr || std::strcmp(version(), MEDGEN_VERSION) != 0)
    throw RuntimeError("'{}' belongs to another medgen", path.string());
  return library;
}

std::filesystem::path module_path(const std::string& name) {
  Dl_info info{};
  // The file that this code is in: the tool, or libmedgen. Programs may be called through links and by relative names.
  ::dladdr(reinterpret_cast<void*>(&module_path), &info);
  std::error_code error;
  std::filesystem::path file = std::filesystem::canonical(info.dli_fname != nullptr ? info.dli_fname : "", error);
  if (error || file.filename().string().find("libmedgen") == std::string::npos)
    file = std::filesystem::read_symlink("/proc/self/exe", error);
  return file.parent_path().parent_path() / "lib" / "medgen" / name;
}

int launched_processes() {
  // SLURM_NTASKS is also set in a batch script that runs one process; the step's number is srun's.
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    if (const auto count = number_in(variable)) return std::max(1, *count);
  }
  return 1;
}

std::unique_ptr<Group> join_launched(CancelToken& cancel) {
  if (launched_processes() == 1) return nullptr;
  return std::make_unique<TransportGroup>(join_by_module, cancel);
}

int local_rank() {
  for (const char* variable : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}) {
    if (const auto number = number_in(variable)) return std::max(0, *number);
  }
  return 0;
}

Part slurm_array_part() {
  const auto id = number_in("SLURM_ARRAY_TASK_ID");
  const auto first = number_in("SLURM_ARRAY_TASK_MIN");
  const auto last = number_in("SLURM_ARRAY_TASK_MAX");
  const auto step = number_in("SLURM_ARRAY_TASK_STEP");
  const int stride = step.value_or(1);
  if (!id || !first || !last || stride < 1 || *id < *first || *id > *last || (*id - *first) % stride != 0) {
    throw UsageError(
        "--shard slurm wants the task of a job array (SLURM_ARRAY_TASK_ID, _MIN, _MAX, _STEP, with --array=1-8 or so); "
        "elsewhere give --shard 2/8");
  }
  return {static_cast<std::size_t>((*id - *first) / stride), static_cast<std::size_t>((*last - *first) / stride + 1)};
}

int threads_of_one(int local) {
  const auto machine = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  const int usable = usable_cores();
  return usable < machine ? usable : std::max(1, usable / std::max(1, local));
}

}  // namespace medgen
