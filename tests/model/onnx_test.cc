// onnx_test.cc: ONNX models written field by field, good, damaged and hostile.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "model/damage.h"

namespace tensorpatch::model {
namespace {

using File = std::vector<uint8_t>;

// A protobuf message as bytes; fields are appended in the order of the calls.
class Message {
 public:
  Message& number(uint32_t field, uint64_t value) {
    varint(uint64_t{field} << 3);
    varint(value);
    return *this;
  }
  Message& bytes(uint32_t field, const std::string& content) {
    varint((uint64_t{field} << 3) | 2);
    varint(content.size());
    bytes_ += content;
    return *this;
  }
  Message& bytes(uint32_t field, const Message& message) { return bytes(field, message.bytes_); }
  Message& raw(const std::string& content) {
    bytes_ += content;
    return *this;
  }
  File file() const { return {bytes_.begin(), bytes_.end()}; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

constexpr uint64_t kFloat = 1;
constexpr uint64_t kInt8 = 3;
constexpr uint64_t kInt4 = 22;

Message tensor(const std::string& name, uint64_t type, const std::vector<uint64_t>& shape,
               const std::string& raw_data) {
  Message message;
  for (const uint64_t dimension : shape) message.number(1, dimension);
  return message.number(2, type).bytes(8, name).bytes(9, raw_data);
}

// A model with that graph.
File model_of(const Message& graph) {
  return Message().number(1, 8).bytes(2, std::string("test")).bytes(7, graph).file();
}

Message small_graph() {
  const Message constant_value = Message().number(2, kFloat).bytes(4, std::string(8, 'f'));
  const Message constant = Message()
                               .bytes(2, std::string("constant_out"))
                               .bytes(4, std::string("Constant"))
                               .bytes(5, Message().bytes(5, constant_value));
  const Message branch = Message().bytes(5, tensor("inner", kInt8, {5}, "12345"));
  const Message condition =
      Message().bytes(2, std::string("if_out")).bytes(5, Message().bytes(6, branch));
  return Message()
      .bytes(1, constant)
      .bytes(1, condition)
      .bytes(2, std::string("graph"))
      .bytes(5, tensor("conv.weight", kFloat, {2, 3}, std::string(24, 'w')))
      .bytes(5, tensor("conv.bias", kFloat, {2}, std::string(8, 'b')));
}

TEST(Onnx, GivesInitializersConstantsAndNestedGraphs) {
  const File file = model_of(small_graph());
  const Model model = parse_exactly(file);
  ASSERT_EQ(model.format, Format::kOnnx) << model.warning;
  const Segment weight = segment_named(model, "conv.weight");
  EXPECT_EQ(weight.type, ElementType::kFloat32);
  EXPECT_EQ(weight.size, 24U);
  EXPECT_EQ(weight.shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(weight.row_elements, 3U);
  EXPECT_EQ(file[weight.offset], 'w');
  EXPECT_EQ(file[weight.offset + 23], 'w');
  EXPECT_EQ(segment_named(model, "conv.bias").size, 8U);
  EXPECT_EQ(segment_named(model, "inner").type, ElementType::kInt8);
  const Segment constant = segment_named(model, "constant_out");
  EXPECT_EQ(constant.type, ElementType::kFloat32) << "float_data";
  EXPECT_EQ(constant.shape, (std::vector<uint64_t>{2})) << "flat, since the tensor names none";
}

TEST(Onnx, ReadsFunctionsTrainingAndSparseTensors) {
  const Message node =
      Message().bytes(5, Message().bytes(22, Message()
                                                 .bytes(1, tensor("values", kFloat, {1}, "vvvv"))
                                                 .bytes(2, tensor("indices", 7, {1}, "iiiiiiii"))));
  const Message start = Message().bytes(5, tensor("start", kFloat, {1}, "ssss"));
  const File file = Message()
                        .number(1, 8)
                        .bytes(7, Message())
                        .bytes(20, Message().bytes(1, start))
                        .bytes(25, Message().bytes(7, node))
                        .file();
  const Model model = parse_exactly(file);
  EXPECT_EQ(segment_named(model, "values").type, ElementType::kFloat32);
  EXPECT_EQ(segment_named(model, "indices").type, ElementType::kInt64);
  EXPECT_EQ(segment_named(model, "start").size, 4U);
}

Message node(const std::string& op, const std::vector<std::string>& inputs,
             const std::string& output) {
  Message message;
  for (const std::string& input : inputs) message.bytes(1, input);
  return message.bytes(2, output).bytes(4, op);
}

TEST(Onnx, KnowsScalesZeroPointsAndBiases) {
  const Model model = parse_exactly(
      model_of(Message()  // initializers may stand before the nodes
                   .bytes(5, tensor("w", kInt8, {2, 2}, "wwww"))
                   .bytes(5, tensor("w_s", kFloat, {2}, "wwwwssss"))
                   .bytes(5, tensor("w_z", kInt8, {2}, "zz"))
                   .bytes(1, node("QLinearConv",
                                  {"x", "x_s", "x_z", "w", "w_s", "w_z", "y_s", "y_z", "b"}, "y"))
                   .bytes(1, node("DequantizeLinear", {"c", "c_s"}, "c_float"))
                   .bytes(1, node("MatMulInteger", {"m", "n", "", "n_z"}, "mn"))
                   .bytes(5, tensor("y_s", kFloat, {}, "ssss"))
                   .bytes(5, tensor("b", 6, {1}, "bbbb"))
                   .bytes(5, tensor("c", 6, {1}, "cccc"))
                   .bytes(5, tensor("c_s", 10, {}, "cs"))
                   .bytes(5, tensor("n_z", kInt8, {}, "z"))
                   .bytes(5, tensor("x_s", kInt8, {}, "not a scale"))));
  const auto role_of = [&](const char* name) { return segment_named(model, name).role; };
  EXPECT_EQ(role_of("w"), Role::kWeights);
  EXPECT_EQ(role_of("w/scale"), Role::kScale);
  EXPECT_EQ(role_of("w/zero_point"), Role::kZeroPoint);
  EXPECT_EQ(role_of("y/scale"), Role::kScale);
  EXPECT_EQ(role_of("b"), Role::kBias);
  EXPECT_EQ(role_of("c"), Role::kBias) << "32-bit values that are dequantised";
  EXPECT_EQ(role_of("c/scale"), Role::kScale) << "float16";
  EXPECT_EQ(role_of("n/zero_point"), Role::kZeroPoint);
  EXPECT_EQ(role_of("x_s"), Role::kWeights) << "integers are no scale";
}

// A long name cannot be multiplied by many scales.
TEST(Onnx, BoundsNamesOfScales) {
  Message graph;
  for (unsigned i = 0; i < 1000; ++i) graph.bytes(5, tensor("s", kFloat, {}, "ssss"));
  graph.bytes(1, node("DequantizeLinear", {std::string(1'000'000, 'n'), "s"}, "y"));
  for (const Segment& segment : parse_exactly(model_of(graph)).segments) {
    EXPECT_LE(segment.name.size(), 1U);
  }
}

// Five bytes a tensor would take forty times their size.
TEST(Onnx, RefusesTooManyTensors) {
  std::string tensors;
  for (unsigned i = 0; i < 1'000'001; ++i) tensors += std::string("\x2A\x03\x4A\x01v", 5);
  expect_raw_with_warning(model_of(Message().raw(tensors)), "too many");
}

struct Place {
  std::string location;
  std::string offset;
  std::string length;
};

Message external(const std::string& name, const Place& place) {
  const auto entry = [](const char* key, const std::string& value) {
    return Message().bytes(1, std::string(key)).bytes(2, value);
  };
  Message message = Message().number(1, 2).number(1, 3).number(2, kFloat).bytes(8, name);
  message.bytes(13, entry("location", place.location)).bytes(13, entry("offset", place.offset));
  if (!place.length.empty()) message.bytes(13, entry("length", place.length));
  return message.number(14, 1);
}

// The data file's model, when the tensors of an ONNX file are there.
Model data_model(const std::vector<Place>& places, const std::string& name = "model.data") {
  Message graph;
  for (const Place& place : places) {
    graph.bytes(5, external("t" + std::to_string(&place - places.data()), place));
  }
  const File onnx = model_of(graph);
  const File data(100, 'v');
  const NamedFile files[] = {{"model.onnx", onnx}, {name, data}};
  std::vector<Model> models = parse_all(files);
  EXPECT_EQ(models[0].format, Format::kOnnx);
  const auto checked = check_tiling(models[1]);
  EXPECT_TRUE(checked.has_value()) << checked.error().message;
  return models[1];
}

TEST(OnnxData, TensorsHaveTheirPlaces) {
  const Model model = data_model({{"model.data", "4", "24"}, {"a/model.data", "40", ""}});
  EXPECT_EQ(model.format, Format::kOnnxData) << model.warning;
  const Segment first = segment_named(model, "t0");
  EXPECT_EQ(first.offset, 4U);
  EXPECT_EQ(first.size, 24U);
  EXPECT_EQ(first.type, ElementType::kFloat32);
  EXPECT_EQ(first.shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(segment_named(model, "t1").size, 24U) << "as long as its shape";
  EXPECT_EQ(data_model({{"model.data", "4", "24"}}, "renamed").format, Format::kOnnxData)
      << "the only file that is not known";
}

TEST(OnnxData, SharedPlacesAreTakenOnce) {
  const Model model = data_model({{"model.data", "4", "24"}, {"model.data", "4", "24"}});
  EXPECT_EQ(model.segments.size(), 3U) << model.warning;
}

TEST(OnnxData, PicksTheFileByName) {
  const File onnx = model_of(Message().bytes(5, external("t", {"b.bin", "0", "24"})));
  const File data(24, 'v');
  const NamedFile files[] = {{"a.bin", data}, {"m.onnx", onnx}, {"b.bin", data}, {"c.bin", data}};
  const std::vector<Model> models = parse_all(files);
  EXPECT_EQ(models[0].format, Format::kRaw);
  EXPECT_EQ(models[2].format, Format::kOnnxData);
  EXPECT_EQ(models[3].format, Format::kRaw);
  const NamedFile others[] = {{"a.bin", data}, {"m.onnx", onnx}, {"c.bin", data}};
  for (const Model& model : parse_all(others)) EXPECT_NE(model.format, Format::kOnnxData);
}

TEST(OnnxData, WhatDoesNotFitIsRaw) {
  for (const Place& place :
       {Place{"model.data", "90", "24"}, Place{"model.data", "18446744073709551615", "1"},
        Place{"model.data", "9223372036854775808", "9223372036854775808"}}) {
    const Model model = data_model({place});
    EXPECT_EQ(model.format, Format::kRaw);
    EXPECT_NE(model.warning.find("do not fit"), std::string::npos) << model.warning;
  }
  const Model overlap = data_model({{"model.data", "0", "24"}, {"model.data", "4", "24"}});
  EXPECT_NE(overlap.warning.find("overlaps"), std::string::npos) << overlap.warning;
  for (const Place& place :
       {Place{"model.data", "-1", "24"}, Place{"model.data", "0", "2x"},
        Place{"model.data", "99999999999999999999", "1"}, Place{"", "0", "4"}}) {
    EXPECT_EQ(data_model({place}).segments.size(), 1U) << "left out";
  }
}

TEST(Onnx, ReadsPackedDimensionsAndTypedFields) {
  const Message packed = Message()
                             .bytes(1, std::string("\x02\x02"))
                             .number(2, 11)
                             .bytes(10, std::string(32, 'd'))
                             .bytes(8, std::string("doubles"));
  const Message varints = Message()
                              .number(1, 2)
                              .number(2, 6)
                              .bytes(8, std::string("varints"))
                              .bytes(5, std::string("\x01\x80\x01"));
  const Model model = parse_exactly(model_of(Message().bytes(5, packed).bytes(5, varints)));
  EXPECT_EQ(segment_named(model, "doubles").type, ElementType::kFloat64);
  EXPECT_EQ(segment_named(model, "doubles").shape, (std::vector<uint64_t>{2, 2}));
  EXPECT_EQ(segment_named(model, "varints").type, ElementType::kBytes);
  EXPECT_EQ(segment_named(model, "varints").size, 3U);
}

TEST(Onnx, TakesWhatDoesNotFitItsShapeFlatOrAsBytes) {
  const auto parsed = [](const Message& message) {
    return segment_named(parse_exactly(model_of(Message().bytes(5, message))), "t");
  };
  EXPECT_EQ(parsed(tensor("t", kFloat, {3}, "12345678")).shape, (std::vector<uint64_t>{2}));
  EXPECT_EQ(parsed(tensor("t", kFloat, {~0ULL, 2}, "12345678")).shape.size(), 1U);
  EXPECT_EQ(parsed(tensor("t", kInt8, std::vector<uint64_t>(100, 1), "1")).shape.size(), 1U);
  EXPECT_EQ(parsed(tensor("t", kFloat, {2}, "1234567")).type, ElementType::kBytes);
  EXPECT_EQ(parsed(tensor("t", kInt4, {4}, "12")).type, ElementType::kBytes);
  EXPECT_EQ(parsed(tensor("t", ~0ULL, {2}, "12")).type, ElementType::kBytes);
}

TEST(Onnx, TakesTheLastOfARepeatedField) {
  const Message twice = tensor("t", kInt8, {2}, "ab").bytes(9, std::string("cde"));
  const File file = model_of(Message().bytes(5, twice));
  const Segment segment = segment_named(parse_exactly(file), "t");
  EXPECT_EQ(segment.size, 3U);
  EXPECT_EQ(file[segment.offset], 'c');
}

TEST(Onnx, DoesNotTakeOtherProtobufFiles) {
  const File saved_model = Message().number(1, 1).bytes(2, Message().number(1, 1)).file();
  EXPECT_EQ(parse_exactly(saved_model).warning, "");
}

TEST(Onnx, RefusesWhatIsNoGraph) {
  expect_raw_with_warning(Message().number(1, 8).bytes(2, std::string("test")).file(), "no graph");
  const std::string beyond("\x3A\xFF\xFF\xFF\xFF\x7F", 6);
  expect_raw_with_warning(Message().number(1, 8).raw(beyond).file(), "onnx");
  const std::string endless(20, '\xFF');
  expect_raw_with_warning(Message().number(1, 8).raw("\x3A").raw(endless).file(), "onnx");
  const std::string group("\x0B\x0B\x0B", 3);
  expect_raw_with_warning(model_of(Message().raw(group)), "onnx");
}

TEST(Onnx, RefusesDeepNesting) {
  Message graph;
  for (int i = 0; i < 2000; ++i) {
    graph = Message().bytes(1, Message().bytes(5, Message().bytes(6, graph)));
  }
  expect_raw_with_warning(model_of(graph), "deep");
}

TEST(Onnx, DoesNotRepeatLongNames) {
  Message node;
  node.bytes(2, std::string(1'000'000, 'n'));
  for (int i = 0; i < 5000; ++i)
    node.bytes(5, Message().bytes(5, Message().bytes(9, std::string("x"))));
  const Model model = parse_exactly(model_of(Message().bytes(1, node)));
  ASSERT_EQ(model.format, Format::kOnnx) << model.warning;
  for (const Segment& segment : model.segments) ASSERT_EQ(segment.name, "");
}

TEST(Onnx, SurvivesDamage) {
  const File file = model_of(small_graph());
  expect_truncations_survive(file);
  expect_mutations_survive(file, 20'000);
}

}  // namespace
}  // namespace tensorpatch::model
