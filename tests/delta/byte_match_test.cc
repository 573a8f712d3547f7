// byte_match_test.cc: what is found, that it is whole and clean, and how much work it takes.
//
// Work is counted in bytes compared and sorted, never timed.
// SPDX-License-Identifier: Apache-2.0
#include "delta/byte_match.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "delta/byte_data.h"

namespace tensorpatch::delta {
namespace {

using test::ByteVector;
using test::concat;
using test::fibonacci_word;
using test::random_bytes;
using test::slice;
using test::with_step_added;

struct Found {
  std::vector<Equivalence> equivalences;
  ByteMatchStats stats;
  uint64_t equal = 0;    // bytes of new that an equivalence gets right
  uint64_t covered = 0;  // bytes of new in equivalences
};

// Matches and checks what holds for every result.
Found match(const ByteVector& old_bytes, const ByteVector& new_bytes, uint64_t window = 64 << 20) {
  Found found;
  found.equivalences = match_bytes(old_bytes, new_bytes, {.window = window, .stats = &found.stats});
  uint64_t new_end = 0;
  for (const Equivalence& at : found.equivalences) {
    EXPECT_GE(at.new_offset, new_end);
    EXPECT_GE(at.size, 8u);
    new_end = at.new_offset + at.size;
    EXPECT_LE(new_end, new_bytes.size());
    EXPECT_LE(at.old_offset + at.size, old_bytes.size());
    found.covered += at.size;
    for (uint64_t i = 0; i < at.size; ++i) {
      if (old_bytes[at.old_offset + i] == new_bytes[at.new_offset + i]) ++found.equal;
    }
  }
  for (size_t i = 1; i < found.equivalences.size(); ++i) {
    const Equivalence& last = found.equivalences[i - 1];
    const Equivalence& next = found.equivalences[i];
    const bool same = last.old_offset - last.new_offset == next.old_offset - next.new_offset;
    EXPECT_TRUE(!same || next.new_offset - (last.new_offset + last.size) > 32)
        << "neighbours " << i - 1 << " and " << i << " are one";
  }
  return found;
}

using Equivalences = std::vector<Equivalence>;

TEST(ByteMatch, EmptyInputsHaveNoEquivalences) {
  const ByteVector some = random_bytes(1000, 1);
  EXPECT_TRUE(match({}, {}).equivalences.empty());
  EXPECT_TRUE(match(some, {}).equivalences.empty());
  EXPECT_TRUE(match({}, some).equivalences.empty());
}

TEST(ByteMatch, InputsSmallerThanAnEquivalence) {
  const ByteVector tiny = {1, 2, 3, 4, 5, 6, 7};
  EXPECT_TRUE(match(tiny, tiny).equivalences.empty());
  const ByteVector small = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(match(small, small).equivalences, (Equivalences{{0, 0, 8}}));
  EXPECT_TRUE(match(tiny, random_bytes(500, 2)).equivalences.empty());
}

TEST(ByteMatch, IdentityNeedsNoIndex) {
  const ByteVector data = random_bytes(100'000, 3);
  const Found found = match(data, data);
  EXPECT_EQ(found.equivalences, (Equivalences{{0, 0, data.size()}}));
  EXPECT_EQ(found.stats.indexed, 0u);
  EXPECT_EQ(found.stats.searches, 0u);
}

TEST(ByteMatch, OneByteChangedNeedsNoIndex) {
  const ByteVector data = random_bytes(100'000, 4);
  for (const size_t place : {size_t{0}, size_t{50'000}, data.size() - 1}) {
    ByteVector changed = data;
    changed[place] ^= 1;
    const Found found = match(data, changed);
    EXPECT_GE(found.equal, data.size() - 1) << place;
    EXPECT_EQ(found.stats.indexed, 0u) << place;
  }
}

TEST(ByteMatch, TruncatedAndGrownFilesNeedNoIndex) {
  const ByteVector data = random_bytes(100'000, 5);
  const ByteVector fresh = random_bytes(1'000, 6);
  const ByteVector head = slice(data, 0, 40'000);
  const ByteVector tail = slice(data, 40'000, 60'000);

  Found found = match(data, head);
  EXPECT_EQ(found.equivalences, (Equivalences{{0, 0, 40'000}}));
  EXPECT_EQ(found.stats.indexed, 0u);

  found = match(data, tail);
  EXPECT_EQ(found.equivalences, (Equivalences{{40'000, 0, 60'000}}));
  EXPECT_EQ(found.stats.indexed, 0u);

  found = match(data, concat({data, fresh}));
  EXPECT_EQ(found.equivalences, (Equivalences{{0, 0, 100'000}}));
}

TEST(ByteMatch, InsertionAndRemovalAreFoundToTheByte) {
  const ByteVector data = random_bytes(100'000, 7);
  const ByteVector longer =
      concat({slice(data, 0, 40'000), random_bytes(1'000, 8), slice(data, 40'000, 60'000)});
  // Chance may make a byte of the fresh ones equal.
  EXPECT_GE(match(data, longer).equal, 100'000u);
  EXPECT_LE(match(data, longer).covered, 100'008u);
  EXPECT_EQ(match(data, longer).equivalences.size(), 2u);
  const Found removal = match(longer, data);
  EXPECT_EQ(removal.equal, 100'000u);
  EXPECT_EQ(removal.equivalences.size(), 2u);
  EXPECT_EQ(removal.stats.indexed, 0u);
}

TEST(ByteMatch, MovedBlocksAreFoundWhole) {
  const ByteVector data = random_bytes(80'000, 9);
  const ByteVector moved = concat({slice(data, 60'000, 20'000), slice(data, 20'000, 20'000),
                                   slice(data, 0, 20'000), slice(data, 40'000, 20'000)});
  const Found found = match(data, moved);
  EXPECT_EQ(found.equal, data.size());
  EXPECT_EQ(found.equivalences.size(), 4u);
}

TEST(ByteMatch, SparseChangesStayOneEquivalence) {
  const ByteVector data = random_bytes(50'000, 10);
  const Found found = match(data, with_step_added(data, 5));
  EXPECT_EQ(found.equivalences, (Equivalences{{0, 0, data.size()}}));
}

TEST(ByteMatch, ChangesInMovedContentAreTolerated) {
  const ByteVector data = random_bytes(50'000, 11);
  const ByteVector moved = concat({slice(data, 30'000, 20'000), slice(data, 0, 30'000)});
  const Found found = match(data, with_step_added(moved, 13));
  EXPECT_GE(found.covered, data.size() - 40);
  EXPECT_LE(found.equivalences.size(), 3u);
}

TEST(ByteMatch, ShortMatchesDoNotBreakAnAlignment) {
  // Eight changed bytes that happen to be elsewhere in old cost more to fetch than to say.
  const ByteVector data = random_bytes(50'000, 12);
  ByteVector changed = data;
  std::copy_n(data.begin() + 40'000, 8, changed.begin() + 10'000);
  EXPECT_EQ(match(data, changed).equivalences, (Equivalences{{0, 0, data.size()}}));
  // A long one is worth it.
  std::copy_n(data.begin() + 40'000, 200, changed.begin() + 10'000);
  const Found found = match(data, changed);
  EXPECT_EQ(found.equivalences.size(), 3u);
  EXPECT_EQ(found.equal, data.size());
}

TEST(ByteMatch, ResultDependsOnContentOnly) {
  const ByteVector data = random_bytes(60'000, 13);
  const ByteVector other =
      with_step_added(concat({slice(data, 33'000, 20'000), slice(data, 1'000, 30'000)}), 40);
  const Found first = match(data, other);
  const ByteVector data_copy = concat({data});
  const ByteVector other_copy = concat({other});
  EXPECT_EQ(match(data_copy, other_copy).equivalences, first.equivalences);
  EXPECT_GE(first.equivalences.size(), 2u);
}

// --- an old larger than the window ------------------------------------------------------------

constexpr uint64_t kSmallWindow = 16 << 10;

TEST(ByteMatchWindow, FindsWhatMovedALittle) {
  const ByteVector data = random_bytes(300'000, 14);
  ByteVector moved = data;
  // Blocks of 300 bytes swapped with others 2,000 bytes away: shorter than a landmark's step.
  for (size_t at = 1'000; at + 3'000 < data.size(); at += 10'000) {
    std::swap_ranges(moved.begin() + static_cast<std::ptrdiff_t>(at),
                     moved.begin() + static_cast<std::ptrdiff_t>(at + 300),
                     moved.begin() + static_cast<std::ptrdiff_t>(at + 2'000));
  }
  const Found found = match(data, moved, kSmallWindow);
  EXPECT_EQ(found.equal, data.size());
  EXPECT_GT(found.stats.indexed, kSmallWindow);
}

TEST(ByteMatchWindow, FindsLongContentThatMovedFar) {
  const ByteVector data = random_bytes(400'000, 15);
  const ByteVector moved = concat(
      {slice(data, 300'000, 100'000), slice(data, 100'000, 200'000), slice(data, 0, 100'000)});
  const Found found = match(data, moved, kSmallWindow);
  // Blocks begin to be found at a landmark, and are then extended backwards.
  EXPECT_EQ(found.equal, data.size());
  EXPECT_EQ(found.equivalences.size(), 3u);
}

TEST(ByteMatchWindow, KeepsAlignmentsAcrossChangesOfTheWindow) {
  const ByteVector data = random_bytes(400'000, 16);
  ByteVector shifted = concat({random_bytes(70'000, 17), data});
  // Interrupted often: each time the alignment outside the window has to be found again.
  for (size_t at = 80'000; at + 1'000 < shifted.size(); at += 1'500) {
    for (size_t i = 0; i < 100; ++i) shifted[at + i] ^= 0xa5;
  }
  const Found found = match(data, shifted, kSmallWindow);
  EXPECT_GE(found.equal, data.size() - 27'000);
}

TEST(ByteMatchWindow, SortsAtMostTwiceTheLargerFile) {
  const ByteVector data = random_bytes(400'000, 18);
  for (const auto& [old_size, new_size] : {std::pair{400'000, 400'000}, {400'000, 50'000}}) {
    const Found found =
        match(slice(data, 0, static_cast<size_t>(old_size)),
              concat({random_bytes(static_cast<size_t>(new_size), 19)}), kSmallWindow);
    EXPECT_LE(found.stats.indexed, 2 * 400'000u + 2 * kSmallWindow);
  }
}

// --- no input takes more than near-linear work ------------------------------------------------

struct HardPair {
  std::string name;
  std::function<ByteVector(size_t)> make_old;
  std::function<ByteVector(size_t)> make_new;
};

ByteVector period_of(size_t size, size_t period) {
  ByteVector data(size);
  for (size_t i = 0; i < size; ++i) data[i] = static_cast<uint8_t>(i % period);
  return data;
}

std::vector<HardPair> hard_pairs() {
  const auto zeros = [](size_t size) { return ByteVector(size); };
  const auto ones = [](size_t size) { return ByteVector(size, 1); };
  const auto periodic = [](size_t size) { return period_of(size, 7); };
  const auto random = [](size_t size) { return random_bytes(size, 20); };
  const auto dotted = [](size_t step) {
    return [step](size_t size) { return with_step_added(ByteVector(size), step); };
  };
  return {
      {"zeros and more zeros", zeros, [](size_t size) { return ByteVector(size + 1'234); }},
      {"more zeros and zeros", [](size_t size) { return ByteVector(size + 1'234); }, zeros},
      {"zeros and ones", zeros, ones},
      {"zeros and sparse ones", zeros, dotted(1'009)},
      {"sparse ones and zeros", dotted(1'009), zeros},
      {"sparse ones at two distances", dotted(1'009), dotted(1'013)},
      {"dense ones at two distances", dotted(11), dotted(13)},
      {"two periods", periodic, [](size_t size) { return period_of(size, 11); }},
      {"a period and its damage", periodic,
       [](size_t size) { return with_step_added(period_of(size, 7), 997); }},
      {"a damaged period and the period",
       [](size_t size) { return with_step_added(period_of(size, 7), 997); }, periodic},
      {"a period, shifted", periodic,
       [](size_t size) { return slice(period_of(size + 3, 7), 3, size); }},
      {"Fibonacci words", [](size_t size) { return fibonacci_word(size); },
       [](size_t size) {
         return with_step_added(slice(fibonacci_word(2 * size), size / 3, size), 501);
       }},
      {"unrelated", random, [](size_t size) { return random_bytes(size, 21); }},
      {"one byte of old everywhere", random, zeros},
      {"halves swapped", random,
       [](size_t size) {
         const ByteVector data = random_bytes(size, 20);
         return concat({slice(data, size / 2, size - size / 2), slice(data, 0, size / 2)});
       }},
  };
}

TEST(ByteMatchWork, GrowsLinearlyOnHardInputs) {
  constexpr size_t kSize = 100'000;
  for (const uint64_t window : {uint64_t{64} << 20, kSmallWindow}) {
    for (const HardPair& pair : hard_pairs()) {
      SCOPED_TRACE(pair.name + ", window " + std::to_string(window));
      const Found small = match(pair.make_old(kSize), pair.make_new(kSize), window);
      const Found large = match(pair.make_old(4 * kSize), pair.make_new(4 * kSize), window);
      // Nine mismatches of look-ahead over a binary search, at the worst.
      EXPECT_LE(small.stats.compared, 60 * kSize);
      EXPECT_LE(large.stats.compared, 60 * 4 * kSize);
      EXPECT_LE(large.stats.indexed, 8 * kSize + 2 * kSmallWindow);
    }
  }
}

TEST(ByteMatchWork, DenseChangeNeedsFewSearches) {
  // Every second byte changed, as in the weights of a fine-tuned model.
  const ByteVector data = random_bytes(400'000, 22);
  ByteVector changed = data;
  const ByteVector noise = random_bytes(data.size(), 23);
  for (size_t i = 0; i < data.size(); i += 2) changed[i] = noise[i];
  const Found found = match(data, changed);
  EXPECT_LT(found.stats.searches, data.size() / 10);
  EXPECT_LT(found.stats.compared, data.size() * 8);
}

}  // namespace
}  // namespace tensorpatch::delta
