// zip_test.cc: zip files with models inside, good, damaged and hostile.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "model/damage.h"
#include "model/file_writer.h"

namespace tensorpatch::model {
namespace {

struct Member {
  std::string name;
  std::string content;
  uint16_t method = 0;
  uint16_t flags = 0;
  // What the directory says where it differs.
  std::optional<uint32_t> size = {};
  std::optional<uint32_t> offset = {};
  std::string extra = {};
};

struct Ending {
  std::optional<uint16_t> count = {};
  std::optional<uint32_t> offset = {};
  std::string comment = {};
  std::string before = {};  // zip64 records
};

// The checksums, which nobody reads here, are 0.
File zip(const std::vector<Member>& members, const Ending& ending = {}) {
  FileWriter writer;
  std::vector<uint32_t> offsets;
  for (const Member& member : members) {
    offsets.push_back(static_cast<uint32_t>(writer.size()));
    const auto size = static_cast<uint32_t>(member.content.size());
    writer.number(0x04034B50U).number<uint16_t>(20).number(member.flags).number(member.method);
    writer.number<uint64_t>(0).number(size).number(size);
    writer.number(static_cast<uint16_t>(member.name.size())).number<uint16_t>(0);
    writer.bytes(member.name).bytes(member.content);
  }
  const auto directory = static_cast<uint32_t>(writer.size());
  for (size_t i = 0; i < members.size(); ++i) {
    const Member& member = members[i];
    const uint32_t size = member.size.value_or(static_cast<uint32_t>(member.content.size()));
    writer.number(0x02014B50U).number<uint32_t>(0).number(member.flags).number(member.method);
    writer.number<uint64_t>(0).number(size).number(size);
    writer.number(static_cast<uint16_t>(member.name.size()));
    writer.number(static_cast<uint16_t>(member.extra.size())).number<uint16_t>(0);
    writer.number<uint64_t>(0).number(member.offset.value_or(offsets[i]));
    writer.bytes(member.name).bytes(member.extra);
  }
  const auto end = static_cast<uint32_t>(writer.size());
  const uint16_t count = ending.count.value_or(static_cast<uint16_t>(members.size()));
  writer.bytes(ending.before).number(0x06054B50U).number<uint32_t>(0).number(count).number(count);
  writer.number(end - directory).number(ending.offset.value_or(directory));
  writer.number(static_cast<uint16_t>(ending.comment.size())).bytes(ending.comment);
  return writer.file();
}

std::string npy(size_t count) {
  const std::string header =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(count) + ",)}";
  FileWriter writer;
  writer.bytes("\x93NUMPY").number<uint16_t>(1).number(static_cast<uint16_t>(header.size()));
  return writer.bytes(header).bytes(std::string(4 * count, 'v')).text();
}

std::string text_opcode(const std::string& text) {
  return FileWriter().bytes("X").number(static_cast<uint32_t>(text.size())).bytes(text).text();
}

// {"w": _rebuild_tensor_v2(storage of `type`, 0, (2, 3), (3, 1))}
std::string pickle(const std::string& type, uint8_t count = 6) {
  FileWriter writer;
  writer.bytes("\x80\x02}(").bytes(text_opcode("w")).bytes("ctorch._utils\n_rebuild_tensor_v2\n(");
  writer.bytes("(").bytes(text_opcode("storage")).bytes("ctorch\n" + type + "\n");
  writer.bytes(text_opcode("0")).bytes(text_opcode("cpu")).bytes("K").number(count).bytes("tQ");
  return writer.bytes("K").number<uint8_t>(0).bytes("K\x02K\x03\x86K\x03K\x01\x86tRu.").text();
}

// {"extra field": sizes and offset of 64 bits}
std::string extra64(const std::vector<uint64_t>& numbers) {
  FileWriter writer;
  writer.number<uint16_t>(1).number(static_cast<uint16_t>(8 * numbers.size()));
  for (const uint64_t number : numbers) writer.number(number);
  return writer.text();
}

TEST(Zip, ParsesStoredMembersByContent) {
  const Model model =
      parse_exactly(zip({{"a.npy", npy(3)}, {"text", "hello"}, {"b/c.npy", npy(5)}}));
  ASSERT_EQ(model.format, Format::kZip) << model.warning;
  EXPECT_EQ(segment_named(model, "a.npy").size, 12U);
  EXPECT_EQ(segment_named(model, "b/c.npy").type, ElementType::kFloat32);
}

TEST(Zip, PrefixesTheNamesOfTensors) {
  const std::string safetensors = R"({"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  FileWriter writer;
  writer.number<uint64_t>(safetensors.size()).bytes(safetensors).bytes("xy");
  const Model model = parse_exactly(zip({{"in.safetensors", writer.text()}}));
  EXPECT_EQ(segment_named(model, "in.safetensors/w").size, 2U);
}

TEST(Zip, LeavesCompressedEncryptedAndUnknownMembers) {
  Member compressed{"a", npy(3)};
  compressed.method = 8;
  Member encrypted{"b", npy(3)};
  encrypted.flags = 1;
  const Member nested{"c", std::string(reinterpret_cast<const char*>(zip({{"d", npy(3)}}).data()),
                                       zip({{"d", npy(3)}}).size())};
  const Member damaged{"e", npy(3).substr(0, 60)};
  const Model model = parse_exactly(zip({compressed, encrypted, nested, damaged}));
  EXPECT_EQ(model.format, Format::kZip) << model.warning;
  EXPECT_EQ(model.segments.size(), 1U);
}

TEST(Zip, TypesPytorchStorages) {
  const std::pair<const char*, ElementType> cases[] = {{"FloatStorage", ElementType::kFloat32},
                                                       {"HalfStorage", ElementType::kFloat16},
                                                       {"BFloat16Storage", ElementType::kBfloat16},
                                                       {"CharStorage", ElementType::kInt8}};
  for (const auto& [name, type] : cases) {
    const std::string values(6 * element_size(type), 'v');
    const Model model =
        parse_exactly(zip({{"m/data.pkl", pickle(name)}, {"m/data/0", values}, {"m/x", "y"}}));
    const Segment segment = segment_named(model, "w");
    EXPECT_EQ(segment.type, type);
    EXPECT_EQ(segment.shape, (std::vector<uint64_t>{2, 3}));
    EXPECT_EQ(segment.row_elements, 3U);
  }
}

TEST(Zip, TakesOddStoragesFlatOrAsBytes) {
  const auto parsed = [](const std::string& scanned, size_t size) {
    return parse_exactly(zip({{"m/data.pkl", scanned}, {"m/data/0", std::string(size, 'v')}}));
  };
  EXPECT_EQ(segment_named(parsed(pickle("FloatStorage", 7), 28), "w").shape,
            (std::vector<uint64_t>{7}))
      << "a part of the storage";
  EXPECT_EQ(segment_named(parsed(pickle("FloatStorage"), 25), "w").type, ElementType::kBytes);
  EXPECT_EQ(segment_named(parsed(pickle("StrangeStorage"), 25), "w").type, ElementType::kBytes);
  const std::string good = pickle("FloatStorage");
  for (size_t size = 0; size < good.size(); ++size) {  // no pickle, no names
    const Model model = parsed(good.substr(0, size), 24);
    EXPECT_EQ(model.format, Format::kZip);
    EXPECT_EQ(model.segments.size(), 1U);
  }
}

TEST(Zip, BoundsPickles) {
  const std::string bombs[] = {std::string(5'000'000, '('),
                               "\x80\x02" + std::string(5'000'000, 'N'),
                               "\x80\x02}" + std::string(5'000'000, '\x94'),
                               "\x80\x02)" + std::string(5'000'000, '2'),
                               "\x80\x02q\xFFh\xFF.",
                               "\x80\x02)r\xFF\xFF\xFF\x7F.",
                               "\x80\x02)q\x05h\x03.",
                               "1",
                               "u.",
                               "t",
                               "}}s.",
                               "R.",
                               "Q.",
                               ")Q.",
                               "\x8D" + std::string(8, '\xFF'),
                               "ctorch",
                               "X\xFF\xFF\xFF\x7F",
                               "((((((((u.",
                               "Q)",
                               "K\x01QQQ."};
  for (const std::string& bomb : bombs) {
    const Model model = parse_exactly(zip({{"m/data.pkl", bomb}, {"m/data/0", "vvvv"}}));
    EXPECT_EQ(model.format, Format::kZip) << model.warning;
    EXPECT_EQ(model.segments.size(), 1U);
  }
}

TEST(Zip, ReadsZip64) {
  Member member{"a.npy", npy(3)};
  member.size = ~0U;
  member.offset = ~0U;
  member.extra = "\x99\x77" + std::string("\x01\0x", 3) +
                 extra64({member.content.size(), member.content.size(), 0});
  EXPECT_EQ(segment_named(parse_exactly(zip({member})), "a.npy").size, 12U);
}

// A zip file of one member whose directory only the zip64 records tell.
File with_records64(uint64_t count, uint64_t directory_shift, uint64_t record_shift) {
  const Member member{"a.npy", npy(3)};
  const uint64_t directory = 30 + member.name.size() + member.content.size();
  const uint64_t record = directory + 46 + member.name.size();
  FileWriter records;
  records.number(0x06064B50U).number<uint64_t>(44).number<uint32_t>(0).number<uint64_t>(0);
  records.number(count).number(count).number<uint64_t>(51).number(directory + directory_shift);
  records.number(0x07064B50U).number<uint32_t>(0).number(record + record_shift);
  records.number<uint32_t>(1);
  return zip({member}, {.count = 0xFFFF, .offset = ~0U, .before = records.text()});
}

TEST(Zip, ReadsRecordsOfZip64) {
  EXPECT_EQ(segment_named(parse_exactly(with_records64(1, 0, 0)), "a.npy").size, 12U);
  expect_raw_with_warning(with_records64(2, 0, 0), "directory");
  for (const uint64_t huge : {1ULL << 32, 1ULL << 63, ~0ULL}) {
    expect_raw_with_warning(with_records64(huge, 0, 0), "too many");
    expect_raw_with_warning(with_records64(1, huge, 0), "directory");
    expect_raw_with_warning(with_records64(1, 0, huge), "directory");
  }
}

TEST(Zip, RefusesHugeNumbers) {
  for (const uint64_t huge : {1ULL << 32, 1ULL << 63, ~0ULL}) {
    for (size_t i = 0; i < 3; ++i) {
      Member member{"a.npy", npy(3)};
      member.size = ~0U;
      member.offset = ~0U;
      std::vector<uint64_t> numbers = {member.content.size(), member.content.size(), 0};
      numbers[i] = huge;
      member.extra = extra64(numbers);
      const Model model = parse_exactly(zip({member}));
      if (i == 0) {  // the unpacked size differs: taken as packed
        EXPECT_EQ(model.segments.size(), 1U);
      } else {
        EXPECT_EQ(model.format, Format::kRaw);
      }
    }
  }
}

TEST(Zip, RefusesDamagedDirectories) {
  const Member member{"a.npy", npy(3)};
  EXPECT_EQ(parse_exactly(zip({member}, {.comment = "a comment"})).format, Format::kZip);
  expect_raw_with_warning(zip({member}, {.count = 2}), "directory");
  expect_raw_with_warning(zip({member}, {.count = 0xFFFF}), "directory");
  expect_raw_with_warning(zip({member}, {.offset = ~0U}), "directory");
  expect_raw_with_warning(zip({member}, {.offset = 3}), "directory");
  Member far = member;
  far.offset = 10;
  expect_raw_with_warning(zip({far}), "where the directory says");
  far.offset = 1U << 31;
  expect_raw_with_warning(zip({far}), "directory");
  Member large = member;
  large.size = 1U << 31;
  expect_raw_with_warning(zip({large}), "where the directory says");
  Member extra = member;
  extra.extra = std::string("\x01\0\xFF\xFF", 4);
  extra.size = ~0U;
  expect_raw_with_warning(zip({extra}), "directory");
}

// Thousands of entries that all name one member: each byte is parsed once at most.
TEST(Zip, RefusesOverlappingMembers) {
  std::vector<Member> members(20'000, Member{"a.npy", ""});
  members[0].content = npy(100'000);
  for (Member& member : members) {
    member.offset = 0;
    member.size = static_cast<uint32_t>(members[0].content.size());
  }
  expect_raw_with_warning(zip(members), "overlap");
}

TEST(Zip, DuplicateNamesAreKept) {
  const Model model = parse_exactly(zip({{"a.npy", npy(3)}, {"a.npy", npy(4)}}));
  EXPECT_EQ(model.format, Format::kZip);
  EXPECT_EQ(model.segments.size(), 5U);
}

TEST(Zip, SurvivesDamage) {
  const File file = zip({{"m/data.pkl", pickle("HalfStorage")},
                         {"m/data/0", std::string(12, 'v')},
                         {"a.npy", npy(3)}});
  ASSERT_EQ(parse_exactly(file).segments.size(), 5U);
  for (size_t size = 4; size < file.size(); ++size) {
    expect_raw_with_warning({file.begin(), file.begin() + static_cast<ptrdiff_t>(size)}, "zip");
  }
  expect_mutations_survive(file, 20'000);
}

}  // namespace
}  // namespace tensorpatch::model
