# tests/fuzz/records.cmake: fuzz targets of what a device stores: checkpoints, the log of records in
# flash, the state of two slots.
# SPDX-License-Identifier: Apache-2.0
if(TARGET tensorpatch_fuzz_device AND TARGET tensorpatch_port_flash)
  add_executable(record_seeds record_seeds.cc)
  target_include_directories(record_seeds PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  set(SEEDS_COMMAND record_seeds checkpoint)
  tensorpatch_add_fuzzer(checkpoint fuzz_checkpoint.cc tensorpatch_fuzz_device)
  set(SEEDS_COMMAND record_seeds flash_log)
  tensorpatch_add_fuzzer(flash_log fuzz_flash_log.cc tensorpatch::port_flash tensorpatch::slots)
  target_sources(fuzz_flash_log PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/flash_simulator.cc)
  unset(SEEDS_COMMAND)
endif()
