// npy_test.cc: NumPy array files, good, damaged and hostile.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "model/damage.h"
#include "model/file_writer.h"

namespace tensorpatch::model {
namespace {

File npy(const std::string& header, size_t size) {
  FileWriter writer;
  writer.bytes("\x93NUMPY").number<uint8_t>(1).number<uint8_t>(0);
  writer.number(static_cast<uint16_t>(header.size())).bytes(header);
  return writer.bytes(std::string(size, 'v')).file();
}

std::string header(const std::string& descr, const std::string& order, const std::string& shape) {
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

Segment values_of(const Model& model) {
  EXPECT_EQ(model.format, Format::kNpy) << model.warning;
  for (const Segment& segment : model.segments) {
    if (segment.role == Role::kWeights) return segment;
  }
  return {};
}

TEST(Npy, GivesTypeAndShape) {
  const Segment values = values_of(parse_exactly(npy(header("'<f4'", "False", "(2, 3)"), 24)));
  EXPECT_EQ(values.type, ElementType::kFloat32);
  EXPECT_EQ(values.size, 24U);
  EXPECT_EQ(values.shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(values.row_elements, 3U);
}

TEST(Npy, ReversesFortranOrder) {
  const Segment values = values_of(parse_exactly(npy(header("'|i1'", "True", "(2, 3)"), 6)));
  EXPECT_EQ(values.shape, (std::vector<uint64_t>{3, 2}));
}

TEST(Npy, ReadsScalarsVectorsAndPairs) {
  EXPECT_EQ(values_of(parse_exactly(npy(header("'<f8'", "False", "()"), 8))).size, 8U);
  EXPECT_EQ(values_of(parse_exactly(npy(header("'<i2'", "False", "(5,)"), 10))).size, 10U);
  const Segment pairs = values_of(parse_exactly(npy(header("'<c8'", "False", "(5,)"), 40)));
  EXPECT_EQ(pairs.shape, (std::vector<uint64_t>{5, 2}));
}

TEST(Npy, TakesOtherTypesAsBytes) {
  for (const char* const descr : {"'>f4'", "[('a', '<f4'), ('b', '<i2')]", "'|O'", "'<U3'", "x"}) {
    const Segment values = values_of(parse_exactly(npy(header(descr, "False", "(4,)"), 24)));
    EXPECT_EQ(values.type, ElementType::kBytes) << descr;
    EXPECT_EQ(values.size, 24U);
  }
}

TEST(Npy, RefusesWhatDoesNotAddUp) {
  for (const char* const shape : {"(2, 4)", "(9223372036854775808,)", "(4294967296, 4294967296)",
                                  "(99999999999999999999,)", "(4611686018427387904, 4)"}) {
    expect_raw_with_warning(npy(header("'<f4'", "False", shape), 24),
                            std::string_view(shape).size() > 22 ? "" : "early");
  }
  for (const char* const shape :
       {"(-1,)", "6", "(2, 3", "", "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"}) {
    expect_raw_with_warning(npy(header("'|i1'", "False", shape), 6), "header");
  }
  expect_raw_with_warning(npy(header("'|i1'", "Maybe", "(6,)"), 6), "header");
  expect_raw_with_warning(npy("", 6), "header");
}

TEST(Npy, RefusesVersionsAndLengths) {
  FileWriter four;
  expect_raw_with_warning(four.bytes("\x93NUMPY").number<uint16_t>(4).file(), "version");
  FileWriter long_header;
  long_header.bytes("\x93NUMPY").number<uint16_t>(2).number<uint32_t>(~0U).number<uint64_t>(0);
  expect_raw_with_warning(long_header.file(), "early");
}

TEST(Npy, SurvivesDamage) {
  const File file = npy(header("'<f4'", "False", "(2, 3)"), 24);
  expect_truncations_survive(file);
  expect_mutations_survive(file, 20'000);
}

}  // namespace
}  // namespace tensorpatch::model
