// model/tflite.cc: finds the values, scales, zero points and biases of a TFLite model.
//
// The FlatBuffer (schemas/tflite_subset.fbs) is verified as a whole before anything is read. Taken
// are the buffers of the tensors of every subgraph, inline or at an offset behind the FlatBuffer,
// and the scale and zero point vectors; a range that several tensors share is taken once, under the
// first one's name. Values whose size is not that of their shape (sparse tensors) get a flat shape.
// Refused: what the verifier refuses, indices and ranges that point outside, ranges that overlap in
// part, and tables that share names so often that they would take more memory than a few times the
// file.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "model/parsers.h"
#include "tflite_subset_generated.h"

namespace tensorpatch::model {
namespace {

constexpr flatbuffers::uoffset_t kMaxDepth = 16;
constexpr flatbuffers::uoffset_t kMaxTables = 1'000'000;

// Sizes of names are counted for values, scales and zero points.
constexpr uint64_t kMaxNamesPerFile = 4;

// The type numbers of the public schema that have whole bytes; all others are kBytes.
ElementType element_type(int8_t tensor_type) {
  switch (tensor_type) {
    case 0:
      return ElementType::kFloat32;
    case 1:
      return ElementType::kFloat16;
    case 2:
      return ElementType::kInt32;
    case 3:
      return ElementType::kUint8;
    case 4:
      return ElementType::kInt64;
    case 6:
      return ElementType::kUint8;  // bool
    case 7:
      return ElementType::kInt16;
    case 9:
      return ElementType::kInt8;
    case 10:
      return ElementType::kFloat64;
    case 12:
      return ElementType::kUint64;
    case 15:
      return ElementType::kUint32;
    case 16:
      return ElementType::kUint16;
    case 18:
      return ElementType::kBfloat16;
    case 21:
      return ElementType::kUint8;  // float8, as in safetensors
    case 22:
      return ElementType::kUint8;
    default:
      return ElementType::kBytes;
  }
}

// Which input of a builtin operator is its bias, or -1.
int bias_input(int32_t builtin_code) {
  switch (builtin_code) {
    case 3:    // CONV_2D
    case 4:    // DEPTHWISE_CONV_2D
    case 9:    // FULLY_CONNECTED
    case 132:  // CONV_3D
      return 2;
    case 27:  // SVDF
    case 67:  // TRANSPOSE_CONV
      return 3;
    default:
      return -1;
  }
}

// An absent vector is an empty one.
template <class Vector>
flatbuffers::uoffset_t count_of(const Vector* vector) {
  return vector == nullptr ? 0 : vector->size();
}

tl::unexpected<Error> damaged(const char* what) {
  return fail(TENSORPATCH_E_FORMAT, what);
}

class TensorFinder {
 public:
  TensorFinder(base::Bytes file, const tflite::Model& model) : file_(file), model_(model) {}

  Result<Segments> find() {
    for (flatbuffers::uoffset_t i = 0; i < count_of(model_.subgraphs()); ++i) {
      const tflite::SubGraph& graph = *model_.subgraphs()->Get(i);
      const std::vector<char> is_bias = find_biases(graph);
      for (flatbuffers::uoffset_t j = 0; j < count_of(graph.tensors()); ++j) {
        const Role role = is_bias[j] != 0 ? Role::kBias : Role::kWeights;
        if (auto added = add_tensor(*graph.tensors()->Get(j), role); !added) {
          return tl::unexpected(std::move(added.error()));
        }
      }
    }
    return std::move(segments_);
  }

 private:
  struct Range {
    uint64_t offset;
    uint64_t size;
  };

  // For each tensor of the graph whether an operator uses it as its bias.
  std::vector<char> find_biases(const tflite::SubGraph& graph) const {
    std::vector<char> is_bias(count_of(graph.tensors()), 0);
    for (flatbuffers::uoffset_t i = 0; i < count_of(graph.operators()); ++i) {
      const tflite::Operator& op = *graph.operators()->Get(i);
      if (op.opcode_index() >= count_of(model_.operator_codes())) continue;
      const tflite::OperatorCode& code = *model_.operator_codes()->Get(op.opcode_index());
      const int input = bias_input(std::max<int32_t>(code.old_builtin_code(), code.builtin_code()));
      if (input < 0 || static_cast<unsigned>(input) >= count_of(op.inputs())) continue;
      const int32_t tensor = op.inputs()->Get(static_cast<flatbuffers::uoffset_t>(input));
      if (tensor >= 0 && static_cast<size_t>(tensor) < is_bias.size()) {
        is_bias[static_cast<size_t>(tensor)] = 1;
      }
    }
    return is_bias;
  }

