# cmake/install.cmake: what `cmake --install` puts where.
#
# Component apply: libtensorpatch_apply.a and apply.h, which need nothing. Component toolkit: the
# host rooms as ONE archive with the public headers, and the program. A room takes part when it
# exists.
# SPDX-License-Identifier: Apache-2.0
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(tensorpatch_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tensorpatch)
file(RELATIVE_PATH TENSORPATCH_PC_TO_PREFIX
     "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")  # keeps the .pc files movable
string(REGEX REPLACE "/$" "" TENSORPATCH_PC_TO_PREFIX "${TENSORPATCH_PC_TO_PREFIX}")

# tensorpatch_install_component(NAME TARGET): archive, export and pkg-config file of one component.
function(tensorpatch_install_component name target)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  install(TARGETS ${target} EXPORT tensorpatch-${name}
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT tensorpatch-${name} NAMESPACE tensorpatch::
          FILE tensorpatch-${name}-targets.cmake DESTINATION ${tensorpatch_cmake_dir})
  configure_file(cmake/tensorpatch-${name}.pc.in tensorpatch-${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tensorpatch-${name}.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

if(TARGET tensorpatch_apply)
  tensorpatch_install_component(apply tensorpatch_apply)
  install(DIRECTORY lib/apply/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()

if(TARGET tensorpatch_apply AND TARGET tensorpatch_toolkit)
  add_library(tensorpatch_toolkit_archive STATIC)
  set_target_properties(tensorpatch_toolkit_archive PROPERTIES OUTPUT_NAME tensorpatch_toolkit)
  foreach(room IN ITEMS ports base model keys delta bundle toolkit)
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/lib/${room}/CMakeLists.txt)
      continue()
    endif()
    get_property(targets DIRECTORY lib/${room} PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target IN LISTS targets)
      get_target_property(type ${target} TYPE)
      if(type STREQUAL "STATIC_LIBRARY")
        target_sources(tensorpatch_toolkit_archive PRIVATE $<TARGET_OBJECTS:${target}>)
      endif()
    endforeach()
  endforeach()
  set_target_properties(tensorpatch_toolkit_archive PROPERTIES LINKER_LANGUAGE CXX)
  # tensorpatch-config.cmake.in and tensorpatch-toolkit.pc.in find the same libraries again.
  target_link_libraries(tensorpatch_toolkit_archive INTERFACE
    tensorpatch_apply tl::expected Threads::Threads zstd::libzstd_shared BZip2::BZip2
    OpenSSL::Crypto PkgConfig::libsodium PkgConfig::libdivsufsort PkgConfig::libdivsufsort64)
  tensorpatch_install_component(toolkit tensorpatch_toolkit_archive)
  install(DIRECTORY lib/base/include/ lib/toolkit/include/
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()

if(TARGET tensorpatch)
  install(TARGETS tensorpatch RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(DIRECTORY docs/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
          FILES_MATCHING PATTERN "*.1")
endif()

configure_package_config_file(cmake/tensorpatch-config.cmake.in tensorpatch-config.cmake
                              INSTALL_DESTINATION ${tensorpatch_cmake_dir})
write_basic_package_version_file(tensorpatch-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tensorpatch-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/tensorpatch-config-version.cmake
        DESTINATION ${tensorpatch_cmake_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
