// SPDX-License-Identifier: Apache-2.0
#include "core/parallel/launch.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <map>

using namespace medgen;

namespace {

/// Variables that a launcher sets, for one test.
class Launched {
 public:
  using Variables = std::map<std::string, std::string>;

  explicit Launched(const Variables& variables) {
    for (const char* name : kAll) ::unsetenv(name);
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  }

  Launched(const Launched&) = delete;
  Launched& operator=(const Launched&) = delete;

  ~Launched() {
    for (const char* name : kAll) ::unsetenv(name);
  }

 private:
  static constexpr const char* kAll[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                         "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS",
                                         "SLURM_ARRAY_TASK_ID",  "SLURM_ARRAY_TASK_MIN",
                                         "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"};
};

}  // namespace

TEST_CASE("launch: launchers say how many processes there are", "[unit][parallel]") {
  CHECK((Launched(Launched::Variables()), launched_processes()) == 1);
  const auto [variable, value, count] =
      GENERATE(table<std::string, std::string, int>({{"OMPI_COMM_WORLD_SIZE", "4", 4},
                                                     {"PMI_SIZE", "2", 2},
                                                     {"SLURM_STEP_NUM_TASKS", "8", 8},
                                                     {"SLURM_NTASKS", "8", 1},
                                                     {"PMI_SIZE", "many", 1},
                                                     {"PMI_SIZE", "0", 1},
                                                     {"OMPI_COMM_WORLD_SIZE", "", 1}}));
  const Launched launched(Launched::Variables{{variable, value}});
  CHECK(launched_processes() == count);
}

TEST_CASE("launch: without a launcher nobody is joined", "[unit][parallel]") {
  const Launched launched(Launched::Variables{});
  CancelToken cancel;
  CHECK(join_launched(cancel) == nullptr);
}

TEST_CASE("launch: the task of a job array is a part", "[unit][parallel]") {
  const auto part = [](const char* id, const char* first, const char* last, const char* step) {
    const Launched launched({{"SLURM_ARRAY_TASK_ID", id},
                             {"SLURM_ARRAY_TASK_MIN", first},
                             {"SLURM_ARRAY_TASK_MAX", last},
                             {"SLURM_ARRAY_TASK_STEP", step}});
    return slurm_array_part();
  };
  CHECK(part("1", "1", "8", "1") == Part{0, 8});
  CHECK(part("8", "1", "8", "1") == Part{7, 8});
  CHECK(part("0", "0", "3", "") == Part{0, 4});
  CHECK(part("7", "1", "8", "3") == Part{2, 3});
  for (const char* wrong : {"", "0", "9", "2", "x"}) CHECK_THROWS_AS(part(wrong, "1", "8", "3"), UsageError);
}

TEST_CASE("launch: modules lie beside the program", "[unit][parallel]") {
  CHECK(module_path("medgen-mpi.so").parent_path().filename() == "medgen");
  CHECK(module_path("medgen-mpi.so").filename() == "medgen-mpi.so");
}

TEST_CASE("launch: processes of one machine share its threads, one at least", "[unit][parallel]") {
  CHECK(threads_of_one(1) >= 1);
  CHECK(threads_of_one(1000000) >= 1);
  CHECK(threads_of_one(2) <= threads_of_one(1));
}
