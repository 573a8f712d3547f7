/* tensorpatch/ports/psa.h: SHA-256 and ECDSA P-256 for tensorpatch_ports, by the PSA Crypto API.
 *
 * For Mbed TLS 2.28 and later, TF-M and chips whose vendor has PSA drivers; PSA has no Ed25519.
 * Call psa_crypto_init once, before the first update. This port allocates nothing; what PSA does
 * inside is its own. Only public data is handled.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_PORTS_PSA_H
#define TENSORPATCH_PORTS_PSA_H

#include "tensorpatch/apply.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's memory for one SHA-256; private. All zero before the first use. */
typedef struct tensorpatch_psa_hash {
  uint64_t private_state[40];
} tensorpatch_psa_hash;

/* A hash port that works in `state`, which must outlive the applier. */
tensorpatch_hash_port tensorpatch_psa_hash_port(tensorpatch_psa_hash* state);

/* tensorpatch_ports.verify for ECDSA P-256 keys; other algorithms fail. Ignores `context`. */
int tensorpatch_psa_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                           size_t message_size, const uint8_t* signature, size_t signature_size);

#ifdef __cplusplus
}
#endif

#endif /* TENSORPATCH_PORTS_PSA_H */
