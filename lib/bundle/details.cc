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
constexpr size_t kTensorOverhead = 320;  // fixed part of a tensor's tables and lengths, at most
constexpr size_t kTableCharge = 16;      // numbers of a table besides a tensor's, at least

// A bound of the file's size before FlatBuffers, which asserts beyond 2 GiB, is asked to build it.
size_t bound(const Details& details) {
  size_t size = 64;
  for (const TensorDetail& tensor : details.tensors) {
    size += kTensorOverhead + tensor.name.size() + tensor.role.size() + tensor.type.size() +
            tensor.method.size() + tensor.state.size() + 8 * tensor.shape.size();
    if (!tensor.old) continue;
    size += tensor.old->name.size() + tensor.old->type.size();
    if (tensor.old->shape) size += 8 * tensor.old->shape->size();
  }
  for (const ComponentDetail& component : details.components) {
    size += kTensorOverhead + component.old_format.size() + 8 * component.histogram.size();
  }
  return size;
}

using Builder = flatbuffers::FlatBufferBuilder;

flatbuffers::Optional<double> put_number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? flatbuffers::Optional<double>(*value)
                                        : flatbuffers::nullopt;
}

flatbuffers::Offset<flatbuffers::String> put_word(Builder& builder, const std::string& word) {
  return word.empty() ? flatbuffers::Offset<flatbuffers::String>()
                      : builder.CreateSharedString(word);
}

flatbuffers::Offset<fbs::OldTensor> put_old(Builder& builder, const TensorDetail& tensor) {
  if (!tensor.old) return {};
  const OldTensorDetail& old = *tensor.old;
  const auto name = put_text(builder, old.name);
  const auto type = put_word(builder, old.type);
  flatbuffers::Offset<flatbuffers::Vector<uint64_t>> shape;
  if (old.shape) shape = builder.CreateVector(*old.shape);
  return fbs::CreateOldTensor(builder, name, type, shape, old.offset, old.size);
}

flatbuffers::Offset<fbs::Tensor> put_tensor(Builder& builder, const TensorDetail& tensor) {
  const auto name = put_text(builder, tensor.name);
  const auto role = put_word(builder, tensor.role);
  const auto type = put_word(builder, tensor.type);
  const auto method = put_word(builder, tensor.method);
  const auto state = put_word(builder, tensor.state);
  const auto old = put_old(builder, tensor);
  const auto shape = tensor.shape.empty() ? flatbuffers::Offset<flatbuffers::Vector<uint64_t>>()
                                          : builder.CreateVector(tensor.shape);
  const fbs::Digest digest(tensor.new_digest);
  const auto bound_bytes = tensor.bound_bytes ? flatbuffers::Optional<uint64_t>(*tensor.bound_bytes)
                                              : flatbuffers::nullopt;
  return fbs::CreateTensor(builder, name, role, type, method, shape, tensor.component,
                           tensor.offset, tensor.size, tensor.patch_bytes,
                           put_number(tensor.relative_norm), put_number(tensor.equal_share),
                           &digest, state, tensor.moved, old, put_number(tensor.correlation),
                           put_number(tensor.lineage), bound_bytes);
}

flatbuffers::Offset<fbs::ComponentDetail> put_component(Builder& builder,
                                                        const ComponentDetail& component) {
  const auto format = put_word(builder, component.old_format);
  const auto histogram = builder.CreateVector(component.histogram);
  return fbs::CreateComponentDetail(builder, format, component.old_entropy, component.new_entropy,
                                    histogram);
}

// Roles, types and methods are stored once and used many times; so they are short.
std::string get_word(const flatbuffers::String* word, TextReader& text) {
  if (word == nullptr) return {};
  return word->size() <= kMaxWord ? word->str() : text.read(word);
}

// The verifier looks at the alignment of a vector's length only.
std::vector<uint64_t> get_numbers(const flatbuffers::Vector<uint64_t>* numbers, TextReader& text) {
  std::vector<uint64_t> list;
  if (numbers == nullptr || !text.charge(numbers->size() * sizeof(uint64_t))) return list;
  for (flatbuffers::uoffset_t i = 0; i < numbers->size(); ++i) {
    list.push_back(wire::read_u64(numbers->Data() + i * sizeof(uint64_t)));
  }
  return list;
}

OldTensorDetail get_old(const fbs::OldTensor& old, TextReader& text) {
  OldTensorDetail detail;
  detail.name = text.read(old.name());
  detail.type = get_word(old.type(), text);
  if (old.shape() != nullptr) detail.shape = get_numbers(old.shape(), text);
  detail.offset = old.offset();
  detail.size = old.size();
  return detail;
}

ComponentDetail get_component(const fbs::ComponentDetail& component, TextReader& text) {
  return {get_word(component.old_format(), text), component.old_entropy(), component.new_entropy(),
          get_numbers(component.histogram(), text)};
}

TensorDetail get_tensor(const fbs::Tensor& tensor, TextReader& text) {
  TensorDetail detail;
  detail.component = tensor.component();
  detail.name = text.read(tensor.name());
  detail.role = get_word(tensor.role(), text);
  detail.type = get_word(tensor.type(), text);
  detail.method = get_word(tensor.method(), text);
  detail.shape = get_numbers(tensor.shape(), text);
  detail.offset = tensor.offset();
  detail.size = tensor.size();
  detail.patch_bytes = tensor.patch_bytes();
  if (const auto value = tensor.relative_norm()) detail.relative_norm = *value;
  if (const auto value = tensor.equal_share()) detail.equal_share = *value;
  if (const auto value = tensor.correlation()) detail.correlation = *value;
  if (const auto value = tensor.lineage()) detail.lineage = *value;
  if (const auto value = tensor.bound_bytes()) detail.bound_bytes = *value;
  detail.state = get_word(tensor.state(), text);
  detail.moved = tensor.moved();
  if (const auto* old = tensor.old(); old != nullptr && text.charge(kTableCharge)) {
    detail.old = get_old(*old, text);
  }
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
    if (std::max({tensor.role.size(), tensor.type.size(), tensor.method.size(),
                  tensor.state.size()}) > kMaxWord) {
      return fail(TENSORPATCH_E_LIMIT, "a role, type, method or state has more than 64 bytes");
    }
    tensors.push_back(put_tensor(builder, tensor));
  }
  std::vector<flatbuffers::Offset<fbs::ComponentDetail>> components;
  for (const ComponentDetail& component : details.components) {
    components.push_back(put_component(builder, component));
  }
  const auto all_tensors = builder.CreateVector(tensors);
  const auto all_components = builder.CreateVector(components);
  builder.Finish(fbs::CreateDetails(builder, all_tensors, all_components));
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
  options.max_tables = static_cast<flatbuffers::uoffset_t>(bytes.size() / kTableCharge + 1);
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), options);
  if (!verifier.VerifyBuffer<fbs::Details>()) return refuse();
  TextReader text(bytes.size());
  Details details;
  const auto* root = flatbuffers::GetRoot<fbs::Details>(bytes.data());
  for (const auto* tensor : *root->tensors()) {
    if (!text.charge(sizeof(Digest))) return refuse();
    details.tensors.push_back(get_tensor(*tensor, text));
  }
  if (const auto* components = root->components(); components != nullptr) {
    for (const auto* component : *components) {
      if (!text.charge(kTableCharge)) return refuse();
      details.components.push_back(get_component(*component, text));
    }
  }
  if (!text.is_within()) return refuse();
  return details;
}

}  // namespace tensorpatch::bundle
