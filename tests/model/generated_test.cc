// generated_test.cc: the models of scripts/make_test_models.py, an encoder of its own for each
// format.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "model/damage.h"

namespace tensorpatch::model {
namespace {

Model parse_generated(const std::string& name) {
  auto file = base::MappedFile::open(std::filesystem::path(TENSORPATCH_TEST_MODELS) / name);
  EXPECT_TRUE(file.has_value()) << name;
  if (!file) return {};
  Model model = parse(file->bytes());
  EXPECT_TRUE(check_tiling(model).has_value()) << name;
  EXPECT_EQ(model.warning, "") << name;
  return model;
}

uint64_t size_of_role(const Model& model, Role role) {
  uint64_t size = 0;
  for (const Segment& segment : model.segments) size += segment.role == role ? segment.size : 0;
  return size;
}

TEST(Generated, AllParse) {
  // 144 + 16 + 144 + 16 + 10240 + 10 values.
  for (const char* const prefix : {"v1", "v2"}) {
    const std::string version = prefix;
    for (const char* const name : {".f32.tflite", ".behind.tflite", ".f32.safetensors", ".onnx",
                                   ".npz", ".pt", ".legacy.pt"}) {
      EXPECT_EQ(size_of_role(parse_generated(version + name), Role::kWeights), 4 * 10570U) << name;
    }
    for (const char* const name : {".f16.safetensors", ".bf16.safetensors"}) {
      EXPECT_EQ(size_of_role(parse_generated(version + name), Role::kWeights), 2 * 10570U) << name;
    }
    const Segment blocks = segment_named(parse_generated(version + ".gguf"), "fc/kernel");
    EXPECT_EQ(blocks.block.size, 34U);
    EXPECT_EQ(blocks.size, 10240U / 32 * 34);
    const Model int8 = parse_generated(version + ".int8.tflite");
    EXPECT_EQ(int8.format, Format::kTflite);
    EXPECT_EQ(size_of_role(int8, Role::kWeights), 144U + 144U + 10240U);
    EXPECT_EQ(size_of_role(int8, Role::kBias), 4 * 42U);
    EXPECT_EQ(size_of_role(int8, Role::kScale), 4 * 85U) << "input, kernels, biases";
    EXPECT_EQ(size_of_role(int8, Role::kZeroPoint), 8 * 85U);
  }
}

TEST(Generated, BuffersBehindTheFlatBufferAreTheSameTensors) {
  const Model behind = parse_generated("v1.behind.tflite");
  const Model within = parse_generated("v1.f32.tflite");
  for (const char* name : {"conv/kernel", "dw/kernel", "fc/bias"}) {
    EXPECT_EQ(segment_named(behind, name).shape, segment_named(within, name).shape) << name;
    EXPECT_EQ(segment_named(behind, name).type, ElementType::kFloat32) << name;
  }
}

TEST(Generated, PytorchFilesHaveTheNamesOfTheirTensors) {
  for (const char* const name : {"v1.pt", "v1.legacy.pt"}) {
    const Model model = parse_generated(name);
    const Segment kernel = segment_named(model, "state_dict.fc.kernel");
    EXPECT_EQ(kernel.type, ElementType::kFloat32);
    EXPECT_EQ(kernel.shape, (std::vector<uint64_t>{10, 1024}));
    EXPECT_EQ(kernel.row_elements, 1024U);
  }
  EXPECT_EQ(parse_generated("v1.pt").format, Format::kZip);
  EXPECT_EQ(parse_generated("v1.legacy.pt").format, Format::kTorch);
  const Segment kernel = segment_named(parse_generated("v1.npz"), "conv.kernel.npy");
  EXPECT_EQ(kernel.shape, (std::vector<uint64_t>{16, 3, 3, 1}));
}

TEST(Generated, RenamedAndReordered) {
  EXPECT_EQ(
      segment_named(parse_generated("v2.renamed.safetensors"), "model.layers.conv.weight").size,
      4 * 144U);
  const Model reordered = parse_generated("v2.reordered.safetensors");
  EXPECT_GT(segment_named(reordered, "conv.kernel").offset,
            segment_named(reordered, "fc.kernel").offset);
}

}  // namespace
}  // namespace tensorpatch::model
