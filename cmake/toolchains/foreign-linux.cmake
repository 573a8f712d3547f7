# cmake/toolchains/foreign-linux.cmake: Linux on another machine, with Debian's cross compilers.
#
# TENSORPATCH_MACHINE chooses it: arm, aarch64 or s390x (big-endian). Programs are static, so that
# qemu-user runs them with nothing of that machine installed. Builds the device library and its
# tests only (TENSORPATCH_HOST=OFF).
# SPDX-License-Identifier: Apache-2.0
set(TENSORPATCH_MACHINE "s390x" CACHE STRING "arm, aarch64 or s390x")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TENSORPATCH_MACHINE)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${TENSORPATCH_MACHINE})

set(triple ${TENSORPATCH_MACHINE}-linux-gnu)
if(TENSORPATCH_MACHINE STREQUAL "arm")
  string(APPEND triple eabihf)
endif()
set(CMAKE_C_COMPILER ${triple}-gcc)
set(CMAKE_CXX_COMPILER ${triple}-g++)
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)

find_program(TENSORPATCH_CROSS_GCC ${CMAKE_CXX_COMPILER})
find_program(CMAKE_CROSSCOMPILING_EMULATOR qemu-${TENSORPATCH_MACHINE}-static)
if(NOT TENSORPATCH_CROSS_GCC OR NOT CMAKE_CROSSCOMPILING_EMULATOR)
  message(FATAL_ERROR "${CMAKE_CXX_COMPILER} or qemu-${TENSORPATCH_MACHINE}-static was not found. "
          "On Debian: apt-get install g++-${triple} qemu-user-static")
endif()

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
