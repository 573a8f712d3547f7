// change_test.cc: figures of small tensors that can be worked out by hand, and of made-up
// relations.
// SPDX-License-Identifier: Apache-2.0
#include "delta/change.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace tensorpatch::delta {
namespace {

using model::ElementType;

template <class Value>
std::vector<uint8_t> bytes_of(const std::vector<Value>& values) {
  std::vector<uint8_t> bytes;
  for (const Value value : values) {
    const auto raw = std::bit_cast<std::array<uint8_t, sizeof(Value)>>(value);
    bytes.insert(bytes.end(), raw.begin(), raw.end());
  }
  return bytes;
}

struct Sides {
  std::vector<uint8_t> old_bytes;
  std::vector<uint8_t> new_bytes;
};

Change measure(ElementType type, const Sides& sides) {
  ChangeMeter meter;
  meter.add({sides.old_bytes, type}, {sides.new_bytes, type});
  return meter.change();
}

template <class Value>
Change measure(ElementType type, const std::vector<Value>& old_values,
               const std::vector<Value>& new_values) {
  return measure(type, {bytes_of(old_values), bytes_of(new_values)});
}

std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

std::vector<uint8_t> random_bytes(size_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine());
  return bytes;
}

TEST(Change, FiguresOfFourValues) {
  const Change change = measure<float>(ElementType::kFloat32, {3, 4, 0, 0}, {3, 4, 0, 1});
  EXPECT_EQ(change.count, 4u);
  EXPECT_EQ(change.equal, 3u);
  EXPECT_DOUBLE_EQ(change.share_equal().value(), 0.75);
  EXPECT_DOUBLE_EQ(change.relative_norm.value(), 0.2);
  // Means 1.75 and 2: sums of products 11, of squares 12.75 and 10.
  EXPECT_NEAR(change.correlation.value(), 11 / std::sqrt(12.75 * 10), 1e-12);
}

TEST(Change, EveryTypeIsReadAsItsNumbers) {
  const auto moved_by_tenth = [](const Change& change) {
    EXPECT_NEAR(change.relative_norm.value(), 0.1, 1e-9);
    EXPECT_EQ(change.equal, 0u);
  };
  moved_by_tenth(measure<int8_t>(ElementType::kInt8, {-10, 20}, {-11, 22}));
  moved_by_tenth(measure<uint8_t>(ElementType::kUint8, {200, 100}, {220, 110}));
  moved_by_tenth(measure<int16_t>(ElementType::kInt16, {-1000, 300}, {-1100, 330}));
  moved_by_tenth(measure<uint16_t>(ElementType::kUint16, {50000, 100}, {55000, 110}));
  moved_by_tenth(measure<int32_t>(ElementType::kInt32, {-100000, 10}, {-110000, 11}));
  moved_by_tenth(measure<uint32_t>(ElementType::kUint32, {3000000000u, 10}, {3300000000u, 11}));
  moved_by_tenth(measure<int64_t>(ElementType::kInt64, {-100, 50}, {-110, 55}));
  moved_by_tenth(measure<double>(ElementType::kFloat64, {-10, 5}, {-11, 5.5}));
  // 10 and -20 as float16 and bfloat16; 11 and -22.
  moved_by_tenth(measure<uint16_t>(ElementType::kFloat16, {0x4900, 0xCD00}, {0x4980, 0xCD80}));
  moved_by_tenth(measure<uint16_t>(ElementType::kBfloat16, {0x4120, 0xC1A0}, {0x4130, 0xC1B0}));
}

TEST(Change, SmallestFloat16IsANumber) {
  const Change change = measure<uint16_t>(ElementType::kFloat16, {1, 1}, {2, 2});  // 2^-24, 2^-23
  EXPECT_DOUBLE_EQ(change.relative_norm.value(), 1.0);
}

TEST(Change, WhatIsNotFiniteCountsForEqualityOnly) {
  const float none = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  const Change change = measure<float>(ElementType::kFloat32, {none, infinite, 1, 1, 2},
                                       {none, infinite, infinite, 1, 2});
  EXPECT_EQ(change.equal, 4u);
  EXPECT_DOUBLE_EQ(change.relative_norm.value(), 0.0);
}

