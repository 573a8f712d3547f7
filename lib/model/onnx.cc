// model/onnx.cc: finds the tensors of an ONNX model.
//
// The file is one protobuf message (onnx/onnx.proto, whose field numbers stand below). Taken are
// the values of every TensorProto: initializers, tensors in attributes (constants), values and
// indices of sparse tensors, in nested graphs and functions too. raw_data has the element type that
// the tensor names; packed float_data and double_data are typed; packed varints are bytes. A tensor
// without a name has that of the first output of its node. Scales, zero points and biases are known
// by the inputs of quantising operators, names being unique in a file in practice. Tensors in other
// files are reported by find_onnx_external(). Nothing is aligned. Refused: what is no protobuf,
// nesting deeper than a limit, a file without a graph.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <map>
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
constexpr uint32_t kNodeInput = 1;
constexpr uint32_t kNodeOutput = 2;
constexpr uint32_t kNodeOperator = 4;

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
constexpr uint32_t kExternalData = 13;  // messages of a key (1) and a value (2)
constexpr uint32_t kDataLocation = 14;
constexpr int32_t kExternal = 1;

// Which inputs of an operator say how one of its tensors is quantised; -1 for none. The tensor is
// an input, or the first output.
constexpr int kOutput = -2;
struct QuantisedInput {
  std::string_view op;
  int tensor;
  int scale;
  int zero_point;
  int bias = -1;
};
constexpr QuantisedInput kQuantisedInputs[] = {
    {"QuantizeLinear", 0, 1, 2}, {"DequantizeLinear", 0, 1, 2, 0}, {"QLinearConv", 3, 4, 5, 8},
    {"QLinearConv", 0, 1, 2},    {"QLinearConv", kOutput, 6, 7},   {"QLinearMatMul", 3, 4, 5},
    {"QLinearMatMul", 0, 1, 2},  {"QLinearMatMul", kOutput, 6, 7}, {"QGemm", 3, 4, 5, 6},
    {"QGemm", 0, 1, 2},          {"QGemm", kOutput, 7, 8},         {"QLinearAdd", 0, 1, 2},
    {"QLinearAdd", 3, 4, 5},     {"QLinearAdd", kOutput, 6, 7},    {"QLinearMul", 0, 1, 2},
    {"QLinearMul", 3, 4, 5},     {"QLinearMul", kOutput, 6, 7},    {"ConvInteger", 0, -1, 2},
    {"ConvInteger", 1, -1, 3},   {"MatMulInteger", 0, -1, 2},      {"MatMulInteger", 1, -1, 3},
};
constexpr size_t kMaxInputs = 9;

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
  bool is_external = false;
  data_view location;
  data_view offset;  // decimal text, like the next
  data_view length;
};

struct Node {
  data_view op;
  data_view output;  // the first
  std::array<data_view, kMaxInputs> inputs;
  size_t input_count = 0;
};

// What a tensor is used for, and with which other one.
struct Use {
  Role role;
  data_view tensor;
};

std::string_view text_of(data_view view) {
  return {view.data(), view.size()};
}

