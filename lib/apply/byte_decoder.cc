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
    byte_state_reset(*d->byte_state);
    for (uint32_t i = 0; i < 1u << limits.byte_cells_log2; ++i) d->byte_cells[i] = kCellStart;
    if (limits.match_log2 != 0) memset(d->matches, 0, sizeof(uint32_t) << limits.match_log2);
    d->bytes_ready = 1;
  }
  d->byte_state->element = 0;
  d->byte_state->match_length = 0;
  return true;
}

Step step_bytes(PatchDecoder* d) {
  const ByteModel<RangeDecoder>::Tables tables = {d->byte_cells, d->job.limits.byte_cells_log2,
                                                  d->matches, d->job.limits.match_log2};
  ByteModel<RangeDecoder> model(d->range, *d->byte_state, tables);
  const ByteShape shape = {d->operation.width_log2, d->operation.row_bytes};
  while (d->operation_left != 0) {
    if (decoder_output_room(d) == 0) return Step::kOutput;
    if (!decoder_can_step(d)) return Step::kInput;
    const History history = decoder_history(d);
    d->ring[d->position & history.mask] = model.code_byte(history, shape, 0);
    decoder_advance(d, 1);
  }
  return Step::kDone;
}

}  // namespace
}  // namespace tensorpatch

extern "C" const tensorpatch_codec tensorpatch_codec_bytes = {tensorpatch::format::kCodecBytes,
                                                              tensorpatch::begin_bytes,
                                                              tensorpatch::step_bytes,
                                                              nullptr,
                                                              nullptr,
                                                              nullptr};
