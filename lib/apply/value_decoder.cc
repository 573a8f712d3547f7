// value_decoder.cc: the codec of typed values, for both levels or for level S alone.
// SPDX-License-Identifier: Apache-2.0
#include "patch_decoder.h"

namespace tensorpatch {
namespace {

ValueState* slot_state(PatchDecoder* d) {
  const uint32_t size = (value_state_size(d->job.limits.value_level) + 7) & ~7u;
  return reinterpret_cast<ValueState*>(d->slots + d->operation.slot * size);
}

bool begin_values(PatchDecoder* d) {
  const Operation& op = d->operation;
  const auto type = static_cast<unsigned>(op.type);
  const uint32_t slot_bit = 1u << op.slot;
  if (type >= kValueTypeCount || op.size % value_size(op.type) != 0 ||
      op.slot >= d->job.limits.value_slots) {
    return false;
  }
  if (op.fresh != 0) {
    value_state_reset(*slot_state(d), d->job.limits.value_level);
    d->ready_slots |= slot_bit;
  }
  d->tile_left = 0;
  return (d->ready_slots & slot_bit) != 0;
}

// Puts a value's bytes into the ring.
void put(PatchDecoder* d, uint32_t value, unsigned size) {
  const uint32_t mask = (1u << d->job.limits.history_log2) - 1;
  for (unsigned i = 0; i < size; ++i) {
    d->ring[(d->position + i) & mask] = static_cast<uint8_t>(value >> (8 * i));
  }
  decoder_advance(d, size);
}

uint32_t value_above(const PatchDecoder* d, unsigned size) {
  if (d->operation.row_bytes < size || d->operation.row_bytes > d->position) return 0;
  const History history = decoder_history(d);
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    value |= static_cast<uint32_t>(history.back(d->operation.row_bytes - i)) << (8 * i);
  }
  return value;
}

// A value may be cut by the write unit or the budget: then it is made whole all the same.
bool output_full(const PatchDecoder* d) {
  return decoder_output_room(d) == 0;
}

template <unsigned Level>
Step residuals(PatchDecoder* d) {
  const unsigned size = value_size(d->operation.type);
  ValueState* state = slot_state(d);
  ValueModel<RangeDecoder, Level> model(d->range, *state);
  while (d->operation_left != 0) {
    if (output_full(d)) return Step::kOutput;
    if (d->tile_left == 0) {
      if (!decoder_can_step(d)) return Step::kInput;
      d->tile_unchanged = static_cast<uint8_t>(model.code_tile_unchanged(0));
      const uint32_t left = d->operation_left / size;
      d->tile_left = left < kTile ? left : kTile;
    }
    if (!decoder_need_old(d, size)) return Step::kFailed;
    const uint32_t old = load_value(d->old_buffer + d->old_used, size);
    uint32_t value = old;
    if (d->tile_unchanged == 0) {
      if (!decoder_can_step(d)) return Step::kInput;
      value = model.code_residual({d->operation.type, old, 0}, 0);
    }
    d->old_used += size;
    --d->tile_left;
    put(d, value, size);
  }
  return Step::kDone;
}

template <unsigned Level>
Step intra_values(PatchDecoder* d) {
  const unsigned size = value_size(d->operation.type);
  ValueModel<RangeDecoder, Level> model(d->range, *slot_state(d));
  while (d->operation_left != 0) {
    if (output_full(d)) return Step::kOutput;
    if (!decoder_can_step(d)) return Step::kInput;
    const ValueContext context = {d->operation.type, 0, value_above(d, size)};
    put(d, model.code_intra(context, 0), size);
  }
  return Step::kDone;
}

template <unsigned Level>
Step step_level(PatchDecoder* d) {
  return d->operation.intra != 0 ? intra_values<Level>(d) : residuals<Level>(d);
}

bool begin_small(PatchDecoder* d) {
  return d->job.limits.value_level == 0 && begin_values(d);
}

Step step_any(PatchDecoder* d) {
  return d->job.limits.value_level == 0 ? step_level<0>(d) : step_level<1>(d);
}

}  // namespace
}  // namespace tensorpatch

using tensorpatch::format::kCodecValues;

extern "C" const tensorpatch_codec tensorpatch_codec_values = {
    kCodecValues, tensorpatch::begin_values, tensorpatch::step_any, nullptr, nullptr, nullptr};
extern "C" const tensorpatch_codec tensorpatch_codec_values_small = {
    kCodecValues, tensorpatch::begin_small, tensorpatch::step_level<0>, nullptr, nullptr, nullptr};
