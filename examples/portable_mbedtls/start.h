/* start.h: makes the PSA port ready.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_EXAMPLES_START_H
#define TENSORPATCH_EXAMPLES_START_H

/* Once, before the first update. 0, or -1 when PSA does not start. */
int portable_mbedtls_start(void);

#endif /* TENSORPATCH_EXAMPLES_START_H */
