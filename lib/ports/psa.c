/* psa.c: see tensorpatch/ports/psa.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensorpatch/ports/psa.h"

#include <psa/crypto.h>

enum { P256_BITS = 256, P256_KEY_SIZE = 65, P256_SIGNATURE_SIZE = 64 };

/* Fails to compile when the operation does not fit. */
typedef char operation_fits[sizeof(psa_hash_operation_t) <= sizeof(tensorpatch_psa_hash) ? 1 : -1];

static int hash_init(void* state) {
  psa_hash_operation_t* operation = (psa_hash_operation_t*)state;
  return psa_hash_abort(operation) == PSA_SUCCESS &&
                 psa_hash_setup(operation, PSA_ALG_SHA_256) == PSA_SUCCESS
             ? 0
             : -1;
}

static int hash_update(void* state, const uint8_t* data, size_t size) {
  return psa_hash_update((psa_hash_operation_t*)state, data, size) == PSA_SUCCESS ? 0 : -1;
}

static int hash_finish(void* state, uint8_t digest[TENSORPATCH_DIGEST_SIZE]) {
  size_t size = 0;
  const psa_status_t status =
      psa_hash_finish((psa_hash_operation_t*)state, digest, TENSORPATCH_DIGEST_SIZE, &size);
  return status == PSA_SUCCESS && size == TENSORPATCH_DIGEST_SIZE ? 0 : -1;
}

tensorpatch_hash_port tensorpatch_psa_hash_port(tensorpatch_psa_hash* state) {
  const tensorpatch_hash_port port = {state, hash_init, hash_update, hash_finish};
  return port;
}

int tensorpatch_psa_verify(void* context, const tensorpatch_key* key, const uint8_t* message,
                           size_t message_size, const uint8_t* signature, size_t signature_size) {
  psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
  psa_key_id_t imported;
  psa_status_t status;
  (void)context;
  if (key->algorithm != TENSORPATCH_ECDSA_P256_SHA256 || key->public_key_size != P256_KEY_SIZE ||
      signature_size != P256_SIGNATURE_SIZE) {
    return -1;
  }
  psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
  psa_set_key_bits(&attributes, P256_BITS);
  psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
  psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_VERIFY_MESSAGE);
  status = psa_import_key(&attributes, key->public_key, key->public_key_size, &imported);
  if (status != PSA_SUCCESS) return -1;
  status = psa_verify_message(imported, PSA_ALG_ECDSA(PSA_ALG_SHA_256), message, message_size,
                              signature, signature_size);
  return psa_destroy_key(imported) == PSA_SUCCESS && status == PSA_SUCCESS ? 0 : -1;
}
