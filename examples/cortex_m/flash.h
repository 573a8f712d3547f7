/* flash.h: the board's flash, as lib/ports/flash wants it. It keeps what it holds over resets.
 *
 * Places: two slots, pages for checkpoints, pages for the state of the slots; see FLASH_* in
 * CMakeLists.txt.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_EXAMPLES_FLASH_H
#define TENSORPATCH_EXAMPLES_FLASH_H

#include "tensorpatch/ports/flash.h"

enum {
  SLOT_0_AT = 0,
  SLOT_1_AT = SLOT_0_AT + FLASH_SLOT_SIZE,
  CHECKPOINTS_AT = SLOT_1_AT + FLASH_SLOT_SIZE,
  LOG_SIZE = 2 * FLASH_PAGE_SIZE,
  STATE_AT = CHECKPOINTS_AT + LOG_SIZE,
  FLASH_SIZE = STATE_AT + LOG_SIZE
};

extern const tensorpatch_flash board_flash;

/* To show what a power cut does: from now on, the board resets in the middle of the flash operation
 * of that number; 0: never. */
void board_flash_cut(uint32_t operation);

#endif /* TENSORPATCH_EXAMPLES_FLASH_H */
