// keys/public_key.cc: reading and writing public keys, checking signatures.
// SPDX-License-Identifier: Apache-2.0
#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "keys/key_text.h"
#include "keys/keys.h"
#include "keys/p256.h"

namespace tensorpatch::keys {
namespace {

constexpr size_t kKeySize = crypto_sign_PUBLICKEYBYTES;
constexpr size_t kKeyNumberSize = 8;
static_assert(kKeySize == 32 && crypto_hash_sha256_BYTES == TENSORPATCH_KEY_ID_SIZE);

std::vector<uint8_t> to_spki(uint16_t algorithm, std::span<const uint8_t> key) {
  const bool is_p256 = algorithm == TENSORPATCH_ECDSA_P256_SHA256;
  const std::span<const uint8_t> prefix =
      is_p256 ? std::span<const uint8_t>(p256::kSpkiPrefix) : std::span<const uint8_t>(kSpkiPrefix);
  std::vector<uint8_t> der(prefix.begin(), prefix.end());
  der.insert(der.end(), key.begin(), key.end());
  return der;
}

PublicKey with_id(uint16_t algorithm, std::span<const uint8_t> bytes) {
  PublicKey key{algorithm, {}, std::vector<uint8_t>(bytes.begin(), bytes.end())};
  const std::vector<uint8_t> spki = to_spki(algorithm, bytes);
  crypto_hash_sha256(key.id.data(), spki.data(), spki.size());
  return key;
}

std::string to_hex(std::span<const uint8_t> bytes) {
  std::string text(bytes.size() * 2 + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  text.pop_back();
  return text;
}

tl::unexpected<Error> unsupported(const KeyText& text) {
  const std::string what = describe(text);
  std::string hint = "only Ed25519 and P-256 public keys verify bundles";
  if (what.find("private key") != std::string::npos ||
      what.find("secret key") != std::string::npos) {
    hint = "make the public key from it: tensorpatch pubkey KEY";
  } else if (text.label == "CERTIFICATE") {
    hint = "take the public key out of it: openssl x509 -in CERT -pubkey -noout";
  }
  return fail(TENSORPATCH_E_KEY, "not a public key for bundles: " + what, std::move(hint));
}

// The `size` bytes of the payload behind `prefix`; empty when it holds something else.
std::span<const uint8_t> after(const KeyText& text, std::span<const uint8_t> prefix, size_t size) {
  const std::span<const uint8_t> payload = text.payload;
  if (payload.size() != prefix.size() + size) return {};
  if (!std::ranges::equal(payload.first(prefix.size()), prefix)) return {};
  return payload.subspan(prefix.size());
}

// The point of a P-256 key within the payload.
std::span<const uint8_t> find_point(const KeyText& text) {
  static constexpr std::array<uint8_t, 39> kSshPrefix = {
      0,   0,   0,   19,  'e', 'c', 'd', 's', 'a', '-', 's', 'h', 'a',
      '2', '-', 'n', 'i', 's', 't', 'p', '2', '5', '6', 0,   0,   0,
      8,   'n', 'i', 's', 't', 'p', '2', '5', '6', 0,   0,   0,   65};
  const auto point_after = [&](std::span<const uint8_t> prefix) {
    return after(text, prefix, p256::kPointSize);
  };
  switch (text.kind) {
    case KeyText::Kind::kHex:
      return point_after({});
    case KeyText::Kind::kSsh:
      return point_after(kSshPrefix);
    case KeyText::Kind::kPem:
      return text.label == "PUBLIC KEY" ? point_after(p256::kSpkiPrefix)
                                        : std::span<const uint8_t>();
    case KeyText::Kind::kTwoLines:
      break;
  }
  return {};
}

// The 32 bytes of an Ed25519 key within the payload.
std::span<const uint8_t> find_key(const KeyText& text) {
  static constexpr std::array<uint8_t, 19> kSshPrefix = {
      0, 0, 0, 11, 's', 's', 'h', '-', 'e', 'd', '2', '5', '5', '1', '9', 0, 0, 0, 32};
  const auto key_after = [&](std::span<const uint8_t> prefix) {
    return after(text, prefix, kKeySize);
  };
  switch (text.kind) {
    case KeyText::Kind::kHex:
      return key_after({});
    case KeyText::Kind::kSsh:
      return text.label == "ssh-ed25519" ? key_after(kSshPrefix) : std::span<const uint8_t>();
    case KeyText::Kind::kPem:
      return text.label == "PUBLIC KEY" ? key_after(kSpkiPrefix) : std::span<const uint8_t>();
    case KeyText::Kind::kTwoLines:
      break;
  }
  // "Ed" or, from minisign's prehashed mode, "ED"; then the key number, which only those tools use.
  const std::span<const uint8_t> payload = text.payload;
  if (payload.size() != kTwoLinePublicSize || payload[0] != 'E') return {};
  if (payload[1] != 'd' && payload[1] != 'D') return {};
  return payload.subspan(2 + kKeyNumberSize);
}

// The two tools want a key number, 8 bytes of no meaning: the first of the key id, so that the same
// key always gives the same file.
std::string two_lines(const PublicKey& key, const std::string& comment) {
  std::vector<uint8_t> payload = {'E', 'd'};
  payload.insert(payload.end(), key.id.begin(), key.id.begin() + kKeyNumberSize);
  payload.insert(payload.end(), key.bytes.begin(), key.bytes.end());
  return "untrusted comment: " + comment + "\n" + to_base64(payload) + "\n";
}

// minisign shows the key number as a little-endian integer.
std::string minisign_key_number(const PublicKey& key) {
  std::array<uint8_t, kKeyNumberSize> number{};
  std::reverse_copy(key.id.begin(), key.id.begin() + kKeyNumberSize, number.begin());
  std::string text = to_hex(number);
  for (char& c : text) c = c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
  return text;
}

// How bytes look as lines of C, 8 a line.
struct CStyle {
  std::string line_begin, byte_begin, between_bytes, line_end;
};

std::string c_lines(std::span<const uint8_t> bytes, const CStyle& style) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    text += i % 8 == 0 ? style.line_begin : style.between_bytes;
    text += style.byte_begin + to_hex(bytes.subspan(i, 1));
    if (i % 8 == 7 || i + 1 == bytes.size()) text += style.line_end;
  }
  return text;
}

// A string literal holds the key because its lifetime is the program's and because C and C++ both
// take it; a compound literal has neither virtue.
std::string c_entry(const PublicKey& key) {
  const CStyle numbers = {"\n        ", "0x", ", ", ","};
  const CStyle literals = {"\n        \"", "\\x", "", "\""};
  const bool is_p256 = key.algorithm == TENSORPATCH_ECDSA_P256_SHA256;
  std::string text = "/* An entry for an array of tensorpatch_key: ";
  text += is_p256 ? "ECDSA P-256, key id\n * " : "Ed25519, key id\n * ";
  text += to_hex(key.id) + " */\n{\n";
  text += "    .algorithm = TENSORPATCH_";
  text += is_p256 ? "ECDSA_P256_SHA256,\n" : "ED25519,\n";
  text += "    .role = TENSORPATCH_ROLE_RELEASE,\n";
  text += "    .id = {" + c_lines(key.id, numbers) + "\n    },\n";
  text += "    .public_key = (const uint8_t*)" + c_lines(key.bytes, literals) + ",\n";
  text += "    .public_key_size = " + std::to_string(key.bytes.size()) + ",\n},\n";
  return text;
}

}  // namespace

