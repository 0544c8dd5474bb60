# Headers that nearly every file includes are compiled once (MEDGEN_PRECOMPILE): a third of the time of a build from nothing.
# There is one set for each kind of file, because a compiler takes a precompiled header with its own options only. Every file
# includes what it uses all the same: the preset `sanitize` builds the core without this.
option(MEDGEN_PRECOMPILE "Compile headers that nearly every file includes only once" ON)

set(medgen_common_headers <algorithm> <filesystem> <functional> <map> <memory> <optional> <string> <vector> <nlohmann/json.hpp>)
# The last has a CHECK of its own, which has to come before that of the tests.
set(medgen_torch_headers <ATen/core/Tensor.h> <ATen/core/grad_mode.h> <c10/util/Logging.h>)
file(WRITE ${PROJECT_BINARY_DIR}/precompiled.cpp "int main() {}\n")

# medgen_precompiled(NAME library|program HEADERS headers... LINK libraries...)  Makes the set medgen_headers_<NAME>.
function(medgen_precompiled kind carrier)
  cmake_parse_arguments(ARG "" "" "HEADERS;LINK" ${ARGN})
  if(carrier STREQUAL "library")
    add_library(medgen_headers_${kind} OBJECT ${PROJECT_BINARY_DIR}/precompiled.cpp)
  else()
    add_executable(medgen_headers_${kind} ${PROJECT_BINARY_DIR}/precompiled.cpp)
  endif()
  target_link_libraries(medgen_headers_${kind} PRIVATE medgen_flags medgen_json ${ARG_LINK})
  target_precompile_headers(medgen_headers_${kind} PRIVATE ${medgen_common_headers} ${ARG_HEADERS})
endfunction()

# medgen_use_precompiled(TARGET KIND)
function(medgen_use_precompiled target kind)
  if(TARGET medgen_headers_${kind})
    target_precompile_headers(${target} REUSE_FROM medgen_headers_${kind})
    # The first is for ccache. The others: GCC 12 forgets which headers are the system's, and shows what it only believes of
    # them, such as a move of a string that would leave its array.
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess -Wno-array-bounds -Wno-stringop-overflow
                                                -Wno-stringop-overread
                                                -Wno-maybe-uninitialized>)
  endif()
endfunction()

if(NOT MEDGEN_PRECOMPILE)
  return()
endif()
find_package(fmt REQUIRED)
medgen_precompiled(core library HEADERS <fmt/format.h> <fmt/ranges.h> LINK fmt::fmt)
if(MEDGEN_TORCH)
  medgen_precompiled(torch library HEADERS ${medgen_torch_headers} LINK medgen_torch)
endif()
if(MEDGEN_BUILD_TESTS)
  medgen_precompiled(test program HEADERS <catch2/catch.hpp> LINK medgen_test_flags Catch2::Catch2)
  if(MEDGEN_TORCH)
    medgen_precompiled(torch_test program HEADERS ${medgen_torch_headers} <catch2/catch.hpp>
                       LINK medgen_test_flags medgen_torch Catch2::Catch2)
  endif()
endif()
