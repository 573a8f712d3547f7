/* crypto.h: the cryptography of the example: crypto_libsodium.c (Ed25519) or crypto_psa.c (ECDSA
 * P-256).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSORPATCH_EXAMPLES_CRYPTO_H
#define TENSORPATCH_EXAMPLES_CRYPTO_H

#include "tensorpatch/apply.h"

/* Once; 0, or -1 when it does not start. */
int crypto_start(void);
tensorpatch_hash_port crypto_hash_port(void);
int crypto_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                  size_t message_size, const uint8_t* signature, size_t signature_size);

#endif /* TENSORPATCH_EXAMPLES_CRYPTO_H */
