# bsdiff40.cmake: hostile patches, and there and back through the byte engine.
# SPDX-License-Identifier: Apache-2.0
if(TARGET tensorpatch_delta)
  tensorpatch_add_fuzzer(bsdiff40 fuzz_bsdiff40.cc tensorpatch::delta BZip2::BZip2)
endif()
