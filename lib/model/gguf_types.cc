// model/gguf_types.cc: the block layouts of ggml's quantised types.
//
// Source: the block structs of ggml (ggml-common.h) and the numbers of its enum ggml_type. A
// layout is written as the list of its fields; offsets and the block's size follow from it and are
// compared with the published sizes in the test.
// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_types.h"

#include <algorithm>
#include <array>

namespace tensorpatch::model {
namespace {

struct Part {
  FieldKind kind;
  uint16_t size;
};

// Fields one after the other, without padding.
template <size_t kCount>
consteval std::array<BlockField, kCount> fields(const Part (&parts)[kCount]) {
  std::array<BlockField, kCount> result{};
  uint16_t offset = 0;
  for (size_t i = 0; i < kCount; ++i) {
    result[i] = {offset, parts[i].size, parts[i].kind};
    offset = static_cast<uint16_t>(offset + parts[i].size);
  }
  return result;
}

using enum FieldKind;
// d: scale, m: minimum, qs: values, qh: their high bits, as ggml calls them.
constexpr auto kQ40 = fields({{kFloat16, 2}, {kNibbles, 16}});                // d qs
constexpr auto kQ41 = fields({{kFloat16, 4}, {kNibbles, 16}});                // d m qs
constexpr auto kQ50 = fields({{kFloat16, 2}, {kBits1, 4}, {kNibbles, 16}});   // d qh qs
constexpr auto kQ51 = fields({{kFloat16, 4}, {kBits1, 4}, {kNibbles, 16}});   // d m qh qs
constexpr auto kQ80 = fields({{kFloat16, 2}, {kInt8, 32}});                   // d qs
constexpr auto kQ81 = fields({{kFloat16, 4}, {kInt8, 32}});                   // d s qs
constexpr auto kQ2K = fields({{kNibbles, 16}, {kBits2, 64}, {kFloat16, 4}});  // scales qs d m
constexpr auto kQ3K = fields({{kBits1, 32}, {kBits2, 64}, {kScales6, 12}, {kFloat16, 2}});
constexpr auto kQ4K = fields({{kFloat16, 4}, {kScales6, 12}, {kNibbles, 128}});
constexpr auto kQ5K = fields({{kFloat16, 4}, {kScales6, 12}, {kBits1, 32}, {kNibbles, 128}});
constexpr auto kQ6K = fields({{kNibbles, 128}, {kBits2, 64}, {kInt8, 16}, {kFloat16, 2}});
constexpr auto kQ8K = fields({{kFloat32, 4}, {kInt8, 256}, {kInt16, 32}});  // d qs sums
constexpr auto kIq2Xxs = fields({{kFloat16, 2}, {kCodes16, 64}});
constexpr auto kIq2Xs = fields({{kFloat16, 2}, {kCodes16, 64}, {kNibbles, 8}});
constexpr auto kIq2S = fields({{kFloat16, 2}, {kCodes8, 64}, {kBits2, 8}, {kNibbles, 8}});
constexpr auto kIq3Xxs = fields({{kFloat16, 2}, {kCodes8, 96}});
constexpr auto kIq3S =
    fields({{kFloat16, 2}, {kCodes8, 64}, {kBits1, 8}, {kBits1, 32}, {kNibbles, 4}});
constexpr auto kIq1S = fields({{kFloat16, 2}, {kCodes8, 32}, {kCodes16, 16}});
constexpr auto kIq1M = fields({{kCodes8, 32}, {kNibbles, 16}, {kCodes16, 8}});
constexpr auto kIq4Nl = fields({{kFloat16, 2}, {kNibbles, 16}});
constexpr auto kIq4Xs = fields({{kFloat16, 2}, {kBits2, 2}, {kNibbles, 4}, {kNibbles, 128}});
constexpr auto kTq10 = fields({{kCodes8, 48}, {kCodes8, 4}, {kFloat16, 2}});  // base 3
constexpr auto kTq20 = fields({{kBits2, 64}, {kFloat16, 2}});
constexpr auto kMxfp4 = fields({{kUint8, 1}, {kNibbles, 16}});
constexpr auto kNvfp4 = fields({{kUint8, 4}, {kNibbles, 32}});
constexpr auto kQ10 = fields({{kFloat16, 2}, {kBits1, 16}});

constexpr GgufType plain(uint32_t id, ElementType type) {
  return {id, type, {}};
}

template <size_t kCount>
constexpr GgufType blocks(uint32_t id, uint32_t elements,
                          const std::array<BlockField, kCount>& layout) {
  const uint32_t size = uint32_t{layout.back().offset} + layout.back().size;
  return {id, ElementType::kBytes, {size, elements, layout}};
}

constexpr GgufType kTypes[] = {
    plain(0, ElementType::kFloat32),
    plain(1, ElementType::kFloat16),
    plain(24, ElementType::kInt8),
    plain(25, ElementType::kInt16),
    plain(26, ElementType::kInt32),
    plain(27, ElementType::kInt64),
    plain(28, ElementType::kFloat64),
    plain(30, ElementType::kBfloat16),
    blocks(2, 32, kQ40),
    blocks(3, 32, kQ41),
    blocks(6, 32, kQ50),
    blocks(7, 32, kQ51),
    blocks(8, 32, kQ80),
    blocks(9, 32, kQ81),
    blocks(10, 256, kQ2K),
    blocks(11, 256, kQ3K),
    blocks(12, 256, kQ4K),
    blocks(13, 256, kQ5K),
    blocks(14, 256, kQ6K),
    blocks(15, 256, kQ8K),
    blocks(16, 256, kIq2Xxs),
    blocks(17, 256, kIq2Xs),
    blocks(18, 256, kIq3Xxs),
    blocks(19, 256, kIq1S),
    blocks(20, 32, kIq4Nl),
    blocks(21, 256, kIq3S),
    blocks(22, 256, kIq2S),
    blocks(23, 256, kIq4Xs),
    blocks(29, 256, kIq1M),
    blocks(34, 256, kTq10),
    blocks(35, 256, kTq20),
    blocks(39, 32, kMxfp4),
    blocks(40, 64, kNvfp4),
    blocks(41, 128, kQ10),
};

}  // namespace

const GgufType* find_gguf_type(uint32_t id) {
  const auto* const found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                         [id](const GgufType& type) { return type.id == id; });
  return found == std::end(kTypes) ? nullptr : found;
}

}  // namespace tensorpatch::model
