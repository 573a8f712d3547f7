/* hpatchlite_apply.c: HPatchLite's applier with tinyuz on the board of examples/cortex_m.
 *
 * The counterpart of examples/cortex_m/main.c for `bench device`: old and the patch are in the
 * image, new goes to RAM, instructions and stack are counted in the same way. It has no signature
 * and checks nothing; the sum that it prints tells the harness that new is right.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "board.h"
#include "hpatch_lite.h"
#include "tuz_dec.h"

extern const uint8_t bundle_begin[], bundle_end[], old_begin[], old_end[];

enum { CODE_CACHE = 256, PATCH_CACHE = 256 }; /* what its own demo for microcontrollers takes */

static uint8_t dictionary[DICTIONARY + CODE_CACHE];
static uint8_t patch_cache[PATCH_CACHE];
static uint8_t new_slot[1 << 20];

typedef struct update {
  hpatchi_listener_t listener; /* first: the callbacks get its address */
  const uint8_t* at;
  tuz_TStream unpacker;
  size_t written;
} update;

static hpi_BOOL read_patch(hpi_TInputStreamHandle handle, hpi_byte* data, hpi_size_t* size) {
  update* self = (update*)handle;
  const size_t left = (size_t)(bundle_end - self->at);
  if (*size > left) *size = (hpi_size_t)left;
  memcpy(data, self->at, *size);
  self->at += *size;
  return hpi_TRUE;
}

static hpi_BOOL unpack(hpi_TInputStreamHandle handle, hpi_byte* data, hpi_size_t* size) {
  update* self = (update*)handle;
  return tuz_TStream_decompress_partial(&self->unpacker, data, size) <= tuz_STREAM_END;
}

static hpi_BOOL read_old(hpatchi_listener_t* listener, hpi_pos_t offset, hpi_byte* data,
                         hpi_size_t size) {
  const size_t old_size = (size_t)(old_end - old_begin);
  (void)listener;
  if (offset > old_size || size > old_size - offset) return hpi_FALSE;
  memcpy(data, old_begin + offset, size);
  return hpi_TRUE;
}

static hpi_BOOL write_new(hpatchi_listener_t* listener, const hpi_byte* data, hpi_size_t size) {
  update* self = (update*)listener;
  if (size > sizeof new_slot - self->written) return hpi_FALSE;
  memcpy(new_slot + self->written, data, size);
  self->written += size;
  return hpi_TRUE;
}

static int apply(update* self) {
  hpi_compressType type;
  hpi_pos_t new_size;
  hpi_pos_t unpacked_size;
  tuz_size_t dictionary_size;
  self->at = bundle_begin;
  if (!hpatch_lite_open(self, read_patch, &type, &new_size, &unpacked_size)) return 1;
  if (type != hpi_compressType_tuz) return 2;
  dictionary_size = tuz_TStream_read_dict_size(self, read_patch);
  if (dictionary_size > DICTIONARY) return 3;
  if (tuz_TStream_open(&self->unpacker, self, read_patch, dictionary, dictionary_size,
                       CODE_CACHE) != tuz_OK) {
    return 4;
  }
  self->listener.diff_data = self;
  self->listener.read_diff = unpack;
  self->listener.read_old = read_old;
  self->listener.write_new = write_new;
  return hpatch_lite_patch(&self->listener, new_size, patch_cache, PATCH_CACHE) ? 0 : 5;
}

static void print(const char* title, uint32_t number) {
  board_print(title);
  board_print_number(number);
  board_print("\n");
}

int main(void) {
  static update self;
  uint32_t begin;
  uint32_t ticks;
  uint32_t sum = 2166136261u; /* FNV-1a */
  size_t depth;
  int code;
  board_paint_stack();
  begin = board_ticks();
  code = apply(&self);
  ticks = board_ticks() - begin;
  depth = board_stack_depth();
  for (size_t i = 0; i < self.written; ++i) sum = (sum ^ new_slot[i]) * 16777619u;
  print("result: ", (uint32_t)code);
  print("bytes of new: ", (uint32_t)self.written);
  print("sum of new: ", sum);
  print("thousand instructions: ", ticks / (1000 / BOARD_INSTRUCTIONS_PER_TICK));
  print("bytes of stack: ", (uint32_t)depth);
  print("bytes of memory: ", (uint32_t)(sizeof self + sizeof dictionary + sizeof patch_cache));
  return code;
}
