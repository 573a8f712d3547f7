/* libcrypto.c: see tensorpatch/ports/libcrypto.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensorpatch/ports/libcrypto.h"

#include <openssl/evp.h>

static int hash_init(void* state) {
  return EVP_DigestInit_ex((EVP_MD_CTX*)state, EVP_sha256(), NULL) == 1 ? 0 : -1;
}

static int hash_update(void* state, const uint8_t* data, size_t size) {
  return EVP_DigestUpdate((EVP_MD_CTX*)state, data, size) == 1 ? 0 : -1;
}

static int hash_finish(void* state, uint8_t digest[TENSORPATCH_DIGEST_SIZE]) {
  return EVP_DigestFinal_ex((EVP_MD_CTX*)state, digest, NULL) == 1 ? 0 : -1;
}

int tensorpatch_libcrypto_hash_open(tensorpatch_hash_port* port) {
  port->state = EVP_MD_CTX_new();
  port->init = hash_init;
  port->update = hash_update;
  port->finish = hash_finish;
  return port->state != NULL ? 0 : -1;
}

void tensorpatch_libcrypto_hash_close(tensorpatch_hash_port* port) {
  EVP_MD_CTX_free((EVP_MD_CTX*)port->state);
  port->state = NULL;
}