  Result<void> add_tensor(const tflite::Tensor& tensor, Role role) {
    if (tensor.buffer() >= count_of(model_.buffers()) && tensor.buffer() != 0) {
      return damaged("a tensor names a buffer that is not there");
    }
    if (tensor.buffer() < count_of(model_.buffers())) {
      add_values(tensor, range_of(*model_.buffers()->Get(tensor.buffer())), role);
    }
    if (const tflite::Quantization* quantization = tensor.quantization()) {
      add_parameters(tensor, quantization->scale(), ElementType::kFloat32, Role::kScale);
      add_parameters(tensor, quantization->zero_point(), ElementType::kInt64, Role::kZeroPoint);
    }
    if (names_size_ / kMaxNamesPerFile > file_.size()) {
      return damaged("names are larger than the file");
    }
    return {};
  }

  void add_values(const tflite::Tensor& tensor, Range range, Role role) {
    if (!claim(range)) return;
    Segment& segment = add_segment(tensor, range, role, "");
    describe_values(segment, element_type(tensor.type()), shape_of(tensor));
    if (role == Role::kBias && segment.type != ElementType::kInt32) segment.role = Role::kWeights;
  }

  template <class T>
  void add_parameters(const tflite::Tensor& tensor, const flatbuffers::Vector<T>* values,
                      ElementType type, Role role) {
    if (values == nullptr) return;
    const Range range = {offset_of(values->Data()), uint64_t{values->size()} * sizeof(T)};
    if (!claim(range)) return;
    Segment& segment =
        add_segment(tensor, range, role, role == Role::kScale ? "/scale" : "/zero_point");
    segment.type = type;
    segment.shape = {values->size()};
  }

  Segment& add_segment(const tflite::Tensor& tensor, Range range, Role role, const char* suffix) {
    Segment& segment = segments_.emplace_back();
    segment.offset = range.offset;
    segment.size = range.size;
    segment.role = role;
    if (tensor.name() != nullptr) segment.name = tensor.name()->str();
    segment.name += suffix;
    names_size_ += segment.name.size();
    return segment;
  }

  // Whether a range holds something and no tensor before has it. One that begins alike but ends
  // elsewhere is given out, for tile() to refuse.
  bool claim(Range range) {
    if (range.size == 0) return false;
    const auto [place, is_new] = claimed_.try_emplace(range.offset, range.size);
    return is_new || place->second != range.size;
  }

  Range range_of(const tflite::Buffer& buffer) const {
    if (buffer.offset() > 1) return {buffer.offset(), buffer.size()};
    if (buffer.data() == nullptr) return {0, 0};
    return {offset_of(buffer.data()->Data()), buffer.data()->size()};
  }

  // Empty where a dimension is not known or there are too many.
  static std::vector<uint64_t> shape_of(const tflite::Tensor& tensor) {
    std::vector<uint64_t> shape;
    if (count_of(tensor.shape()) > kMaxRank) return shape;
    for (flatbuffers::uoffset_t i = 0; i < count_of(tensor.shape()); ++i) {
      const int32_t dimension = tensor.shape()->Get(i);
      if (dimension < 0) return {};
      shape.push_back(static_cast<uint64_t>(dimension));
    }
    return shape;
  }

  uint64_t offset_of(const uint8_t* data) const {
    return static_cast<uint64_t>(data - file_.data());
  }

  base::Bytes file_;
  const tflite::Model& model_;
  Segments segments_;
  std::map<uint64_t, uint64_t> claimed_;  // offset -> size; ordered: a hash could be flooded
  uint64_t names_size_ = 0;
};

}  // namespace

bool looks_like_tflite(base::Bytes file) {
  return file.size() >= 8 && std::memcmp(file.data() + 4, tflite::ModelIdentifier(), 4) == 0;
}

Result<Segments> find_tflite(base::Bytes file) {
  // Scalars are read where they are aligned; a model inside an image or an archive may not be.
  std::vector<uint8_t> aligned;
  if (reinterpret_cast<uintptr_t>(file.data()) % alignof(uint64_t) != 0) {
    aligned.assign(file.begin(), file.end());
    file = aligned;
  }
  // Larger files keep their values behind the FlatBuffer.
  const size_t size = std::min<size_t>(file.size(), FLATBUFFERS_MAX_BUFFER_SIZE - 1);
  flatbuffers::Verifier verifier(file.data(), size, kMaxDepth, kMaxTables);
  if (!tflite::VerifyModelBuffer(verifier)) return damaged("the flatbuffer does not verify");
  return TensorFinder(file, *tflite::GetModel(file.data())).find();
}

}  // namespace tensorpatch::model
