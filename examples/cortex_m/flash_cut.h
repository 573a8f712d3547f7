/* flash_cut.h: power cuts on demand, for the two drivers of the board's flash.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_EXAMPLES_FLASH_CUT_H
#define TENSORPATCH_EXAMPLES_FLASH_CUT_H

#include "board.h"
#include "flash.h"

static uint32_t operations_left;

void board_flash_cut(uint32_t operation) {
  operations_left = operation;
}

/* Whether this operation is the one that is cut. */
static int is_cut(void) {
  return operations_left != 0 && --operations_left == 0;
}

#endif /* TENSORPATCH_EXAMPLES_FLASH_CUT_H */
