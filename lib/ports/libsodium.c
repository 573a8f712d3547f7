/* libsodium.c: see tensorpatch/ports/libsodium.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensorpatch/ports/libsodium.h"

#include <sodium.h>

/* The public header does not show libsodium's type; this fails to compile when it would not fit. */
typedef char
    state_fits[sizeof(crypto_hash_sha256_state) <= sizeof(tensorpatch_libsodium_hash) ? 1 : -1];

static int hash_init(void* state) {
  return crypto_hash_sha256_init((crypto_hash_sha256_state*)state);
}

static int hash_update(void* state, const uint8_t* data, size_t size) {
  return crypto_hash_sha256_update((crypto_hash_sha256_state*)state, data, size);
}

static int hash_finish(void* state, uint8_t digest[TENSORPATCH_DIGEST_SIZE]) {
  return crypto_hash_sha256_final((crypto_hash_sha256_state*)state, digest);
}

tensorpatch_hash_port tensorpatch_libsodium_hash_port(tensorpatch_libsodium_hash* state) {
  tensorpatch_hash_port port;
  port.state = state;
  port.init = hash_init;
  port.update = hash_update;
  port.finish = hash_finish;
  return port;
}

int tensorpatch_libsodium_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                                 size_t message_size, const uint8_t* signature,
                                 size_t signature_size) {
  (void)context;
  if (key->algorithm != TENSORPATCH_ED25519 ||
      key->public_key_size != crypto_sign_ed25519_PUBLICKEYBYTES ||
      signature_size != crypto_sign_ed25519_BYTES) {
    return -1;
  }
  return crypto_sign_ed25519_verify_detached(signature, message, message_size, key->public_key);
}
