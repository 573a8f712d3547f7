// gguf_test.cc: hand-written GGUF files, good, damaged and hostile.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "model/damage.h"
#include "model/gguf_types.h"

namespace tensorpatch::model {
namespace {

using File = std::vector<uint8_t>;

class Writer {
 public:
  template <class T>
  Writer& number(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      file_.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i)));
    }
    return *this;
  }
  Writer& text(const std::string& value) {
    number<uint64_t>(value.size());
    file_.insert(file_.end(), value.begin(), value.end());
    return *this;
  }
  Writer& begin(uint32_t version, uint64_t tensors, uint64_t pairs) {
    for (const char letter : {'G', 'G', 'U', 'F'}) file_.push_back(static_cast<uint8_t>(letter));
    return number(version).number(tensors).number(pairs);
  }
  Writer& tensor(const std::string& name, const std::vector<uint64_t>& dimensions, uint32_t type,
                 uint64_t offset) {
    text(name).number(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t dimension : dimensions) number(dimension);
    return number(type).number(offset);
  }
  Writer& data(uint64_t alignment, size_t size) {
    file_.resize((file_.size() + alignment - 1) / alignment * alignment);
    data_offset_ = file_.size();
    file_.resize(file_.size() + size, 0x33);
    return *this;
  }
  uint64_t data_offset() const { return data_offset_; }
  const File& file() const { return file_; }

 private:
  File file_;
  uint64_t data_offset_ = 0;
};

Writer one_tensor(const std::vector<uint64_t>& dimensions, uint32_t type, uint64_t offset,
                  size_t size) {
  Writer writer;
  writer.begin(3, 1, 0).tensor("t", dimensions, type, offset).data(32, size);
  return writer;
}

// Pairs of every kind, a file alignment of 64, a float tensor and a Q4_0 tensor.
Writer small_file() {
  Writer writer;
  writer.begin(3, 2, 6);
  writer.text("general.name").number<uint32_t>(8).text("test");
  writer.text("general.alignment").number<uint32_t>(4).number<uint32_t>(64);
  writer.text("tokens").number<uint32_t>(9).number<uint32_t>(8).number<uint64_t>(2);
  writer.text("a").text("bc");
  writer.text("scores").number<uint32_t>(9).number<uint32_t>(6).number<uint64_t>(3);
  writer.number<uint32_t>(1).number<uint32_t>(2).number<uint32_t>(3);
  writer.text("flag").number<uint32_t>(7).number<uint8_t>(1);
  writer.text("big").number<uint32_t>(10).number<uint64_t>(1ULL << 63);
  writer.tensor("norm", {3}, 0, 64).tensor("w", {64, 2}, 2, 128);
  writer.data(64, 128 + 4 * 18);
  return writer;
}

TEST(Gguf, GivesTypedTensorsAndBlocks) {
  const Writer writer = small_file();
  const Model model = parse_exactly(writer.file());
  ASSERT_EQ(model.format, Format::kGguf) << model.warning;
  const Segment norm = segment_named(model, "norm");
  EXPECT_EQ(norm.type, ElementType::kFloat32);
  EXPECT_EQ(norm.offset, writer.data_offset() + 64);
  EXPECT_EQ(norm.size, 12U);
  const Segment blocks = segment_named(model, "w");
  EXPECT_EQ(blocks.type, ElementType::kBytes);
  EXPECT_EQ(blocks.role, Role::kWeights);
  EXPECT_EQ(blocks.offset, writer.data_offset() + 128);
  EXPECT_EQ(blocks.size, 4 * 18U);
  EXPECT_EQ(blocks.block.size, 18U);
  EXPECT_EQ(blocks.block.elements, 32U);
  EXPECT_EQ(blocks.shape, (std::vector<uint64_t>{2, 64})) << "outermost first";
  EXPECT_EQ(blocks.row_elements, 64U);
}

TEST(Gguf, KnowsPlainTypes) {
  const std::pair<uint32_t, ElementType> cases[] = {
      {0, ElementType::kFloat32},  {1, ElementType::kFloat16},  {24, ElementType::kInt8},
      {25, ElementType::kInt16},   {26, ElementType::kInt32},   {27, ElementType::kInt64},
      {28, ElementType::kFloat64}, {30, ElementType::kBfloat16}};
  for (const auto& [id, type] : cases) {
    const Model model = parse_exactly(one_tensor({5}, id, 0, 40).file());
    EXPECT_EQ(segment_named(model, "t").type, type) << id;
    EXPECT_EQ(segment_named(model, "t").size, 5 * element_size(type)) << id;
  }
}

