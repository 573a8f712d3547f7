// keys/p256.h: ECDSA on the curve P-256 with SHA-256, over libcrypto.
//
// Private to lib/keys. Points are uncompressed as in SEC 1 (0x04, x, y); signatures are r and s, 32
// bytes each, most significant first, as bundles and PSA have them. Keys in DER: RFC 5480.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace tensorpatch::keys::p256 {

inline constexpr size_t kPointSize = 65;
inline constexpr size_t kSignatureSize = 64;

// A SubjectPublicKeyInfo is this, followed by the point.
inline constexpr std::array<uint8_t, 26> kSpkiPrefix = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

// On the curve, not at infinity, written as above.
bool is_valid_point(std::span<const uint8_t> point);

// Of a signature in DER, as openssl and most key services write it, r and s; empty when it is none.
std::optional<std::vector<uint8_t>> from_der(std::span<const uint8_t> signature);

bool verify(std::span<const uint8_t> point, std::span<const uint8_t> message,
            std::span<const uint8_t> signature);

}  // namespace tensorpatch::keys::p256
