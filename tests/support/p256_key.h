// tests/support/p256_key.h: ECDSA P-256 keys made from a number, and signatures that are the same
// every time (RFC 6979, by Mbed TLS).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "support/bundle_builder.h"

namespace tensorpatch::test {

// A key pair whose private number is 32 times the byte `number`.
struct P256Key {
  explicit P256Key(uint8_t number);
  uint8_t number;
  std::array<uint8_t, 65> point;  // 0x04, x, y
  Digest id;                      // SHA-256 of the SubjectPublicKeyInfo

  // A ring's entry; points into this object.
  tensorpatch_key entry() const;
  SignatureSpec sign(const Bytes& statement) const;
};

}  // namespace tensorpatch::test