PublicKey make_public_key(const std::array<uint8_t, 32>& bytes) {
  return with_id(TENSORPATCH_ED25519, bytes);
}

Result<PublicKey> parse_public_key(std::string_view text) {
  require_sodium();
  const Result<KeyText> parts = take_apart(text);
  if (!parts) return tl::unexpected(parts.error());
  if (const std::span<const uint8_t> point = find_point(*parts); !point.empty()) {
    if (p256::is_valid_point(point)) return with_id(TENSORPATCH_ECDSA_P256_SHA256, point);
    return fail(TENSORPATCH_E_KEY, "the public key is not a valid P-256 key",
                "the file is damaged, or was made to deceive");
  }
  const std::span<const uint8_t> found = find_key(*parts);
  if (found.empty()) return unsupported(*parts);
  // Canonical, on the curve, of the prime-order group: any other bytes are no one's honest key.
  if (crypto_core_ed25519_is_valid_point(found.data()) != 1) {
    return fail(TENSORPATCH_E_KEY, "the public key is not a valid Ed25519 key",
                "the file is damaged, or was made to deceive");
  }
  std::array<uint8_t, kKeySize> bytes{};
  std::ranges::copy(found, bytes.begin());
  return make_public_key(bytes);
}

Result<std::string> format_public_key(const PublicKey& key, PublicKeyFormat format) {
  require_sodium();
  const bool is_two_lines =
      format == PublicKeyFormat::kMinisign || format == PublicKeyFormat::kSignify;
  if (is_two_lines && key.algorithm != TENSORPATCH_ED25519) {
    return fail(TENSORPATCH_E_KEY, "minisign and signify have Ed25519 keys only; this is P-256",
                "use the format pem, hex or c");
  }
  switch (format) {
    case PublicKeyFormat::kPem:
      return to_pem_text("PUBLIC KEY", to_spki(key.algorithm, key.bytes));
    case PublicKeyFormat::kMinisign:
      return two_lines(key, "minisign public key " + minisign_key_number(key));
    case PublicKeyFormat::kSignify:
      return two_lines(key, "tensorpatch public key");
    case PublicKeyFormat::kHex:
      return to_hex(key.bytes) + "\n";
    case PublicKeyFormat::kC:
      break;
  }
  return c_entry(key);
}

KeyHint hint_of(const PublicKey& key) {
  KeyHint hint;
  std::copy_n(key.id.begin(), hint.size(), hint.begin());
  return hint;
}

Signature make_signature(const PublicKey& key, base::Bytes raw) {
  Signature made{key.algorithm, hint_of(key), {raw.begin(), raw.end()}};
  if (key.algorithm != TENSORPATCH_ECDSA_P256_SHA256 || raw.size() == p256::kSignatureSize) {
    return made;
  }
  if (auto numbers = p256::from_der(raw)) made.bytes = std::move(*numbers);
  return made;
}

bool verify(const PublicKey& key, base::Bytes message, const Signature& signature) {
  require_sodium();
  if (key.algorithm == TENSORPATCH_ECDSA_P256_SHA256) {
    return signature.algorithm == key.algorithm &&
           p256::verify(key.bytes, message, signature.bytes);
  }
  return key.algorithm == TENSORPATCH_ED25519 && signature.algorithm == TENSORPATCH_ED25519 &&
         key.bytes.size() == kKeySize && signature.bytes.size() == crypto_sign_BYTES &&
         crypto_sign_verify_detached(signature.bytes.data(), message.data(), message.size(),
                                     key.bytes.data()) == 0;
}

}  // namespace tensorpatch::keys
