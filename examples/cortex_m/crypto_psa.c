/* crypto_psa.c: crypto.h by PSA (Mbed TLS).
 * SPDX-License-Identifier: Apache-2.0 */
#include "crypto.h"
#include "start.h"
#include "tensorpatch/ports/psa.h"

static tensorpatch_psa_hash state;

int crypto_start(void) {
  return portable_mbedtls_start();
}

tensorpatch_hash_port crypto_hash_port(void) {
  return tensorpatch_psa_hash_port(&state);
}

int crypto_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                  size_t message_size, const uint8_t* signature, size_t signature_size) {
  return tensorpatch_psa_verify(context, key, message, message_size, signature, signature_size);
}
