/* flash_nrf51.c: flash.h in the upper half of the flash of an nRF51822, by its controller (NVMC;
 * Nordic's nRF51 Series Reference Manual, chapter 6). The processor stands still while it works.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "flash_cut.h"

enum { BEGIN = 0x20000, READ_ONLY = 0, WRITE_ENABLE = 1, ERASE_ENABLE = 2 };

typedef struct nvmc_registers {
  uint32_t reserved_0[256];
  uint32_t ready; /* at 0x400 */
  uint32_t reserved_1[64];
  uint32_t config;     /* at 0x504 */
  uint32_t erase_page; /* at 0x508: the address of a page */
} nvmc_registers;
static volatile nvmc_registers* const nvmc = (volatile nvmc_registers*)0x4001E000u;

static void wait(void) {
  while (nvmc->ready == 0) {
  }
}

static int read(void* context, uint64_t offset, uint8_t* data, size_t size) {
  (void)context;
  memcpy(data, (const void*)(BEGIN + (uintptr_t)offset), size);
  return 0;
}

static int program(void* context, uint64_t offset, const uint8_t* data, size_t size) {
  volatile uint32_t* at = (volatile uint32_t*)(BEGIN + (uintptr_t)offset);
  const int cut = is_cut();
  size_t i;
  (void)context;
  nvmc->config = WRITE_ENABLE;
  for (i = 0; i < (cut ? size / 2 : size); i += sizeof(uint32_t)) {
    uint32_t word;
    memcpy(&word, data + i, sizeof word);
    *at++ = word;
    wait();
  }
  nvmc->config = READ_ONLY;
  if (cut) board_restart();
  return 0;
}

static int erase(void* context, uint64_t offset, uint64_t size) {
  const int cut = is_cut();
  uint32_t done;
  (void)context;
  nvmc->config = ERASE_ENABLE;
  for (done = 0; done < (cut ? size / 2 : size); done += FLASH_PAGE_SIZE) {
    nvmc->erase_page = BEGIN + (uint32_t)offset + done;
    wait();
  }
  nvmc->config = READ_ONLY;
  if (cut) board_restart();
  return 0;
}

const tensorpatch_flash board_flash = {.read = read,
                                       .program = program,
                                       .erase = erase,
                                       .page_size = FLASH_PAGE_SIZE,
                                       .write_size = FLASH_WRITE_SIZE,
                                       .erased_value = 0xFF};
