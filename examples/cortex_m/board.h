/* board.h: the least of a board that the examples and the device tests need: start, print, count.
 *
 * Made for QEMU's mps2 boards (Cortex-M3, M4, M7, M33) and microbit (M0); printing, files and exit
 * go through semihosting, so a debugger or QEMU must be attached. No heap. A fault prints "fault"
 * and exits with 3.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_EXAMPLES_BOARD_H
#define TENSORPATCH_EXAMPLES_BOARD_H

#include <stddef.h>
#include <stdint.h>

void board_print(const char* text);
void board_print_number(uint32_t number);
void board_exit(int code) __attribute__((noreturn));
/* A reset, as after a power cut: variables are lost, but not those in the section .noinit. */
void board_restart(void) __attribute__((noreturn));

/* What follows the program's name on its command line; empty when nothing does. Valid until the
 * next call. */
const char* board_arguments(void);

/* Reads a file of the computer that runs QEMU. Its size, or -1 when it cannot be read or has more
 * than `capacity` bytes. */
int32_t board_read_file(const char* path, void* data, size_t capacity);

/* Time since start in ticks of 40 ns (50 ns on mps2-an505), modulo 2^32; always 0 on microbit.
 * Under `qemu -icount shift=0` an instruction takes 1 ns: 40 instructions a tick. */
#ifndef BOARD_TICK_NS
#define BOARD_TICK_NS 40
#endif
enum { BOARD_INSTRUCTIONS_PER_TICK = BOARD_TICK_NS };
uint32_t board_ticks(void);

/* The stack is measured with paint: paint what lies below the caller, run something, ask for the
 * depth in bytes from the top of the stack to the deepest byte that has no paint any more. */
void board_paint_stack(void);
size_t board_stack_depth(void);
size_t board_stack_here(void); /* the depth of the caller's own stack pointer */

#endif /* TENSORPATCH_EXAMPLES_BOARD_H */
