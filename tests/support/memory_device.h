// tests/support/memory_device.h: a device in memory: storage that checks how it is used, and
// faults.
//
// Storage survives the applier, as flash does. Writes must ascend without gaps from where the last
// restart was, at multiples of the write size, and (with `erases`) only into erased bytes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "support/bundle_builder.h"
#include "tensorpatch/ports/libsodium.h"

namespace tensorpatch::test {

using Record = std::array<uint8_t, TENSORPATCH_CHECKPOINT_SIZE>;

class MemoryDevice {
 public:
  static constexpr uint8_t kUntouched = 0xA5;  // what a place holds before

  MemoryDevice(std::vector<Bytes> old_files, size_t place_size);

  // What applying begins with; pointers into this object.
  tensorpatch_ports ports();

  // Everything in the old and new place; what write_new and erase touched.
  std::vector<Bytes> old_files;
  std::vector<Bytes> places;
  std::optional<Record> checkpoint;
  uint64_t write_count = 0;
  uint64_t erase_count = 0;
  uint64_t read_old_count = 0;

  // Behaviour.
  bool verify_only = false;
  bool erases = false;
  bool saves_checkpoints = true;
  uint32_t write_size = 1;
  uint32_t erase_size = 1;
  bool any_signature = false;  // every signature is right
  decltype(tensorpatch_ports::verify) verify = tensorpatch_libsodium_verify;
  uint64_t fail_at = 0;  // this callback, counted from 1, fails; 0: none
  uint64_t calls = 0;
  uint64_t corrupt_write_at = 0;  // this write, counted from 1, stores one wrong bit
  tensorpatch_applier* cancel_in_write = nullptr;

  // Misuse by the applier; empty when there was none.
  std::string misuse;

  // What is wrong with a place that should hold a prefix of `wanted` and nothing else.
  bool holds_only_prefix_of(size_t component, const Bytes& wanted) const;
  bool untouched() const { return write_count == 0 && erase_count == 0; }

 private:
  struct Callbacks;
  bool fails() { return ++calls == fail_at; }
  tensorpatch_libsodium_hash hash_{};
  tensorpatch_hash_port inner_hash_{};
  std::vector<std::vector<bool>> erased_;
};

struct ApplySetup {
  std::vector<tensorpatch_key> ring;
  uint32_t threshold = 1;
  std::vector<const tensorpatch_codec*> codecs = {&tensorpatch_codec_values,
                                                  &tensorpatch_codec_bytes};
  std::optional<std::array<uint8_t, 16>> device_class;
  uint64_t sequence_floor = 0;
  uint32_t security_version_floor = 0;
  uint32_t accept = 0;
  const tensorpatch_region* region = nullptr;
  std::optional<uint64_t> capacity;  // of every place; default: the place's size
  size_t work_limit = 0;
  size_t workspace_size = 16384;
};

// An applier with its workspace, ready for push.
class TestApplier {
 public:
  TestApplier(MemoryDevice& device, const ApplySetup& setup);
  tensorpatch_status init_status() const { return init_status_; }
  tensorpatch_applier* get() { return &applier_; }

  // Pushes a bundle in bites of `bite` bytes (0: all at once) from next_offset on, calling again
  // while there is work; then finishes.
  tensorpatch_status apply(const Bytes& bundle, size_t bite = 0);
  // The same from a checkpoint.
  tensorpatch_status resume(const Bytes& bundle, const Record& record, size_t bite = 0);

  uint64_t most_consumed = 0;  // by one push
  uint64_t pushes = 0;

 private:
  tensorpatch_applier applier_{};
  ApplySetup setup_;
  tensorpatch_options options_{};
  std::vector<uint64_t> workspace_;  // exactly the size given, so that a sanitizer sees its end
  tensorpatch_status init_status_;
};

}  // namespace tensorpatch::test
