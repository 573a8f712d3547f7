/* crypto_libsodium.c: crypto.h by libsodium.
 * SPDX-License-Identifier: Apache-2.0 */
#include "crypto.h"
#include "tensorpatch/ports/libsodium.h"

static tensorpatch_libsodium_hash state;

int crypto_start(void) {
  return 0;
}

tensorpatch_hash_port crypto_hash_port(void) {
  return tensorpatch_libsodium_hash_port(&state);
}

int crypto_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                  size_t message_size, const uint8_t* signature, size_t signature_size) {
  return tensorpatch_libsodium_verify(context, key, message, message_size, signature,
                                      signature_size);
}
