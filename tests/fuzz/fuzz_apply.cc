// fuzz_apply.cc: the whole applier on any patch stream and any statement, with right digests and
// every signature taken for right.
//
// Storage aborts on any write or erase that the rules forbid. What happens must not depend on the
// bites, and an update that goes on from its last checkpoint must end as it did at first.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>

#include "apply/wire.h"
#include "fuzz/apply_input.h"
#include "support/memory_device.h"

namespace tensorpatch::test {
namespace {

constexpr size_t kPlace = 4096;

void require(bool ok) {
  if (!ok) std::abort();
}

BundleSpec spec_of(const uint8_t* data, size_t size) {
  BundleSpec spec;
  const uint8_t flags = data[2];
  spec.limits.history_log2 = static_cast<uint8_t>(8 + data[6] % 4);
  spec.limits.value_level = data[6] >> 7;
  spec.limits.match_log2 = (data[6] & 64) != 0 ? 6 : 0;
  spec.limits.restart_interval = 512;
  if ((data[6] & kFuzzSpecial) != 0) {
    spec.limits.restart_interval = 1024;
    spec.limits.value_slots = 7;
    spec.limits.column_log2 = 6;
  }
  if ((flags & kFuzzPages) != 0) {
    spec.limits.erase_size = 32;
    spec.limits.write_size = 8;
  }
  spec.required_codecs = 7;
  const size_t edits = std::min<size_t>(data[7] % 8, (size - kFuzzHeader) / 3);
  const Bytes edit_bytes(data + kFuzzHeader, data + kFuzzHeader + 3 * edits);
  spec.edit_statement = [edit_bytes](Bytes& statement) {
    for (size_t i = 0; i + 3 <= edit_bytes.size(); i += 3) {
      statement[wire::read_u16(edit_bytes.data() + i) % statement.size()] = edit_bytes[i + 2];
    }
  };
  const Bytes stream(data + kFuzzHeader + 3 * edits, data + size);
  const size_t new_size = wire::read_u16(data + 3) % kPlace;
  const size_t count = (flags & kFuzzTwoComponents) != 0 ? 2 : 1;
  const size_t cut = count == 2 ? stream.size() * data[5] / 255 : stream.size();
  const size_t old_size = (data[6] & kFuzzSpecial) != 0 ? 1100 : 300;
  for (size_t i = 0; i < count; ++i) {
    ComponentSpec each;
    each.old_file = noise(old_size + 100 * i, static_cast<uint32_t>(i + 1));
    each.new_file = Bytes(new_size);  // its digest is wrong: what decodes ends with E_NEW
    const auto middle = stream.begin() + static_cast<std::ptrdiff_t>(cut);
    each.patch = i == 0 ? Bytes(stream.begin(), middle) : Bytes(middle, stream.end());
    spec.components.push_back(each);
  }
  return spec;
}

struct Outcome {
  tensorpatch_status status;
  std::vector<Bytes> places;
};

MemoryDevice make_device(const BundleSpec& spec, uint8_t flags) {
  MemoryDevice device(old_files(spec), kPlace);
  device.any_signature = true;
  device.verify_only = (flags & kFuzzVerifyOnly) != 0;
  device.erases = (flags & kFuzzErases) != 0;
  device.write_size = spec.limits.write_size;
  device.erase_size = spec.limits.erase_size;
  return device;
}

void run(const uint8_t* data, size_t size) {
  const BundleSpec spec = spec_of(data, size);
  const Bytes bundle = build_bundle(spec).bytes;
  const TestKey key(1);
  ApplySetup setup;
  setup.ring = {key.entry()};
  // Exactly what a bundle of the unedited statement declares.
  setup.workspace_size = workspace_size(spec.limits);
  const bool edited = data[7] % 8 != 0;

  MemoryDevice whole = make_device(spec, data[2]);
  const tensorpatch_status status = TestApplier(whole, setup).apply(bundle);
  require(edited || whole.misuse.empty());
  require(status == TENSORPATCH_DONE || status == TENSORPATCH_ALREADY_NEW ||
          status >= TENSORPATCH_E_FORMAT);

  MemoryDevice bitten = make_device(spec, data[2]);
  ApplySetup limited = setup;
  limited.work_limit = data[1];
  require(TestApplier(bitten, limited).apply(bundle, data[0]) == status);
  require(bitten.places == whole.places);

  if (!whole.checkpoint) return;
  const Record record = *whole.checkpoint;
  const std::vector<Bytes> places = whole.places;
  require(TestApplier(whole, setup).resume(bundle, record) == status);
  require(whole.places == places);
}

}  // namespace
}  // namespace tensorpatch::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= tensorpatch::test::kFuzzHeader && size <= 8192) tensorpatch::test::run(data, size);
  return 0;
}
