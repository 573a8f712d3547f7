// delta/chunk_encoder.cc: codes operations and their data, and counts what a choice would cost.
// SPDX-License-Identifier: Apache-2.0
#include "delta/chunk_encoder.h"

#include <algorithm>

namespace tensorpatch::delta {
namespace {

// Values looked at when deciding whether a slot's past helps.
constexpr uint64_t kTrialValues = 4096;

// What a slot's statistics are about; different purposes never share a slot without a reset.
uint32_t purpose(const Operation& operation) {
  return 1 + static_cast<uint32_t>(operation.type) * 2 + operation.intra;
}

}  // namespace

ChunkEncoder::ChunkEncoder(const std::vector<ComponentInput>& components, uint32_t component,
                           const PatchLimits& limits, uint64_t restart_offset)
    : components_(components),
      component_(component),
      view_{components[component].new_bytes, restart_offset, (1u << limits.history_log2) - 1},
      limits_(limits) {
  operation_model_reset(operations_, {restart_offset, component});
  slots_.assign(limits.value_slots, ValueSlot(limits.value_level));
  slot_uses_.assign(limits.value_slots, 0);
}

// A slot whose statistics are of the same purpose, reset if its past would cost more than it saves;
// else an unused slot, else the one that stands longest.
void ChunkEncoder::choose_slot(Operation& operation, const ValueRun& run) {
  const uint32_t wanted = purpose(operation);
  const auto same = std::find(slot_uses_.begin(), slot_uses_.end(), wanted);
  if (same != slot_uses_.end()) {
    const auto index = static_cast<size_t>(same - slot_uses_.begin());
    ValueRun trial = run;
    trial.count = std::min(trial.count, kTrialValues);
    CostCounter going_on, fresh;
    ValueSlot past = slots_[index];
    code_values(going_on, past, view_, trial);
    past.reset();
    code_values(fresh, past, view_, trial);
    operation.slot = static_cast<uint8_t>(index);
    operation.fresh = fresh.bytes() + 1 < going_on.bytes() ? 1 : 0;
    return;
  }
  const auto unused = std::find(slot_uses_.begin(), slot_uses_.end(), 0u);
  const auto index = unused != slot_uses_.end() ? static_cast<size_t>(unused - slot_uses_.begin())
                                                : wanted % slot_uses_.size();
  slot_uses_[index] = wanted;
  operation.slot = static_cast<uint8_t>(index);
  operation.fresh = 1;
}

void ChunkEncoder::encode(Operation operation, uint64_t new_offset) {
  const unsigned value_bytes = value_size(operation.type);
  ValueRun run{operation.type, operation.intra != 0, operation.row_bytes,
               nullptr,        new_offset,           operation.size / value_bytes};
  if (operation.kind == OperationKind::kValues) {
    if (!run.intra) {
      run.old_values = components_[operation.old.component].old_bytes.data() + operation.old.offset;
    }
    choose_slot(operation, run);
  }
  OperationCoder<RangeEncoder> coder(encoder_, operations_,
                                     static_cast<uint32_t>(components_.size()));
  coder.code(operation);
  if (operation.kind == OperationKind::kValues) {
    used_codecs_ |= 1u << format::kCodecValues;
    ValueSlot& slot = slots_[operation.slot];
    if (operation.fresh != 0) slot.reset();
    code_values(encoder_, slot, view_, run);
  } else if (operation.kind == OperationKind::kBytes) {
    used_codecs_ |= 1u << format::kCodecBytes;
    if (byte_tables_ == nullptr) byte_tables_ = std::make_unique<ByteTables>(limits_);
    const ByteShape shape{operation.width_log2, operation.intra, operation.row_bytes};
    const Interval range{new_offset, new_offset + operation.size};
    byte_state_begin(byte_tables_->state, operation.old.offset);
    OldBytes old{
        components_[operation.intra != 0 ? component_ : operation.old.component].old_bytes};
    learn_bytes(encoder_, *byte_tables_, shape, old,
                {operation.learn_offset, operation.learn_offset + operation.learn_size});
    code_bytes(encoder_, *byte_tables_, view_, shape, old, range);
    if (operation.intra == 0) operations_.old.offset = byte_tables_->state.old_at;
  }
}

}  // namespace tensorpatch::delta
