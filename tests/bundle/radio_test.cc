// tests/bundle/radio_test.cc: estimates by hand from the figures of radio.tsv.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/radio.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tensorpatch::bundle {
namespace {

LinkCost over(std::string_view name, const UpdateSizes& sizes) {
  const auto costs = link_costs(sizes);
  const auto found = std::find_if(costs.begin(), costs.end(),
                                  [&](const LinkCost& cost) { return cost.name == name; });
  return found == costs.end() ? LinkCost{} : *found;
}

TEST(Radio, FramesAreWhole) {
  EXPECT_EQ(over("lorawan-sf12", {51, 0, 0}).air_ms, 2793u);
  EXPECT_EQ(over("lorawan-sf12", {1, 0, 0}).air_ms, 2793u);
  EXPECT_EQ(over("lorawan-sf12", {52, 0, 0}).air_ms, 5587u);
  EXPECT_EQ(over("lorawan-sf12", {52, 0, 0}).energy_mj, 77u);  // 5.587 s at 13.86 mW
  EXPECT_EQ(over("nb-iot", {}).time_ms, 0u);
}

TEST(Radio, DecodingAndFlashAreInAllLinks) {
  for (const LinkCost& cost : link_costs({0, 4096, 8192})) {
    const LinkCost decoded = over(cost.name, {0, 4096, 0});
    EXPECT_EQ(cost.air_ms, 0u) << cost.name;
    EXPECT_GT(decoded.time_ms, 0u) << cost.name;
    EXPECT_NEAR(static_cast<double>(cost.time_ms - decoded.time_ms), 102.8, 1.0) << cost.name;
    EXPECT_NEAR(static_cast<double>(cost.energy_mj), 7.0, 1.0) << cost.name;
    EXPECT_FALSE(cost.title.empty());
  }
}

TEST(Radio, SizesOfAHostileBundleSaturate) {
  const LinkCost cost = over("lorawan-sf12", {UINT64_MAX, UINT64_MAX, UINT64_MAX});
  EXPECT_EQ(cost.time_ms, UINT64_MAX);
}

}  // namespace
}  // namespace tensorpatch::bundle
