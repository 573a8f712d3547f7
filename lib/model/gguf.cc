// model/gguf.cc: finds the tensors of a GGUF file.
//
// Layout (ggml, docs/gguf.md), little-endian, versions 2 and 3: magic, version, counts of tensors
// and of key-value pairs; the pairs; for each tensor its name, dimensions (innermost first), type
// and offset in the data, which begins at the next multiple of general.alignment. Block-quantised
// types are bytes with a block layout (gguf_types.h). A tensor of a type that is not known stays
// among the bytes between. Refused: what ends early, arrays nested too deep, an alignment that is
// no power of two, sizes that wrap, rows that are no whole blocks.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <utility>

#include "model/gguf_types.h"
#include "model/parsers.h"

namespace tensorpatch::model {
namespace {

constexpr uint64_t kDefaultAlignment = 32;
constexpr unsigned kMaxArrayDepth = 8;
constexpr std::string_view kMagic = "GGUF";

// Types of values in key-value pairs that are read; the size of the others is all that counts.
constexpr uint32_t kValueUint32 = 4;
constexpr uint32_t kValueString = 8;
constexpr uint32_t kValueArray = 9;

// Bytes of a value of fixed size, or 0.
uint64_t value_size(uint32_t type) {
  constexpr uint8_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(kSizes) ? kSizes[type] : 0;
}

tl::unexpected<Error> damaged(std::string what) {
  return fail(TENSORPATCH_E_FORMAT, std::move(what));
}

bool skip_array(Cursor& cursor, unsigned depth) {
  uint32_t type = 0;
  uint64_t count = 0;
  if (depth > kMaxArrayDepth || !cursor.read(type) || !cursor.read(count)) return false;
  if (type == kValueString || type == kValueArray) {
    std::string_view text;
    for (uint64_t i = 0; i < count; ++i) {
      if (type == kValueString ? !cursor.read_text<uint64_t>(text)
                               : !skip_array(cursor, depth + 1)) {
        return false;
      }
    }
    return true;
  }
  const uint64_t size = value_size(type);
  return size != 0 && count <= cursor.remaining() / size && cursor.skip(count * size);
}

// Passes the pairs; `alignment` becomes that of the file if it names one.
bool skip_pairs(Cursor& cursor, uint64_t count, uint64_t& alignment) {
  for (uint64_t i = 0; i < count; ++i) {
    std::string_view key;
    uint32_t type = 0;
    if (!cursor.read_text<uint64_t>(key) || !cursor.read(type)) return false;
    uint32_t number = 0;
    std::string_view text;
    if (key == "general.alignment" && type == kValueUint32) {
      if (!cursor.read(number)) return false;
      alignment = number;
    } else if (type == kValueString) {
      if (!cursor.read_text<uint64_t>(text)) return false;
    } else if (type == kValueArray) {
      if (!skip_array(cursor, 1)) return false;
    } else if (value_size(type) == 0 || !cursor.skip(value_size(type))) {
      return false;
    }
  }
  return true;
}

// The size that the segment's shape and type say; nothing where it wraps or rows are no whole
// blocks.
std::optional<uint64_t> size_of(const Segment& segment) {
  const std::optional<uint64_t> count = element_count(segment.shape);
  const uint64_t per_unit = std::max<uint64_t>(segment.block.elements, 1);
  const uint64_t row = segment.shape.empty() ? 1 : segment.shape.back();
  if (!count || row % per_unit != 0) return std::nullopt;
  uint64_t size = 0;
  const uint64_t unit = segment.block.size != 0 ? segment.block.size : element_size(segment.type);
  if (__builtin_mul_overflow(*count / per_unit, unit, &size)) return std::nullopt;
  return size;
}

// Reads one tensor's description. Its offset is still one in the data; size 0 where its type is
// unknown.
Result<Segment> read_tensor(Cursor& cursor) {
  std::string_view name;
  uint32_t rank = 0;
  if (!cursor.read_text<uint64_t>(name) || !cursor.read(rank))
    return damaged("tensors end too early");
  Segment segment;
  segment.role = Role::kWeights;
  segment.name = name;
  if (rank > kMaxRank) return damaged("too many dimensions in tensor " + segment.name);
  segment.shape.resize(rank);
  uint32_t id = 0;
  for (uint64_t& dimension : segment.shape) {
    if (!cursor.read(dimension)) return damaged("tensors end too early");
  }
  if (!cursor.read(id) || !cursor.read(segment.offset)) return damaged("tensors end too early");
  std::reverse(segment.shape.begin(), segment.shape.end());
  const GgufType* const type = find_gguf_type(id);
  if (type == nullptr) return segment;
  segment.type = type->type;
  segment.block = type->block;
  segment.row_elements = row_elements(segment.shape);
  const std::optional<uint64_t> size = size_of(segment);
  if (!size) return damaged("shape of tensor " + segment.name);
  segment.size = *size;
  return segment;
}

}  // namespace

bool looks_like_gguf(base::Bytes file) {
  return file.size() >= kMagic.size() &&
         std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0;
}

Result<Segments> find_gguf(base::Bytes file) {
  Cursor cursor(file, kMagic.size());
  uint32_t version = 0;
  uint64_t tensor_count = 0;
  uint64_t pair_count = 0;
  uint64_t alignment = kDefaultAlignment;
  if (!cursor.read(version) || (version != 2 && version != 3)) return damaged("unknown version");
  if (!cursor.read(tensor_count) || !cursor.read(pair_count) ||
      !skip_pairs(cursor, pair_count, alignment)) {
    return damaged("key-value pairs are malformed");
  }
  if (!std::has_single_bit(alignment)) return damaged("alignment is no power of two");
  if (tensor_count > kMaxTensors) return damaged("too many tensors");
  Segments segments;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    auto segment = read_tensor(cursor);
    if (!segment) return tl::unexpected(std::move(segment.error()));
    if (segment->size > 0) segments.push_back(std::move(*segment));
  }
  const uint64_t data_offset = (cursor.offset() + alignment - 1) & ~(alignment - 1);
  for (Segment& segment : segments) {
    if (__builtin_add_overflow(segment.offset, data_offset, &segment.offset)) {
      return damaged("offset of tensor " + segment.name);
    }
  }
  return segments;
}

}  // namespace tensorpatch::model
