// toolkit/applier_run.h: the device library with the host's ports, as a sink of bundle bytes.
//
// Pack's self-check, verify and apply differ only in their storage and in what they trust. The run
// makes the workspace when the first bytes tell its size, and turns statuses into errors for
// people.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/file.h"
#include "keys/keys.h"
#include "tensorpatch/apply.h"
#include "tensorpatch/ports/zstd.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

using CheckpointRecord = std::array<uint8_t, TENSORPATCH_CHECKPOINT_SIZE>;

struct Place {
  uint32_t component = 0;
  uint64_t offset = 0;
};

// Where old and new files are. What it answers with an error ends the run with that error; E_OLD
// from read_old means that the old file is too short to be the right one.
class Storage {
 public:
  virtual ~Storage() = default;
  virtual Result<void> read_old(Place place, std::span<uint8_t> data) = 0;
  virtual Result<void> write_new(Place place, base::Bytes data) = 0;
  virtual Result<void> read_new(Place place, std::span<uint8_t> data) = 0;
  // Called when everything before the record's place has been written.
  virtual Result<void> save_checkpoint(const CheckpointRecord& record) = 0;
  // Only with Mode::kDevice.
  virtual Result<void> erase(Place, uint64_t) { return {}; }
};

// Old files in memory, nothing written: to verify, and for others to build on.
class OldStorage : public Storage {
 public:
  explicit OldStorage(std::vector<base::Bytes> old_files) : old_files_(std::move(old_files)) {}
  Result<void> read_old(Place place, std::span<uint8_t> data) override;
  Result<void> write_new(Place place, base::Bytes data) override;
  Result<void> read_new(Place place, std::span<uint8_t> data) override;
  Result<void> save_checkpoint(const CheckpointRecord& record) override;

 private:
  std::vector<base::Bytes> old_files_;
};

enum class Mode : uint8_t {
  kDecodeOnly,
  kWrite,
  kWriteWithCheckpoints,
  kDevice,  // with checkpoints and erases
};

struct RunOptions {
  Storage* storage = nullptr;
  Mode mode = Mode::kDecodeOnly;
  uint64_t region_size = 0;  // not 0: in place, in the storage's first new file, old at its start
  Device device;             // without its public keys, which are in `ring`
  std::vector<keys::PublicKey> ring;
  // For the self-check of a bundle that is not signed yet: any signature by the ring's key counts,
  // but only over this message. Empty otherwise.
  base::Bytes only_message;
  std::optional<CheckpointRecord> checkpoint;  // to go on from
  std::string_view stage;
  ProgressCallback progress;
};

// Every codec that a host has. What zstd needs, by the statement's window, is on top of the
// workspace.
class HostCodecs {
 public:
  explicit HostCodecs(uint32_t zstd_window_log2);
  HostCodecs(const HostCodecs&) = delete;
  HostCodecs& operator=(const HostCodecs&) = delete;
  std::span<const tensorpatch_codec* const> table() const { return table_; }

 private:
  tensorpatch_zstd zstd_{};
  std::vector<uint64_t> zstd_memory_;
  std::vector<const tensorpatch_codec*> table_;
};

class ApplierRun : public base::Sink {
 public:
  // The storage and what spans point to must outlive the run.
  explicit ApplierRun(RunOptions options);
  ~ApplierRun() override;
  ApplierRun(const ApplierRun&) = delete;
  ApplierRun& operator=(const ApplierRun&) = delete;

  // The next bytes of the bundle. Fails for good with the applier's refusal.
  Result<void> write(base::Bytes data) override;
  // After the bundle's head, when going on from a checkpoint, or in place after all of it: works
  // until the applier wants the byte at `offset`.
  Result<void> go_on_at(uint64_t offset);
  // Says that the bundle ended. True: done; false: the old files already equal the new ones.
  Result<bool> finish();

  bool is_over() const;  // no more bytes are needed: done, or already new
  uint64_t next_offset() const;
  uint32_t workspace_size() const;
  const std::vector<Digest>& signed_by() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tensorpatch::toolkit
