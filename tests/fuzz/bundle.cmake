# tests/fuzz/bundle.cmake: the fuzz target of lib/bundle.
# SPDX-License-Identifier: Apache-2.0
if(TARGET tensorpatch_bundle)
  tensorpatch_add_fuzzer(bundle fuzz_bundle.cc tensorpatch::bundle)
endif()
