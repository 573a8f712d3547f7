/* tests/install/apply/main.c: calls the installed device library from C.
 *
 * Exit code 0 when bytes that are no bundle are refused as such.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <tensorpatch/apply.h>

int main(void) {
  static const uint8_t junk[TENSORPATCH_PEEK_SIZE] = {'n', 'o', ' ', 'b', 'u', 'n', 'd', 'l', 'e'};
  static tensorpatch_applier applier;
  tensorpatch_summary summary;
  memset(&summary, 0, sizeof summary);
  const tensorpatch_status peeked = tensorpatch_peek(junk, sizeof junk, &summary);
  const tensorpatch_status begun = tensorpatch_apply_init(&applier, NULL, 0, NULL, NULL);
  printf("peek: %s, init: %s\n", tensorpatch_status_text(peeked), tensorpatch_status_text(begun));
  return peeked == TENSORPATCH_E_FORMAT && begun == TENSORPATCH_E_ARGUMENT ? 0 : 1;
}
