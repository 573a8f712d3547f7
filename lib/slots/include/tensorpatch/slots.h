/* tensorpatch/slots.h: two slots for models, one in use, one for the next: trial, confirm, roll
 * back.
 *
 *              free + apply, stage           start               confirm
 *     STABLE ---------------------> READY -----------> TRIAL ------------> STABLE, slots swapped
 *       ^                             |    start again:  |
 *       +---------- free, reject -----+    one trial less|
 *       +------------- no trial left at start, reject ---+
 *
 * A slot is whatever the caller makes of the numbers 0 and 1: two areas of flash, two folders. The
 * slot in use is never written. The state is one small record that the caller's store replaces as
 * a whole (tensorpatch_flash_log of lib/ports, or a file that is written and renamed), so that a
 * power cut in any call leaves the state before or the one after; both name a slot with a whole
 * model. New is used without being confirmed as often as was said with stage, then the old slot
 * again: a model that makes the device hang or restart rolls back by itself.
 *
 * C99, no heap, depends on nothing; the same rules as lib/apply.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_SLOTS_H
#define TENSORPATCH_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TENSORPATCH_SLOTS_RECORD_SIZE = 16, TENSORPATCH_SLOTS_MAX_TRIALS = 255 };

/* Values are pinned: they are stored. */
typedef enum tensorpatch_slots_phase {
  TENSORPATCH_SLOTS_STABLE = 0, /* the active slot is used, the other one is free */
  TENSORPATCH_SLOTS_READY = 1,  /* the other one holds a new model, tried from the next start on */
  TENSORPATCH_SLOTS_TRIAL = 2   /* the other one is tried */
} tensorpatch_slots_phase;

/* How the last trial ended. */
typedef enum tensorpatch_slots_outcome {
  TENSORPATCH_SLOTS_NONE = 0,
  TENSORPATCH_SLOTS_CONFIRMED = 1,
  TENSORPATCH_SLOTS_REJECTED = 2, /* by tensorpatch_slots_reject */
  TENSORPATCH_SLOTS_EXPIRED = 3   /* no trial was left */
} tensorpatch_slots_outcome;

typedef enum tensorpatch_slots_result {
  TENSORPATCH_SLOTS_OK = 0,
  TENSORPATCH_SLOTS_E_ARGUMENT = 1,
  TENSORPATCH_SLOTS_E_PHASE = 2, /* not in this phase; nothing has changed */
  TENSORPATCH_SLOTS_E_STORE = 3, /* the store failed; the state is the one before or the new one */
  TENSORPATCH_SLOTS_E_RECORD = 4 /* what is stored is not a state of this version */
} tensorpatch_slots_result;

/* Where the state is kept. tensorpatch_flash_log_load and _save fit, and those of a POSIX file. */
typedef struct tensorpatch_slots_store {
  void* context;
  /* 0, 1 when nothing was ever stored, anything else when it cannot be told. */
  int (*load)(void* context, uint8_t* record, size_t size);
  /* Replaces the record as a whole, in storage before it returns 0. */
  int (*save)(void* context, const uint8_t* record, size_t size);
} tensorpatch_slots_store;

/* To read; only the functions below change it. */
typedef struct tensorpatch_slots {
  tensorpatch_slots_store store;
  uint8_t phase;       /* enum tensorpatch_slots_phase */
  uint8_t active;      /* the slot whose model is confirmed */
  uint8_t trials_left; /* starts of the new model that are still allowed */
  uint8_t outcome;     /* enum tensorpatch_slots_outcome */
  uint8_t current;     /* the slot in use since tensorpatch_slots_start */
} tensorpatch_slots;

/* Loads the state; with nothing stored, slot 0 is active and STABLE. */
tensorpatch_slots_result tensorpatch_slots_open(tensorpatch_slots* slots,
                                                const tensorpatch_slots_store* store);

/* Once at every start of the device, after open: which slot's model to use, in `current`. Counts
 * trials. With E_STORE the active slot is the one to use: a trial that cannot be counted is none.
 */
tensorpatch_slots_result tensorpatch_slots_start(tensorpatch_slots* slots);

/* The slot that an update may erase and write. A new model that was READY is given up. E_PHASE
 * while one is tried: confirm or reject first. */
tensorpatch_slots_result tensorpatch_slots_free(tensorpatch_slots* slots, uint8_t* slot);

/* The free slot holds a whole model, read back and right (TENSORPATCH_DONE): use it from the next
 * start on, at most `trials` (1 to 255) times without being confirmed. */
tensorpatch_slots_result tensorpatch_slots_stage(tensorpatch_slots* slots, uint32_t trials);

/* The new model works: from now on it is the active one. */
tensorpatch_slots_result tensorpatch_slots_confirm(tensorpatch_slots* slots);

/* The new model, READY or TRIAL, is given up; the active one is used again, at once. */
tensorpatch_slots_result tensorpatch_slots_reject(tensorpatch_slots* slots);

#ifdef __cplusplus
}
#endif

#endif /* TENSORPATCH_SLOTS_H */
