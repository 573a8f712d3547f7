// statement_test.cc: statements on hand-written bytes, and every refusal of docs/FORMAT.md
// section 1.2.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/statement.h"

#include <gtest/gtest.h>

#include <string>

#include "apply/wire.h"
#include "bundle/sample.h"

namespace tensorpatch::bundle {
namespace {

std::string repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::vector<uint8_t> from_spaced_hex(std::string text) {
  std::erase(text, ' ');
  return test::from_hex(text);
}

// The bytes of full_statement(), written by hand from the tables of docs/FORMAT.md.
std::vector<uint8_t> hand_written() {
  std::vector<uint8_t> bytes = from_spaced_hex(
      "00 01 01 02"                         // version 0.1, update, two components
      "09 01 00 08 06 06 00"                // history, slots, level, cells, match, columns, zstd
      "0a 06 00"                            // erase size 1,024, write size 64
      "0700"                                // codecs 0, 1, 2
      "00000000"                            // workspace size, below
      "00010000 00100000"                   // block size 256, restart interval 4,096
      "00000000"                            // reach
      "84000000"                            // manifest size 132
      "00000000 10000000"                   // required and optional flags
      "04030201"                            // security version 0x01020304
      "0807060504030201"                    // sequence 0x0102030405060708
      "123e4567e89b12d3a456426614174000" +  // device class
      repeat("cc", 32) +
      repeat("00", 24) +  // manifest digest
      // Component 0.
      repeat("a1", 32) + repeat("b1", 32) + repeat("d1", 32) +
      "0100000001000000 e803000000000000 2c01000000000000"  // 2^32 + 1; 1,000; 300
      "00020000 00000000"                                   // id 0, safetensors, flags
      // Component 1: a whole file.
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" +
      repeat("b2", 32) + repeat("d2", 32) +
      "0500000000000000 0000000000000000 0600000000000000"
      "01000000 01000000");
  // It follows from the limits; which number that is, is section 4's business.
  wire::write_u32(&bytes[16], workspace_size(test::kSmallLimits));
  return bytes;
}

Statement full_statement() {
  Statement s;
  s.optional_flags = 0x10;
  s.security_version = 0x01020304;
  s.sequence = 0x0102030405060708;
  s.device_class = parse_uuid("123e4567-e89b-12d3-a456-426614174000").value();
  s.limits = test::kSmallLimits;
  s.required_codecs = 7;
  s.manifest_size = 132;
  s.manifest_digest.fill(0xcc);
  s.components.resize(2);
  s.components[0].old_size = 1000;
  s.components[0].new_size = (uint64_t{1} << 32) + 1;
  s.components[0].patch_size = 300;
  s.components[0].format = 2;
  s.components[0].old_digest.fill(0xa1);
  s.components[0].new_digest.fill(0xb1);
  s.components[0].first_block.fill(0xd1);
  s.components[1].new_size = 5;
  s.components[1].patch_size = 6;
  s.components[1].flags = format::kComponentWhole;
  s.components[1].old_digest = sha256({});
  s.components[1].new_digest.fill(0xb2);
  s.components[1].first_block.fill(0xd2);
  return s;
}

TEST(Statement, WritesTheBytesOfTheSpecification) {
  const auto bytes = write_statement(full_statement());
  ASSERT_TRUE(bytes) << bytes.error().message;
  EXPECT_EQ(test::to_hex(*bytes), test::to_hex(hand_written()));
}

TEST(Statement, ReadsTheBytesOfTheSpecification) {
  const auto read = read_statement(hand_written());
  ASSERT_TRUE(read) << read.error().message;
  const Statement expected = full_statement();
  EXPECT_EQ(read->minor, 1);
  EXPECT_EQ(read->kind, format::kKindUpdate);
  EXPECT_EQ(read->required_flags, 0u);
  EXPECT_EQ(read->optional_flags, expected.optional_flags);
  EXPECT_EQ(read->security_version, expected.security_version);
  EXPECT_EQ(read->sequence, expected.sequence);
  EXPECT_EQ(read->device_class, expected.device_class);
  EXPECT_EQ(read->required_codecs, expected.required_codecs);
  EXPECT_EQ(read->manifest_size, expected.manifest_size);
  EXPECT_EQ(read->manifest_digest, expected.manifest_digest);
  EXPECT_EQ(read->components, expected.components);
  EXPECT_EQ(read->limits.block_size, 256u);
  EXPECT_EQ(read->limits.restart_interval, 4096u);
  EXPECT_EQ(read->limits.erase_size, 1024u);
  EXPECT_EQ(read->limits.write_size, 64u);
  EXPECT_EQ(read->limits.history_log2, 9);
  EXPECT_EQ(read->limits.value_slots, 1);
  EXPECT_EQ(read->limits.value_level, 0);
  EXPECT_EQ(read->limits.byte_cells_log2, 8);
  EXPECT_EQ(read->limits.match_log2, 6);
  EXPECT_EQ(read->limits.zstd_window_log2, 0);
  EXPECT_EQ(read->limits.column_log2, 6);
}

TEST(Statement, SixComponentsFillTheLargestOne) {
  Statement s = full_statement();
  s.components.resize(6, s.components[0]);
  s.components[1] = s.components[0];
  const auto bytes = write_statement(s);
  ASSERT_TRUE(bytes) << bytes.error().message;
  EXPECT_EQ(bytes->size(), format::kMaxStatementSize);
  EXPECT_LE(dsse_message(*bytes).size(), size_t{TENSORPATCH_MAX_MESSAGE_SIZE});
  EXPECT_EQ(read_statement(*bytes).value().components, s.components);
}

// A change to the hand-written bytes, and the status that refuses it.
struct Refusal {
  const char* name;
  size_t offset;
  std::vector<uint8_t> bytes;
  tensorpatch_status status = TENSORPATCH_E_FORMAT;
};

class StatementRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(StatementRefusal, IsRefused) {
  std::vector<uint8_t> bytes = hand_written();
  const Refusal& change = GetParam();
  std::copy(change.bytes.begin(), change.bytes.end(),
            bytes.begin() + static_cast<std::ptrdiff_t>(change.offset));
  const auto read = read_statement(bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, change.status) << read.error().message;
}

constexpr size_t kFirst = 128;
constexpr size_t kSecond = 256;
const std::vector<uint8_t> kNothing64 = {0, 0, 0, 0, 0, 0, 0, 0};

INSTANTIATE_TEST_SUITE_P(
    All, StatementRefusal,
    testing::Values(
        Refusal{"major_version", 0, {1}}, Refusal{"kind_zero", 2, {0}, TENSORPATCH_E_VERSION},
        Refusal{"kind", 2, {2}, TENSORPATCH_E_VERSION}, Refusal{"component_count_less", 3, {1}},
        Refusal{"component_count_more", 3, {3}}, Refusal{"in_place_no_reach", 36, {1}},
        Refusal{"reach_beside", 28, {1}}, Refusal{"flag_encrypted", 36, {4}, TENSORPATCH_E_VERSION},
        Refusal{"flag_unknown", 39, {0x80}, TENSORPATCH_E_VERSION},
        Refusal{"workspace_size", 16, {0, 0, 0, 0}},
        Refusal{"codec_unknown", 14, {0x47}, TENSORPATCH_E_CODEC},
        Refusal{"codec_unknown_high", 15, {0x80}, TENSORPATCH_E_CODEC},
        Refusal{"codec_operations", 14, {6}}, Refusal{"block_size_zero", 20, {0, 0, 0, 0}},
        Refusal{"block_size_small", 20, {0xC0, 0, 0, 0}},
        Refusal{"block_size_large", 20, {0x40, 0, 0x10, 0}},
        Refusal{"block_size_odd", 20, {1, 1, 0, 0}},
        Refusal{"restart_interval_zero", 24, {0, 0, 0, 0}},
        Refusal{"restart_interval_odd", 24, {0, 6, 0, 0}}, Refusal{"erase_size_large", 11, {21}},
        Refusal{"erase_size_beyond", 11, {42}}, Refusal{"write_size_large", 12, {8}},
        Refusal{"write_size_beyond", 12, {38}}, Refusal{"history_small", 4, {7}},
        Refusal{"history_large", 4, {23}}, Refusal{"value_slots", 5, {17}},
        Refusal{"value_level", 6, {2}}, Refusal{"byte_cells_small", 7, {7}},
        Refusal{"byte_cells_large", 7, {21}}, Refusal{"match_table_small", 8, {5}},
        Refusal{"match_table_large", 8, {19}}, Refusal{"columns_small", 9, {5}},
        Refusal{"columns_large", 9, {19}}, Refusal{"zstd_window_small", 10, {9}},
        Refusal{"zstd_window_large", 10, {23}}, Refusal{"header_zero_13", 13, {1}},
        Refusal{"manifest_none_with_digest", 32, {0}},
        Refusal{"manifest_size_large", 32, {1, 0, 1, 0}}, Refusal{"header_zero_first", 104, {1}},
        Refusal{"header_zero_last", 127, {1}}, Refusal{"component_id_first", kFirst + 120, {1}},
        Refusal{"component_id_second", kSecond + 120, {0}},
        Refusal{"component_id_gap", kSecond + 120, {2}},
        Refusal{"component_zero_first", kFirst + 122, {1}},
        Refusal{"component_zero_last", kSecond + 123, {1}},
        Refusal{"component_keep", kFirst + 124, {2}, TENSORPATCH_E_VERSION},
        Refusal{"component_flag", kFirst + 127, {0x40}, TENSORPATCH_E_VERSION},
        Refusal{"whole_with_old", kSecond + 104, {1}},
        Refusal{"whole_with_old_digest", kSecond, {0}},
        Refusal{"patch_empty", kFirst + 112, kNothing64},
        Refusal{"patch_not_empty", kFirst + 96, kNothing64}),
    [](const auto& tested) { return tested.param.name; });

TEST(Statement, IsStoredWithoutRunsOfZeros) {
  // Two zeros are not a run; literals and zeros each go on for at most 128 bytes.
  std::vector<uint8_t> bytes = {1, 0, 0, 2, 0, 0, 0, 3};
  bytes.resize(256, 0);
  bytes.resize(256 + 128, 7);
  std::vector<uint8_t> stored = from_spaced_hex("03 01000002 82 00 03 ff f7 7f");
  stored.resize(stored.size() + 128, 7);
  EXPECT_EQ(test::to_hex(pack_statement(bytes)), test::to_hex(stored));
  EXPECT_EQ(unpack_statement(stored).value(), bytes);
  EXPECT_EQ(unpack_statement(pack_statement(hand_written())).value(), hand_written());
  // A control byte is one of a run even where the run could be shorter or be left out.
  std::vector<uint8_t> other = stored;
  other[5] = 0x81;
  other.insert(other.begin() + 6, 0x80);
  EXPECT_EQ(unpack_statement(other).value(), bytes);
}

TEST(Statement, StoredInAnotherSizeIsRefused) {
  const std::vector<uint8_t> stored = pack_statement(hand_written());
  for (size_t size = 0; size < stored.size(); ++size) {
    const auto read = unpack_statement(base::Bytes(stored).first(size));
    // Where it ends between the components it is a shorter statement.
    ASSERT_TRUE(!read || read->size() == 256) << size;
  }
  for (const unsigned control : {0x00u, 0x7Fu, 0x80u, 0xFFu}) {
    std::vector<uint8_t> longer = stored;
    longer.push_back(static_cast<uint8_t>(control));
    EXPECT_TRUE(control == 0xFF || !unpack_statement(longer));
    for (int i = 0; i < 5; ++i) longer.push_back(0xFF);
    EXPECT_FALSE(unpack_statement(longer));
  }
}

TEST(Statement, EmptyNewFileHasNoPatchAndNoBlock) {
  Statement s = full_statement();
  s.components[0].new_size = 0;
  s.components[0].patch_size = 0;
  const auto with_block = write_statement(s);
  ASSERT_FALSE(with_block);
  EXPECT_EQ(with_block.error().code, TENSORPATCH_E_FORMAT);
  s.components[0].first_block = {};
  EXPECT_TRUE(write_statement(s));
}

TEST(Statement, OtherSizesAreRefused) {
  const std::vector<uint8_t> bytes = hand_written();
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_FALSE(read_statement(base::Bytes(bytes).first(size))) << size;
  }
  std::vector<uint8_t> longer = bytes;
  longer.resize(format::kMaxStatementSize + format::component::kSize);
  EXPECT_FALSE(read_statement(longer));
}

TEST(Statement, AnyMinorVersionAndOptionalFlagIsAccepted) {
  std::vector<uint8_t> bytes = hand_written();
  bytes[1] = 255;
  std::fill_n(bytes.begin() + 40, 4, uint8_t{0xFF});
  const auto read = read_statement(bytes);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->minor, 255);
  EXPECT_EQ(write_statement(*read).value(), bytes);
}

