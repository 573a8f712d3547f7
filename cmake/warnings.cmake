# cmake/warnings.cmake: the warnings that all code of this project is compiled with.
#
# Included by the top-level file before any target exists, so that every target has them; a target
# that holds generated code includes it as SYSTEM. TENSORPATCH_WERROR makes them errors.
# SPDX-License-Identifier: Apache-2.0
set(tensorpatch_warnings
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-qual
    -Wformat=2 -Wundef -Wdouble-promotion -Wimplicit-fallthrough -Wvla)
if(TENSORPATCH_WERROR)
  list(APPEND tensorpatch_warnings -Werror)
endif()
set(tensorpatch_cxx_warnings -Wnon-virtual-dtor -Woverloaded-virtual -Wold-style-cast
    -Wextra-semi)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # -Wrestrict of g++ 12 is wrong about `"text" + std::string` (GCC bug 105651).
  list(APPEND tensorpatch_cxx_warnings -Wduplicated-cond -Wlogical-op -Wno-restrict)
endif()
add_compile_options(
  "${tensorpatch_warnings}"
  "$<$<COMPILE_LANGUAGE:CXX>:${tensorpatch_cxx_warnings}>"
  "$<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>")
