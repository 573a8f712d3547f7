# tests/fuzz/apply.cmake: the fuzz target of lib/apply. The builder of bundles is compiled in, so
# that the other folders of tests are not needed.
# SPDX-License-Identifier: Apache-2.0
if(TARGET tensorpatch_port_libsodium AND TARGET tensorpatch_delta)
  add_library(tensorpatch_fuzz_device STATIC
    ${PROJECT_SOURCE_DIR}/tests/support/bundle_builder.cc
    ${PROJECT_SOURCE_DIR}/tests/support/memory_device.cc)
  target_include_directories(tensorpatch_fuzz_device PUBLIC ${PROJECT_SOURCE_DIR}/lib
                                                            ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(tensorpatch_fuzz_device
    PUBLIC tensorpatch::apply tensorpatch::port_libsodium PRIVATE PkgConfig::libsodium)
  add_executable(apply_seeds apply_seeds.cc ${PROJECT_SOURCE_DIR}/tests/support/operation_cases.cc)
  target_link_libraries(apply_seeds PRIVATE tensorpatch_fuzz_device tensorpatch::delta)
  set(SEEDS_COMMAND apply_seeds)
  tensorpatch_add_fuzzer(apply fuzz_apply.cc tensorpatch_fuzz_device)
  unset(SEEDS_COMMAND)
endif()
