// SPDX-License-Identifier: Apache-2.0
// medgen-mpi.so: the only file that knows MPI. Loaded by core/parallel in processes that mpirun or srun started.
#include "core/parallel/transport.h"

#include <medgen/abi/version.h>

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <array>
#include <string>
#include <vector>

namespace medgen {
namespace {

constexpr int kNotice = 1;

class MpiTransport : public Transport {
 public:
  MpiTransport() {
    // Errors come back as codes and become messages of ours. Notices have a communicator of their own.
    MPI_Comm_dup(MPI_COMM_WORLD, &world_);
    MPI_Comm_dup(MPI_COMM_WORLD, &notices_);
    for (MPI_Comm each : {MPI_COMM_WORLD, world_, notices_}) MPI_Comm_set_errhandler(each, MPI_ERRORS_RETURN);
    MPI_Comm_rank(world_, &rank_);
    MPI_Comm_size(world_, &size_);
    MPI_Comm local = MPI_COMM_NULL;
    MPI_Comm_split_type(world_, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local);
    MPI_Comm_size(local, &local_size_);
    MPI_Comm_free(&local);
  }

  int rank() const noexcept override { return rank_; }

  int size() const noexcept override { return size_; }

  int local_size() const noexcept override { return local_size_; }

  bool start_swap(const void* send, const int* bytes, const int* at, void* receive) noexcept override {
    const auto processes = static_cast<std::size_t>(size_);
    received_.assign(processes, bytes[rank_]);
    received_at_.resize(processes);
    for (int k = 0; k < size_; ++k) received_at_[static_cast<std::size_t>(k)] = k * bytes[rank_];
    return good(MPI_Ialltoallv(send, bytes, at, MPI_BYTE, receive, received_.data(), received_at_.data(), MPI_BYTE,
                               world_, &operation_));
  }

  bool start_gather(const void* mine, void* all, const int* bytes, const int* at) noexcept override {
    return good(MPI_Iallgatherv(mine, bytes[rank_], MPI_BYTE, all, bytes, at, MPI_BYTE, world_, &operation_));
  }

  int test() noexcept override {
    int done = 0;
    if (!good(MPI_Test(&operation_, &done, MPI_STATUS_IGNORE))) return -1;
    return done;
  }

  bool tell(int rank, const char* text, int length) noexcept override {
    MPI_Request request = MPI_REQUEST_NULL;
    notice_.assign(text, static_cast<std::size_t>(length));
    if (!good(MPI_Isend(notice_.data(), length, MPI_CHAR, rank, kNotice, notices_, &request))) return false;
    // A lost process never takes it: a second is enough for those that live.
    int done = 0;
    for (const double until = MPI_Wtime() + 1; done == 0 && MPI_Wtime() < until;) {
      if (!good(MPI_Test(&request, &done, MPI_STATUS_IGNORE))) return false;
    }
    return done != 0;
  }

  int hear(char* text, int room, int* from) noexcept override {
    int there = 0;
    MPI_Status status;
    if (!good(MPI_Iprobe(MPI_ANY_SOURCE, kNotice, notices_, &there, &status)) || there == 0) return 0;
    int length = 0;
    MPI_Get_count(&status, MPI_CHAR, &length);
    *from = status.MPI_SOURCE;
    if (length > room) return 0;
    return good(MPI_Recv(text, length, MPI_CHAR, *from, kNotice, notices_, MPI_STATUS_IGNORE)) ? length : 0;
  }

  const char* problem() const noexcept override { return problem_.data(); }

  void leave() noexcept override { MPI_Finalize(); }

 private:
  bool good(int code) noexcept {
    if (code == MPI_SUCCESS) return true;
    int length = 0;
    MPI_Error_string(code, problem_.data(), &length);
    return false;
  }

  MPI_Comm world_ = MPI_COMM_NULL;
  MPI_Comm notices_ = MPI_COMM_NULL;
  MPI_Request operation_ = MPI_REQUEST_NULL;
  int rank_ = 0;
  int size_ = 1;
  int local_size_ = 1;
  std::vector<int> received_, received_at_;
  std::string notice_;
  std::array<char, MPI_MAX_ERROR_STRING + 1> problem_{};
};

}  // namespace
}  // namespace medgen

extern "C" {

[[gnu::visibility("default")]] const char* medgen_transport_version() {
  return MEDGEN_VERSION;
}

[[gnu::visibility("default")]] medgen::Transport* medgen_transport_join(const char** problem) {
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
      provided < MPI_THREAD_FUNNELED) {
    *problem = "MPI_Init_thread failed: this MPI gives no thread beside the main one";
    return nullptr;
  }
  static medgen::MpiTransport transport;
  return &transport;
}
}
