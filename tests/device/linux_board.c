/* linux_board.c: examples/cortex_m/board.h for a Linux process, so that run_vectors.c runs as one.
 *
 * Time and the stack are not measured: all numbers are 0.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"

void board_print(const char* text) {
  fputs(text, stdout);
}

void board_print_number(uint32_t number) {
  printf("%lu", (unsigned long)number);
}

void board_exit(int code) {
  exit(code);
}

int32_t board_read_file(const char* path, void* data, size_t capacity) {
  FILE* file = fopen(path, "rb");
  size_t size;
  bool complete;
  if (file == NULL) return -1;
  size = fread(data, 1, capacity, file);
  complete = ferror(file) == 0 && fgetc(file) == EOF;
  fclose(file);
  return complete ? (int32_t)size : -1;
}

/* One argument: what follows the first zero. */
const char* board_arguments(void) {
  static char line[4096];
  const int32_t size = board_read_file("/proc/self/cmdline", line, sizeof line - 1);
  return size > 0 ? line + strlen(line) + 1 : "";
}

uint32_t board_ticks(void) {
  return 0;
}

void board_paint_stack(void) {}

size_t board_stack_depth(void) {
  return 0;
}

size_t board_stack_here(void) {
  return 0;
}
