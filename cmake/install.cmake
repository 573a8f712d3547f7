# cmake/install.cmake: what `cmake --install` puts where.
#
# `apply` and `slots`: what devices link, which needs nothing. `ports`: the ready-made callbacks as
# ONE archive, each a member of its own; who calls one of libsodium, libcrypto or zstd links that
# library. `toolkit`: the host rooms as ONE archive. Each has its public headers; a room takes part
# when it exists. These four are what CMake calls the component `development`; `program` is the
# program with its manual and shell completion.
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
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT tensorpatch-${name} NAMESPACE tensorpatch:: COMPONENT development
          FILE tensorpatch-${name}-targets.cmake DESTINATION ${tensorpatch_cmake_dir})
  configure_file(cmake/tensorpatch-${name}.pc.in tensorpatch-${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tensorpatch-${name}.pc COMPONENT development
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

# tensorpatch_add_archive(NAME ROOM...): target tensorpatch_NAME_archive, libtensorpatch_NAME.a of
# all that these rooms compile.
function(tensorpatch_add_archive name)
  add_library(tensorpatch_${name}_archive STATIC)
  set_target_properties(tensorpatch_${name}_archive PROPERTIES OUTPUT_NAME tensorpatch_${name}
                                                               LINKER_LANGUAGE CXX)
  foreach(room IN LISTS ARGN)
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/lib/${room}/CMakeLists.txt)
      continue()
    endif()
    get_property(targets DIRECTORY lib/${room} PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target IN LISTS targets)
      get_target_property(type ${target} TYPE)
      if(type STREQUAL "STATIC_LIBRARY")
        target_sources(tensorpatch_${name}_archive PRIVATE $<TARGET_OBJECTS:${target}>)
      endif()
    endforeach()
  endforeach()
endfunction()

foreach(room IN ITEMS apply slots)
  if(TARGET tensorpatch_${room})
    tensorpatch_install_component(${room} tensorpatch_${room})
    install(DIRECTORY lib/${room}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
            COMPONENT development)
  endif()
endforeach()

if(TARGET tensorpatch_apply AND TARGET tensorpatch_port_posix)
  tensorpatch_add_archive(ports ports)
  target_link_libraries(tensorpatch_ports_archive INTERFACE tensorpatch_apply)
  tensorpatch_install_component(ports tensorpatch_ports_archive)
  install(DIRECTORY lib/ports/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          COMPONENT development)
endif()

if(TARGET tensorpatch_apply AND TARGET tensorpatch_toolkit)
  tensorpatch_add_archive(toolkit ports base model keys delta snap bundle toolkit)
  # tensorpatch-config.cmake.in and tensorpatch-toolkit.pc.in find the same libraries again.
  target_link_libraries(tensorpatch_toolkit_archive INTERFACE
    tensorpatch_apply tl::expected Threads::Threads ${tensorpatch_zstd} BZip2::BZip2
    OpenSSL::Crypto PkgConfig::libsodium PkgConfig::libdivsufsort PkgConfig::libdivsufsort64)
  tensorpatch_install_component(toolkit tensorpatch_toolkit_archive)
  install(DIRECTORY lib/base/include/ lib/toolkit/include/
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
endif()

if(TARGET tensorpatch)
  install(TARGETS tensorpatch RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
  install(DIRECTORY docs/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program
          FILES_MATCHING PATTERN "*.1")
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
endif()

# Made by the program itself, where it can run.
if(TARGET tensorpatch AND (NOT CMAKE_CROSSCOMPILING OR CMAKE_CROSSCOMPILING_EMULATOR))
  set(completions)
  foreach(shell IN ITEMS bash zsh fish)
    set(script ${CMAKE_CURRENT_BINARY_DIR}/completion/tensorpatch.${shell})
    add_custom_command(OUTPUT ${script} DEPENDS tensorpatch VERBATIM
                       COMMAND ${CMAKE_COMMAND} -E make_directory completion
                       COMMAND tensorpatch completion ${shell} > ${script})
    list(APPEND completions ${script})
  endforeach()
  add_custom_target(completions ALL DEPENDS ${completions})
  set(completion_dir ${CMAKE_CURRENT_BINARY_DIR}/completion)
  install(FILES ${completion_dir}/tensorpatch.bash RENAME tensorpatch COMPONENT program
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${completion_dir}/tensorpatch.zsh RENAME _tensorpatch COMPONENT program
          DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${completion_dir}/tensorpatch.fish COMPONENT program
          DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()

configure_package_config_file(cmake/tensorpatch-config.cmake.in tensorpatch-config.cmake
                              INSTALL_DESTINATION ${tensorpatch_cmake_dir})
write_basic_package_version_file(tensorpatch-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tensorpatch-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/tensorpatch-config-version.cmake
        DESTINATION ${tensorpatch_cmake_dir} COMPONENT development)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libtensorpatch-dev
        COMPONENT development)
