// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/share.h"
#include "core/parallel/group.h"
#include "core/run/observer.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace medgen {

/// How many processes a launcher (mpirun, srun) says it has started; 1 without one.
int launched_processes();

/// The number of this process among those that the launcher has started on this machine.
int local_rank();

/// Joins the other processes that the launcher has started; null where there is none of them.
/// @param cancel  see TransportGroup
/// @throws RuntimeError when there are several and they cannot be joined: no module for MPI, or one that sees fewer.
std::unique_ptr<Group> join_launched(CancelToken& cancel);

/// The part of a Slurm job array that this process is, from its environment. @throws UsageError outside of one.
Part slurm_array_part();

/// Threads for one of `local` processes on a machine with `cores` cores that this process may use; all of them where
/// the launcher has bound the processes to cores of their own.
int threads_of_one(int local);

/// Where the modules beside this program or library lie: "medgen-mpi.so", in lib/medgen.
std::filesystem::path module_path(const std::string& name);

}  // namespace medgen
