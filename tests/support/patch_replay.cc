// tests/support/patch_replay.cc: see patch_replay.h.
// SPDX-License-Identifier: Apache-2.0
#include "support/patch_replay.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "tensorpatch/ports/zstd.h"

namespace tensorpatch::test {
namespace {

class Player {
 public:
  Player(const Replay& job, const std::vector<uint8_t>& patch)
      : job_(job), patch_(patch), workspace_(decoder_workspace_size(job.limits) / 8) {
    ports_.context = this;
    ports_.read_old = read_old;
    ports_.write_new = write_new;
    if (!job.without_codecs) {
      codecs_ = {&tensorpatch_codec_values, &tensorpatch_codec_bytes};
    }
    if (const uint32_t window = job.limits.zstd_window_log2; window != 0) {
      zstd_memory_.resize(tensorpatch_zstd_memory_size(window) / 8);
      codecs_.push_back(
          tensorpatch_zstd_init(&zstd_, zstd_memory_.data(), zstd_memory_.size() * 8, window));
    }
  }

  Replayed run() {
    if (!begin()) return std::move(result_);
    while (step()) {
    }
    result_.status = patch_decoder_status(&decoder_);
    if (result_.event == PatchEvent::kDone && written_ != job_.new_size) note("done too early");
    if (result_.event == PatchEvent::kFailed && result_.status == TENSORPATCH_OK) {
      note("failed without a status");
    }
    return std::move(result_);
  }

 private:
  bool begin() {
    PatchJob& job = decoder_.job;
    job.ports = &ports_;
    job.read_old = read_old;
    job.codecs = codecs_.data();
    job.codec_count = codecs_.size();
    job.limits = job_.limits;
    job.component = job_.component;
    job.component_count = static_cast<uint32_t>(job_.old_files.size());
    for (size_t i = 0; i < job_.old_files.size(); ++i) {
      job.old_sizes[i] = job_.old_files[i].size();
    }
    job.new_size = job_.new_size;
    // What an earlier update left in the workspace must not matter.
    std::memset(workspace_.data(), 0x5A, workspace_.size() * 8);
    auto* workspace = reinterpret_cast<uint8_t*>(workspace_.data());
    if (!job_.from.has_value()) {
      patch_decoder_begin(&decoder_, workspace);
      return true;
    }
    written_ = job_.from->new_offset;
    taken_ = job_.from->patch_offset;
    return patch_decoder_begin_at(&decoder_, workspace, job_.from->new_offset);
  }

  // One call of the decoder; false at the end.
  bool step() {
    const auto data = std::make_unique<uint8_t[]>(pending_.size());
    std::copy(pending_.begin(), pending_.end(), data.get());
    PatchInput input{data.get(), pending_.size(), patch_.size() - taken_ + pending_.size()};
    const uint64_t remaining = input.patch_remaining;
    size_t budget = job_.budget;
    result_.event = patch_decoder_run(&decoder_, &input, &budget);
    const auto used = static_cast<size_t>(input.data - data.get());
    if (used + input.size != pending_.size() || remaining - used != input.patch_remaining) {
      note("the input was not advanced as it was used");
      return false;
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(used));
    switch (result_.event) {
      case PatchEvent::kNeedInput:
        return take_bite();
      case PatchEvent::kWorkLimit:
        if (budget != 0) note("stopped before the budget was used up");
        return true;
      case PatchEvent::kCheckpoint:
        note_restart_point();
        return true;
      default:
        return false;
    }
  }

  bool take_bite() {
    if (pending_.size() >= format::kMaxStepInput) note("more left over than the format allows");
    const size_t left = patch_.size() - taken_;
    if (left == 0) return false;
    const size_t bite = job_.bite == 0 ? left : std::min(job_.bite, left);
    const auto from = patch_.begin() + static_cast<ptrdiff_t>(taken_);
    pending_.insert(pending_.end(), from, from + static_cast<ptrdiff_t>(bite));
    taken_ += bite;
    return true;
  }

  void note_restart_point() {
    const uint64_t offset = patch_decoder_new_offset(&decoder_);
    if (offset != written_) note("a checkpoint before everything was written");
    if (offset % job_.limits.erase_size != 0) note("a restart point inside an erase page");
    result_.restart_points.push_back({offset, taken_ - pending_.size()});
  }

  static int read_old(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                      size_t size) {
    auto* self = static_cast<Player*>(context);
    if (component >= self->job_.old_files.size() || size == 0) return self->note("read of no old");
    const auto& old = self->job_.old_files[component];
    if (size > old.size() || offset > old.size() - size) return self->note("read beyond old");
    std::copy_n(old.begin() + static_cast<ptrdiff_t>(offset), size, data);
    return 0;
  }

  static int write_new(void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                       size_t size) {
    auto* self = static_cast<Player*>(context);
    if (component != self->job_.component) return self->note("write to another component");
    if (offset != self->written_) return self->note("writes do not ascend without gaps");
    if (offset % self->job_.limits.write_size != 0) return self->note("write inside a write unit");
    if (size == 0 || size > self->job_.new_size - offset) return self->note("write beyond new");
    self->result_.new_file.insert(self->result_.new_file.end(), data, data + size);
    self->written_ += size;
    return 0;
  }

  int note(const char* what) {
    if (result_.misuse.empty()) result_.misuse = what;
    return -1;
  }

  const Replay& job_;
  const std::vector<uint8_t>& patch_;
  std::vector<uint64_t> workspace_;
  std::vector<uint64_t> zstd_memory_;
  tensorpatch_zstd zstd_{};
  tensorpatch_ports ports_{};
  std::vector<const tensorpatch_codec*> codecs_;
  PatchDecoder decoder_{};
  std::vector<uint8_t> pending_;  // given to the decoder and not used yet
  uint64_t taken_ = 0;            // bytes of the patch that came so far
  uint64_t written_ = 0;          // offset behind the last write
  Replayed result_;
};

}  // namespace

Replayed replay(const Replay& job, const std::vector<uint8_t>& patch) {
  return Player(job, patch).run();
}

}  // namespace tensorpatch::test
