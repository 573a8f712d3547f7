/* tensorpatch/ports/libsodium.h: SHA-256 and Ed25519 for tensorpatch_ports, by libsodium.
 *
 * No memory is allocated. Only public data is handled: nothing to wipe.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_PORTS_LIBSODIUM_H
#define TENSORPATCH_PORTS_LIBSODIUM_H

#include "tensorpatch/apply.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's memory for one SHA-256; private. */
typedef struct tensorpatch_libsodium_hash {
  uint64_t private_state[16];
} tensorpatch_libsodium_hash;

/* A hash port that works in `state`, which must outlive the applier. */
tensorpatch_hash_port tensorpatch_libsodium_hash_port(tensorpatch_libsodium_hash* state);

/* tensorpatch_ports.verify for Ed25519 (RFC 8032) keys; other algorithms fail. Ignores `context`.
 */
int tensorpatch_libsodium_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                                 size_t message_size, const uint8_t* signature,
                                 size_t signature_size);

#ifdef __cplusplus
}
#endif

#endif /* TENSORPATCH_PORTS_LIBSODIUM_H */
