// safetensors_test.cc: hand-written safetensors files, good, damaged and hostile.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "model/damage.h"

namespace tensorpatch::model {
namespace {

using File = std::vector<uint8_t>;

// A file of a header with the given size field, and `data_size` bytes of data.
File file_with_header_size(uint64_t header_size, const std::string& header, size_t data_size) {
  File file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<uint8_t>(header_size >> (8 * i)));
  file.insert(file.end(), header.begin(), header.end());
  for (size_t i = 0; i < data_size; ++i) file.push_back(static_cast<uint8_t>(i * 37));
  return file;
}

File file_of(const std::string& header, size_t data_size) {
  return file_with_header_size(header.size(), header, data_size);
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":[)" + shape +
         R"(],"data_offsets":[)" + offsets + "]}";
}

TEST(Safetensors, GivesTensorsThatTileTheFile) {
  const std::string header = "{" + tensor("fc.weight", "F32", "2,3", "8,32") + "," +
                             tensor("fc.bias", "F16", "4", "0,8") +
                             R"(,"__metadata__":{"format":"pt","shape":"x"}})" + "   ";
  const Model model = parse_exactly(file_of(header, 32));
  ASSERT_EQ(model.format, Format::kSafetensors) << model.warning;
  EXPECT_EQ(model.warning, "");
  ASSERT_EQ(model.segments.size(), 3U);
  EXPECT_EQ(model.segments[0].role, Role::kOther);
  EXPECT_EQ(model.segments[0].size, 8 + header.size());
  const Segment& bias = model.segments[1];
  EXPECT_EQ(bias.name, "fc.bias");
  EXPECT_EQ(bias.type, ElementType::kFloat16);
  EXPECT_EQ(bias.role, Role::kWeights);
  EXPECT_EQ(bias.row_elements, 0U);
  const Segment& weight = model.segments[2];
  EXPECT_EQ(weight.offset, 8 + header.size() + 8);
  EXPECT_EQ(weight.size, 24U);
  EXPECT_EQ(weight.shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(weight.row_elements, 3U);
}

struct DtypeCase {
  const char* name;
  unsigned bits;
  ElementType type;
};

TEST(Safetensors, KnowsAllDtypes) {
  const DtypeCase cases[] = {
      {"BOOL", 8, ElementType::kUint8},        {"U8", 8, ElementType::kUint8},
      {"I8", 8, ElementType::kInt8},           {"F8_E5M2", 8, ElementType::kUint8},
      {"F8_E4M3", 8, ElementType::kUint8},     {"F8_E8M0", 8, ElementType::kUint8},
      {"I16", 16, ElementType::kInt16},        {"U16", 16, ElementType::kUint16},
      {"F16", 16, ElementType::kFloat16},      {"BF16", 16, ElementType::kBfloat16},
      {"I32", 32, ElementType::kInt32},        {"U32", 32, ElementType::kUint32},
      {"F32", 32, ElementType::kFloat32},      {"F64", 64, ElementType::kFloat64},
      {"I64", 64, ElementType::kInt64},        {"U64", 64, ElementType::kUint64},
      {"C64", 64, ElementType::kFloat32},      {"F4", 4, ElementType::kBytes},
      {"F6_E2M3", 6, ElementType::kBytes},     {"F6_E3M2", 6, ElementType::kBytes},
      {"F8_E4M3FNUZ", 8, ElementType::kUint8}, {"F8_E5M2FNUZ", 8, ElementType::kUint8},
  };
  for (const DtypeCase& c : cases) {
    const unsigned size = 4 * c.bits / 8;
    const std::string header = "{" + tensor("t", c.name, "2,2", "0," + std::to_string(size)) + "}";
    const Model model = parse_exactly(file_of(header, size));
    ASSERT_EQ(model.format, Format::kSafetensors) << c.name << ": " << model.warning;
    EXPECT_EQ(segment_named(model, "t").type, c.type) << c.name;
    EXPECT_EQ(segment_named(model, "t").size, size) << c.name;
  }
}

TEST(Safetensors, TakesAComplexNumberAsAPair) {
  const Model model = parse_exactly(file_of("{" + tensor("c", "C64", "3", "0,24") + "}", 24));
  EXPECT_EQ(segment_named(model, "c").shape, (std::vector<uint64_t>{3, 2}));
}

TEST(Safetensors, EmptyAndScalarTensors) {
  const std::string header = "{" + tensor("none", "F32", "0,4", "0,0") + "," +
                             tensor("one", "I64", "", "0,8") + "," +
                             tensor("end", "F32", "0", "8,8") + "}";
  const Model model = parse_exactly(file_of(header, 8));
  ASSERT_EQ(model.format, Format::kSafetensors) << model.warning;
  ASSERT_EQ(model.segments.size(), 2U) << "tensors without bytes make no segment";
  EXPECT_EQ(model.segments[1].name, "one");
  EXPECT_EQ(model.segments[1].shape.size(), 0U);
  EXPECT_EQ(parse_exactly(file_of("{}", 0)).format, Format::kSafetensors);
}

TEST(Safetensors, SkipsUnknownFields) {
  const std::string header =
      R"({"t":{"extra":{"dtype":[1,{"a":null}]},"dtype":"U8","flag":true,"shape":[2],)"
      R"("x":[1.5,-2,"s"],"data_offsets":[0,2]}})";
  const Model model = parse_exactly(file_of(header, 2));
  EXPECT_EQ(model.format, Format::kSafetensors) << model.warning;
}

TEST(Safetensors, RefusesHeaderSizes) {
  const std::string header = "{" + tensor("t", "U8", "2", "0,2") + "}";
  const uint64_t sizes[] = {header.size() + 3, 100'000'001, 1ULL << 32, 1ULL << 63, ~0ULL, 0};
  for (const uint64_t size : sizes) {
    expect_raw_with_warning(file_with_header_size(size, header, 2),
                            size == 0 ? "json" : "header of");
  }
  expect_raw_with_warning(file_with_header_size(header.size() - 1, header, 2), "json");
}

TEST(Safetensors, RefusesOffsetsThatDoNotTile) {
  const auto two = [](const char* first, const char* second, size_t size) {
    return file_of("{" + tensor("a", "U8", "4", first) + "," + tensor("b", "U8", "4", second) + "}",
                   size);
  };
  ASSERT_EQ(parse_exactly(two("0,4", "4,8", 8)).format, Format::kSafetensors);
  expect_raw_with_warning(two("0,4", "5,9", 9), "holes");
  expect_raw_with_warning(two("1,5", "5,9", 9), "holes");
  expect_raw_with_warning(two("0,4", "3,7", 7), "overlap");
  expect_raw_with_warning(two("0,4", "0,4", 4), "overlap");
  expect_raw_with_warning(two("0,4", "4,8", 9), "holes");
  expect_raw_with_warning(two("0,4", "4,8", 7), "holes");
  expect_raw_with_warning(two("0,4", "8,4", 8), "size is not");
  expect_raw_with_warning(two("0,4", "4,9", 9), "size is not");
}

TEST(Safetensors, RefusesNumbersThatWrap) {
  const auto one = [](const char* dtype, const char* shape, const char* offsets) {
    return file_of("{" + tensor("a", dtype, shape, offsets) + "}", 8);
  };
  ASSERT_EQ(parse_exactly(one("U8", "8", "0,8")).format, Format::kSafetensors);
  expect_raw_with_warning(one("U8", "8", "18446744073709551608,18446744073709551616"),
                          "wrong type");
  expect_raw_with_warning(one("U8", "8", "18446744073709551600,18446744073709551608"), "beyond");
  expect_raw_with_warning(one("U8", "8", "9223372036854775808,9223372036854775816"), "holes");
  expect_raw_with_warning(one("U8", "4294967296,4294967296,8", "0,8"), "size is not");
  expect_raw_with_warning(one("U64", "2305843009213693953", "0,8"), "size is not");
  expect_raw_with_warning(one("U8", "-8", "0,8"), "wrong type");
  expect_raw_with_warning(one("U8", "8.0", "0,8"), "wrong type");
  expect_raw_with_warning(one("U8", "8", "0,1e1"), "wrong type");
}

TEST(Safetensors, RefusesTensorsThatAreNotWhole) {
  const auto fields = [](const char* text) {
    return file_of(std::string(R"({"a":{)") + text + "}}", 2);
  };
  ASSERT_EQ(parse_exactly(fields(R"("dtype":"U8","shape":[2],"data_offsets":[0,2])")).format,
            Format::kSafetensors);
  expect_raw_with_warning(fields(R"("shape":[2],"data_offsets":[0,2])"), "dtype");
  expect_raw_with_warning(fields(R"("dtype":"U8","data_offsets":[0,2])"), "missing");
  expect_raw_with_warning(fields(R"("dtype":"U8","shape":[2])"), "missing");
  expect_raw_with_warning(fields(R"("dtype":"U8","shape":[2],"data_offsets":[0])"), "missing");
  expect_raw_with_warning(fields(R"("dtype":"U8","shape":[2],"data_offsets":[0,2,4])"), "missing");
  expect_raw_with_warning(fields(R"("dtype":"U9","shape":[2],"data_offsets":[0,2])"), "dtype");
  expect_raw_with_warning(fields(R"("dtype":1,"shape":[2],"data_offsets":[0,2])"), "wrong type");
  expect_raw_with_warning(fields(R"("dtype":["U8"],"shape":[2],"data_offsets":[0,2])"),
                          "wrong type");
  expect_raw_with_warning(fields(R"("dtype":"U8","shape":2,"data_offsets":[0,2])"), "wrong type");
  expect_raw_with_warning(fields(R"("dtype":"U8","shape":[[2]],"data_offsets":[0,2])"),
                          "wrong type");
  expect_raw_with_warning(fields(R"("dtype":"U8","shape":{"a":2},"data_offsets":[0,2])"),
                          "wrong type");
  expect_raw_with_warning(fields(R"("dtype":"U8","shape":["2"],"data_offsets":[0,2])"),
                          "wrong type");
  expect_raw_with_warning(file_of(R"({"a":5})", 0), "object");
  expect_raw_with_warning(file_of(R"({"a":[]})", 0), "object");
}

TEST(Safetensors, RefusesDuplicateKeys) {
  expect_raw_with_warning(
      file_of("{" + tensor("a", "U8", "2", "0,2") + "," + tensor("a", "U8", "2", "2,4") + "}", 4),
      "duplicate key");
  expect_raw_with_warning(
      file_of(R"({"a":{"dtype":"U8","shape":[2],"shape":[2],"data_offsets":[0,2]}})", 2),
      "duplicate key");
  expect_raw_with_warning(file_of(R"({"__metadata__":{"a":"b","\u0061":"b"}})", 0),
                          "duplicate key");
}

TEST(Safetensors, RefusesJsonThatIsNotStrict) {
  expect_raw_with_warning(file_of("{}x", 0), "json");
  expect_raw_with_warning(file_of("{", 0), "json");
  expect_raw_with_warning(file_of(R"({"a":{},})", 0), "json");
  expect_raw_with_warning(file_of("{\"\xFF\":{}}", 0), "json");
  expect_raw_with_warning(file_of("{/**/}", 0), "json");
}

TEST(Safetensors, RefusesDeepNesting) {
  for (const char* open : {"[", "{\"a\":"}) {
    std::string header = R"({"a":{"x":)";
    for (int i = 0; i < 200'000; ++i) header += open;
    expect_raw_with_warning(file_of(header, 0), "nesting");
  }
}

TEST(Safetensors, RefusesManyDimensions) {
  std::string shape = "1";
  for (int i = 0; i < 1000; ++i) shape += ",1";
  expect_raw_with_warning(file_of("{" + tensor("a", "U8", shape, "0,1") + "}", 1), "dimensions");
}

TEST(Safetensors, SurvivesDamage) {
  const std::string header = "{" + tensor("a.weight", "F32", "2,3", "8,32") + "," +
                             tensor("a.bias", "F16", "4", "0,8") +
                             R"(,"__metadata__":{"format":"pt"}})";
  const File file = file_of(header, 32);
  for (size_t size = 9; size < file.size(); ++size) {
    expect_raw_with_warning({file.begin(), file.begin() + static_cast<ptrdiff_t>(size)}, "damaged");
  }
  expect_truncations_survive(file);
  expect_mutations_survive(file, 20'000);
}

}  // namespace
}  // namespace tensorpatch::model
