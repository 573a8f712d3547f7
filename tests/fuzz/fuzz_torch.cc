// fuzz_torch.cc: any bytes as a old PyTorch file: what is found tiles the file or is refused.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "fuzz/container.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tensorpatch::model;
  return fuzz_container({data, size}, {looks_like_torch, find_torch, Format::kTorch});
}