TEST(Change, NothingIsSaidOfWhatHasNoScale) {
  const Change from_zero = measure<float>(ElementType::kFloat32, {0, 0, 0}, {1, 2, 3});
  EXPECT_FALSE(from_zero.relative_norm);
  EXPECT_FALSE(from_zero.correlation);
  const Change all_zero = measure<float>(ElementType::kFloat32, {0, 0, 0}, {0, 0, 0});
  EXPECT_EQ(all_zero.relative_norm, 0.0);
  EXPECT_EQ(all_zero.lineage, 1.0);
  ChangeMeter nothing;
  EXPECT_FALSE(nothing.change().share_equal());
  EXPECT_FALSE(nothing.change().lineage);
  EXPECT_EQ(nothing.change().bound_bytes, 0u);
}

TEST(Change, CorrelationFarFromZeroKeepsItsDigits) {
  const Change change = measure<double>(ElementType::kFloat64, {1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3},
                                        {1e9 + 3, 1e9 + 2, 1e9 + 1, 1e9});
  EXPECT_NEAR(change.correlation.value(), -1.0, 1e-9);
  EXPECT_EQ(change.lineage, 0.0);
}

TEST(Change, LineageTellsRelatedFromUnrelatedFloats) {
  const std::vector<float> old_values = random_floats(4096, 1);
  std::vector<float> moved = random_floats(4096, 2);
  for (size_t i = 0; i < moved.size(); ++i) moved[i] = old_values[i] + 0.1f * moved[i];
  EXPECT_GT(measure(ElementType::kFloat32, old_values, moved).lineage.value(), 0.98);
  EXPECT_LT(measure(ElementType::kFloat32, old_values, random_floats(4096, 3)).lineage.value(),
            0.06);
}

TEST(Change, EqualZerosAreNoRelation) {
  // Two thirds zero in both, at unrelated places: equal values by chance.
  std::mt19937 engine(5);
  const auto sparse = [&] {
    std::vector<int8_t> values(6000);
    for (int8_t& value : values)
      value = engine() % 3 == 0 ? static_cast<int8_t>(engine()) : int8_t{0};
    return values;
  };
  const Change change = measure(ElementType::kInt8, sparse(), sparse());
  EXPECT_GT(change.share_equal().value(), 0.4);
  EXPECT_LT(change.lineage.value(), 0.06);
}

TEST(Change, BytesAreRelatedByAgreementBeyondChance) {
  const std::vector<uint8_t> old_bytes = random_bytes(8192, 7);
  std::vector<uint8_t> new_bytes = old_bytes;
  for (size_t i = 0; i < new_bytes.size(); i += 4) new_bytes[i] ^= 0x55;
  const Change change = measure(ElementType::kBytes, {old_bytes, new_bytes});
  EXPECT_FALSE(change.has_numbers);
  EXPECT_FALSE(change.relative_norm);
  EXPECT_NEAR(change.lineage.value(), 0.75, 0.01);
  EXPECT_LT(measure(ElementType::kBytes, {old_bytes, random_bytes(8192, 8)}).lineage.value(), 0.02);
  // What all such files have in common by place is chance, too.
  std::vector<uint8_t> a = random_bytes(8192, 9), b = random_bytes(8192, 10);
  for (size_t i = 3; i < a.size(); i += 4) a[i] = b[i] = 0x3D;
  EXPECT_LT(measure(ElementType::kBytes, {a, b}).lineage.value(), 0.35);
}

TEST(Change, BoundIsTheEntropyOfDifferences) {
  // Half of the values move by one: one bit each.
  std::vector<uint8_t> old_bytes = random_bytes(8000, 11), new_bytes = old_bytes;
  for (size_t i = 0; i < new_bytes.size(); i += 2) ++new_bytes[i];
  EXPECT_EQ(measure(ElementType::kInt8, {old_bytes, new_bytes}).bound_bytes, 1000u);
  EXPECT_EQ(measure(ElementType::kInt8, {old_bytes, old_bytes}).bound_bytes, 0u);
  // Wide values: differences of 2 and 3 are of one length, with one bit below the leading one.
  std::vector<int32_t> values(1600), moved(1600);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<int32_t>(i * 2654435761u);
    moved[i] = values[i] + (i % 2 == 0 ? 2 : 3);
  }
  EXPECT_EQ(measure(ElementType::kInt32, values, moved).bound_bytes, 200u);
}

