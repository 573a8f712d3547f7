/* tensorpatch/ports/zstd.h: the codec of chunks that are one zstd frame (docs/FORMAT.md, codec 3).
 *
 * The decompressor lives in the caller's memory; nothing is allocated. Its size is on top of the
 * workspace that a bundle declares and depends on the profile's zstd window only.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_PORTS_ZSTD_H
#define TENSORPATCH_PORTS_ZSTD_H

#include "tensorpatch/apply.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's object for one codec; private. Must stay in place as long as the applier. */
typedef struct tensorpatch_zstd {
  uint64_t private_state[16];
} tensorpatch_zstd;

/* Bytes of memory that frames with a window of 2^window_log2 bytes need; 0 when it is not 10..22.
 */
size_t tensorpatch_zstd_memory_size(uint32_t window_log2);

/* Makes an entry for tensorpatch_options.codecs. `memory` is 8-byte aligned. NULL when it is too
 * small or the window is out of range. Serves one applier at a time. */
const tensorpatch_codec* tensorpatch_zstd_init(tensorpatch_zstd* zstd, void* memory,
                                               size_t memory_size, uint32_t window_log2);

#ifdef __cplusplus
}
#endif

#endif /* TENSORPATCH_PORTS_ZSTD_H */
