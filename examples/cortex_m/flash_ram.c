/* flash_ram.c: flash.h in a part of RAM that outlives resets, for boards without flash in QEMU.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "flash_cut.h"

static uint8_t memory[FLASH_SIZE] __attribute__((section(".noinit")));

static int read(void* context, uint64_t offset, uint8_t* data, size_t size) {
  (void)context;
  memcpy(data, memory + offset, size);
  return 0;
}

static int program(void* context, uint64_t offset, const uint8_t* data, size_t size) {
  const int cut = is_cut();
  (void)context;
  memcpy(memory + offset, data, cut ? size / 2 : size);
  if (cut) board_restart();
  return 0;
}

static int erase(void* context, uint64_t offset, uint64_t size) {
  const int cut = is_cut();
  (void)context;
  memset(memory + offset, 0xFF, (size_t)(cut ? size / 2 : size));
  if (cut) board_restart();
  return 0;
}

const tensorpatch_flash board_flash = {.read = read,
                                       .program = program,
                                       .erase = erase,
                                       .page_size = FLASH_PAGE_SIZE,
                                       .write_size = FLASH_WRITE_SIZE,
                                       .erased_value = 0xFF};
