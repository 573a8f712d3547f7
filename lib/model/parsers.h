// model/parsers.h: what the container parsers have in common; private to lib/model.
//
// A parser finds the tensors of one kind of container in any order and leaves the bytes between
// them to tile(). It refuses what is damaged and never reads outside `file`; it may give segments
// of size zero, which tile() drops. To add a container: one file with looks_like_ and find_, one
// line in model.cc.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/model.h"

namespace tensorpatch::model {

using Segments = std::vector<Segment>;

// Dimensions of a tensor that are kept; the formats need 8 or fewer.
constexpr size_t kMaxRank = 16;

// Tensors of a file; more are refused, so that a large file of tiny tensors does not take many
// times its size of memory.
constexpr size_t kMaxTensors = 1'000'000;

// Whether the first bytes say that a file means to be such a container; cheap, never refuses by
// itself.
bool looks_like_safetensors(base::Bytes file);
bool looks_like_tflite(base::Bytes file);
bool looks_like_gguf(base::Bytes file);
bool looks_like_onnx(base::Bytes file);
bool looks_like_zip(base::Bytes file);
bool looks_like_npy(base::Bytes file);
bool looks_like_torch(base::Bytes file);

Result<Segments> find_safetensors(base::Bytes file);
Result<Segments> find_tflite(base::Bytes file);
Result<Segments> find_gguf(base::Bytes file);
Result<Segments> find_onnx(base::Bytes file);
Result<Segments> find_zip(base::Bytes file);
Result<Segments> find_npy(base::Bytes file);
Result<Segments> find_torch(base::Bytes file);

// A tensor whose values are in another file.
struct ExternalTensor {
  std::string location;  // path as the model says it, with slashes
  Segment segment;       // offset in that file; not checked against its size
};
// None of a damaged file.
std::vector<ExternalTensor> find_onnx_external(base::Bytes file);

// The tensors of a file inside another, offsets from its own start; none where it is damaged, of no
// known kind or a zip file itself.
Segments find_in_member(base::Bytes member);

// Sorts what a parser found, drops empty segments and fills the gaps with kOther segments. Refuses
// ranges outside the file and overlaps.
Result<Segments> tile(Segments found, uint64_t file_size);

// The number of elements, or nothing when it does not fit 64 bits. 1 for an empty shape (a scalar).
std::optional<uint64_t> element_count(const std::vector<uint64_t>& shape);

// Segment::row_elements of values stored outermost dimension first. The outermost dimension is the
// output channel, except where it is 1 (depthwise filters in TFLite's order): there the innermost
// is.
uint64_t row_elements(const std::vector<uint64_t>& shape);

// Gives a segment, whose size is known, the type and shape that the file names. Where the size is
// no whole number of elements it becomes kBytes; where it is not that of the shape (sparse values,
// say), or the shape has too many dimensions, it becomes flat.
void describe_values(Segment& segment, ElementType type, std::vector<uint64_t> shape);

// Little-endian integer at `offset`, which the caller has checked.
template <class T>
T load(base::Bytes file, uint64_t offset) {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

// Reads forward; each call fails where the bytes end too early. `offset` is within them.
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
  // The next `size` bytes.
  bool read_view(uint64_t size, std::string_view& view) {
    if (remaining() < size) return false;
    view = {reinterpret_cast<const char*>(file_.data()) + offset_, size};
    return skip(size);
  }
  // What a length of type Size says, behind it.
  template <class Size>
  bool read_text(std::string_view& text) {
    Size size = 0;
    return read(size) && read_view(size, text);
  }

 private:
  base::Bytes file_;
  uint64_t offset_;
};

}  // namespace tensorpatch::model
