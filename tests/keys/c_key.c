/* tests/keys/c_key.c: the C form of a public key, compiled as C99 as firmware would.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensorpatch/apply.h"

extern const tensorpatch_key tensorpatch_test_c_keys[1];

const tensorpatch_key tensorpatch_test_c_keys[1] = {
#include "rfc8032_key.inc"
};
