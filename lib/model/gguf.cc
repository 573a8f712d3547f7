// model/gguf.cc: finds the tensors of a GGUF file.
//
// Layout (ggml, docs/gguf.md), little-endian, versions 2 and 3: magic, version, counts of tensors
// and of key-value pairs; the pairs; for each tensor its name, dimensions (innermost first), type
// and offset in the data, which begins at the next multiple of general.alignment. Block-quantised
// types are bytes with block_size and block_elements. A tensor of a type that is not known stays
// among the bytes between. Refused: what ends early, nested arrays, an alignment that is no power
// of two, sizes that wrap, rows that are no whole blocks.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <utility>

#include "model/parsers.h"

namespace tensorpatch::model {
namespace {

constexpr uint64_t kDefaultAlignment = 32;
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

struct TensorType {
  uint32_t id;
  ElementType type;
  uint32_t block_size;  // 0 where the type is one of ours
  uint32_t block_elements;
};
constexpr TensorType kTensorTypes[] = {
    {0, ElementType::kFloat32, 0, 0},    {1, ElementType::kFloat16, 0, 0},
    {24, ElementType::kInt8, 0, 0},      {25, ElementType::kInt16, 0, 0},
    {26, ElementType::kInt32, 0, 0},     {27, ElementType::kInt64, 0, 0},
    {28, ElementType::kFloat64, 0, 0},   {30, ElementType::kBfloat16, 0, 0},
    {2, ElementType::kBytes, 18, 32},     // Q4_0
    {3, ElementType::kBytes, 20, 32},     // Q4_1
    {6, ElementType::kBytes, 22, 32},     // Q5_0
    {7, ElementType::kBytes, 24, 32},     // Q5_1
    {8, ElementType::kBytes, 34, 32},     // Q8_0
    {9, ElementType::kBytes, 36, 32},     // Q8_1
    {10, ElementType::kBytes, 84, 256},   // Q2_K
    {11, ElementType::kBytes, 110, 256},  // Q3_K
    {12, ElementType::kBytes, 144, 256},  // Q4_K
    {13, ElementType::kBytes, 176, 256},  // Q5_K
    {14, ElementType::kBytes, 210, 256},  // Q6_K
    {15, ElementType::kBytes, 292, 256},  // Q8_K
    {16, ElementType::kBytes, 66, 256},   // IQ2_XXS
    {17, ElementType::kBytes, 74, 256},   // IQ2_XS
    {18, ElementType::kBytes, 98, 256},   // IQ3_XXS
    {19, ElementType::kBytes, 50, 256},   // IQ1_S
    {20, ElementType::kBytes, 18, 32},    // IQ4_NL
    {21, ElementType::kBytes, 110, 256},  // IQ3_S
    {22, ElementType::kBytes, 82, 256},   // IQ2_S
    {23, ElementType::kBytes, 136, 256},  // IQ4_XS
    {29, ElementType::kBytes, 56, 256},   // IQ1_M
    {34, ElementType::kBytes, 54, 256},   // TQ1_0
    {35, ElementType::kBytes, 66, 256},   // TQ2_0
    {39, ElementType::kBytes, 17, 32},    // MXFP4
};

tl::unexpected<Error> damaged(std::string what) {
  return fail(TENSORPATCH_E_FORMAT, std::move(what));
}

// Reads forward; each call fails, and changes nothing, where the file ends too early.
class Cursor {
 public:
  Cursor(base::Bytes file, uint64_t offset) : file_(file), offset_(offset) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return file_.size() - offset_; }

  template <class T>
  bool read(T& value) {
    if (remaining() < sizeof(T)) return false;
    value = load<T>(file_, offset_);
    offset_ += sizeof(T);
    return true;
  }
  bool skip(uint64_t size) {
    if (remaining() < size) return false;
    offset_ += size;
    return true;
  }
  bool read_text(std::string_view& text) {
    uint64_t size = 0;
    if (!read(size) || remaining() < size) return false;
    text = {reinterpret_cast<const char*>(file_.data()) + offset_, size};
    return skip(size);
  }

 private:
  base::Bytes file_;
  uint64_t offset_;
};

bool skip_array(Cursor& cursor) {
  uint32_t type = 0;
  uint64_t count = 0;
  if (!cursor.read(type) || !cursor.read(count)) return false;
  if (type == kValueString) {
    std::string_view text;
    for (uint64_t i = 0; i < count; ++i) {
      if (!cursor.read_text(text)) return false;
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
    if (!cursor.read_text(key) || !cursor.read(type)) return false;
    uint32_t number = 0;
    std::string_view text;
    if (key == "general.alignment" && type == kValueUint32) {
      if (!cursor.read(number)) return false;
      alignment = number;
    } else if (type == kValueString) {
      if (!cursor.read_text(text)) return false;
    } else if (type == kValueArray) {
      if (!skip_array(cursor)) return false;
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
  const uint64_t per_unit = std::max<uint64_t>(segment.block_elements, 1);
  const uint64_t row = segment.shape.empty() ? 1 : segment.shape.back();
  if (!count || row % per_unit != 0) return std::nullopt;
  uint64_t size = 0;
  const uint64_t unit = segment.block_size != 0 ? segment.block_size : element_size(segment.type);
  if (__builtin_mul_overflow(*count / per_unit, unit, &size)) return std::nullopt;
  return size;
}

// Reads one tensor's description. Its offset is still one in the data; size 0 where its type is
// unknown.
Result<Segment> read_tensor(Cursor& cursor) {
  std::string_view name;
  uint32_t rank = 0;
  if (!cursor.read_text(name) || !cursor.read(rank)) return damaged("tensors end too early");
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
  const auto* const type = std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                                        [id](const TensorType& t) { return t.id == id; });
  if (type == std::end(kTensorTypes)) return segment;
  segment.type = type->type;
  segment.block_size = type->block_size;
  segment.block_elements = type->block_elements;
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
