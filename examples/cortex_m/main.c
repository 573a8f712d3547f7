/* main.c: updates a model on a Cortex-M: two slots in flash, trial, confirmation; power cuts.
 *
 * usage (after the program's name, by semihosting): [cuts | bad]
 * At its first start the model in the image is put into slot 0, as a factory would. Then the bundle
 * in the image is applied to slot 1, the board restarts, tries the new model and confirms it. With
 * `cuts` the power goes in the middle of ever later flash operations, and every start goes on where
 * the one before was; with `bad` the new model never works, and the old one is used again.
 * On a device the bundle comes from a radio; its first bytes, up to the first block, are kept with
 * the checkpoint so that only the rest is asked for again. Floors come from storage that an
 * attacker cannot turn back. The rest is as here.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "board.h"
#include "crypto.h"
#include "flash.h"
#include "tensorpatch/apply.h"
#include "tensorpatch/slots.h"

extern const uint8_t bundle_begin[], bundle_end[], old_begin[], old_end[];

static const tensorpatch_key release_keys[] = {
#include RELEASE_KEY
};

enum {
  PIECE_SIZE = 100, /* what a radio may bring at once; any size does */
  TRIALS = 3,
  HAS_STARTED = 0x7A11
};

static tensorpatch_applier applier;
static uint64_t workspace[EXAMPLE_WORKSPACE / sizeof(uint64_t)];
static struct { uint32_t has_started, starts; } kept __attribute__((section(".noinit")));

/* --- What the ports for cryptography take of the time, in ticks ------------------------------ */

static tensorpatch_hash_port plain_hash;
static uint32_t crypto_ticks;

static int timed_hash(void* state, const uint8_t* data, size_t size) {
  const uint32_t begin = board_ticks();
  const int result = plain_hash.update(state, data, size);
  crypto_ticks += board_ticks() - begin;
  return result;
}

static int timed_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                        size_t message_size, const uint8_t* signature, size_t signature_size) {
  const uint32_t begin = board_ticks();
  const int result = crypto_verify(context, key, message, message_size, signature, signature_size);
  crypto_ticks += board_ticks() - begin;
  return result;
}

/* --- The update ------------------------------------------------------------------------------ */

static tensorpatch_status push_all(void) {
  const uint64_t bundle_size = (uint64_t)(bundle_end - bundle_begin);
  uint64_t offset;
  tensorpatch_status status;
  while ((offset = tensorpatch_apply_next_offset(&applier)) < bundle_size) {
    const uint64_t left = bundle_size - offset;
    size_t consumed = 0;
    status = tensorpatch_apply_push(&applier, bundle_begin + offset,
                                    left < PIECE_SIZE ? (size_t)left : PIECE_SIZE, &consumed);
    if (status != TENSORPATCH_MORE && status != TENSORPATCH_DONE) return status;
  }
  do {
    status = tensorpatch_apply_finish(&applier);
  } while (status == TENSORPATCH_MORE);
  return status;
}

static tensorpatch_status apply(uint8_t old_slot, tensorpatch_flash_log* checkpoints) {
  static const tensorpatch_flash_area slots[2] = {{SLOT_0_AT, FLASH_SLOT_SIZE},
                                                  {SLOT_1_AT, FLASH_SLOT_SIZE}};
  static const tensorpatch_codec* const codecs[] = {&tensorpatch_codec_values,
                                                    &tensorpatch_codec_bytes};
  static tensorpatch_flash_storage storage;
  uint8_t record[TENSORPATCH_CHECKPOINT_SIZE];
  tensorpatch_ports ports = {.hash = crypto_hash_port(), .verify = timed_verify};
  const tensorpatch_options options = {.keys = release_keys,
                                       .key_count = sizeof release_keys / sizeof *release_keys,
                                       .threshold = 1,
                                       .codecs = codecs,
                                       .codec_count = sizeof codecs / sizeof *codecs,
                                       .capacity = {FLASH_SLOT_SIZE}};
  tensorpatch_status status;
  plain_hash = ports.hash;
  ports.hash.update = timed_hash;
  storage.old_flash = storage.new_flash = &board_flash;
  storage.old_areas[0] = slots[old_slot];
  storage.new_areas[0] = slots[1 - old_slot];
  storage.checkpoints = checkpoints;
  if (tensorpatch_flash_set_ports(&storage, &ports) != 0) return TENSORPATCH_E_ARGUMENT;
  status = tensorpatch_apply_init(&applier, workspace, sizeof workspace, &ports, &options);
  if (status == TENSORPATCH_OK &&
      tensorpatch_flash_log_load(checkpoints, record, sizeof record) == 0) {
    status = tensorpatch_apply_resume(&applier, record);
  }
  if (status == TENSORPATCH_OK) status = push_all();
  /* The checkpoint of another update, or of one that is in place: the next try begins anew. */
  if (status == TENSORPATCH_E_CHECKPOINT || status == TENSORPATCH_E_NEW) {
    tensorpatch_flash_log_clear(checkpoints);
  }
  return status;
}

