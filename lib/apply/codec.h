// codec.h: what an entry of the codec table is; for the codecs here and in lib/ports.
//
// Two kinds. An operation codec decodes the data of one kind of operation from the range decoder. A
// chunk codec turns a chunk's payload into new bytes without looking at old: zstd.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "format.h"
#include "tensorpatch/apply.h"

namespace tensorpatch {
struct PatchDecoder;

// What a step ended with. kStepInput only when fewer than kMaxStepInput bytes are left.
enum class Step : uint8_t { kDone, kInput, kOutput, kFailed };

// What every chunk codec has as `begin` and `step`.
bool begin_unpacking(PatchDecoder* decoder);
Step step_unpacking(PatchDecoder* decoder);
}  // namespace tensorpatch

struct tensorpatch_codec {
  uint32_t id;        // format::CodecId, in chunk headers and of operations
  uint32_t provides;  // bit set of what a bundle may require

  // Prepares for the operation in decoder->operation; false when its parameters are out of range.
  bool (*begin)(tensorpatch::PatchDecoder* decoder);
  // Decodes until the operation is done, the input is short, or the output window is full.
  tensorpatch::Step (*step)(tensorpatch::PatchDecoder* decoder);

  // Chunk codecs; NULL in an operation codec. Each returns 0, or anything else to fail.
  void* context;
  int (*open)(void* context, uint32_t new_size, uint8_t window_log2);
  // Takes up to *input_size bytes and gives up to *output_size; both are set to what was used.
  int (*decode)(void* context, const uint8_t* input, size_t* input_size, uint8_t* output,
                size_t* output_size);
};
