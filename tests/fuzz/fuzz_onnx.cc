// fuzz_onnx.cc: any bytes as an ONNX file: what is found tiles the file, and the data file beside
// it, or is refused.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "fuzz/container.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tensorpatch::model;
  fuzz_container({data, size}, {looks_like_onnx, find_onnx, Format::kOnnx});
  static const uint8_t values[256] = {};
  const NamedFile files[] = {{"model.onnx", {data, size}}, {"model.data", values}};
  for (const Model& model : parse_all(files)) {
    if (!check_tiling(model)) std::abort();
  }
  return 0;
}
