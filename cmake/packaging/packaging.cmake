# cmake/packaging/packaging.cmake: Debian packages of a build, made by `cpack` in its folder.
#
# tensorpatch: the program. libtensorpatch-dev: the libraries. What Debian wants otherwise than
# `cmake --install` does it (compressed manuals, the changelog) is the work of debian_files.cmake.
# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tensorpatch)
  return()
endif()
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tensorpatch)
set(CPACK_PACKAGE_VENDOR tensorpatch)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "small signed updates for machine-learning model files")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL program development)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian_files.cmake)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "tensorpatch maintainers <maintainers@tensorpatch.invalid>")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME tensorpatch)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION
"Makes the smallest signed update that takes a device from an old model
file to a new one, and proves before it says success that the device can
apply it within the memory that the update declares. TFLite, safetensors,
ONNX and GGUF files are understood; files of any kind are taken.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libtensorpatch-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
# As tensorpatch-config.cmake and the pkg-config files look for them.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "libbz2-dev, libdivsufsort-dev, libexpected-dev, libsodium-dev, libssl-dev, libzstd-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
"Libraries to make and to apply updates of machine-learning models:
tensorpatch::toolkit for hosts (C++20); tensorpatch::apply, slots and ports
for devices (C, without heap or other libraries), as static archives with
headers, CMake packages and pkg-config files.")
include(CPack)
