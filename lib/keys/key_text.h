// keys/key_text.h: what kind of key a text holds, and its bytes, before they are understood.
//
// Private to lib/keys. The wrappings: PEM (RFC 7468), the two lines of minisign and signify (a
// comment, then base64), OpenSSH public key lines, hex. Payloads may be secret, so their memory is
// wiped.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sodium.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensorpatch/result.h"

namespace tensorpatch::keys {

// Memory that is wiped before it is given back.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  explicit WipingAllocator(const WipingAllocator<U>&) {}
  T* allocate(size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* data, size_t count) {
    sodium_memzero(data, count * sizeof(T));
    std::allocator<T>().deallocate(data, count);
  }
  bool operator==(const WipingAllocator&) const = default;
};
using SecretBytes = std::vector<uint8_t, WipingAllocator<uint8_t>>;

// RFC 8410: an Ed25519 key in DER is one of these, followed by the 32 bytes.
inline constexpr std::array<uint8_t, 12> kSpkiPrefix = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                        0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
inline constexpr std::array<uint8_t, 16> kPkcs8Prefix = {
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

// Sizes of the second line of minisign's and signify's files, decoded.
inline constexpr size_t kTwoLinePublicSize = 42;
inline constexpr size_t kTwoLineSignatureSize = 74;
inline constexpr size_t kSignifySecretSize = 104;
inline constexpr size_t kMinisignSecretSize = 158;

struct KeyText {
  enum class Kind { kPem, kTwoLines, kSsh, kHex };
  Kind kind = Kind::kPem;
  std::string label;    // PEM: the label; ssh: the key type
  SecretBytes payload;  // decoded bytes; empty for a PEM label that tensorpatch never reads
};

// E_KEY for a text that is none of these, or one of these but damaged.
Result<KeyText> take_apart(std::string_view text);

// What the text holds, for a message: "an encrypted private key (PEM)", "a P-256 public key (PEM)".
std::string describe(const KeyText& text);

// Makes libsodium ready; every entry point calls it. Cheap after the first time.
void require_sodium();

std::string to_base64(std::span<const uint8_t> bytes);
std::string to_pem_text(std::string_view label, std::span<const uint8_t> der);

}  // namespace tensorpatch::keys
