# What saves the compiler time in a build from nothing.
# MEDGEN_UNITY: the sources of a library are compiled together, so that what they share (the templates of the JSON library
# above all) is compiled once. The preset `dev` goes without, because after a change of one file less has to be compiled.
# MEDGEN_PRECOMPILE: headers that nearly every test includes are compiled once. There are two sets, because a compiler takes
# a precompiled header with its own options only.
option(MEDGEN_UNITY "Compile the sources of a library together" ON)
option(MEDGEN_PRECOMPILE "Compile headers that nearly every test includes only once" ON)

# medgen_compile_together(TARGET [BATCH files])  BATCH: as many files at once, where all together would take too much memory.
function(medgen_compile_together target)
  cmake_parse_arguments(ARG "" "BATCH" "" ${ARGN})
  if(NOT ARG_BATCH)
    set(ARG_BATCH 0)
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${MEDGEN_UNITY} UNITY_BUILD_BATCH_SIZE ${ARG_BATCH})
endfunction()

# medgen_use_precompiled(TARGET test|torch_test)
function(medgen_use_precompiled target kind)
  if(TARGET medgen_headers_${kind})
    target_precompile_headers(${target} REUSE_FROM medgen_headers_${kind})
    # The first is for ccache. The others: GCC 12 forgets which headers are the system's, and shows what it only believes of
    # them, such as a move of a string that would leave its array.
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread
                                                -Wno-maybe-uninitialized>)
  endif()
endfunction()

# medgen_precompiled(NAME HEADERS headers... LINK libraries...)  Makes the set medgen_headers_<NAME>.
function(medgen_precompiled name)
  cmake_parse_arguments(ARG "" "" "HEADERS;LINK" ${ARGN})
  file(WRITE ${PROJECT_BINARY_DIR}/precompiled.cpp "int main() {}\n")
  add_executable(medgen_headers_${name} ${PROJECT_BINARY_DIR}/precompiled.cpp)
  set_target_properties(medgen_headers_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_link_libraries(medgen_headers_${name} PRIVATE medgen_flags medgen_test_flags medgen_json Catch2::Catch2 ${ARG_LINK})
  target_precompile_headers(medgen_headers_${name} PRIVATE <algorithm> <filesystem> <functional> <map> <memory> <optional>
                            <string> <vector> <nlohmann/json.hpp> ${ARG_HEADERS} <catch2/catch.hpp>)
endfunction()

if(MEDGEN_PRECOMPILE AND MEDGEN_BUILD_TESTS)
  medgen_precompiled(test)
  if(MEDGEN_TORCH)
    # The last has a CHECK of its own, which has to come before that of the tests.
    medgen_precompiled(torch_test HEADERS <ATen/core/Tensor.h> <ATen/core/grad_mode.h> <c10/util/Logging.h>
                       LINK medgen_torch)
  endif()
endif()
