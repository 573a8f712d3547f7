/* tests/install/apply/main.c: calls the installed device libraries from C.
 *
 * usage: consumer FOLDER. Exit code 0 when bytes that are no bundle are refused as such, and the
 * state of two slots is in a file of that folder after it was stored there.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <tensorpatch/apply.h>
#include <tensorpatch/ports/flash.h>
#include <tensorpatch/ports/posix.h>
#include <tensorpatch/slots.h>

static int refuses_junk(void) {
  static const uint8_t junk[TENSORPATCH_PEEK_SIZE] = {'n', 'o', ' ', 'b', 'u', 'n', 'd', 'l', 'e'};
  static tensorpatch_applier applier;
  tensorpatch_summary summary;
  memset(&summary, 0, sizeof summary);
  const tensorpatch_status peeked = tensorpatch_peek(junk, sizeof junk, &summary);
  const tensorpatch_status begun = tensorpatch_apply_init(&applier, NULL, 0, NULL, NULL);
  printf("peek: %s, init: %s\n", tensorpatch_status_text(peeked), tensorpatch_status_text(begun));
  return peeked == TENSORPATCH_E_FORMAT && begun == TENSORPATCH_E_ARGUMENT;
}

static int keeps_state(const char* folder) {
  char path[512];
  const tensorpatch_slots_store store = {path, tensorpatch_posix_record_load,
                                         tensorpatch_posix_record_save};
  tensorpatch_slots slots;
  snprintf(path, sizeof path, "%s/slots", folder);
  return tensorpatch_slots_open(&slots, &store) == TENSORPATCH_SLOTS_OK &&
         tensorpatch_slots_stage(&slots, 3) == TENSORPATCH_SLOTS_OK &&
         tensorpatch_slots_open(&slots, &store) == TENSORPATCH_SLOTS_OK &&
         slots.phase == TENSORPATCH_SLOTS_READY;
}

static int refuses_no_flash(void) {
  tensorpatch_flash_log log;
  memset(&log, 0, sizeof log);
  return tensorpatch_flash_log_open(&log) != 0;
}

int main(int count, char** arguments) {
  return count == 2 && refuses_junk() && keeps_state(arguments[1]) && refuses_no_flash() ? 0 : 1;
}
