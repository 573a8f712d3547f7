# cmake/dependencies.cmake: every package that host code links, found in one place.
#
# Targets to link, and the Debian package that provides each:
#   ${tensorpatch_zstd}           libzstd-dev
#   PkgConfig::libsodium          libsodium-dev
#   PkgConfig::libdivsufsort      libdivsufsort-dev
#   PkgConfig::libdivsufsort64    libdivsufsort-dev
#   BZip2::BZip2                  libbz2-dev
#   OpenSSL::Crypto               libssl-dev
#   Threads::Threads              libc6-dev
#   tl::expected                  libexpected-dev
#   nlohmann_json::nlohmann_json  nlohmann-json3-dev
#   protozero::protozero          libprotozero-dev
#   CLI11::CLI11                  libcli11-dev
#   flatbuffers::flatbuffers      libflatbuffers-dev
#   flatbuffers::flatc            flatbuffers-compiler (a program)
#   GTest::gtest_main             libgtest-dev (with TENSORPATCH_TESTS)
#   benchmark::benchmark_main     libbenchmark-dev (with TENSORPATCH_MICROBENCHMARKS)
#
# With TENSORPATCH_STATIC the same from static libraries; scripts/static-divsufsort makes the one
# that the packages lack.
# SPDX-License-Identifier: Apache-2.0

# Stops with the name of the apt package when `target` does not exist after `what` was searched.
function(tensorpatch_require target what package)
  if(NOT TARGET ${target})
    message(FATAL_ERROR "tensorpatch needs ${what}, which was not found. On Debian: "
                        "apt-get install ${package}  (all packages: .ci/packages.txt)")
  endif()
endfunction()

# find_package, or the message above.
macro(tensorpatch_find name target package)
  find_package(${name} QUIET ${ARGN})
  tensorpatch_require(${target} ${name} ${package})
endmacro()

# A library that only ships a pkg-config file.
macro(tensorpatch_find_pkg_config module package)
  pkg_check_modules(${module} QUIET IMPORTED_TARGET ${module})
  tensorpatch_require(PkgConfig::${module} ${module} ${package})
endmacro()

set(tensorpatch_zstd zstd::libzstd_shared)
if(TENSORPATCH_STATIC)
  set(tensorpatch_zstd zstd::libzstd_static)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  set(OPENSSL_USE_STATIC_LIBS TRUE)
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
tensorpatch_find(Threads Threads::Threads libc6-dev)
find_package(PkgConfig QUIET)
if(NOT PkgConfig_FOUND)
  message(FATAL_ERROR "tensorpatch needs pkg-config, which was not found. On Debian: "
                      "apt-get install pkg-config  (all packages: .ci/packages.txt)")
endif()

tensorpatch_find(zstd ${tensorpatch_zstd} libzstd-dev)
tensorpatch_find(CLI11 CLI11::CLI11 libcli11-dev)
tensorpatch_find(nlohmann_json nlohmann_json::nlohmann_json nlohmann-json3-dev)
tensorpatch_find(tl-expected tl::expected libexpected-dev)
tensorpatch_find(BZip2 BZip2::BZip2 libbz2-dev)
tensorpatch_find(OpenSSL OpenSSL::Crypto libssl-dev COMPONENTS Crypto)
tensorpatch_find_pkg_config(libsodium libsodium-dev)
tensorpatch_find_pkg_config(libdivsufsort libdivsufsort-dev)
tensorpatch_find_pkg_config(libdivsufsort64 libdivsufsort-dev)

tensorpatch_find(FlatBuffers flatbuffers::flatbuffers libflatbuffers-dev CONFIG)
if(NOT TARGET flatbuffers::flatc)
  find_program(TENSORPATCH_FLATC flatc)
  if(TENSORPATCH_FLATC)
    add_executable(flatbuffers::flatc IMPORTED)
    set_target_properties(flatbuffers::flatc PROPERTIES IMPORTED_LOCATION "${TENSORPATCH_FLATC}")
  endif()
endif()
tensorpatch_require(flatbuffers::flatc flatc flatbuffers-compiler)

# Headers only, without a package file.
find_path(PROTOZERO_INCLUDE_DIR protozero/pbf_reader.hpp)
if(PROTOZERO_INCLUDE_DIR AND NOT TARGET protozero::protozero)
  add_library(protozero::protozero INTERFACE IMPORTED)
  target_include_directories(protozero::protozero INTERFACE ${PROTOZERO_INCLUDE_DIR})
endif()
tensorpatch_require(protozero::protozero protozero libprotozero-dev)

if(TENSORPATCH_TESTS)
  tensorpatch_find(GTest GTest::gtest_main libgtest-dev)
endif()
