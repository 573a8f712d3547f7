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
  if (operation.kind == OperationKind::kRecords) return 1;
  uint32_t use = static_cast<uint32_t>(operation.type);
  use = use * 4 + static_cast<uint32_t>(operation.predictor);
  use = use * 2 + operation.zero_map;
  use = use * 3 + operation.intra + (operation.factor != 0 ? 1u : 0u);
  return 2 + use;
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

// Whether the beginning of a run is coded better with slots that are reset.
bool ChunkEncoder::past_costs_more(const ValueRun& run) const {
  ValueRun trial = run;
  const uint64_t most =
      run.operation.kind == OperationKind::kRecords ? kTrialValues / 32 : kTrialValues;
  trial.count = std::min(trial.count, most);
  CostCounter going_on, fresh;
  std::vector<ValueSlot> slots = slots_;
  code_values(going_on, slots, view_, trial);
  for (ValueSlot& slot : slots) slot.reset();
  code_values(fresh, slots, view_, trial);
  return fresh.bytes() + 1 < going_on.bytes();
}

// A slot whose statistics are of the same purpose, reset if its past would cost more than it saves;
// else an unused slot, else the one that stands longest.
void ChunkEncoder::choose_slot(ValueRun& run) {
  Operation& operation = run.operation;
  const uint32_t wanted = purpose(operation);
  const auto same = std::find(slot_uses_.begin(), slot_uses_.end(), wanted);
  if (same != slot_uses_.end()) {
    operation.slot = static_cast<uint8_t>(same - slot_uses_.begin());
    operation.fresh = past_costs_more(run) ? 1 : 0;
    return;
  }
  const auto unused = std::find(slot_uses_.begin(), slot_uses_.end(), 0u);
  const auto index = unused != slot_uses_.end() ? static_cast<size_t>(unused - slot_uses_.begin())
                                                : wanted % slot_uses_.size();
  slot_uses_[index] = wanted;
  operation.slot = static_cast<uint8_t>(index);
  operation.fresh = 1;
}

// Records use the last slots, one for each field.
void ChunkEncoder::choose_record_slots(ValueRun& run) {
  Operation& operation = run.operation;
  const uint32_t wanted = purpose(operation);
  const auto begin = slot_uses_.end() - operation.record.count;
  const bool known =
      std::all_of(begin, slot_uses_.end(), [&](uint32_t use) { return use == wanted; });
  operation.fresh = !known || operation.record != last_record_ || past_costs_more(run) ? 1 : 0;
  std::fill(begin, slot_uses_.end(), wanted);
  last_record_ = operation.record;
}

void ChunkEncoder::encode(Operation operation, uint64_t new_offset, const RowNumbers* numbers) {
  const bool is_record = operation.kind == OperationKind::kRecords;
  const bool is_values = operation.kind == OperationKind::kValues || is_record;
  ValueRun run{operation, numbers, nullptr, new_offset, 0};
  if (is_values) {
    run.count =
        operation.size / (is_record ? record_size(operation.record) : value_size(operation.type));
    if (operation_reads_old(operation)) {
      run.old_values = components_[operation.old.component].old_bytes.data() + operation.old.offset;
    }
    if (is_record) {
      choose_record_slots(run);
    } else {
      choose_slot(run);
    }
    operation = run.operation;
  }
  OperationCoder<RangeEncoder> coder(encoder_, operations_,
                                     static_cast<uint32_t>(components_.size()));
  coder.code(operation);
  if (operation_reads_old(operation) && operation.kind != OperationKind::kBytes) {
    lowest_old_ = std::min(lowest_old_, operation.old.offset);
  }
  if (is_values) {
    const bool plain = limits_.value_level == 0 && is_plain(operation);
    used_codecs_ |= plain ? 1u << format::kCodecValues : format::kAllOfValues;
    if (is_record && operation.fresh != 0) {
      std::for_each_n(slots_.rbegin(), operation.record.count, [](ValueSlot& s) { s.reset(); });
    } else if (operation.fresh != 0) {
      slots_[operation.slot].reset();
    }
    code_values(encoder_, slots_, view_, run);
  } else if (operation.kind == OperationKind::kBytes) {
    used_codecs_ |= byte_tables_full(limits_) ? format::kAllOfBytes : 1u << format::kCodecBytes;
    if (byte_tables_ == nullptr) byte_tables_ = std::make_unique<ByteTables>(limits_);
    const ByteShape shape{operation.width_log2, operation.intra, operation.row_bytes};
    const Interval range{new_offset, new_offset + operation.size};
    byte_state_begin(byte_tables_->state, operation.old.offset);
    OldBytes old{components_[operation.intra != 0 ? component_ : operation.old.component].old_bytes,
                 old_floor(limits_, view_.restart_offset)};
    learn_bytes(encoder_, *byte_tables_, shape, old,
                {operation.learn_offset, operation.learn_offset + operation.learn_size});
    code_bytes(encoder_, *byte_tables_, view_, shape, old, range);
    if (operation.intra == 0) operations_.old.offset = byte_tables_->state.old_at;
    lowest_old_ = std::min(lowest_old_, old.lowest);
  }
}

}  // namespace tensorpatch::delta
