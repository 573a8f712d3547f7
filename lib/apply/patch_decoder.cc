// patch_decoder.cc: chunks, operations, the ring of new bytes and the writes behind it.
// SPDX-License-Identifier: Apache-2.0
#include "patch_decoder.h"

#include <string.h>

#include "wire.h"

namespace tensorpatch {
namespace {

enum State : uint8_t { kChunk, kOperation, kCopying, kCoding, kUnpacking, kFinished, kBroken };

constexpr bool is_power_of_two(uint32_t v) {
  return v != 0 && (v & (v - 1)) == 0;
}

constexpr uint32_t round_up8(uint32_t v) {
  return (v + 7) & ~7u;
}

uint32_t ring_size(const PatchLimits& limits) {
  return 1u << limits.history_log2;
}

uint32_t old_buffer_size(const PatchLimits& limits) {
  const uint32_t quarter = ring_size(limits) / 4;
  return quarter < 256 ? 256 : quarter < 65536 ? quarter : 65536;
}

// New bytes are written in units of a quarter of the ring, or sooner at restart points.
uint32_t write_unit(const PatchLimits& limits) {
  return ring_size(limits) / 4;
}

// The position at which the bytes since the last write fill a unit.
uint32_t write_end(const PatchDecoder* d) {
  const uint32_t unit = write_unit(d->job.limits);
  return (d->written & ~(unit - 1)) + unit;
}

uint32_t table_size(uint8_t log2) {
  return log2 != 0 ? (1u << log2) * static_cast<uint32_t>(sizeof(Cell)) : 0;
}

PatchEvent failed(PatchDecoder* d, tensorpatch_status status) {
  if (d->state != kBroken) d->status = status;
  d->state = kBroken;
  return PatchEvent::kFailed;
}

// Where new goes: to the digest, or to storage if there is any.
tensorpatch_status give_out(PatchDecoder* d, const uint8_t* data, uint32_t size) {
  const tensorpatch_hash_port* digest = d->job.digest;
  if (digest != nullptr) {
    return digest->update(digest->state, data, size) == 0 ? TENSORPATCH_OK : TENSORPATCH_E_HASH;
  }
  const tensorpatch_ports* ports = d->job.ports;
  if (ports->write_new == nullptr) return TENSORPATCH_OK;
  return ports->write_new(ports->context, d->job.component, d->restart_offset + d->written, data,
                          size) == 0
             ? TENSORPATCH_OK
             : TENSORPATCH_E_WRITE_NEW;
}

// Gives out the ring's bytes up to `end`; two pieces where the ring wraps.
bool write_up_to(PatchDecoder* d, uint32_t end) {
  const uint32_t mask = ring_size(d->job.limits) - 1;
  while (d->written != end) {
    const uint32_t at = d->written & mask;
    const uint32_t to_wrap = mask + 1 - at;
    const uint32_t pending = end - d->written;
    const uint32_t size = pending < to_wrap ? pending : to_wrap;
    const tensorpatch_status status = give_out(d, d->ring + at, size);
    if (status != TENSORPATCH_OK) {
      failed(d, status);
      return false;
    }
    d->written += size;
  }
  return true;
}

// At most five bytes, value below 2^32, no superfluous last byte. False: malformed or too short.
bool read_varint(const uint8_t** next, const uint8_t* end, uint32_t* value) {
  uint32_t result = 0;
  for (unsigned shift = 0; shift < 35; shift += 7) {
    if (*next == end) return false;
    const uint8_t byte = *(*next)++;
    if (shift == 28 && byte > 15) return false;
    result |= static_cast<uint32_t>(byte & 127) << shift;
    if ((byte & 128) == 0) {
      *value = result;
      return byte != 0 || shift == 0;
    }
  }
  return false;
}

const tensorpatch_codec* find_codec(const PatchDecoder* d, uint32_t id) {
  for (size_t i = 0; i < d->job.codec_count; ++i) {
    if (d->job.codecs[i]->id == id) return d->job.codecs[i];
  }
  return nullptr;
}

// Begins anew at a restart point: nothing decoded before counts.
void restart(PatchDecoder* d) {
  d->restart_offset = d->new_offset;
  d->old_floor = old_floor(d->job.limits, d->new_offset);
  d->position = 0;
  d->written = 0;
  d->ready_slots = 0;
  d->bytes_ready = 0;
  operation_model_reset(*d->operations, {d->new_offset, d->job.component});
}

bool begin_chunk(PatchDecoder* d, uint8_t codec_id, uint32_t payload_size) {
  d->payload_left = payload_size;
  if (codec_id == format::kCodecOperations) {
    d->state = kOperation;
    d->codec = nullptr;
    d->range.range = 0;  // filled by the first step
    return true;
  }
  d->codec = find_codec(d, codec_id);
  if (d->codec == nullptr || d->codec->decode == nullptr) {
    failed(d, TENSORPATCH_E_CODEC);
    return false;
  }
  if (d->codec->open(d->codec->context, d->chunk_left, d->job.limits.zstd_window_log2) != 0) {
    failed(d, TENSORPATCH_E_FORMAT);
    return false;
  }
  d->state = kUnpacking;
  return true;
}

// Reads a chunk header. False: an event is to be returned.
bool step_chunk(PatchDecoder* d, PatchInput* input, PatchEvent* event) {
  if (d->new_offset == d->job.new_size) {
    if (!write_up_to(d, d->position)) return *event = PatchEvent::kFailed, false;
    if (input->patch_remaining != 0) {
      return *event = failed(d, TENSORPATCH_E_FORMAT), false;
    }
    d->state = kFinished;
    return *event = PatchEvent::kDone, false;
  }
  if (input->size < format::kMaxChunkHeader && input->size < input->patch_remaining) {
    return *event = PatchEvent::kNeedInput, false;
  }
  const uint8_t* next = input->data;
  const uint8_t* end = input->data + input->size;
  if (next == end) return *event = failed(d, TENSORPATCH_E_FORMAT), false;
  const uint8_t first = *next++;
  uint32_t new_size = 0, payload_size = 0;
  const bool restarts = (first & format::kChunkRestart) != 0;
  const auto codec_id = static_cast<uint8_t>(first & format::kChunkCodecMask);
  if (!read_varint(&next, end, &new_size) || !read_varint(&next, end, &payload_size) ||
      (first & ~(format::kChunkRestart | format::kChunkCodecMask)) != 0 || new_size == 0 ||
      new_size > d->job.new_size - d->new_offset ||
      payload_size > input->patch_remaining - static_cast<uint64_t>(next - input->data)) {
    return *event = failed(d, TENSORPATCH_E_FORMAT), false;
  }
  if (restarts) {
    if (d->new_offset % d->job.limits.erase_size != 0) {
      return *event = failed(d, TENSORPATCH_E_FORMAT), false;
    }
    if (!write_up_to(d, d->position)) return *event = PatchEvent::kFailed, false;
    if (d->checkpointed == 0 && d->new_offset != 0) {
      d->checkpointed = 1;
      return *event = PatchEvent::kCheckpoint, false;
    }
    d->checkpointed = 0;
    restart(d);
  } else if (d->new_offset == 0 || d->checkpointed != 0) {
    return *event = failed(d, TENSORPATCH_E_FORMAT), false;
  }
  if (new_size > d->job.limits.restart_interval - d->position) {
    return *event = failed(d, TENSORPATCH_E_FORMAT), false;
  }
  const auto used = static_cast<size_t>(next - input->data);
  input->data = next;
  input->size -= used;
  input->patch_remaining -= used;
  d->chunk_left = new_size;
  if (!begin_chunk(d, codec_id, payload_size)) return *event = PatchEvent::kFailed, false;
  return true;
}

bool old_place_valid(const PatchDecoder* d) {
  const Operation& op = d->operation;
  if (!operation_reads_old(op)) return true;
  if (op.old.component >= d->job.component_count) return false;
  const uint64_t size = d->job.old_sizes[op.old.component];
  if (op.kind == OperationKind::kBytes) return op.old.offset <= size;  // checked byte by byte
  return op.size <= size && op.old.offset <= size - op.size && op.old.offset >= d->old_floor;
}

// Decodes an operation's header and prepares its data.
void step_operation(PatchDecoder* d) {
  if (d->range.range == 0) d->range.begin();
  OperationCoder<RangeDecoder> coder(d->range, *d->operations, d->job.component_count);
  d->operation = coder.code(Operation{});
  const Operation& op = d->operation;
  if (op.size == 0 || op.size > d->chunk_left || !old_place_valid(d)) {
    failed(d, TENSORPATCH_E_FORMAT);
    return;
  }
  d->operation_left = op.size;
  d->old_next = op.old.offset;
  d->old_used = d->old_filled = 0;
  if (op.kind == OperationKind::kCopy) {
    d->state = kCopying;
    return;
  }
  const bool is_bytes = op.kind == OperationKind::kBytes;
  d->codec = find_codec(d, is_bytes ? format::kCodecBytes : format::kCodecValues);
  if (d->codec == nullptr) {
    failed(d, TENSORPATCH_E_CODEC);
  } else if (!d->codec->begin(d)) {
    failed(d, TENSORPATCH_E_FORMAT);
  } else {
    d->state = kCoding;
  }
}

void step_copy(PatchDecoder* d) {
  const uint32_t mask = ring_size(d->job.limits) - 1;
  const uint32_t at = d->position & mask;
  uint32_t size = decoder_output_room(d);
  if (size > mask + 1 - at) size = mask + 1 - at;
  const tensorpatch_ports* ports = d->job.ports;
  if (d->job.read_old(ports->context, d->operation.old.component, d->job.old_base + d->old_next,
                      d->ring + at, size) != 0) {
    failed(d, TENSORPATCH_E_READ_OLD);
    return;
  }
  d->old_next += size;
  decoder_advance(d, size);
}

// One call of a chunk codec. False: it needs input.
bool step_unpack(PatchDecoder* d) {
  const uint32_t mask = ring_size(d->job.limits) - 1;
  const uint32_t at = d->position & mask;
  const uint32_t room = decoder_output_room(d);
  size_t output = room < mask + 1 - at ? room : mask + 1 - at;
  auto input = static_cast<size_t>(d->range.end - d->range.next);
  if (d->codec->decode(d->codec->context, d->range.next, &input, d->ring + at, &output) != 0) {
    failed(d, TENSORPATCH_E_FORMAT);
    return true;
  }
  d->range.next += input;
  decoder_advance(d, static_cast<uint32_t>(output));
  if (input == 0 && output == 0) {
    if (d->input_whole == 0) return false;
    failed(d, TENSORPATCH_E_FORMAT);  // the frame is shorter than the chunk
  }
  return true;
}

// Work within a chunk until input, budget or the chunk ends. The range decoder's window is set.
PatchEvent work_in_chunk(PatchDecoder* d) {
  while (d->state != kBroken) {
    const uint32_t unit = write_unit(d->job.limits);
    if (d->position >= write_end(d) && !write_up_to(d, d->position & ~(unit - 1))) break;
    if (d->state == kOperation) {
      if (d->chunk_left == 0) return PatchEvent::kDone;
      if (d->budget == 0) return PatchEvent::kWorkLimit;
      if (!decoder_can_step(d)) return PatchEvent::kNeedInput;
      step_operation(d);
      continue;
    }
    if (d->state == kUnpacking) {
      if (d->chunk_left == 0) return PatchEvent::kDone;
      if (d->budget == 0) return PatchEvent::kWorkLimit;
      if (!step_unpack(d)) return PatchEvent::kNeedInput;
      continue;
    }
    if (d->operation_left == 0) {
      d->state = kOperation;
      continue;
    }
    if (d->budget == 0) return PatchEvent::kWorkLimit;
    if (d->state == kCopying) {
      step_copy(d);
    } else if (d->codec->step(d) == Step::kInput) {
      return PatchEvent::kNeedInput;
    }
  }
  return PatchEvent::kFailed;
}

}  // namespace

bool limits_valid(const PatchLimits& limits) {
  const auto in = [](uint32_t v, uint32_t low, uint32_t high) { return v >= low && v <= high; };
  const auto zero_or_in = [&](uint32_t v, uint32_t low, uint32_t high) {
    return v == 0 || in(v, low, high);
  };
  return in(limits.block_size, format::kMinBlockSize, format::kMaxBlockSize) &&
         limits.block_size % 64 == 0 && is_power_of_two(limits.erase_size) &&
         limits.erase_size <= 1u << 20 && in(limits.restart_interval, 1, format::kMaxChunkSize) &&
         limits.restart_interval % limits.erase_size == 0 && in(limits.history_log2, 8, 22) &&
         is_power_of_two(limits.write_size) && limits.write_size <= limits.erase_size &&
         limits.write_size <= ring_size(limits) / 4 && limits.value_slots <= 16 &&
         limits.value_level <= 1 && zero_or_in(limits.byte_cells_log2, 8, 20) &&
         zero_or_in(limits.match_log2, 6, 18) && zero_or_in(limits.zstd_window_log2, 10, 22) &&
         zero_or_in(limits.column_log2, 6, 18);
}

uint32_t decoder_workspace_size(const PatchLimits& limits) {
  return ring_size(limits) + round_up8(old_buffer_size(limits)) +
         round_up8(static_cast<uint32_t>(sizeof(OperationModel))) +
         round_up8(limits.byte_cells_log2 != 0 ? byte_state_size(limits.byte_cells_log2) : 0) +
         table_size(limits.byte_cells_log2) + table_size(limits.match_log2) +
         round_up8(limits.column_log2 != 0 ? static_cast<uint32_t>(sizeof(RowState)) : 0) +
         table_size(limits.column_log2) +
         limits.value_slots * round_up8(value_state_size(limits.value_level));
}

uint32_t workspace_size(const PatchLimits& limits) {
  return kStatementArea + static_cast<uint32_t>(format::kMaxStepInput) + limits.block_size +
         decoder_workspace_size(limits);
}

void patch_decoder_begin(PatchDecoder* decoder, const PatchJob& job, uint8_t* workspace) {
  *decoder = PatchDecoder{};
  decoder->job = job;
  const PatchLimits& limits = job.limits;
  const auto take = [&workspace](uint32_t size) {
    uint8_t* taken = workspace;
    workspace += round_up8(size);
    return taken;
  };
  decoder->operations = reinterpret_cast<OperationModel*>(take(sizeof(OperationModel)));
  decoder->ring = take(ring_size(limits));
  decoder->old_buffer = take(old_buffer_size(limits));
  if (limits.byte_cells_log2 != 0) {
    decoder->byte_state =
        reinterpret_cast<ByteState*>(take(byte_state_size(limits.byte_cells_log2)));
    decoder->byte_cells = reinterpret_cast<Cell*>(take(table_size(limits.byte_cells_log2)));
  }
  if (limits.match_log2 != 0) {
    decoder->matches = reinterpret_cast<uint32_t*>(take(table_size(limits.match_log2)));
  }
  if (limits.column_log2 != 0) {
    decoder->rows = reinterpret_cast<RowState*>(take(sizeof(RowState)));
    decoder->columns = reinterpret_cast<int32_t*>(take(table_size(limits.column_log2)));
  }
  decoder->slots = workspace;
  decoder->state = kChunk;
}

bool patch_decoder_begin_at(PatchDecoder* decoder, const PatchJob& job, uint8_t* workspace,
                            uint64_t new_offset) {
  if (new_offset >= job.new_size || new_offset % job.limits.erase_size != 0) return false;
  patch_decoder_begin(decoder, job, workspace);
  decoder->new_offset = new_offset;
  decoder->restart_offset = new_offset;
  decoder->checkpointed = 1;
  return true;
}

PatchEvent patch_decoder_run(PatchDecoder* decoder, PatchInput* input, size_t* budget) {
  decoder->budget = *budget;
  PatchEvent event = PatchEvent::kFailed;
  while (decoder->state != kBroken) {
    if (decoder->state == kFinished) return PatchEvent::kDone;
    if (decoder->state == kChunk) {
      if (!step_chunk(decoder, input, &event)) break;
      continue;
    }
    const size_t window = input->size < decoder->payload_left ? input->size : decoder->payload_left;
    decoder->input_whole = window == decoder->payload_left;
    decoder->range.next = input->data;
    decoder->range.end = input->data + window;
    event = work_in_chunk(decoder);
    const auto used = static_cast<size_t>(decoder->range.next - input->data);
    input->data += used;
    input->size -= used;
    input->patch_remaining -= used;
    decoder->payload_left -= static_cast<uint32_t>(used);
    decoder->range.next = decoder->range.end = nullptr;
    if (event != PatchEvent::kDone) break;
    if (decoder->payload_left != 0) {
      event = failed(decoder, TENSORPATCH_E_FORMAT);
      break;
    }
    decoder->state = kChunk;
  }
  *budget = decoder->budget;
  return decoder->state == kBroken ? PatchEvent::kFailed : event;
}

uint32_t decoder_output_room(const PatchDecoder* decoder) {
  const uint32_t end = write_end(decoder);
  uint32_t room = decoder->position < end ? end - decoder->position : 0;
  const uint32_t left =
      decoder->state == kUnpacking ? decoder->chunk_left : decoder->operation_left;
  if (room > left) room = left;
  if (room > decoder->budget) room = static_cast<uint32_t>(decoder->budget);
  return room;
}

void decoder_advance(PatchDecoder* decoder, uint32_t size) {
  decoder->position += size;
  decoder->new_offset += size;
  decoder->chunk_left -= size;
  if (decoder->state != kUnpacking) decoder->operation_left -= size;
  decoder->budget -= size < decoder->budget ? size : decoder->budget;
}

uint32_t decoder_old_buffer_size(const PatchDecoder* decoder) {
  return old_buffer_size(decoder->job.limits);
}

bool decoder_read_old(PatchDecoder* decoder, uint64_t offset, uint32_t size) {
  const tensorpatch_ports* ports = decoder->job.ports;
  if (decoder->job.read_old(ports->context, decoder->operation.old.component,
                            decoder->job.old_base + offset, decoder->old_buffer, size) != 0) {
    failed(decoder, TENSORPATCH_E_READ_OLD);
    return false;
  }
  decoder->old_next = offset + size;
  decoder->old_used = 0;
  decoder->old_filled = size;
  return true;
}

bool decoder_need_old(PatchDecoder* decoder, uint32_t size) {
  PatchDecoder* d = decoder;
  if (d->old_filled - d->old_used >= size) return true;
  // A few bytes of the next value may be in the buffer: they are read again.
  const uint64_t begin = d->old_next - (d->old_filled - d->old_used);
  const uint64_t behind = d->operation.old.offset + d->operation.size - begin;
  const uint32_t space = old_buffer_size(d->job.limits);
  return decoder_read_old(d, begin, behind < space ? static_cast<uint32_t>(behind) : space);
}

}  // namespace tensorpatch
