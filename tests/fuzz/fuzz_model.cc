// fuzz_model.cc: any bytes as a model file of any kind: parse() always gives segments that tile it.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>

#include "model/model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tensorpatch::model;
  const Model model = parse({data, size});
  if (model.file_size != size || !check_tiling(model)) std::abort();
  return 0;
}
