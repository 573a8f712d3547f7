// tests/base/parallel_test.cc: every piece once, in order where order is promised, memory bounded.
// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace tensorpatch::base {
namespace {

TEST(ParallelFor, CallsEachIndexOnce) {
  for (const unsigned jobs : {0U, 1U, 2U, 7U}) {
    for (const size_t count : {0U, 1U, 5U, 1000U}) {
      std::vector<std::atomic<int>> calls(count);
      parallel_for(count, jobs, [&](size_t i) { ++calls[i]; });
      EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n == 1; }))
          << jobs << " jobs, " << count << " pieces";
    }
  }
}

TEST(ParallelFor, RunsOnSeveralThreads) {
  // Two pieces that wait for each other end only when both run at once.
  std::atomic<int> arrived = 0;
  parallel_for(2, 2, [&](size_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

TEST(ParallelOrdered, TakesInOrderWhateverTheTimeToMake) {
  for (const unsigned jobs : {0U, 1U, 2U, 5U}) {
    for (const size_t window : {0U, 1U, 3U, 500U}) {
      std::vector<size_t> made(60);
      std::vector<size_t> taken;
      const bool complete = parallel_ordered(
          made.size(), jobs, window,
          [&](size_t i) {
            if (i % 7 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
            made[i] = i * i;
          },
          [&](size_t i) {
            taken.push_back(made[i]);
            return true;
          });
      EXPECT_TRUE(complete);
      ASSERT_EQ(taken.size(), made.size());
      for (size_t i = 0; i < taken.size(); ++i) EXPECT_EQ(taken[i], i * i);
    }
  }
}

TEST(ParallelOrdered, NeverRunsAheadOfTheWindow) {
  constexpr size_t kWindow = 3;
  std::atomic<size_t> taken = 0;
  std::atomic<size_t> furthest = 0;
  parallel_ordered(
      100, 4, kWindow,
      [&](size_t i) {
        const size_t ahead = i - taken;
        size_t seen = furthest;
        while (ahead > seen && !furthest.compare_exchange_weak(seen, ahead)) {
        }
      },
      [&](size_t i) {
        if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        taken = i + 1;
        return true;
      });
  EXPECT_EQ(taken, 100U);
  // A piece may start after its take was done and before `taken` here says so: one more.
  EXPECT_LE(furthest, kWindow);
}

TEST(ParallelOrdered, StopsAtTheFirstRefusal) {
  for (const unsigned jobs : {1U, 4U}) {
    std::atomic<size_t> started = 0;
    std::vector<size_t> taken;
    const bool complete = parallel_ordered(
        1000000, jobs, 8, [&](size_t) { ++started; },
        [&](size_t i) {
          taken.push_back(i);
          return i < 4;
        });
    EXPECT_FALSE(complete);
    EXPECT_EQ(taken, (std::vector<size_t>{0, 1, 2, 3, 4}));
    EXPECT_LE(started, 4U + 8U);
  }
}

TEST(ParallelOrdered, NothingToDoIsDone) {
  EXPECT_TRUE(parallel_ordered(
      0, 2, 4, [](size_t) { FAIL(); }, [](size_t) { return false; }));
}

TEST(ParallelOrdered, EndsItsThreadsWhenTakeThrows) {
  EXPECT_THROW(parallel_ordered(
                   100, 2, 2, [](size_t) {},
                   [](size_t i) -> bool {
                     if (i == 3) throw std::runtime_error("out of memory, say");
                     return true;
                   }),
               std::runtime_error);
}

}  // namespace
}  // namespace tensorpatch::base
