// damage.h: feeds damaged copies of a model file to the parser; shared by the container tests.
//
// Whatever the bytes, parse() must come back with segments that tile the file. Deterministic.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "model/model.h"

namespace tensorpatch::model {

// Parses a copy that ends at the end of its allocation, so that a sanitizer sees the first byte
// beyond.
inline Model parse_exactly(const std::vector<uint8_t>& file) {
  const auto copy = std::make_unique<uint8_t[]>(file.size());
  std::copy(file.begin(), file.end(), copy.get());
  Model model = parse({copy.get(), file.size()});
  const auto checked = check_tiling(model);
  EXPECT_TRUE(checked.has_value()) << checked.error().message;
  EXPECT_EQ(model.file_size, file.size());
  return model;
}

// The segment of that name; an empty one when there is none.
inline Segment segment_named(const Model& model, std::string_view name) {
  for (const Segment& segment : model.segments) {
    if (segment.name == name) return segment;
  }
  ADD_FAILURE() << "no segment " << name << " in a " << format_name(model.format) << " model; "
                << model.warning;
  return {};
}

inline void expect_raw_with_warning(const std::vector<uint8_t>& file, std::string_view reason) {
  const Model model = parse_exactly(file);
  EXPECT_EQ(model.format, Format::kRaw);
  EXPECT_EQ(model.segments.size(), 1U);
  EXPECT_NE(model.warning.find(reason), std::string::npos) << "warning: " << model.warning;
}

// Every truncation.
inline void expect_truncations_survive(const std::vector<uint8_t>& file) {
  for (size_t size = 0; size < file.size(); ++size) {
    parse_exactly({file.begin(), file.begin() + static_cast<ptrdiff_t>(size)});
  }
}

// Copies in which some bytes are replaced by random ones or by values that parsers stumble over.
inline void expect_mutations_survive(const std::vector<uint8_t>& file, unsigned rounds) {
  constexpr uint8_t kNasty[] = {0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF, '{', '"'};
  std::mt19937 random(20240229);
  for (unsigned round = 0; round < rounds; ++round) {
    std::vector<uint8_t> copy = file;
    const unsigned changes = 1 + random() % 4;
    for (unsigned i = 0; i < changes; ++i) {
      const uint32_t value = static_cast<uint32_t>(random());
      uint8_t& byte = copy[random() % copy.size()];
      byte = (value & 1) != 0 ? kNasty[(value >> 8) % 8] : static_cast<uint8_t>(value >> 8);
    }
    parse_exactly(copy);
  }
}

}  // namespace tensorpatch::model