static void print_line(const char* text, uint32_t number) {
  board_print(text);
  board_print_number(number);
  board_print("\n");
}

/* Applies and says what it took; whether new is ready. */
static int update(uint8_t old_slot, tensorpatch_flash_log* checkpoints) {
  tensorpatch_progress progress;
  tensorpatch_status status;
  uint32_t begin;
  board_paint_stack();
  begin = board_ticks();
  status = apply(old_slot, checkpoints);
  tensorpatch_apply_progress(&applier, &progress);
  board_print("update: ");
  board_print(tensorpatch_status_text(status));
  print_line("\nbytes of the bundle: ", (uint32_t)progress.consumed);
  print_line("thousand instructions (under -icount shift=0): ",
             (board_ticks() - begin) / (1000 / BOARD_INSTRUCTIONS_PER_TICK));
  print_line("of these for hash and signature: ",
             crypto_ticks / (1000 / BOARD_INSTRUCTIONS_PER_TICK));
  print_line("bytes of stack: ", (uint32_t)board_stack_depth());
  return status == TENSORPATCH_DONE;
}

/* --- The device ------------------------------------------------------------------------------ */

/* What the factory does: old goes to slot 0. */
static int provision(void) {
  const size_t size = (size_t)(old_end - old_begin);
  uint8_t word[FLASH_WRITE_SIZE];
  size_t at;
  if (size > FLASH_SLOT_SIZE || board_flash.erase(NULL, 0, FLASH_SIZE) != 0) return -1;
  for (at = 0; at < size; at += sizeof word) {
    const size_t count = size - at < sizeof word ? size - at : sizeof word;
    memset(word, 0xFF, sizeof word);
    memcpy(word, old_begin + at, count);
    if (board_flash.program(NULL, SLOT_0_AT + at, word, sizeof word) != 0) return -1;
  }
  return 0;
}

static int fail(const char* what) {
  board_print(what);
  board_print("\n");
  return 1;
}

static int is_argument(const char* word) {
  return strcmp(board_arguments(), word) == 0;
}

/* From one start to the end, or to the restart. */
static int run(tensorpatch_slots* slots, tensorpatch_flash_log* checkpoints) {
  uint8_t slot;
  if (slots->phase == TENSORPATCH_SLOTS_TRIAL) {
    if (is_argument("bad")) board_restart(); /* it hangs, and a watchdog comes */
    /* Here the new model would be run on an input with a known result. */
    if (tensorpatch_slots_confirm(slots) != TENSORPATCH_SLOTS_OK) return fail("not confirmed");
  }
  if (slots->outcome != TENSORPATCH_SLOTS_NONE) {
    board_print(slots->outcome == TENSORPATCH_SLOTS_CONFIRMED ? "trial: confirmed\n"
                                                              : "trial: rolled back\n");
    print_line("slot in use: ", slots->current);
    print_line("starts: ", kept.starts);
    kept.has_started = 0;
    return 0;
  }
  if (tensorpatch_slots_free(slots, &slot) != TENSORPATCH_SLOTS_OK) return fail("no free slot");
  if (!update(slots->current, checkpoints)) return 1;
  if (tensorpatch_slots_stage(slots, TRIALS) != TENSORPATCH_SLOTS_OK) return fail("not staged");
  board_restart();
}

int main(void) {
  tensorpatch_flash_log checkpoints = {.flash = &board_flash, .area = {CHECKPOINTS_AT, LOG_SIZE}};
  tensorpatch_flash_log state = {.flash = &board_flash, .area = {STATE_AT, LOG_SIZE}};
  const tensorpatch_slots_store store = {&state, tensorpatch_flash_log_load,
                                         tensorpatch_flash_log_save};
  tensorpatch_slots slots;
  if (crypto_start() != 0) return fail("the cryptography does not start");
  if (kept.has_started != HAS_STARTED) {
    if (provision() != 0) return fail("the model does not fit into its slot");
    kept.has_started = HAS_STARTED;
    kept.starts = 0;
  }
  ++kept.starts;
  if (is_argument("cuts")) board_flash_cut(3 + kept.starts * kept.starts / 2);
  if (tensorpatch_flash_log_open(&checkpoints) != 0 || tensorpatch_flash_log_open(&state) != 0 ||
      tensorpatch_slots_open(&slots, &store) != TENSORPATCH_SLOTS_OK ||
      tensorpatch_slots_start(&slots) != TENSORPATCH_SLOTS_OK) {
    return fail("the flash cannot be read");
  }
  return run(&slots, &checkpoints);
}