TEST(Change, BoundIsThatOfNewAloneWhereOldDoesNotHelp) {
  std::vector<uint8_t> two_values = random_bytes(8000, 12);
  for (uint8_t& byte : two_values) byte &= 1;
  const uint64_t bound =
      measure(ElementType::kInt8, {random_bytes(8000, 13), two_values}).bound_bytes;
  EXPECT_NEAR(static_cast<double>(bound), 1000, 2);
  ChangeMeter meter;
  meter.add_unrelated({two_values, ElementType::kInt8});
  EXPECT_EQ(meter.change().bound_bytes, bound);
  EXPECT_EQ(meter.change().count, 0u);
}

TEST(Change, FloatsAreOrderedByTheirNumbers) {
  // Every value one step farther from zero: up for one half, down for the other.
  std::vector<uint32_t> old_bits(800), new_bits(800);
  for (uint32_t i = 0; i < old_bits.size(); ++i) {
    old_bits[i] = (i * 2654435761u >> 4) | (i % 2 == 0 ? 0x80000000u : 0);
    new_bits[i] = old_bits[i] + 1;
  }
  EXPECT_EQ(measure<uint32_t>(ElementType::kFloat32, old_bits, new_bits).bound_bytes, 100u);
  EXPECT_EQ(measure<uint32_t>(ElementType::kUint32, old_bits, new_bits).bound_bytes, 0u);
}

TEST(Change, ValuesTooManyAreUnrelated) {
  const std::vector<uint8_t> old_bytes = random_bytes(100, 14);
  std::vector<uint8_t> new_bytes = old_bytes;
  new_bytes.resize(164);
  std::iota(new_bytes.begin() + 100, new_bytes.end(), uint8_t{0});
  const Change change = measure(ElementType::kUint8, {old_bytes, new_bytes});
  EXPECT_EQ(change.count, 100u);
  EXPECT_EQ(change.equal, 100u);
  EXPECT_EQ(change.bound_bytes, 48u);  // 64 different values: six bits each
  // And the other way round: what old has too many is not looked at.
  EXPECT_EQ(measure(ElementType::kUint8, {new_bytes, old_bytes}).bound_bytes, 0u);
}

TEST(Change, AnotherTypeIsComparedByItsNumbers) {
  const std::vector<uint8_t> old_bytes = bytes_of<float>({1, -2, 3, 0.5});
  const std::vector<uint8_t> new_bytes = bytes_of<uint16_t>({0x3F80, 0xC000, 0x4040, 0x3F40});
  ChangeMeter meter;
  meter.add({old_bytes, ElementType::kFloat32}, {new_bytes, ElementType::kBfloat16});
  const Change change = meter.change();
  EXPECT_EQ(change.count, 4u);
  EXPECT_EQ(change.equal, 3u);
  EXPECT_GT(change.correlation.value(), 0.99);
  EXPECT_GT(change.bound_bytes, 0u);
  ChangeMeter to_bytes;
  to_bytes.add({old_bytes, ElementType::kFloat32}, {new_bytes, ElementType::kBytes});
  EXPECT_EQ(to_bytes.change().count, 0u);
  EXPECT_GT(to_bytes.change().bound_bytes, 0u);
}

// One block of Q8_0: scale 0.5, codes 0, 1, ... -1, ...
TEST(Change, BlocksAreTheNumbersThatTheyStandFor) {
  std::vector<uint8_t> old_block = {0x00, 0x38}, new_block = {0x00, 0x3C};  // scales 0.5 and 1
  for (int i = 0; i < 32; ++i) {
    old_block.push_back(static_cast<uint8_t>(2 * (i - 16)));
    new_block.push_back(static_cast<uint8_t>(i - 16));  // the same numbers
  }
  const model::BlockLayout q8_0{34, 32, {}};
  ChangeMeter meter;
  meter.add({old_block, ElementType::kBytes, q8_0}, {new_block, ElementType::kBytes, q8_0});
  EXPECT_EQ(meter.change().count, 32u);
  EXPECT_EQ(meter.change().equal, 32u);
  EXPECT_EQ(meter.change().relative_norm, 0.0);
}

