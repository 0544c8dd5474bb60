# Flags every medgen target shares, and the functions that turn a folder into a core module.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# What one folder finds, the folders that link it see.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
find_program(MEDGEN_CCACHE ccache)
if(MEDGEN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${MEDGEN_CCACHE})
  # Without these it passes files with precompiled headers by (its manual, "Precompiled headers").
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${MEDGEN_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${MEDGEN_CCACHE})
endif()

add_library(medgen_flags INTERFACE)
# No contraction of a*b+c: the same bits from every compiler and on every device (docs/numerics.md).
target_compile_options(medgen_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall -Wextra -Wshadow -ffp-contract=off -fno-math-errno>
  $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast -Wnon-virtual-dtor>
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique -Wno-restrict>)
if(MEDGEN_WERROR)
  target_compile_options(medgen_flags INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:-Werror>)
endif()
if(MEDGEN_SANITIZE)
  # Without the two checks that the address sanitizer makes as well, and that take a third of the compiler's time.
  set(medgen_sanitized "$<NOT:$<BOOL:$<TARGET_PROPERTY:MEDGEN_NOT_SANITIZED>>>")
  target_compile_options(medgen_flags INTERFACE -g1 -O1
    "$<${medgen_sanitized}:-fsanitize=address,undefined;-fno-sanitize=null,object-size;-fno-sanitize-recover=all>")
  target_link_options(medgen_flags INTERFACE -fsanitize=address,undefined)
endif()

# Tests are compiled for fewer seconds, not run for fewer: what they test is compiled like all of it.
add_library(medgen_test_flags INTERFACE)
target_compile_options(medgen_test_flags INTERFACE $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:C,CXX>>:-O1>)

# medgen_core_module(NAME [DEPENDS modules...] [LINK libraries...])
# The current folder becomes the static library medgen_core_<NAME>; its *_test.cpp become the program test_core_<NAME>.
# Includes are written from the repository root: "core/<name>/<file>.h".
function(medgen_core_module name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cpp)
  file(GLOB tests CONFIGURE_DEPENDS *_test.cpp)
  list(REMOVE_ITEM sources ${tests} "")
  list(TRANSFORM ARG_DEPENDS PREPEND medgen_core_)
  if(sources)
    add_library(medgen_core_${name} STATIC ${sources})
    medgen_compile_together(medgen_core_${name})
    set(scope PUBLIC)
  else()
    add_library(medgen_core_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(medgen_core_${name} ${scope} ${PROJECT_SOURCE_DIR})
  target_link_libraries(medgen_core_${name} ${scope} medgen_flags medgen_abi medgen_sdk ${ARG_DEPENDS} ${ARG_LINK})
  set_property(GLOBAL APPEND PROPERTY MEDGEN_CORE_MODULES medgen_core_${name})
  if(MEDGEN_BUILD_TESTS AND tests)
    medgen_add_test(test_core_${name} LABELS unit SOURCES ${tests} LINK medgen_core_${name})
  endif()
endfunction()

# medgen_add_test(NAME [TORCH] LABELS labels... SOURCES files... LINK libraries...)
# One Catch2 program, one ctest entry per case. TORCH: it links what includes LibTorch.
function(medgen_add_test name)
  cmake_parse_arguments(ARG "TORCH" "" "LABELS;SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_TORCH)
    medgen_use_precompiled(${name} torch_test)
    set_target_properties(${name} PROPERTIES BUILD_RPATH ${PROJECT_BINARY_DIR}/plugins)  # medgen-torch-cuda.so
  else()
    medgen_use_precompiled(${name} test)
  endif()
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE MEDGEN_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                             MEDGEN_BINARY_DIR="${PROJECT_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE medgen_flags medgen_test_flags ${ARG_LINK} Catch2::Catch2WithMain)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  catch_discover_tests(${name} TEST_PREFIX "${name}: " PROPERTIES LABELS "${ARG_LABELS}" DISCOVERY_MODE PRE_TEST)
endfunction()
