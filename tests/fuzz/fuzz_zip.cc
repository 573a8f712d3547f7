// fuzz_zip.cc: any bytes as a zip file: what is found tiles the file or is refused.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "fuzz/container.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tensorpatch::model;
  return fuzz_container({data, size}, {looks_like_zip, find_zip, Format::kZip});
}
