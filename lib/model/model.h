// model/model.h: a model file seen as segments that tile it.
//
// Every byte of the file lies in exactly one segment: a tensor's values, a quantisation or bias
// array, or the bytes between. A parser only says where things are; it copies no weights and
// changes nothing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "tensorpatch/result.h"

namespace tensorpatch::model {

// The element type of a segment, little-endian in the file.
enum class ElementType : uint8_t {
  kBytes,  // no element structure: metadata, text, sub-byte or unknown types
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kUint64,
  kInt64,
  kFloat16,
  kBfloat16,
  kFloat32,
  kFloat64,
};
// Bytes an element takes, >= 1 (kBytes: 1).
unsigned element_size(ElementType type);
std::string_view element_type_name(ElementType type);

// What a segment is for; drives matching and the choice of models.
enum class Role : uint8_t {
  kOther,      // bytes between tensors: headers, graph, padding
  kWeights,    // a tensor's values
  kBias,       // int32 bias of a quantised layer
  kScale,      // quantisation scales, one a tensor or a channel
  kZeroPoint,  // quantisation zero points
};

// What the bytes of a field of a quantised block are, little-endian.
enum class FieldKind : uint8_t {
  kFloat16,  // scales and minima
  kFloat32,  // a scale
  kInt8,     // values, or signed scales
  kInt16,    // sums of values
  kUint8,    // scales: exponents or small floats, near values have near codes
  kScales6,  // 6-bit scales and minima, packed across bytes
  kNibbles,  // two 4-bit codes a byte, the low one first
  kBits2,    // four 2-bit codes a byte
  kBits1,    // eight bits a byte, of the codes in another field or signs
  kCodes8,   // bytes whose values have no order: places in a codebook, several values at once
  kCodes16,  // the same in 16-bit units
};

struct BlockField {
  uint16_t offset;  // in the block
  uint16_t size;    // bytes
  FieldKind kind;
};

// How a block-quantised tensor is laid out: every `elements` values take one block of `size` bytes,
// the fields, ascending, tile it. All 0 and empty where there are no blocks; `fields` lives
// forever.
struct BlockLayout {
  uint32_t size = 0;
  uint32_t elements = 0;
  std::span<const BlockField> fields;
};

struct Segment {
  uint64_t offset = 0;  // in the file
  uint64_t size = 0;    // bytes, > 0; a multiple of element_size(type)
  ElementType type = ElementType::kBytes;
  Role role = Role::kOther;
  // As the file says, scales as "<tensor>/scale"; empty for kOther; may repeat.
  std::string name;
  std::vector<uint64_t> shape;  // outermost first; empty for kOther
  // Elements of one row (output channel) where rows are contiguous, else 0.
  uint64_t row_elements = 0;
  BlockLayout block{};  // of block-quantised tensors, which are kBytes
};

enum class Format : uint8_t {
  kRaw,
  kTflite,
  kSafetensors,
  kOnnx,
  kGguf,
  kZip,
  kNpy,
  kTorch,
  kOnnxData
};
std::string_view format_name(Format format);

struct Model {
  Format format = Format::kRaw;
  uint64_t file_size = 0;
  std::vector<Segment> segments;  // ascending offsets; tile [0, file_size)
  std::string warning;  // why a file that looked like a container was taken as raw; else empty
};

// Reads the structure of a model file of any kind. Never fails: a damaged or unknown container is a
// raw model with one kOther segment (none for an empty file) and, when it looked like a known
// container, a warning. `file` is only looked at during the call.
Model parse(base::Bytes file);

// A file that belongs to an update, by its name without folders.
struct NamedFile {
  std::string name;
  base::Bytes bytes;
};

// parse() of files that belong together: a file of no known kind in which an ONNX model among them
// keeps its tensors (external data) gets their places. It is the file that the model names, or,
// where no file has such a name, the only file of no known kind.
std::vector<Model> parse_all(std::span<const NamedFile> files);

// The one check that every parser's result passes before parse() returns it: segments are
// ascending, not empty, tile the file exactly, and each size is a multiple of its element size and
// agrees with its shape. Returns what is wrong otherwise.
Result<void> check_tiling(const Model& model);

}  // namespace tensorpatch::model
