// model_test.cc: the tiling check, the gap filler and the choice of the parser.
// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include <gtest/gtest.h>

#include <limits>

#include "model/damage.h"
#include "model/parsers.h"

namespace tensorpatch::model {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

Segment values(uint64_t offset, uint64_t size, ElementType type, std::vector<uint64_t> shape) {
  Segment segment;
  segment.offset = offset;
  segment.size = size;
  segment.type = type;
  segment.role = Role::kWeights;
  segment.name = "w";
  segment.shape = std::move(shape);
  return segment;
}

Model model_of(uint64_t file_size, Segments segments) {
  Model model;
  model.file_size = file_size;
  model.segments = std::move(segments);
  return model;
}

std::string fault_of(const Model& model) {
  const auto checked = check_tiling(model);
  return checked ? "" : checked.error().message;
}

TEST(ElementTypes, HaveSizesAndNames) {
  EXPECT_EQ(element_size(ElementType::kBytes), 1U);
  EXPECT_EQ(element_size(ElementType::kInt8), 1U);
  EXPECT_EQ(element_size(ElementType::kBfloat16), 2U);
  EXPECT_EQ(element_size(ElementType::kInt32), 4U);
  EXPECT_EQ(element_size(ElementType::kFloat64), 8U);
  EXPECT_EQ(element_type_name(ElementType::kUint16), "uint16");
  EXPECT_EQ(element_type_name(ElementType::kFloat64), "float64");
  EXPECT_EQ(format_name(Format::kRaw), "raw");
  EXPECT_EQ(format_name(Format::kGguf), "gguf");
}

TEST(CheckTiling, AcceptsAFullCover) {
  EXPECT_EQ(fault_of(model_of(0, {})), "");
  EXPECT_EQ(fault_of(model_of(12, {values(0, 8, ElementType::kFloat32, {2}),
                                   values(8, 4, ElementType::kInt32, {})})),
            "");
}

TEST(CheckTiling, RefusesGapsOverlapsAndEnds) {
  const auto f32 = ElementType::kFloat32;
  EXPECT_NE(fault_of(model_of(4, {})), "");
  EXPECT_NE(fault_of(model_of(8, {values(4, 4, f32, {1})})), "");
  EXPECT_NE(fault_of(model_of(8, {values(0, 4, f32, {1})})), "");
  EXPECT_NE(fault_of(model_of(8, {values(0, 4, f32, {1}), values(0, 4, f32, {1})})), "");
  EXPECT_NE(fault_of(model_of(8, {values(0, 12, f32, {3})})), "");
  EXPECT_NE(fault_of(model_of(4, {values(0, 4, f32, {1}), values(4, 0, f32, {0})})), "");
  EXPECT_NE(fault_of(model_of(kMax, {values(0, 4, f32, {1}), values(4, kMax, f32, {1})})), "");
}

TEST(CheckTiling, RefusesSizesThatAreNotThoseOfTheShape) {
  EXPECT_NE(fault_of(model_of(6, {values(0, 6, ElementType::kFloat32, {2})})), "");
  EXPECT_NE(fault_of(model_of(8, {values(0, 8, ElementType::kFloat32, {3})})), "");
  EXPECT_NE(fault_of(model_of(8, {values(0, 8, ElementType::kFloat32, {kMax, 2, kMax})})), "");
  EXPECT_EQ(fault_of(model_of(3, {values(0, 3, ElementType::kBytes, {5})})), "") << "int4 x 5";
}

TEST(CheckTiling, ChecksBlocks) {
  Segment blocks = values(0, 36, ElementType::kBytes, {2, 32});
  blocks.block.size = 18;
  blocks.block.elements = 32;
  EXPECT_EQ(fault_of(model_of(36, {blocks})), "");
  blocks.shape = {3, 32};
  EXPECT_NE(fault_of(model_of(36, {blocks})), "");
  blocks.shape = {2, 33};
  EXPECT_NE(fault_of(model_of(36, {blocks})), "");
  blocks.shape = {2, 32};
  blocks.block.elements = 0;
  EXPECT_NE(fault_of(model_of(36, {blocks})), "");
}

TEST(CheckTiling, RefusesANamedOther) {
  Segment other = values(0, 4, ElementType::kBytes, {});
  other.role = Role::kOther;
  EXPECT_NE(fault_of(model_of(4, {other})), "");
}

TEST(Tile, SortsFillsGapsAndDropsEmptySegments) {
  const auto tiled =
      tile({values(8, 4, ElementType::kFloat32, {1}), values(6, 0, ElementType::kFloat32, {0}),
            values(1, 2, ElementType::kInt16, {1})},
           16);
  ASSERT_TRUE(tiled.has_value());
  ASSERT_EQ(tiled->size(), 5U);
  const uint64_t offsets[] = {0, 1, 3, 8, 12};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ((*tiled)[i].offset, offsets[i]);
  EXPECT_EQ((*tiled)[2].role, Role::kOther);
  EXPECT_EQ((*tiled)[4].size, 4U);
  EXPECT_EQ(fault_of(model_of(16, *tiled)), "");
}

TEST(Tile, RefusesOverlapsAndRangesBeyondTheFile) {
  const auto bytes = ElementType::kBytes;
  EXPECT_FALSE(tile({values(0, 5, bytes, {5}), values(4, 4, bytes, {4})}, 16).has_value());
  EXPECT_FALSE(tile({values(4, 4, bytes, {4}), values(4, 4, bytes, {4})}, 16).has_value());
  EXPECT_FALSE(tile({values(12, 5, bytes, {5})}, 16).has_value());
  EXPECT_FALSE(tile({values(17, 1, bytes, {1})}, 16).has_value());
  EXPECT_FALSE(tile({values(8, kMax, bytes, {1})}, 16).has_value());
  EXPECT_FALSE(tile({values(kMax, 1, bytes, {1})}, 16).has_value());
  EXPECT_TRUE(tile({values(0, 16, bytes, {16})}, 16).has_value());
}

TEST(Shape, CountsWithoutOverflow) {
  EXPECT_EQ(element_count({}), 1U);
  EXPECT_EQ(element_count({3, 0, 5}), 0U);
  EXPECT_EQ(element_count({1ULL << 32, 1ULL << 31}), 1ULL << 63);
  EXPECT_EQ(element_count({1ULL << 32, 1ULL << 32}), std::nullopt);
}

TEST(Shape, HasRowsOfOneOutputChannel) {
  EXPECT_EQ(row_elements({}), 0U);
  EXPECT_EQ(row_elements({7}), 0U);
  EXPECT_EQ(row_elements({0, 4}), 0U);
  EXPECT_EQ(row_elements({8, 3, 3, 4}), 36U);
  EXPECT_EQ(row_elements({1, 3, 3, 16}), 16U);
}

TEST(Parse, TakesUnknownFilesAsRaw) {
  const Model empty = parse_exactly({});
  EXPECT_EQ(empty.format, Format::kRaw);
  EXPECT_TRUE(empty.segments.empty());
  EXPECT_EQ(empty.warning, "");
  const std::vector<uint8_t> text(100, 'x');
  const Model raw = parse_exactly(text);
  EXPECT_EQ(raw.format, Format::kRaw);
  ASSERT_EQ(raw.segments.size(), 1U);
  EXPECT_EQ(raw.segments[0].role, Role::kOther);
  EXPECT_EQ(raw.segments[0].type, ElementType::kBytes);
  EXPECT_EQ(raw.warning, "");
}

TEST(Parse, KeepsControlCharactersAndLongNamesOutOfWarnings) {
  const std::string header = R"({"\u001b[2J)" + std::string(5000, 'n') + R"(":{"dtype":"?"}})";
  std::vector<uint8_t> file(8, 0);
  file[0] = static_cast<uint8_t>(header.size());
  file[1] = static_cast<uint8_t>(header.size() >> 8);
  file.insert(file.end(), header.begin(), header.end());
  const std::string warning = parse_exactly(file).warning;
  EXPECT_NE(warning.find("?[2Jnnn"), std::string::npos) << warning;
  EXPECT_LT(warning.size(), 300U);
}

TEST(Parse, DoesNotTakeJsonForSafetensors) {
  const std::string json = R"({"name":{"a":1}})";
  EXPECT_EQ(parse_exactly({json.begin(), json.end()}).warning, "");
}

}  // namespace
}  // namespace tensorpatch::model
