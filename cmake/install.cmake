# cmake/install.cmake: what `cmake --install` puts where.
#
# `apply`: libtensorpatch_apply.a and apply.h, which need nothing. `toolkit`: the host rooms as ONE
# archive with the public headers. A room takes part when it exists. These two are what CMake calls
# the component `development`; `program` is the program with its manual and shell completion.
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

if(TARGET tensorpatch_apply)
  tensorpatch_install_component(apply tensorpatch_apply)
  install(DIRECTORY lib/apply/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          COMPONENT development)
endif()

if(TARGET tensorpatch_apply AND TARGET tensorpatch_toolkit)
  add_library(tensorpatch_toolkit_archive STATIC)
  set_target_properties(tensorpatch_toolkit_archive PROPERTIES OUTPUT_NAME tensorpatch_toolkit)
  foreach(room IN ITEMS ports base model keys delta snap bundle toolkit)
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
