# What `cmake --install` lays down: headers, libmedgen, the tools, the plugins, and the files by which other projects find them.
# Everything but the path to LibTorch is relative to the prefix, so that an installation can be moved.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/medgen)
# One place whatever CMAKE_INSTALL_LIBDIR is: plugins are looked for in ../lib/medgen/plugins, seen from the tools.
set(plugin_dir lib/medgen/plugins)

install(DIRECTORY abi/include/medgen abi/sdk/include/medgen DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS medgen_abi EXPORT medgen-targets)
install(TARGETS medgen_sdk EXPORT medgen-targets)
set_target_properties(medgen_abi PROPERTIES EXPORT_NAME abi)
set_target_properties(medgen_sdk PROPERTIES EXPORT_NAME sdk)

foreach(target medgen medgen-tool medgen-run-tool medgen_manifest)
  if(TARGET ${target})
    install(TARGETS ${target} EXPORT medgen-targets)
  endif()
endforeach()

# A manifest carries the hash of its library, so plugins are installed byte for byte (medgen_add_plugin sets their final RPATH).
get_property(plugins GLOBAL PROPERTY MEDGEN_PLUGINS)
foreach(plugin ${plugins})
  install(TARGETS ${plugin} LIBRARY DESTINATION ${plugin_dir})
  string(REPLACE "medgen_plugin_" "" id ${plugin})
  install(FILES ${PROJECT_BINARY_DIR}/plugins/${id}.medgen-plugin.json DESTINATION ${plugin_dir})
endforeach()

get_property(transports GLOBAL PROPERTY MEDGEN_TRANSPORTS)
foreach(transport ${transports})
  install(TARGETS ${transport} LIBRARY DESTINATION lib/medgen)
endforeach()

# What a run needs.
add_custom_target(medgen_tools DEPENDS medgen-tool medgen-run-tool ${plugins} ${transports})

install(EXPORT medgen-targets NAMESPACE medgen:: DESTINATION ${package_dir})
configure_package_config_file(cmake/medgenConfig.cmake.in ${PROJECT_BINARY_DIR}/medgenConfig.cmake
  INSTALL_DESTINATION ${package_dir} PATH_VARS plugin_dir)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/medgenConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/medgenConfig.cmake ${PROJECT_BINARY_DIR}/medgenConfigVersion.cmake
  DESTINATION ${package_dir})

set(prefix_dir /prefix)
set(pc_dir ${prefix_dir}/${CMAKE_INSTALL_LIBDIR}/pkgconfig)
cmake_path(RELATIVE_PATH prefix_dir BASE_DIRECTORY ${pc_dir} OUTPUT_VARIABLE pc_to_prefix)
configure_file(cmake/medgen.pc.in ${PROJECT_BINARY_DIR}/medgen.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/medgen.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
