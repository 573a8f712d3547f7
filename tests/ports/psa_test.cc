// tests/ports/psa_test.cc: SHA-256 and ECDSA P-256 by PSA (Mbed TLS), against libcrypto's.
// SPDX-License-Identifier: Apache-2.0
#include "tensorpatch/ports/psa.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <psa/crypto.h>

#include <algorithm>
#include <memory>

#include "support/bundle_builder.h"
#include "support/memory_device.h"

namespace tensorpatch::test {
namespace {

// A P-256 key pair of libcrypto's, and signatures as bundles have them.
class P256Key {
 public:
  P256Key() : key_(EVP_EC_gen("P-256"), EVP_PKEY_free) {
    uint8_t* der = nullptr;
    const int size = i2d_PUBKEY(key_.get(), &der);
    const Bytes spki(der, der + size);
    OPENSSL_free(der);
    point_.assign(spki.end() - 65, spki.end());
    id_ = sha256(spki);
  }

  tensorpatch_key entry() const {
    tensorpatch_key made{
        TENSORPATCH_ECDSA_P256_SHA256, TENSORPATCH_ROLE_RELEASE, {}, point_.data(), point_.size()};
    std::copy(id_.begin(), id_.end(), made.id);
    return made;
  }

  SignatureSpec sign(const Bytes& message) const {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                          EVP_MD_CTX_free);
    Bytes der(80);
    size_t size = der.size();
    EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()), 1);
    EXPECT_EQ(EVP_DigestSign(context.get(), der.data(), &size, message.data(), message.size()), 1);
    const uint8_t* at = der.data();
    const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(
        d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)), ECDSA_SIG_free);
    SignatureSpec made{TENSORPATCH_ECDSA_P256_SHA256, {}, Bytes(64)};
    std::copy_n(id_.begin(), made.key.size(), made.key.begin());
    EXPECT_EQ(BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), made.signature.data(), 32), 32);
    EXPECT_EQ(BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), made.signature.data() + 32, 32), 32);
    return made;
  }

 private:
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
  Bytes point_;
  Digest id_{};
};

class PsaPort : public testing::Test {
 protected:
  PsaPort() { EXPECT_EQ(psa_crypto_init(), PSA_SUCCESS); }
  tensorpatch_psa_hash state_{};
};

TEST_F(PsaPort, IsSha256) {
  const tensorpatch_hash_port port = tensorpatch_psa_hash_port(&state_);
  for (const size_t size : {0u, 1u, 55u, 64u, 1000u}) {
    const Bytes data = noise(size, 3);
    Digest digest{};
    ASSERT_EQ(port.init(port.state), 0);
    for (const uint8_t byte : data) ASSERT_EQ(port.update(port.state, &byte, 1), 0);
    ASSERT_EQ(port.finish(port.state, digest.data()), 0);
    EXPECT_EQ(digest, sha256(data));
  }
  // A digest that was given up in the middle is no obstacle.
  ASSERT_EQ(port.init(port.state), 0);
  ASSERT_EQ(port.init(port.state), 0);
  Digest digest{};
  ASSERT_EQ(port.finish(port.state, digest.data()), 0);
  EXPECT_EQ(digest, sha256({}));
}

TEST_F(PsaPort, VerifiesOnlyRightSignatures) {
  const P256Key key;
  const P256Key other;
  const Bytes message = noise(300, 1);
  const Bytes right = key.sign(message).signature;
  const auto verify = [&](const tensorpatch_key& with, const Bytes& signature) {
    return tensorpatch_psa_verify(nullptr, &with, message.data(), message.size(), signature.data(),
                                  signature.size());
  };
  EXPECT_EQ(verify(key.entry(), right), 0);
  EXPECT_NE(verify(other.entry(), right), 0);
  for (const size_t at : {0u, 31u, 32u, 63u}) {
    Bytes wrong = right;
    wrong[at] ^= 1;
    EXPECT_NE(verify(key.entry(), wrong), 0);
  }
  EXPECT_NE(verify(key.entry(), Bytes(64)), 0);
  EXPECT_NE(verify(key.entry(), Bytes(right.begin(), right.end() - 1)), 0);
  tensorpatch_key odd = key.entry();
  odd.algorithm = TENSORPATCH_ED25519;
  EXPECT_NE(verify(odd, right), 0);
  const Bytes off_the_curve(65, 4);
  odd = key.entry();
  odd.public_key = off_the_curve.data();
  EXPECT_NE(verify(odd, right), 0);
}

TEST_F(PsaPort, AnUpdateSignedWithP256) {
  const P256Key key;
  for (const bool damage : {false, true}) {
    BundleSpec spec = small_spec();
    Bytes statement;
    spec.signers = {};
    spec.edit_statement = [&](Bytes& made) { statement = made; };
    spec.edit_signatures = [&](std::vector<SignatureSpec>& signatures) {
      signatures = {key.sign(framed_statement(statement))};
      if (damage) signatures[0].signature[40] ^= 1;
    };
    const Bytes bundle = build_bundle(spec).bytes;
    MemoryDevice device(old_files(spec), 1024);
    tensorpatch_ports ports = device.ports();
    ports.verify = tensorpatch_psa_verify;
    ports.hash = tensorpatch_psa_hash_port(&state_);
    const tensorpatch_key ring = key.entry();
    const tensorpatch_codec* const codecs[] = {&tensorpatch_codec_bytes};
    tensorpatch_options options{};
    options.keys = &ring;
    options.key_count = 1;
    options.threshold = 1;
    options.codecs = codecs;
    options.codec_count = 1;
    options.capacity[0] = 1024;
    std::vector<uint64_t> workspace(2048);
    tensorpatch_applier applier;
    ASSERT_EQ(tensorpatch_apply_init(&applier, workspace.data(), 16384, &ports, &options),
              TENSORPATCH_OK);
    size_t consumed = 0;
    tensorpatch_status status =
        tensorpatch_apply_push(&applier, bundle.data(), bundle.size(), &consumed);
    if (damage) {
      EXPECT_EQ(status, TENSORPATCH_E_SIGNATURE);
      continue;
    }
    while (status == TENSORPATCH_MORE) status = tensorpatch_apply_finish(&applier);
    EXPECT_EQ(status, TENSORPATCH_DONE);
    EXPECT_TRUE(device.holds_only_prefix_of(0, spec.components[0].new_file));
  }
}

}  // namespace
}  // namespace tensorpatch::test
