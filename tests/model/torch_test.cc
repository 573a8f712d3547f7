// torch_test.cc: PyTorch files from before zip, good, damaged and hostile.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "model/damage.h"
#include "model/file_writer.h"

namespace tensorpatch::model {
namespace {

struct Parts {
  std::string type = "FloatStorage";
  std::string key = "7";     // of the storage
  std::string listed = "7";  // in the list of keys
  uint8_t count = 6;         // in the pickle
  uint64_t written = 6;      // before the values
  size_t size = 24;          // of the values
  std::string object = {};   // instead of the tensor
};

std::string text_opcode(const std::string& text) {
  return FileWriter().bytes("X").number(static_cast<uint32_t>(text.size())).bytes(text).text();
}

File torch_file(const Parts& parts) {
  FileWriter writer;
  writer.bytes("\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.");
  writer.bytes("\x80\x02M").number<uint16_t>(1001).bytes(".").bytes("\x80\x02}.");
  if (!parts.object.empty()) {
    writer.bytes(parts.object);
  } else {  // {"net": {"w": a tensor in column order}}
    writer.bytes("\x80\x02}").bytes(text_opcode("net")).bytes("}(").bytes(text_opcode("w"));
    writer.bytes("ctorch._utils\n_rebuild_tensor_v2\n((").bytes(text_opcode("storage"));
    writer.bytes("ctorch\n" + parts.type + "\n").bytes(text_opcode(parts.key));
    writer.bytes(text_opcode("cpu")).bytes("K").number(parts.count).bytes("NtQK");
    writer.number<uint8_t>(0).bytes("K\x02K\x03\x86K\x01K\x02\x86tRus.");
  }
  writer.bytes("\x80\x02](").bytes(text_opcode(parts.listed)).bytes("e.");
  return writer.number(parts.written).bytes(std::string(parts.size, 'v')).file();
}

TEST(Torch, NamesStoragesByTheirTensors) {
  const Model model = parse_exactly(torch_file({}));
  ASSERT_EQ(model.format, Format::kTorch) << model.warning;
  const Segment segment = segment_named(model, "net.w");
  EXPECT_EQ(segment.type, ElementType::kFloat32);
  EXPECT_EQ(segment.size, 24U);
  EXPECT_EQ(segment.shape, (std::vector<uint64_t>{6})) << "not in row order: flat";
}

TEST(Torch, RefusesWhatDoesNotAddUp) {
  expect_raw_with_warning(torch_file({.type = "StrangeStorage"}), "unknown type");
  expect_raw_with_warning(torch_file({.listed = "8"}), "unknown type");
  expect_raw_with_warning(torch_file({.written = 7}), "size of a storage");
  expect_raw_with_warning(torch_file({.written = 1ULL << 63}), "size of a storage");
  expect_raw_with_warning(torch_file({.count = 7, .written = 7}), "too early");
  expect_raw_with_warning(torch_file({.object = "\x80\x02)."}), "unknown type");
  expect_raw_with_warning(torch_file({.object = "\x80\x02R."}), "malformed");
  expect_raw_with_warning(torch_file({.object = "\x80\x02\xFE."}), "opcode");
  expect_raw_with_warning(torch_file({.object = std::string(5'000'000, 'N')}), "too large");
}

// Objects that hold themselves lead to no endless path.
TEST(Torch, SurvivesCycles) {
  const std::string cycle = "\x80\x02}q" + std::string(1, '\0') + text_opcode("a") + "h" +
                            std::string(1, '\0') + "s" + text_opcode("w") +
                            "ctorch._utils\n_rebuild_tensor_v2\n((" + text_opcode("storage") +
                            "ctorch\nFloatStorage\n" + text_opcode("7") + text_opcode("cpu") +
                            "K\x06tQK" + std::string(1, '\0') + "K\x06\x85K\x01\x85tRs.";
  const Model model = parse_exactly(torch_file({.object = cycle}));
  EXPECT_EQ(model.format, Format::kTorch) << model.warning;
}

TEST(Torch, SurvivesDamage) {
  const File file = torch_file({});
  for (size_t size = 15; size < file.size(); ++size) {
    expect_raw_with_warning({file.begin(), file.begin() + static_cast<ptrdiff_t>(size)}, "torch");
  }
  expect_mutations_survive(file, 20'000);
}

}  // namespace
}  // namespace tensorpatch::model
