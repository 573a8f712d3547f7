// model/onnx.cc: finds the tensors of an ONNX model.
//
// The file is one protobuf message (onnx/onnx.proto, whose field numbers stand below). Taken are
// the values of every TensorProto: initializers, tensors in attributes (constants), values and
// indices of sparse tensors, in nested graphs and functions too. raw_data has the element type that
// the tensor names; packed float_data and double_data are typed; packed varints are bytes. A tensor
// without a name has that of the first output of its node. Nothing is aligned. Refused: what is no
// protobuf, nesting deeper than a limit, a file without a graph.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <utility>

#include "model/parsers.h"

namespace tensorpatch::model {
namespace {

using protozero::data_view;
using protozero::pbf_reader;
using protozero::pbf_wire_type;

constexpr unsigned kMaxDepth = 64;
constexpr size_t kMaxInheritedName = 256;  // many tensors may inherit one

enum class Message : uint8_t {
  kModel,
  kTraining,
  kFunction,
  kGraph,
  kNode,
  kAttribute,
  kSparseTensor,
  kTensor,
};

// Which fields of a message lead to tensors.
struct Edge {
  Message from;
  uint32_t field;
  Message to;
};
constexpr Edge kEdges[] = {
    {Message::kModel, 7, Message::kGraph},
    {Message::kModel, 20, Message::kTraining},
    {Message::kModel, 25, Message::kFunction},
    {Message::kTraining, 1, Message::kGraph},
    {Message::kTraining, 2, Message::kGraph},
    {Message::kFunction, 7, Message::kNode},
    {Message::kGraph, 1, Message::kNode},
    {Message::kGraph, 5, Message::kTensor},
    {Message::kGraph, 15, Message::kSparseTensor},
    {Message::kNode, 5, Message::kAttribute},
    {Message::kAttribute, 5, Message::kTensor},
    {Message::kAttribute, 6, Message::kGraph},
    {Message::kAttribute, 10, Message::kTensor},
    {Message::kAttribute, 11, Message::kGraph},
    {Message::kAttribute, 22, Message::kSparseTensor},
    {Message::kAttribute, 23, Message::kSparseTensor},
    {Message::kSparseTensor, 1, Message::kTensor},
    {Message::kSparseTensor, 2, Message::kTensor},
};
constexpr uint32_t kNodeOutput = 2;

// Fields of TensorProto.
constexpr uint32_t kDims = 1;
constexpr uint32_t kDataType = 2;
constexpr uint32_t kFloatData = 4;
constexpr uint32_t kInt32Data = 5;
constexpr uint32_t kInt64Data = 7;
constexpr uint32_t kName = 8;
constexpr uint32_t kRawData = 9;
constexpr uint32_t kDoubleData = 10;
constexpr uint32_t kUint64Data = 11;

// TensorProto.DataType with whole bytes; all others are kBytes.
ElementType element_type(int32_t data_type) {
  switch (data_type) {
    case 1:
      return ElementType::kFloat32;
    case 2:
      return ElementType::kUint8;
    case 3:
      return ElementType::kInt8;
    case 4:
      return ElementType::kUint16;
    case 5:
      return ElementType::kInt16;
    case 6:
      return ElementType::kInt32;
    case 7:
      return ElementType::kInt64;
    case 9:
      return ElementType::kUint8;  // bool
    case 10:
      return ElementType::kFloat16;
    case 11:
      return ElementType::kFloat64;
    case 12:
      return ElementType::kUint32;
    case 13:
      return ElementType::kUint64;
    case 16:
      return ElementType::kBfloat16;
    case 17:
    case 18:
    case 19:
    case 20:
    case 24:
      return ElementType::kUint8;  // float8
    default:
      return ElementType::kBytes;
  }
}

// A view of a field's content; the last one counts where a field is repeated, as protobuf says.
struct Tensor {
  std::vector<uint64_t> shape;
  int32_t data_type = 0;
  data_view name;
  data_view raw_data;
  data_view float_data;
  data_view double_data;
  data_view varints;  // int32_data, int64_data or uint64_data
};

class TensorFinder {
 public:
  explicit TensorFinder(base::Bytes file) : file_(file) {}