TEST(Statement, WriterRefusesCountsThatDoNotFit) {
  Statement s = full_statement();
  s.components.clear();
  EXPECT_EQ(write_statement(s).error().code, TENSORPATCH_E_LIMIT);
  s.components.resize(7);
  EXPECT_EQ(write_statement(s).error().code, TENSORPATCH_E_LIMIT);
  s.components.resize(256 + 1);
  EXPECT_EQ(write_statement(s).error().code, TENSORPATCH_E_LIMIT);
}

TEST(Statement, SignedBytesAreFramed) {
  const std::vector<uint8_t> statement = hand_written();
  const std::vector<uint8_t> message = dsse_message(statement);
  const std::string head = "DSSEv1 37 application/vnd.tensorpatch.statement 384 ";
  EXPECT_EQ(std::string(message.begin(), message.begin() + 52), head);
  EXPECT_EQ(std::vector<uint8_t>(message.begin() + 52, message.end()), statement);
}

TEST(Uuid, TextAndBytes) {
  const auto uuid = parse_uuid("123E4567-e89b-12d3-A456-426614174000");
  ASSERT_TRUE(uuid);
  EXPECT_EQ(test::to_hex(*uuid), "123e4567e89b12d3a456426614174000");
  EXPECT_EQ(format_uuid(*uuid), "123e4567-e89b-12d3-a456-426614174000");
}

TEST(Uuid, OtherTextsAreRefused) {
  for (const char* text :
       {"", "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400",
        "123e4567-e89b-12d3-a456-4266141740000", "123e4567-e89b-12d3-a456-42661417400g",
        "123e4567-e89b-12d3-a456 426614174000", "{23e4567-e89b-12d3-a456-426614174000",
        "123e456-7e89b-12d3-a456-426614174000"}) {
    const auto uuid = parse_uuid(text);
    ASSERT_FALSE(uuid) << text;
    EXPECT_EQ(uuid.error().code, TENSORPATCH_E_USAGE);
  }
}

}  // namespace
}  // namespace tensorpatch::bundle
