# medgen::torch: LibTorch, from MEDGEN_LIBTORCH (option or environment) or from the virtual environment that
# tools/setup makes. Only libtorch_cpu and libc10 are linked, because libtorch.so itself wants the whole CUDA stack;
# libtorch_cuda is loaded when a component is created on a CUDA device (nn/device.h). find_package(Torch) is not used: it wants a CUDA toolkit even for the CPU.
if(NOT MEDGEN_TORCH)
  return()
endif()
set(MEDGEN_LIBTORCH "$ENV{MEDGEN_LIBTORCH}" CACHE PATH "An existing LibTorch (the folder with include/ and lib/)")
set(torch_root "${MEDGEN_LIBTORCH}")
if(NOT torch_root)
  file(GLOB torch_root ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
endif()
if(NOT torch_root OR NOT EXISTS ${torch_root}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch was not found in '${torch_root}'. Run tools/setup, or set MEDGEN_LIBTORCH to a LibTorch "
                      "folder, or configure with -DMEDGEN_TORCH=OFF to build without the neural network plugins.")
endif()
set(MEDGEN_TORCH_VERSION "")
foreach(part MAJOR MINOR PATCH)
  file(STRINGS ${torch_root}/include/torch/headeronly/version.h line REGEX "define TORCH_VERSION_${part} ")
  string(REGEX MATCH "[0-9]+$" number "${line}")
  list(APPEND MEDGEN_TORCH_VERSION ${number})
endforeach()
list(JOIN MEDGEN_TORCH_VERSION "." MEDGEN_TORCH_VERSION)

set(MEDGEN_TORCH_LIBDIR ${torch_root}/lib)
add_library(medgen_torch INTERFACE)
add_library(medgen::torch ALIAS medgen_torch)
target_include_directories(medgen_torch SYSTEM INTERFACE ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
target_link_libraries(medgen_torch INTERFACE ${torch_root}/lib/libtorch_cpu.so ${torch_root}/lib/libc10.so)
target_link_options(medgen_torch INTERFACE -Wl,--allow-shlib-undefined)
# at::parallel_for in a file of ours is a plain loop unless that file is compiled with OpenMP. It has to be the OpenMP that
# LibTorch brings along: another one would have threads of its own.
file(GLOB torch_openmp ${torch_root}/lib/libgomp*.so*)
if(NOT torch_openmp)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  set(torch_openmp OpenMP::OpenMP_CXX)
endif()
target_link_libraries(medgen_torch INTERFACE ${torch_openmp})
target_compile_options(medgen_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
target_compile_definitions(medgen_torch INTERFACE FMT_HEADER_ONLY MEDGEN_TORCH_VERSION="${MEDGEN_TORCH_VERSION}")
# Files that include LibTorch take up to 1.5 GB each to compile: as many at a time as fit into memory.
cmake_host_system_information(RESULT memory_mib QUERY TOTAL_PHYSICAL_MEMORY)
math(EXPR torch_jobs "${memory_mib} / 2048 + 1")
set_property(GLOBAL PROPERTY JOB_POOLS torch_compile=${torch_jobs})
message(STATUS "LibTorch ${MEDGEN_TORCH_VERSION}: ${torch_root}")
