/* slots.c: see tensorpatch/slots.h.
 *
 * Record: magic (4), version 1, phase, active, trials left, outcome, seven zero bytes. That it is
 * whole is the store's promise.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensorpatch/slots.h"

#include <string.h>

enum { VERSION = 1, MAGIC_SIZE = 4, USED_SIZE = 9 };

static const uint8_t magic[MAGIC_SIZE] = {'T', 'P', 'S', 'L'};

static uint8_t other_slot(const tensorpatch_slots* slots) {
  return (uint8_t)(1 - slots->active);
}

/* The state becomes `next` when it is stored. */
static tensorpatch_slots_result change_to(tensorpatch_slots* slots, tensorpatch_slots next) {
  uint8_t record[TENSORPATCH_SLOTS_RECORD_SIZE] = {0};
  memcpy(record, magic, MAGIC_SIZE);
  record[4] = VERSION;
  record[5] = next.phase;
  record[6] = next.active;
  record[7] = next.trials_left;
  record[8] = next.outcome;
  if (slots->store.save(slots->store.context, record, sizeof record) != 0) {
    return TENSORPATCH_SLOTS_E_STORE;
  }
  *slots = next;
  return TENSORPATCH_SLOTS_OK;
}

static tensorpatch_slots_result give_up(tensorpatch_slots* slots,
                                        tensorpatch_slots_outcome outcome) {
  tensorpatch_slots next = *slots;
  next.phase = TENSORPATCH_SLOTS_STABLE;
  next.trials_left = 0;
  next.outcome = (uint8_t)outcome;
  next.current = next.active;
  return change_to(slots, next);
}

static int is_valid_record(const uint8_t* record) {
  size_t i;
  for (i = USED_SIZE; i < TENSORPATCH_SLOTS_RECORD_SIZE; ++i) {
    if (record[i] != 0) return 0;
  }
  return memcmp(record, magic, MAGIC_SIZE) == 0 && record[4] == VERSION &&
         record[5] <= TENSORPATCH_SLOTS_TRIAL && record[6] <= 1 &&
         (record[5] != TENSORPATCH_SLOTS_READY || record[7] != 0) &&
         (record[5] != TENSORPATCH_SLOTS_STABLE || record[7] == 0) &&
         record[8] <= TENSORPATCH_SLOTS_EXPIRED;
}

tensorpatch_slots_result tensorpatch_slots_open(tensorpatch_slots* slots,
                                                const tensorpatch_slots_store* store) {
  uint8_t record[TENSORPATCH_SLOTS_RECORD_SIZE] = {0};
  int result;
  if (slots == NULL || store == NULL || store->load == NULL || store->save == NULL) {
    return TENSORPATCH_SLOTS_E_ARGUMENT;
  }
  memset(slots, 0, sizeof *slots);
  slots->store = *store;
  result = store->load(store->context, record, sizeof record);
  if (result == 1) return TENSORPATCH_SLOTS_OK;
  if (result != 0) return TENSORPATCH_SLOTS_E_STORE;
  if (!is_valid_record(record)) return TENSORPATCH_SLOTS_E_RECORD;
  slots->phase = record[5];
  slots->active = record[6];
  slots->trials_left = record[7];
  slots->outcome = record[8];
  slots->current = slots->active;
  return TENSORPATCH_SLOTS_OK;
}

tensorpatch_slots_result tensorpatch_slots_start(tensorpatch_slots* slots) {
  tensorpatch_slots next = *slots;
  if (slots->phase == TENSORPATCH_SLOTS_STABLE) return TENSORPATCH_SLOTS_OK;
  if (slots->trials_left == 0) return give_up(slots, TENSORPATCH_SLOTS_EXPIRED);
  next.phase = TENSORPATCH_SLOTS_TRIAL;
  --next.trials_left;
  next.current = other_slot(slots);
  return change_to(slots, next);
}

tensorpatch_slots_result tensorpatch_slots_free(tensorpatch_slots* slots, uint8_t* slot) {
  if (slot == NULL) return TENSORPATCH_SLOTS_E_ARGUMENT;
  if (slots->phase == TENSORPATCH_SLOTS_TRIAL) return TENSORPATCH_SLOTS_E_PHASE;
  *slot = other_slot(slots);
  if (slots->phase == TENSORPATCH_SLOTS_STABLE) return TENSORPATCH_SLOTS_OK;
  return give_up(slots, (tensorpatch_slots_outcome)slots->outcome);
}

tensorpatch_slots_result tensorpatch_slots_stage(tensorpatch_slots* slots, uint32_t trials) {
  tensorpatch_slots next = *slots;
  if (trials == 0 || trials > TENSORPATCH_SLOTS_MAX_TRIALS) return TENSORPATCH_SLOTS_E_ARGUMENT;
  if (slots->phase != TENSORPATCH_SLOTS_STABLE) return TENSORPATCH_SLOTS_E_PHASE;
  next.phase = TENSORPATCH_SLOTS_READY;
  next.trials_left = (uint8_t)trials;
  return change_to(slots, next);
}

tensorpatch_slots_result tensorpatch_slots_confirm(tensorpatch_slots* slots) {
  tensorpatch_slots next = *slots;
  if (slots->phase != TENSORPATCH_SLOTS_TRIAL || slots->current == slots->active) {
    return TENSORPATCH_SLOTS_E_PHASE;
  }
  next.phase = TENSORPATCH_SLOTS_STABLE;
  next.active = next.current;
  next.trials_left = 0;
  next.outcome = TENSORPATCH_SLOTS_CONFIRMED;
  return change_to(slots, next);
}

tensorpatch_slots_result tensorpatch_slots_reject(tensorpatch_slots* slots) {
  if (slots->phase == TENSORPATCH_SLOTS_STABLE) return TENSORPATCH_SLOTS_E_PHASE;
  return give_up(slots, TENSORPATCH_SLOTS_REJECTED);
}