// Sizes as ggml's own static_asserts state them.
TEST(Gguf, KnowsBlockLayouts) {
  struct Published {
    uint32_t id;
    uint32_t size;
    uint32_t elements;
  };
  constexpr Published kPublished[] = {
      {2, 18, 32},   {3, 20, 32},    {6, 22, 32},    {7, 24, 32},    {8, 34, 32},    {9, 36, 32},
      {10, 84, 256}, {11, 110, 256}, {12, 144, 256}, {13, 176, 256}, {14, 210, 256}, {15, 292, 256},
      {16, 66, 256}, {17, 74, 256},  {18, 98, 256},  {19, 50, 256},  {20, 18, 32},   {21, 110, 256},
      {22, 82, 256}, {23, 136, 256}, {29, 56, 256},  {34, 54, 256},  {35, 66, 256},  {39, 17, 32},
      {40, 36, 64},  {41, 18, 128}};
  for (const Published& expected : kPublished) {
    const GgufType* const type = find_gguf_type(expected.id);
    ASSERT_NE(type, nullptr) << expected.id;
    EXPECT_EQ(type->block.size, expected.size) << expected.id;
    EXPECT_EQ(type->block.elements, expected.elements) << expected.id;
    EXPECT_EQ(type->type, ElementType::kBytes);
    uint32_t end = 0;
    for (const BlockField& field : type->block.fields) {
      EXPECT_EQ(field.offset, end) << expected.id;
      end += field.size;
    }
    EXPECT_EQ(end, expected.size) << expected.id;
    const File file = one_tensor({2 * expected.elements}, expected.id, 0, 2 * expected.size).file();
    EXPECT_EQ(segment_named(parse_exactly(file), "t").size, 2 * expected.size) << expected.id;
  }
  EXPECT_EQ(find_gguf_type(4), nullptr);
  EXPECT_EQ(find_gguf_type(~0U), nullptr);
}

TEST(Gguf, NamesTheFieldsOfABlock) {
  const std::span<const BlockField> fields = find_gguf_type(12)->block.fields;  // Q4_K
  ASSERT_EQ(fields.size(), 3U);
  EXPECT_EQ(fields[0].kind, FieldKind::kFloat16);
  EXPECT_EQ(fields[1].kind, FieldKind::kScales6);
  EXPECT_EQ(fields[1].offset, 4U);
  EXPECT_EQ(fields[2].kind, FieldKind::kNibbles);
  EXPECT_EQ(fields[2].size, 128U);
}

TEST(Gguf, LeavesUnknownTypesBetweenTensors) {
  const Model model = parse_exactly(one_tensor({32}, 4, 0, 64).file());
  EXPECT_EQ(model.format, Format::kGguf) << model.warning;
  ASSERT_EQ(model.segments.size(), 1U);
  EXPECT_EQ(model.segments[0].role, Role::kOther);
}

TEST(Gguf, ReadsVersion2ButNoOther) {
  Writer two;
  two.begin(2, 0, 0);
  EXPECT_EQ(parse_exactly(two.file()).format, Format::kGguf);
  for (const uint32_t version : {0U, 1U, 4U, 3U << 24}) {
    Writer other;
    other.begin(version, 0, 0);
    expect_raw_with_warning(other.file(), "version");
  }
}

TEST(Gguf, RefusesTensorsThatDoNotFit) {
  ASSERT_EQ(parse_exactly(one_tensor({16}, 0, 0, 64).file()).format, Format::kGguf);
  expect_raw_with_warning(one_tensor({17}, 0, 0, 64).file(), "behind the file");
  expect_raw_with_warning(one_tensor({16}, 0, 1, 64).file(), "behind the file");
  expect_raw_with_warning(one_tensor({16}, 0, ~0ULL, 64).file(), "offset of tensor");
  expect_raw_with_warning(one_tensor({16}, 0, 1ULL << 63, 64).file(), "behind the file");
  expect_raw_with_warning(one_tensor({1ULL << 63}, 0, 0, 64).file(), "shape");
  expect_raw_with_warning(one_tensor({1ULL << 32, 1ULL << 32}, 24, 0, 64).file(), "shape");
  expect_raw_with_warning(one_tensor({33}, 2, 0, 64).file(), "shape");
  expect_raw_with_warning(one_tensor({16, 2}, 2, 0, 64).file(), "shape");
  expect_raw_with_warning(one_tensor(std::vector<uint64_t>(17, 1), 0, 0, 64).file(), "dimensions");
  Writer overlap;
  overlap.begin(3, 2, 0).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 16).data(32, 64);
  expect_raw_with_warning(overlap.file(), "overlaps");
}

