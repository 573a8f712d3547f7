// patch_decoder.cc: chunks, operations, the ring of new bytes and the writes behind it.
// SPDX-License-Identifier: Apache-2.0
#include "patch_decoder.h"

#include <string.h>

#include "wire.h"

namespace tensorpatch {
namespace {

enum State : uint8_t { kChunk, kOperation, kCopying, kCoding, kFinished };

constexpr bool is_power_of_two(uint32_t v) {
  return v != 0 && (v & (v - 1)) == 0;
}

constexpr uint32_t round_up8(uint32_t v) {
  return (v + 7) & ~7u;
}

uint32_t ring_size(const PatchLimits& limits) {
  return 1u << limits.history_log2;
}

// New bytes are written in units of a quarter of the ring, or sooner at restart points.
uint32_t write_unit(const PatchLimits& limits) {
  return ring_size(limits) / 4;
}

uint32_t old_buffer_size(const PatchLimits& limits) {
  const uint32_t quarter = write_unit(limits);
  return quarter < 256 ? 256 : quarter < 65536 ? quarter : 65536;
}

// The position at which the bytes since the last write fill a unit.
uint32_t write_end(const PatchDecoder* d) {
  const uint32_t unit = write_unit(d->job.limits);
  return (d->written & ~(unit - 1)) + unit;
}

uint32_t table_size(uint8_t log2) {
  return log2 != 0 ? (1u << log2) * static_cast<uint32_t>(sizeof(Cell)) : 0;
}

uint32_t byte_area(const PatchLimits& limits) {
  return limits.byte_cells_log2 != 0 ? byte_state_size(limits.byte_cells_log2) : 0;
}

uint32_t rows_area(const PatchLimits& limits) {
  return limits.column_log2 != 0 ? static_cast<uint32_t>(sizeof(RowState)) : 0;
}

// What the functions below return: OK: go on; MORE: there is an event; else what failed.
tensorpatch_status stop(PatchDecoder* d, PatchEvent event) {
  d->event = event;
  return TENSORPATCH_MORE;
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

// How many of `size` bytes from a position on lie together in the ring.
uint32_t together(const PatchDecoder* d, uint32_t position, uint32_t size) {
  const uint32_t to_wrap = d->ring_mask + 1 - (position & d->ring_mask);
  return size < to_wrap ? size : to_wrap;
}

// Gives out the ring's bytes up to `end`; two pieces where the ring wraps.
tensorpatch_status write_up_to(PatchDecoder* d, uint32_t end) {
  while (d->written != end) {
    const uint32_t size = together(d, d->written, end - d->written);
    const tensorpatch_status status = give_out(d, d->ring + (d->written & d->ring_mask), size);
    if (status != TENSORPATCH_OK) return status;
    d->written += size;
  }
  return TENSORPATCH_OK;
}

const tensorpatch_codec* find_codec(const PatchDecoder* d, uint32_t id) {
  for (size_t i = 0; i < d->job.codec_count; ++i) {
    if (d->job.codecs[i]->id == id) return d->job.codecs[i];
  }
  return nullptr;
}

// Goes on with data that a codec decodes.
tensorpatch_status begin_coding(PatchDecoder* d, uint32_t codec_id) {
  d->codec = find_codec(d, codec_id);
  if (d->codec == nullptr) return TENSORPATCH_E_CODEC;
  d->state = kCoding;
  return d->codec->begin(d) ? TENSORPATCH_OK : TENSORPATCH_E_FORMAT;
}

// --- Chunks ------------------------------------------------------------------------------------

struct ChunkHeader {
  uint32_t size;  // of the header itself, in the stream
  uint8_t first;
  uint32_t new_size;
  uint32_t payload_size;
};

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

bool read_chunk_header(const PatchInput& input, ChunkHeader* header) {
  const uint8_t* next = input.data;
  const uint8_t* end = input.data + input.size;
  if (next == end) return false;
  header->first = *next++;
  if (!read_varint(&next, end, &header->new_size) ||
      !read_varint(&next, end, &header->payload_size)) {
    return false;
  }
  header->size = static_cast<uint32_t>(next - input.data);
  return (header->first & ~(format::kChunkRestart | format::kChunkCodecMask)) == 0 &&
         header->new_size != 0;
}

// At a restart point nothing decoded before counts.
tensorpatch_status restart(PatchDecoder* d) {
  const tensorpatch_status status = write_up_to(d, d->position);
  if (status != TENSORPATCH_OK) return status;
  if (d->checkpointed == 0 && d->new_offset != 0) {
    d->checkpointed = 1;
    return stop(d, PatchEvent::kCheckpoint);
  }
  d->checkpointed = 0;
  d->restart_offset = d->new_offset;
  d->old_floor = old_floor(d->job.limits, d->new_offset);
  d->position = 0;
  d->written = 0;
  d->ready_slots = 0;
  d->bytes_ready = 0;
  operation_model_reset(*d->operations, {d->new_offset, d->job.component});
  return TENSORPATCH_OK;
}

tensorpatch_status end_component(PatchDecoder* d, const PatchInput& input) {
  const tensorpatch_status status = write_up_to(d, d->position);
  if (status != TENSORPATCH_OK) return status;
  if (input.patch_remaining != 0) return TENSORPATCH_E_FORMAT;
  d->state = kFinished;
  return stop(d, PatchEvent::kDone);
}

tensorpatch_status step_chunk(PatchDecoder* d, PatchInput* input) {
  const uint64_t left = d->job.new_size - d->new_offset;
  if (left == 0) return end_component(d, *input);
  if (input->size < format::kMaxChunkHeader && input->size < input->patch_remaining) {
    return stop(d, PatchEvent::kNeedInput);
  }
  ChunkHeader header;
  if (!read_chunk_header(*input, &header) || header.new_size > left ||
      header.payload_size > input->patch_remaining - header.size) {
    return TENSORPATCH_E_FORMAT;
  }
  if ((header.first & format::kChunkRestart) != 0) {
    if ((d->new_offset & (d->job.limits.erase_size - 1)) != 0) return TENSORPATCH_E_FORMAT;
    const tensorpatch_status status = restart(d);
    if (status != TENSORPATCH_OK) return status;
  } else if (d->new_offset == 0 || d->checkpointed != 0) {
    return TENSORPATCH_E_FORMAT;
  }
  if (header.new_size > d->job.limits.restart_interval - d->position) return TENSORPATCH_E_FORMAT;
  input->data += header.size;
  input->size -= header.size;
  input->patch_remaining -= header.size;
  d->chunk_left = header.new_size;
  d->payload_left = header.payload_size;
  const uint32_t codec = header.first & format::kChunkCodecMask;
  if (codec == format::kCodecOperations) {
    d->state = kOperation;
    d->operation_left = 0;
    d->codec = nullptr;
    d->range.range = 0;  // filled by the first step
    return TENSORPATCH_OK;
  }
  d->operation_left = header.new_size;  // one codec makes all of it
  const bool of_operations = codec == format::kCodecValues || codec == format::kCodecBytes;
  return of_operations ? TENSORPATCH_E_CODEC : begin_coding(d, codec);
}

// --- Operations --------------------------------------------------------------------------------

bool old_place_valid(const PatchDecoder* d) {
  const Operation& op = d->operation;
  if (!operation_reads_old(op)) return true;
  if (op.old.component >= d->job.component_count) return false;
  const uint64_t size = d->job.old_sizes[op.old.component];
  if (op.kind == OperationKind::kBytes) return op.old.offset <= size;  // checked byte by byte
  return op.size <= size && op.old.offset <= size - op.size && op.old.offset >= d->old_floor;
}

// Decodes an operation's header and prepares its data.
tensorpatch_status step_operation(PatchDecoder* d) {
  if (d->range.range == 0) d->range.begin();
  OperationCoder<RangeDecoder> coder(d->range, *d->operations, d->job.component_count);
  d->operation = {};
  coder.code(d->operation, d->operation);
  const Operation& op = d->operation;
  if (op.size == 0 || op.size > d->chunk_left || !old_place_valid(d)) return TENSORPATCH_E_FORMAT;
  d->operation_left = op.size;
  d->old_next = op.old.offset;
  d->old_used = d->old_filled = 0;
  d->state = kCopying;
  if (op.kind == OperationKind::kCopy) return TENSORPATCH_OK;
  return begin_coding(
      d, op.kind == OperationKind::kBytes ? format::kCodecBytes : format::kCodecValues);
}

tensorpatch_status step_copy(PatchDecoder* d) {
  const uint32_t size = together(d, d->position, decoder_output_room(d));
  const tensorpatch_status status =
      decoder_read_bytes(d, d->old_next, d->ring + (d->position & d->ring_mask), size);
  d->old_next += size;
  decoder_advance(d, size);
  return status;
}

// A step of work within a chunk. The range decoder's window is set.
tensorpatch_status step_in_chunk(PatchDecoder* d) {
  if (d->position >= write_end(d)) {
    const tensorpatch_status status =
        write_up_to(d, d->position & ~(write_unit(d->job.limits) - 1));
    if (status != TENSORPATCH_OK) return status;
  }
  if (d->operation_left == 0) d->state = kOperation;
  if (d->chunk_left == 0) {
    d->state = kChunk;
    return d->payload_left == 0 ? TENSORPATCH_OK : TENSORPATCH_E_FORMAT;
  }
  if (d->budget == 0) return stop(d, PatchEvent::kWorkLimit);
  if (d->state == kCopying) return step_copy(d);
  if (d->state == kCoding) {
    const Step step = d->codec->step(d);
    if (step == Step::kInput) return stop(d, PatchEvent::kNeedInput);
    return d->status;
  }
  return decoder_can_step(d) ? step_operation(d) : stop(d, PatchEvent::kNeedInput);
}

}  // namespace

bool begin_unpacking(PatchDecoder* d) {
  return d->codec->open(d->codec->context, d->chunk_left, d->job.limits.zstd_window_log2) == 0;
}

Step step_unpacking(PatchDecoder* d) {
  size_t output = together(d, d->position, decoder_output_room(d));
  auto input = static_cast<size_t>(d->range.end - d->range.next);
  uint8_t* to = d->ring + (d->position & d->ring_mask);
  const int result = d->codec->decode(d->codec->context, d->range.next, &input, to, &output);
  const bool stuck = input == 0 && output == 0;
  if (result != 0 || (stuck && d->input_whole != 0)) {  // or the frame is shorter than the chunk
    d->status = TENSORPATCH_E_FORMAT;
    return Step::kFailed;
  }
  d->range.next += input;
  decoder_advance(d, static_cast<uint32_t>(output));
  return stuck ? Step::kInput : Step::kOutput;
}

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
         round_up8(static_cast<uint32_t>(sizeof(OperationModel))) + round_up8(byte_area(limits)) +
         table_size(limits.byte_cells_log2) + table_size(limits.match_log2) +
         round_up8(rows_area(limits)) + table_size(limits.column_log2) +
         limits.value_slots * round_up8(value_state_size(limits.value_level));
}

uint32_t workspace_size(const PatchLimits& limits) {
  return kStatementArea + static_cast<uint32_t>(format::kMaxStepInput) + limits.block_size +
         decoder_workspace_size(limits);
}

void patch_decoder_begin(PatchDecoder* decoder, uint8_t* workspace) {
  static_cast<DecoderState&>(*decoder) = {};
  const PatchLimits& limits = decoder->job.limits;
  const auto take = [&workspace](uint32_t size) {
    uint8_t* taken = workspace;
    workspace += round_up8(size);
    return taken;
  };
  decoder->operations = reinterpret_cast<OperationModel*>(take(sizeof(OperationModel)));
  decoder->ring = take(ring_size(limits));
  decoder->ring_mask = ring_size(limits) - 1;
  decoder->old_buffer = take(old_buffer_size(limits));
  // What is absent takes no room and is never looked at.
  decoder->byte_state = reinterpret_cast<ByteState*>(take(byte_area(limits)));
  decoder->byte_cells = reinterpret_cast<Cell*>(take(table_size(limits.byte_cells_log2)));
  decoder->matches = reinterpret_cast<uint32_t*>(take(table_size(limits.match_log2)));
  decoder->rows = reinterpret_cast<RowState*>(take(rows_area(limits)));
  decoder->columns = reinterpret_cast<int32_t*>(take(table_size(limits.column_log2)));
  decoder->slots = workspace;
}

bool patch_decoder_begin_at(PatchDecoder* decoder, uint8_t* workspace, uint64_t new_offset) {
  const PatchJob& job = decoder->job;
  if (new_offset >= job.new_size || (new_offset & (job.limits.erase_size - 1)) != 0) return false;
  patch_decoder_begin(decoder, workspace);
  decoder->new_offset = new_offset;
  decoder->restart_offset = new_offset;
  decoder->checkpointed = 1;
  return true;
}

PatchEvent patch_decoder_run(PatchDecoder* decoder, PatchInput* input, size_t* budget) {
  PatchDecoder* d = decoder;
  d->budget = *budget;
  tensorpatch_status status = d->status;
  while (status == TENSORPATCH_OK) {
    if (d->state == kFinished) return PatchEvent::kDone;
    if (d->state == kChunk) {
      status = step_chunk(d, input);
      continue;
    }
    const size_t window = input->size < d->payload_left ? input->size : d->payload_left;
    d->input_whole = window == d->payload_left;
    d->range.next = input->data;
    d->range.end = input->data + window;
    status = step_in_chunk(d);
    const auto used = static_cast<size_t>(d->range.next - input->data);
    input->data += used;
    input->size -= used;
    input->patch_remaining -= used;
    d->payload_left -= static_cast<uint32_t>(used);
    d->range.next = d->range.end = nullptr;
  }
  *budget = d->budget;
  if (status == TENSORPATCH_MORE) return d->event;
  d->status = status;
  return PatchEvent::kFailed;
}

uint32_t decoder_output_room(const PatchDecoder* decoder) {
  const uint32_t end = write_end(decoder);
  uint32_t room = decoder->position < end ? end - decoder->position : 0;
  if (room > decoder->operation_left) room = decoder->operation_left;
  return room > decoder->budget ? static_cast<uint32_t>(decoder->budget) : room;
}

void decoder_advance(PatchDecoder* decoder, uint32_t size) {
  decoder->position += size;
  decoder->new_offset += size;
  decoder->chunk_left -= size;
  decoder->operation_left -= size;
  decoder->budget -= size < decoder->budget ? size : decoder->budget;
}

uint32_t decoder_old_buffer_size(const PatchDecoder* decoder) {
  return old_buffer_size(decoder->job.limits);
}

tensorpatch_status decoder_read_bytes(PatchDecoder* decoder, uint64_t offset, uint8_t* bytes,
                                      uint32_t size) {
  const PatchJob& job = decoder->job;
  const int result = job.read_old(job.ports->context, decoder->operation.old.component,
                                  job.old_base + offset, bytes, size);
  return result == 0 ? TENSORPATCH_OK : TENSORPATCH_E_READ_OLD;
}

bool decoder_read_old(PatchDecoder* decoder, uint64_t offset, uint32_t size) {
  decoder->status = decoder_read_bytes(decoder, offset, decoder->old_buffer, size);
  decoder->old_next = offset + size;
  decoder->old_used = 0;
  decoder->old_filled = size;
  return decoder->status == TENSORPATCH_OK;
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
