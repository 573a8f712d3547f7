/* tensorpatch/ports/libcrypto.h: SHA-256 for tensorpatch_ports, by OpenSSL's libcrypto.
 *
 * For hosts: it uses the processor's SHA instructions. libcrypto allocates its context.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_PORTS_LIBCRYPTO_H
#define TENSORPATCH_PORTS_LIBCRYPTO_H

#include "tensorpatch/apply.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills in a hash port with a context of its own; 0, or -1 when there is no memory. */
int tensorpatch_libcrypto_hash_open(tensorpatch_hash_port* port);

/* Frees the context; after the last call of the applier. */
void tensorpatch_libcrypto_hash_close(tensorpatch_hash_port* port);

#ifdef __cplusplus
}
#endif

#endif /* TENSORPATCH_PORTS_LIBCRYPTO_H */