TEST(Gguf, RefusesCountsAndLengthsBeyondTheFile) {
  Writer tensors;
  tensors.begin(3, 1'000'000, 0);
  expect_raw_with_warning(tensors.file(), "too early");
  for (const uint64_t huge : {1'000'001ULL, 1ULL << 32, 1ULL << 63, ~0ULL}) {
    Writer many;
    many.begin(3, huge, 0);
    expect_raw_with_warning(many.file(), "too many");
    Writer pairs;
    pairs.begin(3, 0, huge);
    expect_raw_with_warning(pairs.file(), "pairs");
    Writer key;
    key.begin(3, 0, 1).number(huge).number<uint64_t>(0);
    expect_raw_with_warning(key.file(), "pairs");
    for (const uint32_t element : {4U, 8U, 10U}) {
      Writer array;
      array.begin(3, 0, 1).text("a").number<uint32_t>(9).number(element).number(huge);
      array.number<uint64_t>(0);
      expect_raw_with_warning(array.file(), "pairs");
    }
  }
}

// An array in an array in an array ... of no values.
Writer nested_arrays(unsigned depth) {
  Writer writer;
  writer.begin(3, 0, 1).text("a").number<uint32_t>(9);
  for (unsigned i = 1; i < depth; ++i) writer.number<uint32_t>(9).number<uint64_t>(1);
  writer.number<uint32_t>(5).number<uint64_t>(0);
  return writer;
}

TEST(Gguf, ReadsArraysOfEveryType) {
  constexpr uint8_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  Writer writer;
  writer.begin(3, 1, 13);
  for (uint32_t type = 0; type < 13; ++type) {
    writer.text("array").number<uint32_t>(9).number(type).number<uint64_t>(3);
    for (unsigned i = 0; i < 3; ++i) {
      if (type == 8) writer.text("text");
      if (type == 9) writer.number<uint32_t>(0).number<uint64_t>(1).number<uint8_t>(7);
      for (unsigned byte = 0; byte < kSizes[type]; ++byte) writer.number<uint8_t>(9);
    }
  }
  writer.tensor("t", {4}, 0, 0).data(32, 16);
  EXPECT_EQ(segment_named(parse_exactly(writer.file()), "t").offset, writer.data_offset());
}

TEST(Gguf, BoundsNestingOfArrays) {
  EXPECT_EQ(parse_exactly(nested_arrays(4).file()).format, Format::kGguf);
  expect_raw_with_warning(nested_arrays(9).file(), "pairs");
  expect_raw_with_warning(nested_arrays(1'000'000).file(), "pairs");
}

TEST(Gguf, ReadsManyTensors) {
  constexpr uint32_t kCount = 50'000;
  Writer writer;
  writer.begin(3, kCount, 0);
  for (uint32_t i = 0; i < kCount; ++i) writer.tensor("t", {1}, 0, uint64_t{4} * i);
  writer.data(32, size_t{4} * kCount);
  EXPECT_EQ(parse_exactly(writer.file()).segments.size(), kCount + 1);
}

TEST(Gguf, RefusesMalformedPairs) {
  for (const uint32_t type : {13U, 255U, ~0U}) {
    Writer element;
    element.begin(3, 0, 1).text("a").number<uint32_t>(9).number(type).number<uint64_t>(0);
    expect_raw_with_warning(element.file(), "pairs");
    Writer writer;
    writer.begin(3, 0, 1).text("a").number(type).number<uint64_t>(0);
    expect_raw_with_warning(writer.file(), "pairs");
  }
  for (const uint32_t alignment : {0U, 3U, ~0U}) {
    Writer writer;
    writer.begin(3, 0, 1).text("general.alignment").number<uint32_t>(4).number(alignment);
    expect_raw_with_warning(writer.file(), "alignment");
  }
}

TEST(Gguf, SurvivesDamage) {
  const File file = small_file().file();
  for (size_t size = 4; size < file.size(); ++size) {
    expect_raw_with_warning({file.begin(), file.begin() + static_cast<ptrdiff_t>(size)}, "gguf");
  }
  expect_mutations_survive(file, 20'000);
}

}  // namespace
}  // namespace tensorpatch::model