// An absent number is 0; nothing where it is no number.
std::optional<uint64_t> number_of(data_view text) {
  uint64_t number = 0;
  if (text.empty()) return number;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

class TensorFinder {
 public:
  explicit TensorFinder(base::Bytes file) : file_(file) {}

  Result<void> read() {
    try {
      const data_view bytes(reinterpret_cast<const char*>(file_.data()), file_.size());
      if (!walk(Message::kModel, bytes, {}, 0)) {
        return fail(TENSORPATCH_E_FORMAT, "graphs are nested too deep");
      }
    } catch (const protozero::exception& e) {
      return fail(TENSORPATCH_E_FORMAT, e.what());
    }
    if (segments_.size() >= kMaxTensors || external_.size() >= kMaxTensors ||
        uses_.size() >= kMaxTensors) {
      return fail(TENSORPATCH_E_FORMAT, "too many tensors");
    }
    if (!has_graph_) return fail(TENSORPATCH_E_FORMAT, "there is no graph");
    assign_roles();
    return {};
  }

  Segments take() { return std::move(segments_); }
  std::vector<ExternalTensor> take_external() { return std::move(external_); }

 private:
  // Throws protozero::exception where the bytes are no protobuf. False where nesting is too deep.
  bool walk(Message kind, data_view bytes, data_view name, unsigned depth) {
    if (depth > kMaxDepth) return false;
    if (kind == Message::kTensor) {
      add_tensor(bytes, name);
      return true;
    }
    has_graph_ = has_graph_ || kind == Message::kGraph;
    Node node;
    for (pbf_reader message(bytes); message.next();) {
      if (message.wire_type() != pbf_wire_type::length_delimited) {
        message.skip();
        continue;
      }
      const uint32_t field = message.tag();
      const data_view content = message.get_view();
      if (kind == Message::kNode) read_node(node, field, content);
      if (kind == Message::kNode && name.empty() && node.output.size() <= kMaxInheritedName) {
        name = node.output;
      }
      const auto* const edge =
          std::find_if(std::begin(kEdges), std::end(kEdges),
                       [&](const Edge& e) { return e.from == kind && e.field == field; });
      if (edge == std::end(kEdges)) continue;
      // A node inside a node's graph names its own tensors.
      const data_view inherited = edge->to == Message::kGraph ? data_view() : name;
      if (!walk(edge->to, content, inherited, depth + 1)) return false;
    }
    if (kind == Message::kNode) note_uses(node);
    return true;
  }

  // Once the whole file has been seen: which tensors are scales, zero points and biases.
  void assign_roles() {
    for (Segment& segment : segments_) assign_role(segment);
    for (ExternalTensor& tensor : external_) assign_role(tensor.segment);
  }

  static void read_node(Node& node, uint32_t field, data_view content) {
    if (field == kNodeOperator) node.op = content;
    if (field == kNodeOutput && node.output.empty()) node.output = content;
    if (field == kNodeInput && node.input_count < kMaxInputs) {
      node.inputs[node.input_count++] = content;
    }
  }

  void note_uses(const Node& node) {
    for (const QuantisedInput& quantised : kQuantisedInputs) {
      if (quantised.op != text_of(node.op)) continue;
      const auto input = [&](int index) {
        return index < 0 ? data_view() : node.inputs[static_cast<size_t>(index)];
      };
      const data_view tensor = quantised.tensor == kOutput ? node.output : input(quantised.tensor);
      note_use(input(quantised.scale), {Role::kScale, tensor});
      note_use(input(quantised.zero_point), {Role::kZeroPoint, tensor});
      note_use(input(quantised.bias), {Role::kBias, tensor});
    }
  }

  // The first use counts.
  void note_use(data_view name, Use use) {
    if (!name.empty() && use.tensor.size() <= kMaxInheritedName && uses_.size() < kMaxTensors) {
      uses_.try_emplace(text_of(name), use);
    }
  }

  void assign_role(Segment& segment) const {
    const auto found = uses_.find(segment.name);
    if (found == uses_.end()) return;
    const Use& use = found->second;
    const bool is_float = segment.type >= ElementType::kFloat16;
    const bool is_integer = !is_float && segment.type != ElementType::kBytes;
    const std::string tensor(text_of(use.tensor));
    if (use.role == Role::kScale && is_float) {
      segment.role = Role::kScale;
      segment.name = tensor + "/scale";
    } else if (use.role == Role::kZeroPoint && is_integer) {
      segment.role = Role::kZeroPoint;
      segment.name = tensor + "/zero_point";
    } else if (use.role == Role::kBias && segment.type == ElementType::kInt32) {
      segment.role = Role::kBias;
    }
  }

  void add_tensor(data_view bytes, data_view inherited_name) {
    Tensor tensor = read_tensor(bytes);
    if (tensor.name.empty()) tensor.name = inherited_name;
    if (tensor.is_external) return add_external(tensor);
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
      } else if (message.wire_type() == pbf_wire_type::varint && field == kDataLocation) {
        tensor.is_external = message.get_int32() == kExternal;
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
      case kExternalData:
        take_entry(tensor, content);
        break;
      default:
        break;
    }
  }

  static void take_entry(Tensor& tensor, data_view entry) {
    data_view key;
    data_view value;
    for (pbf_reader message(entry); message.next();) {
      if (message.wire_type() != pbf_wire_type::length_delimited) {
        message.skip();
      } else if (message.tag() == 1) {
        key = message.get_view();
      } else {
        value = message.get_view();
      }
    }
    if (text_of(key) == "location") tensor.location = value;
    if (text_of(key) == "offset") tensor.offset = value;
    if (text_of(key) == "length") tensor.length = value;
  }

  // One dimension too many is enough for describe_values() to see.
  static void append(std::vector<uint64_t>& shape, int64_t dimension) {
    if (shape.size() <= kMaxRank) shape.push_back(static_cast<uint64_t>(dimension));
  }

  void add_values(const Tensor& tensor, data_view content, ElementType type) {
    if (content.empty() || segments_.size() == kMaxTensors) return;
    Segment& segment = segments_.emplace_back();
    segment.offset =
        static_cast<uint64_t>(reinterpret_cast<const uint8_t*>(content.data()) - file_.data());
    segment.size = content.size();
    segment.role = Role::kWeights;
    segment.name.assign(tensor.name.data(), tensor.name.size());
    describe_values(segment, type, tensor.shape);
  }

  // Without a length it is as long as its shape; what makes no sense is left out.
  void add_external(const Tensor& tensor) {
    const auto offset = number_of(tensor.offset);
    const auto length = number_of(tensor.length);
    const auto count = element_count(tensor.shape);
    const ElementType type = element_type(tensor.data_type);
    ExternalTensor external;
    Segment& segment = external.segment;
    if (!offset || !length || !count || tensor.location.empty()) return;
    if (external_.size() == kMaxTensors) return;
    segment.offset = *offset;
    segment.size = *length;
    if (tensor.length.empty() &&
        __builtin_mul_overflow(*count, uint64_t{element_size(type)}, &segment.size)) {
      return;
    }
    segment.role = Role::kWeights;
    segment.name = text_of(tensor.name);
    describe_values(segment, type, tensor.shape);
    external.location = text_of(tensor.location);
    external_.push_back(std::move(external));
  }

  base::Bytes file_;
  Segments segments_;
  std::vector<ExternalTensor> external_;
  std::map<std::string_view, Use> uses_;  // by name; ordered: a hash could be flooded
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
  if (auto read = finder.read(); !read) return tl::unexpected(std::move(read.error()));
  return finder.take();
}

std::vector<ExternalTensor> find_onnx_external(base::Bytes file) {
  TensorFinder finder(file);
  return finder.read() ? finder.take_external() : std::vector<ExternalTensor>();
}

}  // namespace tensorpatch::model
