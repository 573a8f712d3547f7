// bundle/digest.cc: SHA-256 through libcrypto's EVP interface, which uses the processor's own where
// it has it.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/digest.h"

#include <openssl/evp.h>

#include <cstdlib>

namespace tensorpatch::bundle {
namespace {

// libcrypto fails here only without memory or without SHA-256 at all (a broken installation).
void require(int ok) {
  if (ok != 1) std::abort();
}

}  // namespace

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();

  State() {
    require(context != nullptr ? 1 : 0);
    require(EVP_DigestInit_ex(context, EVP_sha256(), nullptr));
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(base::Bytes data) {
  require(EVP_DigestUpdate(state_->context, data.data(), data.size()));
}

Digest Sha256::finish() {
  Digest digest;
  require(EVP_DigestFinal_ex(state_->context, digest.data(), nullptr));
  require(EVP_DigestInit_ex(state_->context, nullptr, nullptr));
  return digest;
}

Digest sha256(base::Bytes data) {
  Sha256 hash;
  hash.update(data);
  return hash.finish();
}

std::string to_hex(base::Bytes data) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * data.size());
  for (const uint8_t byte : data) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace tensorpatch::bundle
