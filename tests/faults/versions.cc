// tests/faults/versions.cc: see versions.h.
// SPDX-License-Identifier: Apache-2.0
#include "faults/versions.h"

#include <cstdlib>

#include "apply/format.h"
#include "delta/delta.h"

namespace tensorpatch::test {
namespace {

constexpr size_t kAddedBefore = 37;  // bytes, of the tensor
constexpr size_t kAddedBehind = 11;
constexpr uint32_t kCodecs =
    1u << format::kCodecOperations | 1u << format::kCodecValues | 1u << format::kCodecBytes;

model::Segment segment(uint64_t offset, uint64_t size) {
  model::Segment made;
  made.offset = offset;
  made.size = size;
  return made;
}

// `tensor_size` bytes of a file are a tensor.
model::Model model_of(const Bytes& file, size_t tensor_offset, size_t tensor_size) {
  const size_t tensor_end = tensor_offset + tensor_size;
  model::Model made;
  made.file_size = file.size();
  made.segments = {segment(0, tensor_offset), segment(tensor_offset, tensor_size),
                   segment(tensor_end, file.size() - tensor_end)};
  model::Segment& tensor = made.segments[1];
  tensor.type = model::ElementType::kInt8;
  tensor.role = model::Role::kWeights;
  tensor.name = "weights";
  tensor.shape = {tensor_size};
  return made;
}

struct MemorySink : base::Sink {
  Result<void> write(base::Bytes bytes) override {
    data.insert(data.end(), bytes.begin(), bytes.end());
    return {};
  }
  Bytes data;
};

void insert_noise(Bytes& file, size_t offset, const Bytes& added) {
  file.insert(file.begin() + static_cast<std::ptrdiff_t>(offset), added.begin(), added.end());
}

}  // namespace

Version first_version(size_t size, uint32_t seed) {
  const size_t third = size / 3;
  Version made;
  made.file = noise(size, seed);
  for (size_t i = third; i < 2 * third; ++i) {
    made.file[i] = static_cast<uint8_t>(made.file[i] % 41 - 20);
  }
  made.model = model_of(made.file, third, third);
  return made;
}

Version next_version(const Version& old_version, uint32_t seed) {
  const model::Segment& tensor = old_version.model.segments[1];
  const size_t begin = tensor.offset, end = tensor.offset + tensor.size;
  Version made;
  made.file = old_version.file;
  const Bytes random = noise(made.file.size(), seed);
  for (size_t i = seed % 7; i < made.file.size(); i += 1u + random[i] % 16u) {
    if (i >= begin && i < end)
      made.file[i] = static_cast<uint8_t>(made.file[i] + random[i] % 3 - 1);
    if ((i < begin || i >= end) && random[i] % 5 == 0) made.file[i] ^= 0x55;
  }
  insert_noise(made.file, end, noise(kAddedBehind, seed + 1));
  insert_noise(made.file, begin, noise(kAddedBefore, seed + 2));
  made.model = model_of(made.file, begin + kAddedBefore, tensor.size);
  return made;
}

PatchLimits small_limits(uint32_t page_size, uint32_t write_size, uint32_t reach) {
  PatchLimits limits{};
  limits.block_size = 256;
  limits.restart_interval = page_size;
  limits.erase_size = page_size;
  limits.write_size = write_size;
  limits.history_log2 = 8;
  limits.value_slots = 2;
  limits.byte_cells_log2 = 8;
  limits.reach = reach;
  return limits;
}

BundleSpec make_spec(const Version& old_version, const Version& new_version,
                     const PatchLimits& limits) {
  delta::PatchOptions options;
  options.limits = limits;
  options.codecs = kCodecs;
  options.jobs = 1;
  MemorySink patch;
  const auto report = delta::make_patch(
      {{old_version.file, new_version.file, &old_version.model, &new_version.model}}, 0, options,
      patch);
  if (!report || report->required_codecs != kCodecs) std::abort();
  BundleSpec spec;
  spec.limits = limits;
  spec.required_codecs = kCodecs;
  if (limits.reach != 0) spec.required_flags = format::kFlagInPlace;
  spec.components = {{old_version.file, new_version.file, patch.data, 0}};
  return spec;
}

}  // namespace tensorpatch::test
