// bundle/details.cc: the details file. Words that recur (roles, types, methods) are stored once.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/details.h"

#include <algorithm>
#include <cmath>

#include "apply/wire.h"
#include "bundle/flat_text.h"
#include "bundle_generated.h"

namespace tensorpatch::bundle {
namespace {

constexpr size_t kMaxDetailsSize = size_t{1} << 30;
constexpr size_t kMaxWord = 64;          // bytes of a role, type or method
constexpr size_t kTensorOverhead = 160;  // fixed part of a tensor's table and lengths, at most

// A bound of the file's size before FlatBuffers, which asserts beyond 2 GiB, is asked to build it.
size_t bound(const Details& details) {
  size_t size = 64;
  for (const TensorDetail& tensor : details.tensors) {
    size += kTensorOverhead + tensor.name.size() + tensor.role.size() + tensor.type.size() +
            tensor.method.size() + 8 * tensor.shape.size();
  }
  return size;
}

using Builder = flatbuffers::FlatBufferBuilder;

flatbuffers::Optional<double> put_number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? flatbuffers::Optional<double>(*value)
                                        : flatbuffers::nullopt;
}

flatbuffers::Offset<fbs::Tensor> put_tensor(Builder& builder, const TensorDetail& tensor) {
  const auto put_word = [&](const std::string& word) {
    return word.empty() ? flatbuffers::Offset<flatbuffers::String>()
                        : builder.CreateSharedString(word);
  };
  const auto name = put_text(builder, tensor.name);
  const auto role = put_word(tensor.role);
  const auto type = put_word(tensor.type);
  const auto method = put_word(tensor.method);
  const auto shape = tensor.shape.empty() ? flatbuffers::Offset<flatbuffers::Vector<uint64_t>>()
                                          : builder.CreateVector(tensor.shape);
  const fbs::Digest digest(tensor.new_digest);
  return fbs::CreateTensor(builder, name, role, type, method, shape, tensor.component,
                           tensor.offset, tensor.size, tensor.patch_bytes,
                           put_number(tensor.relative_norm), put_number(tensor.equal_share),
                           &digest);
}

// Roles, types and methods are stored once and used many times; so they are short.
std::string get_word(const flatbuffers::String* word, TextReader& text) {
  if (word == nullptr) return {};
  return word->size() <= kMaxWord ? word->str() : text.read(word);
}

TensorDetail get_tensor(const fbs::Tensor& tensor, TextReader& text) {
  TensorDetail detail;
  detail.component = tensor.component();
  detail.name = text.read(tensor.name());
  detail.role = get_word(tensor.role(), text);
  detail.type = get_word(tensor.type(), text);
  detail.method = get_word(tensor.method(), text);
  if (const auto* shape = tensor.shape();
      shape != nullptr && text.charge(shape->size() * sizeof(uint64_t))) {
    // The verifier looks at the alignment of a vector's length only.
    for (flatbuffers::uoffset_t i = 0; i < shape->size(); ++i) {
      detail.shape.push_back(wire::read_u64(shape->Data() + i * sizeof(uint64_t)));
    }
  }
  detail.offset = tensor.offset();
  detail.size = tensor.size();
  detail.patch_bytes = tensor.patch_bytes();
  if (const auto value = tensor.relative_norm()) detail.relative_norm = *value;
  if (const auto value = tensor.equal_share()) detail.equal_share = *value;
  const auto* digest = tensor.new_digest()->bytes();
  std::copy(digest->begin(), digest->end(), detail.new_digest.begin());
  return detail;
}

}  // namespace

Result<std::vector<uint8_t>> write_details(const Details& details) {
  if (bound(details) > kMaxDetailsSize) {
    return fail(TENSORPATCH_E_LIMIT, "the list of details would have more than 1 GiB");
  }
  Builder builder;
  std::vector<flatbuffers::Offset<fbs::Tensor>> tensors;
  tensors.reserve(details.tensors.size());
  for (const TensorDetail& tensor : details.tensors) {
    if (std::max({tensor.role.size(), tensor.type.size(), tensor.method.size()}) > kMaxWord) {
      return fail(TENSORPATCH_E_LIMIT, "a role, type or method has more than 64 bytes");
    }
    tensors.push_back(put_tensor(builder, tensor));
  }
  builder.Finish(fbs::CreateDetails(builder, builder.CreateVector(tensors)));
  return std::vector<uint8_t>(builder.GetBufferPointer(),
                              builder.GetBufferPointer() + builder.GetSize());
}

Result<Details> read_details(base::Bytes bytes, const Digest& expected) {
  if (sha256(bytes) != expected) {
    return fail(TENSORPATCH_E_DIGEST, "the details are not those of this bundle");
  }
  const auto refuse = [] { return fail(TENSORPATCH_E_FORMAT, "the details are malformed"); };
  if (bytes.size() > kMaxDetailsSize) return refuse();
  // Scalars are read where they are aligned; a mapped file is.
  std::vector<uint8_t> aligned;
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(uint64_t) != 0) {
    aligned.assign(bytes.begin(), bytes.end());
    bytes = aligned;
  }
  flatbuffers::Verifier::Options options;
  options.max_tables = static_cast<flatbuffers::uoffset_t>(bytes.size() / sizeof(Digest) + 1);
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), options);
  if (!verifier.VerifyBuffer<fbs::Details>()) return refuse();
  TextReader text(bytes.size());
  Details details;
  for (const auto* tensor : *flatbuffers::GetRoot<fbs::Details>(bytes.data())->tensors()) {
    if (!text.charge(sizeof(Digest))) return refuse();
    details.tensors.push_back(get_tensor(*tensor, text));
  }
  if (!text.is_within()) return refuse();
  return details;
}

}  // namespace tensorpatch::bundle
