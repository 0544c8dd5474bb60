# medgen_add_plugin([TORCH] [LINK libraries...])
# The current folder becomes the plugin medgen-<folder>.so: all *.c and *.cpp but the tests, one exported symbol, and the
# manifest beside it, written from what the plugin itself says. Its *_test.cpp become the program test_plugin_<folder>.
function(medgen_add_plugin)
  cmake_parse_arguments(ARG "TORCH" "" "LINK" ${ARGN})
  get_filename_component(id ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  if(ARG_TORCH AND NOT MEDGEN_TORCH)
    return()
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.c *.cpp)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  set(target medgen_plugin_${id})
  # methods.json, where the folder has one, is compiled in: #include "methods_json.h" gives kMethodsJson.
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/methods.json)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS methods.json)
    file(READ methods.json medgen_methods)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/methods_json.h.in methods_json.h @ONLY)
  endif()
  # The objects are a library of their own, so that tests reach what the plugin hides.
  add_library(${target}_objects OBJECT ${sources})
  target_include_directories(${target}_objects PUBLIC ${PROJECT_SOURCE_DIR} PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
  target_link_libraries(${target}_objects PUBLIC medgen_flags medgen_sdk ${ARG_LINK})
  if(ARG_TORCH)
    target_link_libraries(${target}_objects PUBLIC medgen_torch medgen_support)
    medgen_compile_together(${target}_objects BATCH 8)
    set_target_properties(${target}_objects PROPERTIES JOB_POOL_COMPILE torch_compile)
  endif()
  add_library(${target} MODULE)
  target_link_libraries(${target} PRIVATE ${target}_objects)
  set(script ${PROJECT_SOURCE_DIR}/cmake/plugin.map)
  target_link_options(${target} PRIVATE -Wl,--version-script=${script} -Wl,-z,nodelete -Wl,-z,relro,-z,now)
  # The RPATH (to LibTorch) is final from the start: the manifest holds the file's hash, so installing must not change a byte.
  set_target_properties(${target} PROPERTIES
    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$<$<BOOL:${ARG_TORCH}>:${MEDGEN_TORCH_LIBDIR}>"
    PREFIX "" OUTPUT_NAME medgen-${id} LINK_DEPENDS "${script};$<TARGET_FILE:medgen_manifest>"
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/plugins)
  add_custom_command(TARGET ${target} POST_BUILD
    COMMAND medgen_manifest $<TARGET_FILE:${target}> ${PROJECT_BINARY_DIR}/plugins/${id}.medgen-plugin.json VERBATIM)
  add_dependencies(${target} medgen_manifest)
  set_property(GLOBAL APPEND PROPERTY MEDGEN_PLUGINS ${target})
  if(MEDGEN_BUILD_TESTS AND tests)
    if(ARG_TORCH)
      set(torch TORCH)
    endif()
    medgen_add_test(test_plugin_${id} ${torch} LABELS unit SOURCES ${tests} LINK ${target}_objects)
  endif()
endfunction()
