// tests/fuzz/fuzz_checkpoint.cc: going on from any record, on storage at any point of an update.
//
// Bytes: 0 which bundle, 1 where the update was cut short (of 255), 2 bite, 3 flags, 4 work limit,
// 5 where old begins in place. The next 128 are added to the last record that was saved (to zeros,
// if none was); with flag 1 its check is made right. The rest is put into storage: places of two
// bytes, then a byte. Storage is never misused, DONE means the right bytes, and bites change
// nothing.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdlib>

#include "apply/format.h"
#include "apply/wire.h"
#include "support/memory_device.h"

namespace tensorpatch::test {
namespace {

constexpr size_t kHeader = 8;
constexpr size_t kPlace = 1024;
constexpr uint32_t kPage = 64;
enum Flag : uint8_t { kRightCheck = 1, kErases = 2 };

void require(bool ok) {
  if (!ok) std::abort();
}

// New takes each page of old from 16 bytes further back.
BundleSpec in_place_spec() {
  BundleSpec spec;
  spec.limits = {256, kPage, kPage, 4, 8, 0, 0, 0, 0, 0, 0};
  spec.limits.reach = 16;
  spec.required_flags = format::kFlagInPlace;
  ComponentSpec made;
  made.old_file = noise(460, 3);
  CopyPatch patch;
  patch.pieces.push_back({0, kPage, true});
  for (uint64_t at = kPage; at + kPage <= 448; at += kPage) {
    patch.pieces.push_back({at - 16, 24, true});
    patch.pieces.push_back({at, kPage - 24});
  }
  made.new_file = apply_copies(patch, {made.old_file});
  made.patch = encode_copies(patch);
  spec.components.push_back(made);
  return spec;
}

struct Case {
  BundleSpec spec;
  Bytes bundle;
  bool is_in_place = false;
};

const Case& case_of(uint8_t choice) {
  static const std::array<Case, 3> all = [] {
    std::array<Case, 3> made;
    made[0].spec = small_spec();
    made[1].spec = two_component_spec();
    made[2].spec = in_place_spec();
    made[2].is_in_place = true;
    for (Case& each : made) each.bundle = build_bundle(each.spec).bytes;
    return made;
  }();
  return all[choice % all.size()];
}

// A device in the middle of an update, with a damaged record and storage.
class Device {
 public:
  Device(const uint8_t* data, size_t size)
      : case_(case_of(data[0])),
        memory_(case_.is_in_place ? std::vector<Bytes>{} : old_files(case_.spec), kPlace) {
    memory_.any_signature = true;
    memory_.erases = case_.is_in_place || (data[3] & kErases) != 0;
    memory_.write_size = case_.spec.limits.write_size;
    memory_.erase_size = case_.spec.limits.erase_size;
    setup_.ring = {key_.entry()};
    setup_.workspace_size = workspace_size(case_.spec.limits);
    setup_.work_limit = data[4];
    if (case_.is_in_place) {
      const uint64_t old_offset = data[5] % (kPlace / kPage) * kPage;
      const Bytes& old_file = case_.spec.components[0].old_file;
      const size_t count = std::min<size_t>(old_file.size(), kPlace - old_offset);
      std::copy_n(old_file.begin(), count,
                  memory_.places[0].begin() + static_cast<std::ptrdiff_t>(old_offset));
      region_ = {&tensorpatch_in_place_method, kPlace, old_offset,
                 tensorpatch_libsodium_hash_port(&second_hash_)};
      setup_.region = &region_;
    }
    interrupt(data[1]);
    damage(data, size);
  }

  tensorpatch_status resume(size_t bite) {
    const tensorpatch_status status =
        TestApplier(memory_, setup_).resume(case_.bundle, record_, bite);
    require(memory_.misuse.empty());
    if (status == TENSORPATCH_DONE) require(holds_new());
    return status;
  }
  const std::vector<Bytes>& places() const { return memory_.places; }

 private:
  // The update is begun and cut short in one of its callbacks.
  void interrupt(uint8_t where) {
    memory_.fail_at = 1 + where * uint64_t{3};
    TestApplier(memory_, setup_).apply(case_.bundle);
    memory_.fail_at = 0;
    require(memory_.misuse.empty());
    if (memory_.checkpoint) record_ = *memory_.checkpoint;
  }

  void damage(const uint8_t* data, size_t size) {
    const uint8_t* at = data + kHeader;
    const uint8_t* const end = data + size;
    for (uint8_t& byte : record_) {
      if (at != end) byte = static_cast<uint8_t>(byte + *at++);
    }
    if ((data[3] & kRightCheck) != 0) {
      const auto checked = record_.begin() + format::checkpoint::kCheckAt;
      const Digest check = sha256(Bytes(record_.begin(), checked));
      std::copy(check.begin(), check.end(), checked);
    }
    for (; end - at >= 3; at += 3) memory_.places[0][wire::read_u16(at) % kPlace] = at[2];
  }

  bool holds_new() const {
    for (size_t i = 0; i < case_.spec.components.size(); ++i) {
      const Bytes& wanted = case_.spec.components[i].new_file;
      if (!std::equal(wanted.begin(), wanted.end(), memory_.places[i].begin())) return false;
    }
    return true;
  }

  const Case& case_;
  MemoryDevice memory_;
  ApplySetup setup_;
  TestKey key_{1};
  tensorpatch_region region_{};
  tensorpatch_libsodium_hash second_hash_{};
  Record record_{};
};

}  // namespace
}  // namespace tensorpatch::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using tensorpatch::test::Device;
  if (size < tensorpatch::test::kHeader || size > 1024) return 0;
  Device whole(data, size), bitten(data, size);
  const tensorpatch_status status = whole.resume(0);
  tensorpatch::test::require(bitten.resume(data[2]) == status);
  tensorpatch::test::require(bitten.places() == whole.places());
  return 0;
}
