// model/npy.cc: finds the values of a NumPy array file.
//
// Layout (numpy.lib.format): magic, version (1, 2 or 3), size of the header, the header: a Python
// dictionary as text with 'descr', 'fortran_order' and 'shape'; then the values. Big-endian,
// structured and object types are bytes; complex numbers are pairs. An array in Fortran order has
// its dimensions reversed, as it lies in the file. Refused: a header that is not like numpy's own,
// values that end early.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "model/parsers.h"

namespace tensorpatch::model {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

struct Descr {
  std::string_view text;
  ElementType type;
  unsigned per_value;  // elements
};
constexpr Descr kDescrs[] = {
    {"<f4", ElementType::kFloat32, 1}, {"<f2", ElementType::kFloat16, 1},
    {"<f8", ElementType::kFloat64, 1}, {"|i1", ElementType::kInt8, 1},
    {"|u1", ElementType::kUint8, 1},   {"|b1", ElementType::kUint8, 1},
    {"<i2", ElementType::kInt16, 1},   {"<u2", ElementType::kUint16, 1},
    {"<i4", ElementType::kInt32, 1},   {"<u4", ElementType::kUint32, 1},
    {"<i8", ElementType::kInt64, 1},   {"<u8", ElementType::kUint64, 1},
    {"<c8", ElementType::kFloat32, 2}, {"<c16", ElementType::kFloat64, 2},
};

// What stands behind "'key':", without the spaces before; empty where the key is missing.
std::string_view value_of(std::string_view header, std::string_view key) {
  const size_t place = header.find(key);
  if (place == std::string_view::npos) return {};
  header.remove_prefix(place + key.size());
  header.remove_prefix(std::min(header.find_first_not_of(" :"), header.size()));
  return header;
}

// Reads "(3, 4, )"; false where it is anything else.
bool read_shape(std::string_view text, std::vector<uint64_t>& shape) {
  if (!text.starts_with('(')) return false;
  bool in_number = false;
  for (const char letter : text.substr(1)) {
    if (letter == ')') return true;
    if (letter >= '0' && letter <= '9') {
      if (!in_number) shape.push_back(0);
      in_number = true;
      if (__builtin_mul_overflow(shape.back(), 10, &shape.back()) ||
          __builtin_add_overflow(shape.back(), letter - '0', &shape.back())) {
        return false;
      }
    } else if (letter == ',' || letter == ' ') {
      in_number = false;
    } else {
      return false;
    }
    if (shape.size() > kMaxRank) return false;
  }
  return false;
}

}  // namespace

bool looks_like_npy(base::Bytes file) {
  return file.size() >= kMagic.size() &&
         std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0;
}

Result<Segments> find_npy(base::Bytes file) {
  Cursor cursor(file, kMagic.size());
  uint8_t major = 0;
  uint8_t minor = 0;
  std::string_view header;
  if (!cursor.read(major) || !cursor.read(minor) || major < 1 || major > 3) {
    return fail(TENSORPATCH_E_FORMAT, "unknown version");
  }
  if (major == 1 ? !cursor.read_text<uint16_t>(header) : !cursor.read_text<uint32_t>(header)) {
    return fail(TENSORPATCH_E_FORMAT, "header ends too early");
  }
  Segment segment;
  std::vector<uint64_t> shape;
  const std::string_view order = value_of(header, "'fortran_order'");
  const bool is_fortran = order.starts_with("True");
  if ((!is_fortran && !order.starts_with("False")) ||
      !read_shape(value_of(header, "'shape'"), shape)) {
    return fail(TENSORPATCH_E_FORMAT, "malformed header");
  }
  if (is_fortran) std::reverse(shape.begin(), shape.end());
  std::string_view descr = value_of(header, "'descr'");
  if (descr.starts_with('\'')) descr.remove_prefix(1);
  descr = descr.substr(0, descr.find('\''));
  const auto* const known = std::find_if(std::begin(kDescrs), std::end(kDescrs),
                                         [&](const Descr& d) { return d.text == descr; });
  segment.offset = cursor.offset();
  segment.size = cursor.remaining();
  segment.role = Role::kWeights;
  if (known == std::end(kDescrs)) {
    describe_values(segment, ElementType::kBytes, std::move(shape));
    return Segments{std::move(segment)};
  }
  if (known->per_value > 1) shape.push_back(known->per_value);
  const std::optional<uint64_t> count = element_count(shape);
  if (!count ||
      __builtin_mul_overflow(*count, uint64_t{element_size(known->type)}, &segment.size) ||
      segment.size > cursor.remaining()) {
    return fail(TENSORPATCH_E_FORMAT, "values end too early");
  }
  describe_values(segment, known->type, std::move(shape));
  return Segments{std::move(segment)};
}

}  // namespace tensorpatch::model
