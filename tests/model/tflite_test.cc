// tflite_test.cc: TFLite models built with the subset schema, good, damaged and hostile.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <string>

#include "model/damage.h"
#include "tflite_subset_generated.h"

namespace tensorpatch::model {
namespace {

using File = std::vector<uint8_t>;
using flatbuffers::Offset;

constexpr int8_t kFloat32 = 0;
constexpr int8_t kInt32 = 2;
constexpr int8_t kString = 5;
constexpr int8_t kInt8 = 9;
constexpr int8_t kInt4 = 17;
constexpr int32_t kConv2d = 3;
constexpr int32_t kDepthwiseConv2d = 4;
constexpr int32_t kReshape = 22;

struct TestTensor {
  std::string name;
  int8_t type;
  std::vector<int32_t> shape;
  uint32_t buffer;
  std::vector<float> scale;
  std::vector<int64_t> zero_point;
};

struct TestBuffer {
  size_t inline_size = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct TestOperator {
  uint32_t opcode_index;
  std::vector<int32_t> inputs;
};

struct TestGraph {
  std::vector<TestTensor> tensors;
  std::vector<TestOperator> operators;
};

struct TestModel {
  std::vector<int32_t> opcodes;
  std::vector<TestGraph> graphs;
  std::vector<TestBuffer> buffers;
  size_t size_behind = 0;  // bytes behind the FlatBuffer
};

File build(const TestModel& test) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<Offset<tflite::Buffer>> buffers;
  for (const TestBuffer& buffer : test.buffers) {
    const File content(buffer.inline_size, 0x5A);
    const auto data =
        content.empty() ? Offset<flatbuffers::Vector<uint8_t>>() : builder.CreateVector(content);
    buffers.push_back(tflite::CreateBuffer(builder, data, buffer.offset, buffer.size));
  }
  std::vector<Offset<tflite::OperatorCode>> codes;
  for (const int32_t code : test.opcodes) {
    codes.push_back(tflite::CreateOperatorCode(builder, static_cast<int8_t>(code), code));
  }
  std::vector<Offset<tflite::SubGraph>> graphs;
  for (const TestGraph& graph : test.graphs) {
    std::vector<Offset<tflite::Tensor>> tensors;
    for (const TestTensor& tensor : graph.tensors) {
      const auto quantization = tflite::CreateQuantization(
          builder, tensor.scale.empty() ? 0 : builder.CreateVector(tensor.scale),
          tensor.zero_point.empty() ? 0 : builder.CreateVector(tensor.zero_point));
      tensors.push_back(tflite::CreateTensor(builder, builder.CreateVector(tensor.shape),
                                             tensor.type, tensor.buffer,
                                             builder.CreateString(tensor.name), quantization));
    }
    std::vector<Offset<tflite::Operator>> operators;
    for (const TestOperator& op : graph.operators) {
      operators.push_back(
          tflite::CreateOperator(builder, op.opcode_index, builder.CreateVector(op.inputs)));
    }
    graphs.push_back(tflite::CreateSubGraph(builder, builder.CreateVector(tensors),
                                            builder.CreateVector(operators)));
  }
  tflite::FinishModelBuffer(
      builder, tflite::CreateModel(builder, 3, builder.CreateVector(codes),
                                   builder.CreateVector(graphs), builder.CreateVector(buffers)));
  File file(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  file.resize(file.size() + test.size_behind, 0xA5);
  return file;
}

// A convolution and a depthwise convolution, int8, and a shape that is no bias.
TestModel small_model() {
  TestModel test;
  test.opcodes = {kReshape, kConv2d, kDepthwiseConv2d};
  test.buffers = {{}, {72, 0, 0}, {16, 0, 0}, {36, 0, 0}, {16, 0, 0}, {8, 0, 0}, {40, 0, 0}};
  test.graphs = {{{{"in", kInt8, {1, 8, 8, 2}, 0, {0.5F}, {-128}},
                   {"conv/w", kInt8, {4, 3, 3, 2}, 1, {1, 2, 3, 4}, {0, 0, 0, 0}},
                   {"conv/b", kInt32, {4}, 2, {5, 6, 7, 8}, {0, 0, 0, 0}},
                   {"dw/w", kInt8, {1, 3, 3, 4}, 3, {1, 1, 1, 1}, {0, 0, 0, 0}},
                   {"dw/b", kInt32, {4}, 4, {}, {}},
                   {"new_shape", kInt32, {2}, 5, {}, {}}},
                  {{1, {0, 1, 2}}, {2, {0, 3, 4}}, {0, {0, 5}}}}};
  return test;
}

TEST(Tflite, GivesValuesBiasesScalesAndZeroPoints) {
  const File file = build(small_model());
  const Model model = parse_exactly(file);
  ASSERT_EQ(model.format, Format::kTflite) << model.warning;
  EXPECT_EQ(model.warning, "");
  const Segment conv = segment_named(model, "conv/w");
  EXPECT_EQ(conv.type, ElementType::kInt8);
  EXPECT_EQ(conv.role, Role::kWeights);
  EXPECT_EQ(conv.size, 72U);
  EXPECT_EQ(conv.shape, (std::vector<uint64_t>{4, 3, 3, 2}));
  EXPECT_EQ(conv.row_elements, 18U);
  EXPECT_EQ(file[conv.offset], 0x5A);
  EXPECT_EQ(file[conv.offset + conv.size - 1], 0x5A);
  EXPECT_EQ(segment_named(model, "dw/w").row_elements, 4U);
  EXPECT_EQ(segment_named(model, "conv/b").role, Role::kBias);
  EXPECT_EQ(segment_named(model, "conv/b").type, ElementType::kInt32);
  EXPECT_EQ(segment_named(model, "dw/b").role, Role::kBias);
  EXPECT_EQ(segment_named(model, "new_shape").role, Role::kWeights);
  const Segment scale = segment_named(model, "conv/w/scale");
  EXPECT_EQ(scale.role, Role::kScale);
  EXPECT_EQ(scale.type, ElementType::kFloat32);
  EXPECT_EQ(scale.shape, (std::vector<uint64_t>{4}));
  float first = 0;
  std::memcpy(&first, file.data() + scale.offset, sizeof first);
  EXPECT_EQ(first, 1.0F);
  const Segment zero_point = segment_named(model, "in/zero_point");
  EXPECT_EQ(zero_point.role, Role::kZeroPoint);
  EXPECT_EQ(zero_point.type, ElementType::kInt64);
  int64_t zero = 0;
  std::memcpy(&zero, file.data() + zero_point.offset, sizeof zero);
  EXPECT_EQ(zero, -128);
}

TEST(Tflite, ReadsEverySubgraph) {
  TestModel test = small_model();
  test.buffers.push_back({12, 0, 0});
  test.graphs.push_back({{{"second/w", kFloat32, {3}, 7, {}, {}}}, {}});
  EXPECT_EQ(segment_named(parse_exactly(build(test)), "second/w").type, ElementType::kFloat32);
}

TEST(Tflite, TakesASharedBufferOnce) {
  TestModel test = small_model();
  test.graphs.push_back({{{"again", kInt8, {72}, 1, {}, {}}}, {}});
  const Model model = parse_exactly(build(test));
  ASSERT_EQ(model.format, Format::kTflite) << model.warning;
  for (const Segment& segment : model.segments) EXPECT_NE(segment.name, "again");
}

TEST(Tflite, ReadsBuffersBehindTheFlatBuffer) {
  TestModel test = small_model();
  test.size_behind = 4096;
  const uint64_t start = build(test).size() - test.size_behind;
  test.buffers[1] = {0, start + 64, 72};
  test.buffers[2] = {0, start + 64 + 72, 16};
  const Model model = parse_exactly(build(test));
  ASSERT_EQ(model.format, Format::kTflite) << model.warning;
  EXPECT_EQ(segment_named(model, "conv/w").offset, start + 64);
  EXPECT_EQ(segment_named(model, "conv/w").size, 72U);
  EXPECT_EQ(segment_named(model, "conv/b").role, Role::kBias);
}

TEST(Tflite, ReadsModelsAbove2Gigabytes) {
  constexpr uint64_t kFar = (1ULL << 31) + 4096;
  TestModel test = small_model();
  test.buffers[1] = {0, kFar, 72};
  const File start = build(test);
  // Only the pages that are touched take memory.
  void* const pages = mmap(nullptr, kFar + 72, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  std::memcpy(pages, start.data(), start.size());
  const Model model = parse({static_cast<const uint8_t*>(pages), kFar + 72});
  munmap(pages, kFar + 72);
  EXPECT_EQ(model.warning, "");
  EXPECT_TRUE(check_tiling(model).has_value());
  EXPECT_EQ(segment_named(model, "conv/w").offset, kFar);
  EXPECT_EQ(segment_named(model, "conv/b").role, Role::kBias);
}

TEST(Tflite, RefusesBuffersThatLieWrongBehindTheFlatBuffer) {
  TestModel good = small_model();
  good.size_behind = 4096;
  const uint64_t start = build(good).size() - good.size_behind;
  const auto refuse = [&](TestBuffer first, TestBuffer second, const char* reason) {
    TestModel test = good;
    test.buffers[1] = first;
    test.buffers[3] = second;
    expect_raw_with_warning(build(test), reason);
  };
  const TestBuffer inline_36 = {36, 0, 0};
  refuse({0, start + 64, 1ULL << 63}, inline_36, "behind the file");
  refuse({0, start + 64, ~0ULL}, inline_36, "behind the file");
  refuse({0, 1ULL << 63, 72}, inline_36, "behind the file");
  refuse({0, ~0ULL, 72}, inline_36, "behind the file");
  refuse({0, start + 9000, 72}, inline_36, "behind the file");
  refuse({0, start + 64, 72}, {0, start + 100, 36}, "overlaps");
  refuse({0, start + 64, 72}, {0, start + 64, 36}, "overlaps");
  refuse({0, 8, 1024}, inline_36, "overlaps");
}

TEST(Tflite, GivesValuesOfAnotherSizeAFlatShape) {
  TestModel test = small_model();
  test.graphs[0].tensors[1].shape = {5, 3, 3, 2};
  Segment sparse = segment_named(parse_exactly(build(test)), "conv/w");
  EXPECT_EQ(sparse.shape, (std::vector<uint64_t>{72}));
  EXPECT_EQ(sparse.type, ElementType::kInt8);
  test.graphs[0].tensors[1].shape = {-1, 3, 3, 2};
  EXPECT_EQ(segment_named(parse_exactly(build(test)), "conv/w").shape.size(), 1U);
  test.graphs[0].tensors[1].shape.assign(1000, 1);
  EXPECT_EQ(segment_named(parse_exactly(build(test)), "conv/w").shape.size(), 1U);
  test.graphs[0].tensors[1].shape.assign(16, 0x7FFFFFFF);
  EXPECT_EQ(segment_named(parse_exactly(build(test)), "conv/w").shape.size(), 1U);
}

TEST(Tflite, TakesTypesWithoutWholeElementsAsBytes) {
  TestModel test = small_model();
  test.graphs[0].tensors[1].type = kInt4;
  test.graphs[0].tensors[1].shape = {4, 3, 3, 4};
  test.graphs[0].tensors[3].type = kString;
  const Model model = parse_exactly(build(test));
  EXPECT_EQ(segment_named(model, "conv/w").type, ElementType::kBytes);
  EXPECT_EQ(segment_named(model, "conv/w").shape, (std::vector<uint64_t>{4, 3, 3, 4}));
  EXPECT_EQ(segment_named(model, "dw/w").type, ElementType::kBytes);
  test.buffers[2].inline_size = 17;  // no whole number of int32
  EXPECT_EQ(segment_named(parse_exactly(build(test)), "conv/b").type, ElementType::kBytes);
}

TEST(Tflite, RefusesABufferThatIsNotThere) {
  TestModel test = small_model();
  test.graphs[0].tensors[1].buffer = 7;
  expect_raw_with_warning(build(test), "buffer that is not there");
  test.graphs[0].tensors[1].buffer = 0xFFFFFFFF;
  expect_raw_with_warning(build(test), "buffer that is not there");
}

TEST(Tflite, SurvivesWrongIndicesOfOperators) {
  TestModel test = small_model();
  test.graphs[0].operators = {
      {99, {0, 1, 2}}, {1, {0, 1, 99}}, {1, {0, 1, -1}}, {1, {0, 1, INT32_MIN}}, {1, {}}};
  const Model model = parse_exactly(build(test));
  EXPECT_EQ(model.format, Format::kTflite);
  EXPECT_EQ(segment_named(model, "conv/b").role, Role::kWeights);
}

TEST(Tflite, AcceptsAModelWithoutTensors) {
  EXPECT_EQ(parse_exactly(build({})).format, Format::kTflite);
}

TEST(Tflite, RefusesNamesSharedToExhaustMemory) {
  // Many tensors, each with a byte of its own behind the FlatBuffer, all with one long name.
  flatbuffers::FlatBufferBuilder builder;
  const auto name = builder.CreateString(std::string(1'000'000, 'n'));
  std::vector<Offset<tflite::Buffer>> buffers;
  std::vector<Offset<tflite::Tensor>> tensors;
  for (uint32_t i = 0; i < 2000; ++i) {
    buffers.push_back(tflite::CreateBuffer(builder, 0, 2 + i, 1));
    tensors.push_back(tflite::CreateTensor(builder, 0, kInt8, i, name));
  }
  const auto graph = tflite::CreateSubGraph(builder, builder.CreateVector(tensors));
  tflite::FinishModelBuffer(builder,
                            tflite::CreateModel(builder, 3, 0, builder.CreateVector(&graph, 1),
                                                builder.CreateVector(buffers)));
  expect_raw_with_warning(
      {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()}, "names");
}

TEST(Tflite, RefusesTooManyTables) {
  // One tensor table, named a million times.
  flatbuffers::FlatBufferBuilder builder;
  const auto tensor = tflite::CreateTensor(builder);
  const std::vector<Offset<tflite::Tensor>> tensors(1'000'001, tensor);
  const auto graph = tflite::CreateSubGraph(builder, builder.CreateVector(tensors));
  tflite::FinishModelBuffer(builder,
                            tflite::CreateModel(builder, 3, 0, builder.CreateVector(&graph, 1)));
  expect_raw_with_warning(
      {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()}, "verify");
}

TEST(Tflite, RefusesRubbishBehindTheIdentifier) {
  File file(64, 0xFF);
  std::memcpy(file.data() + 4, "TFL3", 4);
  expect_raw_with_warning(file, "verify");
  expect_raw_with_warning({file.begin(), file.begin() + 8}, "verify");
  std::fill(file.begin(), file.begin() + 4, uint8_t{0});
  expect_raw_with_warning(file, "verify");
}

TEST(Tflite, SurvivesDamage) {
  const File file = build(small_model());
  expect_truncations_survive(file);
  expect_mutations_survive(file, 20'000);
}

}  // namespace
}  // namespace tensorpatch::model
