// tests/support/p256_key.cc: see p256_key.h.
// SPDX-License-Identifier: Apache-2.0
#include "support/p256_key.h"

#include <psa/crypto.h>

#include <algorithm>
#include <cstdlib>

#include "keys/p256.h"

namespace tensorpatch::test {
namespace {

constexpr psa_algorithm_t kAlgorithm = PSA_ALG_DETERMINISTIC_ECDSA(PSA_ALG_SHA_256);

void require(psa_status_t status) {
  if (status != PSA_SUCCESS) std::abort();
}

psa_key_id_t import_key(uint8_t number) {
  require(psa_crypto_init());
  psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
  psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
  psa_set_key_algorithm(&attributes, kAlgorithm);
  psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_MESSAGE);
  std::array<uint8_t, 32> secret;
  secret.fill(number);
  psa_key_id_t imported = 0;
  require(psa_import_key(&attributes, secret.data(), secret.size(), &imported));
  return imported;
}

}  // namespace

P256Key::P256Key(uint8_t from) : number(from) {
  const psa_key_id_t key = import_key(number);
  size_t size = 0;
  require(psa_export_public_key(key, point.data(), point.size(), &size));
  require(psa_destroy_key(key));
  Bytes spki(keys::p256::kSpkiPrefix.size() + point.size());
  std::ranges::copy(point, std::ranges::copy(keys::p256::kSpkiPrefix, spki.begin()).out);
  id = sha256(spki);
}

tensorpatch_key P256Key::entry() const {
  tensorpatch_key made{
      TENSORPATCH_ECDSA_P256_SHA256, TENSORPATCH_ROLE_RELEASE, {}, point.data(), point.size()};
  std::copy(id.begin(), id.end(), made.id);
  return made;
}

SignatureSpec P256Key::sign(const Bytes& statement) const {
  const Bytes message = framed_statement(statement);
  SignatureSpec made{TENSORPATCH_ECDSA_P256_SHA256, {}, Bytes(keys::p256::kSignatureSize)};
  std::copy_n(id.begin(), made.key.size(), made.key.begin());
  const psa_key_id_t key = import_key(number);
  size_t size = 0;
  require(psa_sign_message(key, kAlgorithm, message.data(), message.size(), made.signature.data(),
                           made.signature.size(), &size));
  require(psa_destroy_key(key));
  return made;
}

}  // namespace tensorpatch::test