  // Throws protozero::exception where the bytes are no protobuf. False where nesting is too deep.
  bool walk(Message kind, data_view bytes, data_view name, unsigned depth) {
    if (depth > kMaxDepth) return false;
    if (kind == Message::kTensor) {
      add_tensor(bytes, name);
      return true;
    }
    has_graph_ = has_graph_ || kind == Message::kGraph;
    for (pbf_reader message(bytes); message.next();) {
      if (message.wire_type() != pbf_wire_type::length_delimited) {
        message.skip();
        continue;
      }
      const uint32_t field = message.tag();
      const data_view content = message.get_view();
      if (kind == Message::kNode && field == kNodeOutput && name.empty() &&
          content.size() <= kMaxInheritedName) {
        name = content;
      }
      const auto* const edge =
          std::find_if(std::begin(kEdges), std::end(kEdges),
                       [&](const Edge& e) { return e.from == kind && e.field == field; });
      if (edge == std::end(kEdges)) continue;
      // A node inside a node's graph names its own tensors.
      const data_view inherited = edge->to == Message::kGraph ? data_view() : name;
      if (!walk(edge->to, content, inherited, depth + 1)) return false;
    }
    return true;
  }

  bool has_graph() const { return has_graph_; }
  Segments take() { return std::move(segments_); }

 private:
  void add_tensor(data_view bytes, data_view inherited_name) {
    Tensor tensor = read_tensor(bytes);
    if (tensor.name.empty()) tensor.name = inherited_name;
    add_values(tensor, tensor.raw_data, element_type(tensor.data_type));
    add_values(tensor, tensor.float_data, ElementType::kFloat32);
    add_values(tensor, tensor.double_data, ElementType::kFloat64);
    add_values(tensor, tensor.varints, ElementType::kBytes);
  }

  static Tensor read_tensor(data_view bytes) {
    Tensor tensor;
    for (pbf_reader message(bytes); message.next();) {
      const uint32_t field = message.tag();
      if (message.wire_type() == pbf_wire_type::varint && field == kDims) {
        append(tensor.shape, message.get_int64());
      } else if (message.wire_type() == pbf_wire_type::varint && field == kDataType) {
        tensor.data_type = message.get_int32();
      } else if (message.wire_type() != pbf_wire_type::length_delimited) {
        message.skip();
      } else if (field == kDims) {
        for (const int64_t dimension : message.get_packed_int64()) append(tensor.shape, dimension);
      } else {
        take_view(tensor, field, message.get_view());
      }
    }
    return tensor;
  }

  static void take_view(Tensor& tensor, uint32_t field, data_view content) {
    switch (field) {
      case kName:
        tensor.name = content;
        break;
      case kRawData:
        tensor.raw_data = content;
        break;
      case kFloatData:
        tensor.float_data = content;
        break;
      case kDoubleData:
        tensor.double_data = content;
        break;
      case kInt32Data:
      case kInt64Data:
      case kUint64Data:
        tensor.varints = content;
        break;
      default:
        break;
    }
  }

  // One dimension too many is enough for describe_values() to see.
  static void append(std::vector<uint64_t>& shape, int64_t dimension) {
    if (shape.size() <= kMaxRank) shape.push_back(static_cast<uint64_t>(dimension));
  }

  void add_values(const Tensor& tensor, data_view content, ElementType type) {
    if (content.empty()) return;
    Segment& segment = segments_.emplace_back();
    segment.offset =
        static_cast<uint64_t>(reinterpret_cast<const uint8_t*>(content.data()) - file_.data());
    segment.size = content.size();
    segment.role = Role::kWeights;
    segment.name.assign(tensor.name.data(), tensor.name.size());
    describe_values(segment, type, tensor.shape);
  }

  base::Bytes file_;
  Segments segments_;
  bool has_graph_ = false;
};

}  // namespace

// There is no magic: the first field is ir_version (3 to 31), then another field of ModelProto
// begins.
bool looks_like_onnx(base::Bytes file) {
  constexpr uint8_t kSecondTags[] = {0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72};
  return file.size() >= 3 && file[0] == 0x08 && file[1] >= 3 && file[1] < 32 &&
         std::find(std::begin(kSecondTags), std::end(kSecondTags), file[2]) !=
             std::end(kSecondTags);
}

Result<Segments> find_onnx(base::Bytes file) {
  TensorFinder finder(file);
  try {
    const data_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
    if (!finder.walk(Message::kModel, bytes, {}, 0)) {
      return fail(TENSORPATCH_E_FORMAT, "graphs are nested too deep");
    }
  } catch (const protozero::exception& e) {
    return fail(TENSORPATCH_E_FORMAT, e.what());
  }
  if (!finder.has_graph()) return fail(TENSORPATCH_E_FORMAT, "there is no graph");
  return finder.take();
}

}  // namespace tensorpatch::model
