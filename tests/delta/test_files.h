// tests/delta/test_files.h: the models that the tests of patches are about.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "support/patch_maker.h"
#include "support/temp_folder.h"

namespace tensorpatch::test {

inline std::vector<uint8_t> load_file(const std::string& path) {
  const std::string content = read_file(path);
  return {content.begin(), content.end()};
}

// One of scripts/make_test_models.py.
inline std::vector<uint8_t> generated_model(const std::string& name) {
  return load_file(TENSORPATCH_TEST_MODELS "/" + name);
}

inline FilePair generated_pair(const std::string& old_name, const std::string& new_name) {
  return {generated_model(old_name), generated_model(new_name)};
}

inline const std::vector<std::string>& generated_kinds() {
  static const std::vector<std::string> kinds = {
      "int8.tflite", "f32.tflite",      "behind.tflite",   "onnx",
      "gguf",        "f32.safetensors", "f16.safetensors", "bf16.safetensors",
  };
  return kinds;
}

}  // namespace tensorpatch::test
