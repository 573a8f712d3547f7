// keys/keys.h: key files, signatures, external signers.
//
// Private keys: unencrypted PKCS#8 PEM (as `openssl genpkey -algorithm ed25519` writes it),
// minisign (password-protected or not) and signify -n; all Ed25519. Public keys: PEM
// SubjectPublicKeyInfo, minisign, signify, `ssh-ed25519` lines, 64 hex digits; of P-256: PEM,
// `ecdsa-sha2-nistp256` lines, 130 hex digits. The kind is recognised from the content.
// Ed25519: RFC 8032; PKCS#8 and SPKI for it: RFC 8410. P-256: FIPS 186-4, RFC 5480. The
// cryptography is libsodium's, for P-256 libcrypto's.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "tensorpatch/result.h"

namespace tensorpatch::keys {

struct PublicKey {
  uint16_t algorithm = TENSORPATCH_ED25519;
  std::array<uint8_t, 32> id{};  // SHA-256 of the SubjectPublicKeyInfo DER
  std::vector<uint8_t> bytes;    // Ed25519: 32; P-256: 65, an uncompressed point
};

// How a key id begins; enough to find the key among those that are known.
using KeyHint = std::array<uint8_t, 8>;
KeyHint hint_of(const PublicKey& key);

struct Signature {
  uint16_t algorithm = TENSORPATCH_ED25519;
  KeyHint key{};
  std::vector<uint8_t> bytes;  // 64; of P-256: r, then s
};

// Memory of the secret is wiped on destruction. Movable, not copyable.
class PrivateKey {
 public:
  static Result<PrivateKey> generate();
  // `password` is asked only for a protected key, once; it returns an error to give up.
  static Result<PrivateKey> parse(std::string_view text,
                                  const std::function<Result<std::string>()>& password);
  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  const PublicKey& public_key() const;
  Signature sign(base::Bytes message) const;
  std::string to_pem() const;  // PKCS#8; the caller wipes it

 private:
  struct Secret;
  explicit PrivateKey(std::unique_ptr<Secret> secret);
  std::unique_ptr<Secret> secret_;
};

// Overwrites and empties a string that held a secret: a key file's text, a password.
void wipe(std::string& secret);

// An Ed25519 public key from its 32 bytes, with its id computed.
PublicKey make_public_key(const std::array<uint8_t, 32>& bytes);

// E_KEY for keys of other algorithms, named in the message, and for bytes that are no one's honest
// key (not canonical, low order).
Result<PublicKey> parse_public_key(std::string_view text);

enum class PublicKeyFormat { kPem, kMinisign, kSignify, kHex, kC };
// The file's text, ending in a newline. kC is an entry, for C99 and C++20, of an array of
// tensorpatch_key. E_KEY for a P-256 key in a format that has none.
Result<std::string> format_public_key(const PublicKey& key, PublicKeyFormat format);

// A signature as a program or service wrote it; for P-256 in DER or as r and s. Not verified.
Signature make_signature(const PublicKey& key, base::Bytes raw);

// Whether `signature` over `message` is right for `key`, whatever the key id in it says.
bool verify(const PublicKey& key, base::Bytes message, const Signature& signature);

// Makes a signature by running a program: `command` is split into words like a shell does for
// quotes and backslashes only (no shell is started; E_USAGE when it cannot be split). The program
// finds `message` on standard input (a file in memory, so that /dev/stdin can be opened and
// measured) and must write the signature, as make_signature takes it, and nothing else to standard
// output and exit 0 within `patience`. The signature is verified with `key` before it is returned.
// E_SIGNER with the program's exit status and the end of its standard error otherwise.
Result<Signature> sign_with_command(const std::string& command, const PublicKey& key,
                                    base::Bytes message,
                                    std::chrono::milliseconds patience = std::chrono::minutes(5));

}  // namespace tensorpatch::keys
