// keys/p256.cc: see keys/p256.h.
// SPDX-License-Identifier: Apache-2.0
#include "keys/p256.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>

namespace tensorpatch::keys::p256 {
namespace {

constexpr size_t kHalf = kSignatureSize / 2;

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Context = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using Pair = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;

Key key_of(std::span<const uint8_t> point) {
  if (point.size() != kPointSize || point[0] != 0x04) return nullptr;
  std::vector<uint8_t> der(kSpkiPrefix.begin(), kSpkiPrefix.end());
  der.insert(der.end(), point.begin(), point.end());
  const uint8_t* at = der.data();
  return Key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));  // refuses other points
}

std::vector<uint8_t> to_der(std::span<const uint8_t> signature) {
  const Pair pair(ECDSA_SIG_new());
  Number r(BN_bin2bn(signature.data(), kHalf, nullptr));
  Number s(BN_bin2bn(signature.data() + kHalf, kHalf, nullptr));
  if (!pair || !r || !s || ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return {};
  static_cast<void>(r.release());  // the pair's now
  static_cast<void>(s.release());
  std::vector<uint8_t> der(kSignatureSize + 16);
  uint8_t* at = der.data();
  const int size = i2d_ECDSA_SIG(pair.get(), &at);
  der.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return der;
}

}  // namespace

bool is_valid_point(std::span<const uint8_t> point) {
  return key_of(point) != nullptr;
}

std::optional<std::vector<uint8_t>> from_der(std::span<const uint8_t> signature) {
  const uint8_t* at = signature.data();
  const Pair pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(signature.size())));
  if (!pair || at != signature.data() + signature.size()) return {};
  std::vector<uint8_t> made(kSignatureSize);
  if (BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), made.data(), kHalf) < 0 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), made.data() + kHalf, kHalf) < 0) {
    return {};
  }
  return made;
}

bool verify(std::span<const uint8_t> point, std::span<const uint8_t> message,
            std::span<const uint8_t> signature) {
  const Key key = key_of(point);
  if (!key || signature.size() != kSignatureSize) return false;
  const std::vector<uint8_t> der = to_der(signature);
  const Context context(EVP_MD_CTX_new());
  return !der.empty() && context &&
         EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), der.data(), der.size(), message.data(), message.size()) ==
             1;
}

}  // namespace tensorpatch::keys::p256