TEST(Change, NibbleBlocksUnpackInTheirOrder) {
  // Q4_0, scale 1: the low codes of all bytes, then the high ones; 8 is zero.
  std::vector<uint8_t> old_block = {0x00, 0x3C}, new_block = {0x00, 0x3C};
  old_block.resize(18, 0x89);  // ones, then zeros
  new_block.resize(18, 0xA9);  // ones, then twos
  const model::BlockLayout q4_0{18, 32, {}};
  ChangeMeter meter;
  meter.add({old_block, ElementType::kBytes, q4_0}, {new_block, ElementType::kBytes, q4_0});
  EXPECT_EQ(meter.change().equal, 16u);
  EXPECT_DOUBLE_EQ(meter.change().relative_norm.value(), 2.0);
  // Q4_1, scale 1 and minimum 2: the codes count from zero.
  std::vector<uint8_t> with_minimum = {0x00, 0x3C, 0x00, 0x40}, moved = with_minimum;
  with_minimum.resize(20, 0x10);  // twos, then threes
  moved.resize(20, 0x00);         // twos
  const model::BlockLayout q4_1{20, 32, {}};
  ChangeMeter second;
  second.add({with_minimum, ElementType::kBytes, q4_1}, {moved, ElementType::kBytes, q4_1});
  EXPECT_EQ(second.change().equal, 16u);
  EXPECT_NEAR(second.change().relative_norm.value(), std::sqrt(16.0 / (16 * 4 + 16 * 9)), 1e-12);
}

TEST(Change, SuperBlocksHaveScalesOfSixBits) {
  // Q4_K, d = 1, dmin = 1: groups 0..3 have the scale in six bits, groups 4..7 in four and two.
  std::vector<uint8_t> block(144, 0);
  block[1] = block[3] = 0x3C;
  block[4] = 33;       // scale of group 0; the top bits are of group 4
  block[4 + 4] = 2;    // minimum of group 0
  block[4] |= 1 << 6;  // group 4: 1 << 4
  block[4 + 8] = 5;    // | 5
  block[16] = 1;       // group 0, value 0: 33 - 2
  block[16 + 64] = 1;  // group 4, value 0: 21
  std::vector<uint8_t> other = block;
  other[16] = 0;  // -2
  const model::BlockLayout q4_k{144, 256, {}};
  ChangeMeter meter;
  meter.add({block, ElementType::kBytes, q4_k}, {other, ElementType::kBytes, q4_k});
  EXPECT_EQ(meter.change().count, 256u);
  EXPECT_EQ(meter.change().equal, 255u);
  // |old|^2 = 31^2 + 31 * 2^2 + 21^2, |new - old| = 33.
  EXPECT_NEAR(meter.change().relative_norm.value(), 33 / std::sqrt(961.0 + 124 + 441), 1e-12);
}

TEST(Change, HistogramIsInUnitsOfTheTensor) {
  // Root mean square 1; changes of 1 and of 1/256: half octaves 32 and 16.
  std::vector<float> old_values(64, 1.0f), new_values = old_values;
  new_values[0] = 2.0f;
  new_values[1] = 1.0f + 1.0f / 256;
  const Change change = measure(ElementType::kFloat32, old_values, new_values);
  EXPECT_EQ(change.histogram[32], 1u);
  EXPECT_EQ(change.histogram[16], 1u);
  EXPECT_EQ(std::accumulate(change.histogram.begin(), change.histogram.end(), uint64_t{0}), 2u);
  for (float& value : old_values) value *= 1024;
  for (float& value : new_values) value *= 1024;
  EXPECT_EQ(measure(ElementType::kFloat32, old_values, new_values).histogram, change.histogram);
  new_values[2] = 1e30f;  // beyond the end
  EXPECT_EQ(measure(ElementType::kFloat32, old_values, new_values).histogram[kChangeBins - 1], 1u);
}

TEST(Change, EntropyOfBytes) {
  EXPECT_EQ(byte_entropy({}), 0);
  EXPECT_EQ(byte_entropy(std::vector<uint8_t>(1000, 7)), 0);
  std::vector<uint8_t> all(256 * 64);
  std::iota(all.begin(), all.end(), uint8_t{0});
  EXPECT_DOUBLE_EQ(byte_entropy(all), 8);
  EXPECT_NEAR(byte_entropy(random_bytes(4096, 15)), 8, 0.03);
}

}  // namespace
}  // namespace tensorpatch::delta
