// zstd.cc: see tensorpatch/ports/zstd.h.
//
// The window that a frame asks for is limited to what the statement declares, and that to what the
// caller's memory was made for. A frame that has ended takes no more input: one chunk is one frame.
// SPDX-License-Identifier: Apache-2.0
#define ZSTD_STATIC_LINKING_ONLY  // a decompressor in memory of the caller
#include "tensorpatch/ports/zstd.h"

#include <zstd.h>

#include "apply/codec.h"

namespace {

constexpr uint32_t kMinWindowLog2 = 10;
constexpr uint32_t kMaxWindowLog2 = 22;

struct Codec {
  tensorpatch_codec entry;
  ZSTD_DCtx* decompressor;
  uint32_t window_log2;  // that the memory is enough for
  bool ended;
};
static_assert(sizeof(Codec) <= sizeof(tensorpatch_zstd));

int open_frame(void* context, uint32_t /*new_size*/, uint8_t window_log2) {
  auto* codec = static_cast<Codec*>(context);
  if (window_log2 < kMinWindowLog2 || window_log2 > codec->window_log2) return -1;
  codec->ended = false;
  if (ZSTD_isError(ZSTD_DCtx_reset(codec->decompressor, ZSTD_reset_session_and_parameters)) != 0) {
    return -1;
  }
  const size_t result =
      ZSTD_DCtx_setParameter(codec->decompressor, ZSTD_d_windowLogMax, window_log2);
  return ZSTD_isError(result) != 0 ? -1 : 0;
}

int decode(void* context, const uint8_t* input, size_t* input_size, uint8_t* output,
           size_t* output_size) {
  auto* codec = static_cast<Codec*>(context);
  ZSTD_inBuffer in = {input, *input_size, 0};
  ZSTD_outBuffer out = {output, *output_size, 0};
  if (!codec->ended) {
    const size_t result = ZSTD_decompressStream(codec->decompressor, &out, &in);
    if (ZSTD_isError(result) != 0) return -1;
    codec->ended = result == 0;
  }
  const bool stuck = in.pos == 0 && out.pos == 0 && in.size != 0 && out.size != 0;
  *input_size = in.pos;
  *output_size = out.pos;
  return stuck ? -1 : 0;  // bytes after the frame's end
}

}  // namespace

size_t tensorpatch_zstd_memory_size(uint32_t window_log2) {
  if (window_log2 < kMinWindowLog2 || window_log2 > kMaxWindowLog2) return 0;
  return (ZSTD_estimateDStreamSize(size_t{1} << window_log2) + 7) & ~size_t{7};
}

const tensorpatch_codec* tensorpatch_zstd_init(tensorpatch_zstd* zstd, void* memory,
                                               size_t memory_size, uint32_t window_log2) {
  const size_t needed = tensorpatch_zstd_memory_size(window_log2);
  if (zstd == nullptr || memory == nullptr || needed == 0 || memory_size < needed) return nullptr;
  auto* codec = reinterpret_cast<Codec*>(zstd);
  *codec = Codec{};
  codec->window_log2 = window_log2;
  codec->decompressor = ZSTD_initStaticDCtx(memory, memory_size);
  codec->entry.id = tensorpatch::format::kCodecZstd;
  codec->entry.provides = 1u << tensorpatch::format::kCodecZstd;
  codec->entry.begin = tensorpatch::begin_unpacking;
  codec->entry.step = tensorpatch::step_unpacking;
  codec->entry.context = codec;
  codec->entry.open = open_frame;
  codec->entry.decode = decode;
  return codec->decompressor != nullptr ? &codec->entry : nullptr;
}
