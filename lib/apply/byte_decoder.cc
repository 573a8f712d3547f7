// byte_decoder.cc: the codec of literal bytes.
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "patch_decoder.h"

namespace tensorpatch {
namespace {

bool begin_bytes(PatchDecoder* d) {
  const PatchLimits& limits = d->job.limits;
  if (limits.byte_cells_log2 == 0) return false;
  if (d->bytes_ready == 0) {
    byte_state_reset(*d->byte_state, limits.byte_cells_log2);
    for (uint32_t i = 0; i < 1u << limits.byte_cells_log2; ++i) d->byte_cells[i] = kCellStart;
    if (limits.match_log2 != 0) memset(d->matches, 0, sizeof(uint32_t) << limits.match_log2);
    d->bytes_ready = 1;
  }
  // What is read of old without a pointer into it is the component's own.
  if (d->operation.intra != 0) d->operation.old = {0, d->job.component};
  byte_state_begin(*d->byte_state, d->operation.old.offset);
  const uint64_t old_size = d->job.old_sizes[d->operation.old.component];
  d->learn_left = d->operation.learn_size;
  if (d->learn_left != 0) {
    d->byte_state->learnt = d->operation.learn_offset;
    if (d->learn_left > kMaxLearnSize || d->operation.learn_offset > old_size ||
        d->learn_left > old_size - d->operation.learn_offset ||
        d->operation.learn_offset < d->old_floor) {
      return false;
    }
  }
  return true;
}

// Old through a window that moves along: decoder->old_buffer holds old_filled bytes up to old_next.
class OldWindow {
 public:
  explicit OldWindow(PatchDecoder* d)
      : d_(d), size_(d->job.old_sizes[d->operation.old.component]) {}

  int at(uint64_t offset) {
    if (offset >= size_ || offset < d_->old_floor) return -1;
    const uint64_t begin = d_->old_next - d_->old_filled;
    if (offset < begin || offset >= d_->old_next) {
      if (!move_to(offset)) return -1;
      return d_->old_buffer[offset - (d_->old_next - d_->old_filled)];
    }
    return d_->old_buffer[offset - begin];
  }

 private:
  // A quarter of the buffer is kept before the offset, for pointers that look back.
  bool move_to(uint64_t offset) {
    const uint32_t capacity = decoder_old_buffer_size(d_);
    uint64_t begin = offset < capacity / 4 ? 0 : offset - capacity / 4;
    if (begin < d_->old_floor) begin = d_->old_floor;
    const uint64_t left = size_ - begin;
    const auto wanted = left < capacity ? static_cast<uint32_t>(left) : capacity;
    return decoder_read_old(d_, begin, wanted);
  }

  PatchDecoder* d_;
  uint64_t size_;
};

// Without `Full` for small tables only, as the model.
template <bool Full>
Step step_bytes(PatchDecoder* d) {
  using Model = ByteModel<RangeDecoder, Full>;
  OldWindow old(d);
  const typename Model::Tables tables = {d->byte_cells, d->job.limits.byte_cells_log2, d->matches,
                                         d->job.limits.match_log2};
  Model model(d->range, *d->byte_state, tables);
  const ByteShape shape = {d->operation.width_log2, d->operation.intra, d->operation.row_bytes};
  for (; d->learn_left != 0; --d->learn_left) {
    if (d->budget == 0) return Step::kOutput;
    --d->budget;
    model.learn(shape, old, d->operation.learn_offset + d->operation.learn_size - d->learn_left);
    if (d->status != TENSORPATCH_OK) return Step::kFailed;
  }
  while (d->operation_left != 0) {
    if (decoder_output_room(d) == 0) return Step::kOutput;
    if (!decoder_can_step(d)) return Step::kInput;
    const History history = decoder_history(d);
    d->ring[d->position & history.mask] = model.code_byte(history, shape, old, 0);
    if (d->status != TENSORPATCH_OK) return Step::kFailed;
    decoder_advance(d, 1);
  }
  if (d->operation.intra == 0) d->operations->old.offset = d->byte_state->old_at;
  return Step::kDone;
}

bool begin_small_tables(PatchDecoder* d) {
  return !byte_tables_full(d->job.limits) && begin_bytes(d);
}

}  // namespace
}  // namespace tensorpatch

using namespace tensorpatch;

extern "C" const tensorpatch_codec tensorpatch_codec_bytes = {format::kCodecBytes,
                                                              format::kAllOfBytes,
                                                              begin_bytes,
                                                              step_bytes<true>,
                                                              nullptr,
                                                              nullptr,
                                                              nullptr};
extern "C" const tensorpatch_codec tensorpatch_codec_bytes_small = {format::kCodecBytes,
                                                                    1u << format::kCodecBytes,
                                                                    begin_small_tables,
                                                                    step_bytes<false>,
                                                                    nullptr,
                                                                    nullptr,
                                                                    nullptr};
