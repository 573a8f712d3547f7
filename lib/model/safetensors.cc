// model/safetensors.cc: finds the tensors of a safetensors file.
//
// Layout (huggingface/safetensors, README "Format"): u64 size of the header, a JSON object
// {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ..., "__metadata__": {text: text}},
// then the data. Refused, like the format's own reader does: a header above 100 MB, JSON that is
// not strict, duplicate keys, unknown dtypes, sizes that are not dtype x shape, data with holes or
// overlaps. Fields of a tensor that are not known are skipped.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "model/parsers.h"

namespace tensorpatch::model {
namespace {

constexpr uint64_t kMaxHeaderSize = 100'000'000;
constexpr size_t kMaxDepth = 32;

struct Dtype {
  std::string_view name;
  ElementType type;
  unsigned bits;
};
// 8-bit floats are taken as integers: near values have near codes. C64 is a pair of F32.
constexpr Dtype kDtypes[] = {
    {"BOOL", ElementType::kUint8, 8},        {"U8", ElementType::kUint8, 8},
    {"I8", ElementType::kInt8, 8},           {"F8_E5M2", ElementType::kUint8, 8},
    {"F8_E4M3", ElementType::kUint8, 8},     {"F8_E8M0", ElementType::kUint8, 8},
    {"I16", ElementType::kInt16, 16},        {"U16", ElementType::kUint16, 16},
    {"F16", ElementType::kFloat16, 16},      {"BF16", ElementType::kBfloat16, 16},
    {"I32", ElementType::kInt32, 32},        {"U32", ElementType::kUint32, 32},
    {"F32", ElementType::kFloat32, 32},      {"C64", ElementType::kFloat32, 64},
    {"I64", ElementType::kInt64, 64},        {"U64", ElementType::kUint64, 64},
    {"F64", ElementType::kFloat64, 64},      {"F4", ElementType::kBytes, 4},
    {"F6_E2M3", ElementType::kBytes, 6},     {"F6_E3M2", ElementType::kBytes, 6},
    {"F8_E4M3FNUZ", ElementType::kUint8, 8}, {"F8_E5M2FNUZ", ElementType::kUint8, 8},
};

// A tensor as the header tells it.
struct Entry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> data_offsets;
  bool has_shape = false;  // a scalar's shape is empty, but there
};

// Collects entries from the events of the JSON reader. Depth 1 is the header object, 2 a tensor or
// the metadata, 3 a tensor's arrays.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::string fault;  // what was refused; empty while all is well

  bool start_object(size_t) override {
    if (field_ != Field::kNone) return refuse("a field of the wrong type");
    keys_.emplace_back();
    return enter();
  }
  bool end_object() override {
    keys_.pop_back();
    return leave();
  }
  bool start_array(size_t) override {
    if (depth() < 2) return refuse("an array where an object belongs");
    if (field_ == Field::kDtype || (field_ != Field::kNone && depth() == 3)) {
      return refuse("a field of the wrong type");
    }
    keys_.emplace_back();
    return enter();
  }
  bool end_array() override {
    keys_.pop_back();
    return leave();
  }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) return refuse("duplicate key " + name);
    if (entries.size() > kMaxTensors) return refuse("too many tensors");
    if (depth() == 1) {
      in_tensor_ = name != "__metadata__";
      if (in_tensor_) entries.push_back(Entry{name, {}, {}, {}, false});
      field_ = Field::kNone;
    } else if (depth() == 2 && in_tensor_) {
      set_field(name);
    }
    return true;
  }
  bool string(string_t& text) override {
    if (depth() == 2 && field_ == Field::kDtype) {
      entries.back().dtype = text;
      return true;
    }
    return scalar();
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (depth() == 3 && field_ == Field::kShape) return append(entries.back().shape, number);
    if (depth() == 3 && field_ == Field::kDataOffsets) {
      return append(entries.back().data_offsets, number);
    }
    return scalar();
  }
  bool null() override { return scalar(); }
  bool boolean(bool) override { return scalar(); }
  bool number_integer(number_integer_t) override { return scalar(); }
  bool number_float(number_float_t, const string_t&) override { return scalar(); }
  bool binary(binary_t&) override { return refuse("binary data"); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return refuse("not strict json at byte " + std::to_string(position));
  }

 private:
  enum class Field : uint8_t { kNone, kDtype, kShape, kDataOffsets };

  size_t depth() const { return keys_.size(); }

  bool enter() {
    if (depth() > kMaxDepth) return refuse("nesting deeper than " + std::to_string(kMaxDepth));
    return true;
  }
  bool leave() {
    if (depth() <= 2) field_ = Field::kNone;
    return true;
  }
  // A value that is neither a dtype nor a number of an array that is read.
  bool scalar() {
    if (depth() < 2) return refuse("a value where an object belongs");
    if (field_ != Field::kNone) return refuse("a field of the wrong type");
    return true;
  }
  void set_field(const string_t& name) {
    field_ = name == "dtype"          ? Field::kDtype
             : name == "shape"        ? Field::kShape
             : name == "data_offsets" ? Field::kDataOffsets
                                      : Field::kNone;
    if (field_ == Field::kShape) entries.back().has_shape = true;
  }
  bool append(std::vector<uint64_t>& numbers, uint64_t number) {
    if (numbers.size() == kMaxRank) {
      return refuse("more than " + std::to_string(kMaxRank) + " dimensions");
    }
    numbers.push_back(number);
    return true;
  }
  bool refuse(std::string why) {
    if (fault.empty()) fault = std::move(why);
    return false;
  }

  // The keys of every open object (none of an array). Ordered: a hash could be flooded.
  std::vector<std::set<std::string>> keys_;
  bool in_tensor_ = false;
  Field field_ = Field::kNone;
};

