// tests/faults/flash_simulator_test.cc: the flash that the other tests believe in.
// SPDX-License-Identifier: Apache-2.0
#include "support/flash_simulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

namespace tensorpatch::test {
namespace {

using Page = std::vector<uint8_t>;

Page contents(const FlashSimulator& flash, uint64_t offset, size_t size) {
  return {flash.at(offset), flash.at(offset) + size};
}

TEST(FlashSimulator, WordsAreProgrammedOnce) {
  for (const uint8_t erased : {uint8_t{0xFF}, uint8_t{0}}) {
    FlashSimulator flash({256, 4, 8, erased, false}, 1);
    const Page data(16, 0x5A);
    ASSERT_EQ(flash.write(8, data.data(), data.size()), 0);
    EXPECT_EQ(contents(flash, 0, 8), Page(8, erased));
    EXPECT_EQ(contents(flash, 8, 16), data);
    EXPECT_EQ(flash.misuse(), "");
    EXPECT_NE(flash.write(16, data.data(), 8), 0);
    EXPECT_EQ(flash.misuse(), "write into words that are not erased");
    ASSERT_EQ(flash.erase(0, 256), 0);
    EXPECT_EQ(contents(flash, 0, 256), Page(256, erased));
    EXPECT_EQ(flash.write(16, data.data(), 8), 0);
    EXPECT_EQ(flash.writes(), 2u);
    EXPECT_EQ(flash.erases(), 1u);
  }
}

TEST(FlashSimulator, WrongUseIsSeen) {
  const Page data(300, 1);
  Page out(300);
  const FlashSimulator clean({256, 2, 4, 0xFF, false}, 1);
  FlashSimulator flash = clean;
  EXPECT_NE(flash.write(2, data.data(), 4), 0);
  EXPECT_EQ(flash.misuse(), "write of no whole words");
  flash = clean;
  EXPECT_NE(flash.write(508, data.data(), 8), 0);
  EXPECT_EQ(flash.misuse(), "write outside of the flash");
  flash = clean;
  EXPECT_NE(flash.erase(128, 256), 0);
  EXPECT_EQ(flash.misuse(), "erase of no whole pages");
  flash = clean;
  EXPECT_NE(flash.erase(256, 512), 0);
  EXPECT_EQ(flash.misuse(), "erase outside of the flash");
  flash = clean;
  EXPECT_NE(flash.read(511, out.data(), 2), 0);
  EXPECT_EQ(flash.misuse(), "read outside of the flash");
}

TEST(FlashSimulator, AWriteIsCutWhereAsked) {
  const Page data(16, 0x11);
  const std::array<size_t, 6> done = {0, 1, 8, 15, 0, 16};
  for (const Cut cut : kCuts) {
    if (cut == Cut::kGarbage) continue;
    FlashSimulator flash({256, 2, 4, 0xFF, false}, 1);
    flash.cut_power(2, cut);
    ASSERT_EQ(flash.write(0, data.data(), 16), 0);
    ASSERT_NE(flash.write(16, data.data(), 16), 0);
    EXPECT_FALSE(flash.has_power());
    uint8_t byte = 0;
    EXPECT_NE(flash.read(0, &byte, 1), 0) << "reads without power";
    flash.power_on();
    EXPECT_EQ(flash.read(0, &byte, 1), 0);
    Page wanted(16, 0xFF);
    std::fill_n(wanted.begin(), done[static_cast<size_t>(cut)], 0x11);
    EXPECT_EQ(contents(flash, 16, 16), wanted) << cut_name(cut);
    EXPECT_EQ(flash.misuse(), "");
    // Untouched words can still be written, touched ones not even where they look erased.
    EXPECT_EQ(flash.write(28, data.data(), 4) == 0,
              cut == Cut::kBefore || cut == Cut::kFirstByte || cut == Cut::kMiddle);
    EXPECT_EQ(flash.write(16, data.data(), 4) == 0, cut == Cut::kBefore) << cut_name(cut);
  }
}

TEST(FlashSimulator, GarbageIsTheSameForTheSameSeed) {
  const Page data(64, 0x11);
  Page first;
  for (const uint64_t seed : {uint64_t{7}, uint64_t{7}, uint64_t{8}}) {
    FlashSimulator flash({256, 2, 4, 0xFF, true}, seed);
    flash.cut_power(1, Cut::kGarbage);
    ASSERT_NE(flash.write(0, data.data(), data.size()), 0);
    flash.power_on();
    Page out(64);
    EXPECT_EQ(flash.read(0, out.data(), 64), FlashSimulator::kDamaged);
    const Page now = contents(flash, 0, 64);
    if (first.empty()) first = now;
    EXPECT_NE(now, data);
    EXPECT_EQ(now == first, seed == 7);
  }
}

TEST(FlashSimulator, APageWhoseEraseWasCutIsNotErased) {
  const Page data(4, 0x11);
  for (const Cut cut : kCuts) {
    FlashSimulator flash({256, 3, 4, 0xFF, false}, 3);
    flash.fill(0, Page(768, 0x77));
    flash.cut_power(1, cut);
    ASSERT_NE(flash.erase(0, 512), 0);
    flash.power_on();
    const bool whole = cut == Cut::kAfter;
    EXPECT_EQ(contents(flash, 256, 256) == Page(256, 0xFF), whole) << cut_name(cut);
    EXPECT_EQ(contents(flash, 512, 256), Page(256, 0x77)) << cut_name(cut);
    EXPECT_EQ(flash.write(508, data.data(), 4) == 0, whole) << cut_name(cut);
    ASSERT_EQ(flash.erase(0, 512), 0);
    EXPECT_EQ(flash.write(508, data.data(), 4), 0);
  }
}

TEST(FlashSimulator, FailuresWithoutACut) {
  const Page data(4, 0x11);
  uint8_t byte = 0;
  FlashSimulator flash({256, 3, 4, 0xFF, false}, 3);
  flash.fail_operation(2);
  flash.fail_read(1);
  flash.break_page(2);
  EXPECT_EQ(flash.write(0, data.data(), 4), 0);
  EXPECT_NE(flash.write(4, data.data(), 4), 0);
  EXPECT_EQ(flash.write(8, data.data(), 4), 0) << "only once";
  EXPECT_NE(flash.read(0, &byte, 1), 0);
  EXPECT_EQ(flash.read(0, &byte, 1), 0);
  EXPECT_NE(flash.write(512, data.data(), 4), 0);
  EXPECT_NE(flash.erase(256, 512), 0);
  EXPECT_EQ(flash.erase(0, 512), 0);
  EXPECT_EQ(flash.reads(), 2u);
  EXPECT_EQ(flash.misuse(), "");
}

}  // namespace
}  // namespace tensorpatch::test
