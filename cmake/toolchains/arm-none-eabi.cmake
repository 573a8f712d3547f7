# cmake/toolchains/arm-none-eabi.cmake: bare-metal Arm with Debian's gcc-arm-none-eabi.
#
# Builds the device library and its tests only (TENSORPATCH_HOST=OFF). TENSORPATCH_CPU chooses the
# core; no FPU is assumed, since the device library has no floating point.
# SPDX-License-Identifier: Apache-2.0
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TENSORPATCH_CPU)

set(TENSORPATCH_CPU "cortex-m4" CACHE STRING "The core that -mcpu names")
foreach(language IN ITEMS C CXX ASM)
  set(CMAKE_${language}_FLAGS_INIT
      "-mcpu=${TENSORPATCH_CPU} -mthumb -mfloat-abi=soft -ffunction-sections -fdata-sections")
endforeach()
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,--gc-sections")

find_program(TENSORPATCH_ARM_GCC arm-none-eabi-gcc)
if(NOT TENSORPATCH_ARM_GCC)
  message(FATAL_ERROR "arm-none-eabi-gcc was not found. On Debian: apt-get install "
          "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib")
endif()
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_ASM_COMPILER arm-none-eabi-gcc)

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
