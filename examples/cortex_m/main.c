/* main.c: updates a model on a Cortex-M4: old and the bundle are in the image, new goes to RAM.
 *
 * On a device, new would go to the free slot in flash, the bundle would come from a radio in
 * pieces, and the floors from storage that an attacker cannot turn back. The rest is as here.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "board.h"
#include "tensorpatch/apply.h"
#include "tensorpatch/ports/libsodium.h"

extern const uint8_t bundle_begin[], bundle_end[], old_begin[], old_end[];

static const tensorpatch_key release_keys[] = {
#include RELEASE_KEY
};

enum { PIECE_SIZE = 100 }; /* what a radio may bring at once; any size does */

static tensorpatch_applier applier;
static uint64_t workspace[262144 / sizeof(uint64_t)]; /* enough for the profile mcu-256k */
static uint8_t new_slot[1 << 20];

static int read_old(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                    size_t size) {
  const uint64_t old_size = (uint64_t)(old_end - old_begin);
  (void)context;
  (void)component; /* the capacities below allow for one only */
  if (offset > old_size || size > old_size - offset) return TENSORPATCH_BEYOND_END;
  memcpy(data, old_begin + offset, size);
  return 0;
}

/* The library keeps within the capacity. */
static int write_new(void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                     size_t size) {
  (void)context;
  (void)component;
  memcpy(new_slot + offset, data, size);
  return 0;
}

static int read_new(void* context, uint32_t component, uint64_t offset, uint8_t* data,
                    size_t size) {
  (void)context;
  (void)component;
  memcpy(data, new_slot + offset, size);
  return 0;
}

/* What the ports for cryptography take of the time, in ticks: a hash unit would save most of it. */
static tensorpatch_hash_port sodium_hash;
static uint32_t crypto_ticks;

static int timed_hash(void* state, const uint8_t* data, size_t size) {
  const uint32_t begin = board_ticks();
  const int result = sodium_hash.update(state, data, size);
  crypto_ticks += board_ticks() - begin;
  return result;
}

static int timed_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                        size_t message_size, const uint8_t* signature, size_t signature_size) {
  const uint32_t begin = board_ticks();
  const int result =
      tensorpatch_libsodium_verify(context, key, message, message_size, signature, signature_size);
  crypto_ticks += board_ticks() - begin;
  return result;
}

static tensorpatch_status apply(void) {
  static tensorpatch_libsodium_hash hash;
  static const tensorpatch_codec* const codecs[] = {&tensorpatch_codec_values,
                                                    &tensorpatch_codec_bytes};
  tensorpatch_ports ports = {.hash = tensorpatch_libsodium_hash_port(&hash),
                             .verify = timed_verify,
                             .read_old = read_old,
                             .write_new = write_new,
                             .read_new = read_new};
  const tensorpatch_options options = {.keys = release_keys,
                                       .key_count = sizeof release_keys / sizeof *release_keys,
                                       .threshold = 1,
                                       .codecs = codecs,
                                       .codec_count = sizeof codecs / sizeof *codecs,
                                       .capacity = {sizeof new_slot}};
  const uint8_t* at = bundle_begin;
  tensorpatch_status status;
  sodium_hash = ports.hash;
  ports.hash.update = timed_hash;
  status = tensorpatch_apply_init(&applier, workspace, sizeof workspace, &ports, &options);
  if (status != TENSORPATCH_OK) return status;
  for (status = TENSORPATCH_MORE; status == TENSORPATCH_MORE && at != bundle_end;) {
    const size_t left = (size_t)(bundle_end - at);
    size_t consumed = 0;
    status = tensorpatch_apply_push(&applier, at, left < PIECE_SIZE ? left : PIECE_SIZE, &consumed);
    at += consumed;
  }
  while (status == TENSORPATCH_MORE) status = tensorpatch_apply_finish(&applier);
  return status;
}

int main(void) {
  tensorpatch_progress progress;
  tensorpatch_status status;
  uint32_t begin;
  board_paint_stack();
  begin = board_ticks();
  status = apply();
  tensorpatch_apply_progress(&applier, &progress);
  board_print("update: ");
  board_print(tensorpatch_status_text(status));
  board_print("\nbytes of the bundle: ");
  board_print_number((uint32_t)progress.consumed);
  board_print("\nthousand instructions (under -icount shift=0): ");
  board_print_number((board_ticks() - begin) / (1000 / BOARD_INSTRUCTIONS_PER_TICK));
  board_print("\nof these for hash and signature: ");
  board_print_number(crypto_ticks / (1000 / BOARD_INSTRUCTIONS_PER_TICK));
  board_print("\nbytes of stack: ");
  board_print_number((uint32_t)board_stack_depth());
  board_print("\n");
  return status == TENSORPATCH_DONE ? 0 : 1;
}
