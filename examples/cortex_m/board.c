/* board.c: see board.h. Semihosting: Arm's "Semihosting for AArch32 and AArch64"; memory map and
 * timer: Arm's application notes AN386 and AN505. BOARD_TIMER is its address, 0: there is none.
 * SPDX-License-Identifier: Apache-2.0 */
#include "board.h"

#include <string.h>

/* From sections.ld. */
extern uint32_t board_stack_bottom[], board_stack_top[];
extern uint32_t board_data_load[], board_data_begin[], board_data_end[];
extern uint32_t board_bss_begin[], board_bss_end[];

int main(void);
void board_reset(void);

enum semihosting_operation {
  SYS_OPEN = 0x01,
  SYS_CLOSE = 0x02,
  SYS_WRITE0 = 0x04,
  SYS_READ = 0x06,
  SYS_FLEN = 0x0C,
  SYS_GET_CMDLINE = 0x15,
  SYS_EXIT_EXTENDED = 0x20
};
enum { OPEN_READ_BINARY = 1, APPLICATION_EXIT = 0x20026 };

/* Timer 0 of the CMSDK: 25 MHz, counts down. */
typedef struct timer_registers {
  uint32_t control, value, reload;
} timer_registers;
static volatile timer_registers* const timer = (volatile timer_registers*)BOARD_TIMER;

/* Application interrupt and reset control, of every Cortex-M. */
static volatile uint32_t* const reset_control = (volatile uint32_t*)0xE000ED0Cu;
enum { RESET_REQUEST = 0x05FA0004 };

static const uint32_t paint = 0xC5C5C5C5u;

static intptr_t semihosting(enum semihosting_operation operation, const void* argument) {
  register intptr_t r0 __asm__("r0") = operation;
  register const void* r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void board_print(const char* text) {
  semihosting(SYS_WRITE0, text);
}

void board_print_number(uint32_t number) {
  char digits[11];
  char* first = digits + sizeof digits - 1;
  *first = '\0';
  do {
    *--first = (char)('0' + number % 10);
    number /= 10;
  } while (number != 0);
  board_print(first);
}

void board_exit(int code) {
  const intptr_t arguments[2] = {APPLICATION_EXIT, code};
  for (;;) semihosting(SYS_EXIT_EXTENDED, arguments);
}

void board_restart(void) {
  *reset_control = RESET_REQUEST;
  for (;;) {
  }
}

const char* board_arguments(void) {
  static char line[512];
  const char* space;
  struct {
    char* text;
    size_t size;
  } buffer = {line, sizeof line};
  if (semihosting(SYS_GET_CMDLINE, &buffer) != 0) return "";
  space = strchr(line, ' ');
  return space == NULL ? "" : space + 1;
}

int32_t board_read_file(const char* path, void* data, size_t capacity) {
  const struct {
    const char* path;
    uintptr_t mode;
    size_t path_size;
  } open = {path, OPEN_READ_BINARY, strlen(path)};
  const intptr_t file = semihosting(SYS_OPEN, &open);
  intptr_t size;
  intptr_t missing = -1;
  if (file == -1) return -1;
  size = semihosting(SYS_FLEN, &file);
  if (size >= 0 && (size_t)size <= capacity) {
    const struct {
      intptr_t file;
      void* data;
      size_t size;
    } read = {file, data, (size_t)size};
    missing = size == 0 ? 0 : semihosting(SYS_READ, &read);
  }
  semihosting(SYS_CLOSE, &file);
  return missing == 0 ? (int32_t)size : -1;
}

uint32_t board_ticks(void) {
  return BOARD_TIMER == 0 ? 0 : UINT32_MAX - timer->value;
}

static uint32_t* stack_pointer(void) {
  uint32_t* pointer;
  __asm__ volatile("mov %0, sp" : "=r"(pointer));
  return pointer;
}

void board_paint_stack(void) {
  volatile uint32_t* at = stack_pointer(); /* volatile: a call of memset would have a frame */
  while (at != board_stack_bottom) *--at = paint;
}

size_t board_stack_depth(void) {
  const uint32_t* at = board_stack_bottom;
  while (at != board_stack_top && *at == paint) ++at;
  return (size_t)(board_stack_top - at) * sizeof *at;
}

size_t board_stack_here(void) {
  return (size_t)(board_stack_top - stack_pointer()) * sizeof(uint32_t);
}

/* memcpy and memset cannot rely on data and bss either, but they keep nothing there. */
void board_reset(void) {
  memcpy(board_data_begin, board_data_load,
         (size_t)(board_data_end - board_data_begin) * sizeof *board_data_begin);
  memset(board_bss_begin, 0, (size_t)(board_bss_end - board_bss_begin) * sizeof *board_bss_begin);
  if (BOARD_TIMER != 0) {
    timer->reload = UINT32_MAX;
    timer->value = UINT32_MAX;
    timer->control = 1;
  }
  board_exit(main());
}

static void fault(void) {
  board_print("fault\n");
  board_exit(3);
}

typedef struct vector_table {
  uint32_t* stack;
  void (*handlers[15])(void);
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    board_stack_top,
    {board_reset, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault,
     fault, fault, fault}};