tl::unexpected<Error> damaged(const std::string& what) {
  return fail(TENSORPATCH_E_FORMAT, what);
}

// The entry's segment, its data at `data_offset` in the file; refuses what does not add up.
Result<Segment> to_segment(Entry&& entry, uint64_t data_offset) {
  const auto* const dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                         [&](const Dtype& d) { return d.name == entry.dtype; });
  if (dtype == std::end(kDtypes)) return damaged("unknown dtype of tensor " + entry.name);
  if (!entry.has_shape || entry.data_offsets.size() != 2) {
    return damaged("fields are missing in tensor " + entry.name);
  }
  const uint64_t begin = entry.data_offsets[0];
  const uint64_t end = entry.data_offsets[1];
  const std::optional<uint64_t> count = element_count(entry.shape);
  uint64_t bits = 0;
  if (begin > end || !count || __builtin_mul_overflow(*count, uint64_t{dtype->bits}, &bits) ||
      bits % 8 != 0 || bits / 8 != end - begin) {
    return damaged("size is not dtype times shape in tensor " + entry.name);
  }
  Segment segment;
  if (__builtin_add_overflow(data_offset, begin, &segment.offset)) {
    return damaged("data beyond the file in tensor " + entry.name);
  }
  segment.size = end - begin;
  segment.type = dtype->type;
  segment.role = Role::kWeights;
  segment.name = std::move(entry.name);
  segment.shape = std::move(entry.shape);
  const unsigned type_bits = 8 * element_size(segment.type);
  if (dtype->bits > type_bits) segment.shape.push_back(dtype->bits / type_bits);
  if (segment.type != ElementType::kBytes) segment.row_elements = row_elements(segment.shape);
  return segment;
}

// Whether the segments, once sorted, fill [begin, end) without holes; overlaps are left to tile().
bool fills(Segments& segments, uint64_t begin, uint64_t end) {
  std::sort(segments.begin(), segments.end(), [](const Segment& a, const Segment& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.size < b.size;
  });
  for (const Segment& segment : segments) {
    if (segment.offset > begin) return false;
    begin = std::max(begin, segment.offset + segment.size);
  }
  return begin == end;
}

}  // namespace

bool looks_like_safetensors(base::Bytes file) {
  // The upper byte of the header size tells it from text such as {"name":{...
  return file.size() > sizeof(uint64_t) && file[8] == '{' && (file[7] < 0x20 || file[7] >= 0x7F);
}

Result<Segments> find_safetensors(base::Bytes file) {
  const auto header_size = load<uint64_t>(file, 0);
  if (header_size > kMaxHeaderSize || header_size > file.size() - sizeof header_size) {
    return damaged("header of " + std::to_string(header_size) + " bytes");
  }
  const base::Bytes header = file.subspan(sizeof header_size, header_size);
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &reader)) {
    return damaged(reader.fault.empty() ? "header is not strict json" : reader.fault);
  }
  Segments segments;
  segments.reserve(reader.entries.size());
  const uint64_t data_offset = sizeof header_size + header_size;
  for (Entry& entry : reader.entries) {
    auto segment = to_segment(std::move(entry), data_offset);
    if (!segment) return tl::unexpected(std::move(segment.error()));
    segments.push_back(std::move(*segment));
  }
  if (!fills(segments, data_offset, file.size())) {
    return damaged("data has holes or does not end with the file");
  }
  return segments;
}

}  // namespace tensorpatch::model
