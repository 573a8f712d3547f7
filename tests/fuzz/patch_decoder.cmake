# tests/fuzz/patch_decoder.cmake: the fuzz target of patch streams; seeds come from the encoder.
# SPDX-License-Identifier: Apache-2.0
if(TARGET tensorpatch_port_zstd AND TARGET tensorpatch_delta)
  add_library(tensorpatch_fuzz_replay STATIC ${PROJECT_SOURCE_DIR}/tests/support/patch_replay.cc)
  target_include_directories(tensorpatch_fuzz_replay PUBLIC ${PROJECT_SOURCE_DIR}/lib
                                                            ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(tensorpatch_fuzz_replay
    PUBLIC tensorpatch::apply tensorpatch::port_zstd)
  add_executable(patch_seeds patch_seeds.cc ${PROJECT_SOURCE_DIR}/tests/support/operation_cases.cc)
  target_link_libraries(patch_seeds PRIVATE tensorpatch_fuzz_replay tensorpatch::delta)
  set(SEEDS_COMMAND patch_seeds)
  tensorpatch_add_fuzzer(patch_decoder fuzz_patch_decoder.cc tensorpatch_fuzz_replay)
  unset(SEEDS_COMMAND)
endif()
