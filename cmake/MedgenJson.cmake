# nlohmann-json, header only: the target medgen_json. It comes from the PyPI wheel nlohmann-json in the project's virtual
# environment (`make` puts it there), or from the folder MEDGEN_JSON_INCLUDE (CMake variable or environment), which holds
# nlohmann/json.hpp. Debian 12 packages an older release, which is refused: one version everywhere writes the same manifests.

set(medgen_json_minimum 3.12.0)

set(MEDGEN_JSON_INCLUDE "$ENV{MEDGEN_JSON_INCLUDE}" CACHE PATH "Folder that holds nlohmann/json.hpp")
if(MEDGEN_JSON_INCLUDE)
  set(medgen_json_folder ${MEDGEN_JSON_INCLUDE})
else()
  file(GLOB medgen_json_found
    ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/nlohmann_json/include/nlohmann/json.hpp)
  if(medgen_json_found)
    list(GET medgen_json_found 0 medgen_json_folder)
    cmake_path(SET medgen_json_folder NORMALIZE "${medgen_json_folder}/../..")
  else()
    find_path(medgen_json_folder nlohmann/json.hpp NO_CACHE)
  endif()
endif()

set(medgen_json_hint
  "install it with `.venv/bin/pip install nlohmann-json==${medgen_json_minimum}`, or set MEDGEN_JSON_INCLUDE")
set(medgen_json_header "${medgen_json_folder}/nlohmann/json.hpp")
if(NOT EXISTS "${medgen_json_header}")
  message(FATAL_ERROR "no nlohmann/json.hpp found in .venv or MEDGEN_JSON_INCLUDE: ${medgen_json_hint}")
endif()
set(medgen_json_version "")
foreach(part MAJOR MINOR PATCH)
  file(STRINGS "${medgen_json_header}" line LIMIT_COUNT 1 REGEX "define NLOHMANN_JSON_VERSION_${part} +[0-9]+")
  if(NOT line)
    file(STRINGS "${medgen_json_folder}/nlohmann/detail/abi_macros.hpp" line LIMIT_COUNT 1
      REGEX "define NLOHMANN_JSON_VERSION_${part} +[0-9]+")
  endif()
  string(REGEX REPLACE ".*_${part} +([0-9]+).*" "\\1" number "${line}")
  list(APPEND medgen_json_version ${number})
endforeach()
list(JOIN medgen_json_version "." medgen_json_version)
if(medgen_json_version VERSION_LESS medgen_json_minimum)
  message(FATAL_ERROR
    "nlohmann-json ${medgen_json_version} in ${medgen_json_folder} is too old: ${medgen_json_hint}")
endif()
message(STATUS "nlohmann-json ${medgen_json_version}: ${medgen_json_folder}")

add_library(medgen_json INTERFACE)
target_include_directories(medgen_json SYSTEM INTERFACE ${medgen_json_folder})
