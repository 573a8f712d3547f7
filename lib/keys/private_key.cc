// keys/private_key.cc: making, reading and using Ed25519 private keys.
//
// Layouts: PKCS#8 of RFC 8410 and its second version with the public key attached (RFC 5958);
// minisign's and signify's secret key structures as their manuals and sources describe them.
// SPDX-License-Identifier: Apache-2.0
#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "keys/key_text.h"
#include "keys/keys.h"

namespace tensorpatch::keys {
namespace {

constexpr size_t kSeedSize = crypto_sign_SEEDBYTES;
constexpr size_t kSecretSize = crypto_sign_SECRETKEYBYTES;  // the seed, then the public key
static_assert(kSeedSize == 32 && kSecretSize == 64);

constexpr const char* kSignerHint =
    "sign with a program that can use this key: --signer-cmd CMD --pubkey P";

tl::unexpected<Error> unsupported(const std::string& what) {
  return fail(TENSORPATCH_E_KEY, "cannot sign with " + what, kSignerHint);
}

tl::unexpected<Error> damaged(const std::string& what) {
  return fail(TENSORPATCH_E_KEY, "the key is damaged: " + what);
}

uint64_t read_le64(const uint8_t* bytes) {
  uint64_t value = 0;
  for (size_t i = 8; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

bool has_prefix(std::span<const uint8_t> bytes, std::span<const uint8_t> prefix) {
  return bytes.size() >= prefix.size() && std::ranges::equal(bytes.first(prefix.size()), prefix);
}

bool has_prefix(std::span<const uint8_t> bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() &&
         std::memcmp(bytes.data(), prefix.data(), prefix.size()) == 0;
}

// The readers below return the seed, followed by the public key where the file has one.

Result<SecretBytes> read_pkcs8(const KeyText& text) {
  static constexpr std::array<uint8_t, 16> kWithPublicKey = {0x30, 0x51, 0x02, 0x01, 0x01, 0x30,
                                                             0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
                                                             0x04, 0x22, 0x04, 0x20};
  static constexpr std::array<uint8_t, 3> kPublicKeyTag = {0x81, 0x21, 0x00};
  const std::span<const uint8_t> der = text.payload;
  constexpr size_t kSeedOffset = kPkcs8Prefix.size();
  constexpr size_t kTagOffset = kSeedOffset + kSeedSize;
  constexpr size_t kPublicOffset = kTagOffset + kPublicKeyTag.size();

  if (der.size() == kTagOffset && has_prefix(der, kPkcs8Prefix)) {
    return SecretBytes(der.begin() + kSeedOffset, der.end());
  }
  if (der.size() == kPublicOffset + 32 && has_prefix(der, kWithPublicKey) &&
      has_prefix(der.subspan(kTagOffset), kPublicKeyTag)) {
    SecretBytes key(der.begin() + kSeedOffset, der.begin() + kTagOffset);
    key.insert(key.end(), der.begin() + kPublicOffset, der.end());
    return key;
  }
  const std::string what = describe(text);
  if (what.starts_with("an Ed25519")) return damaged("not the PKCS#8 form of an Ed25519 key");
  return unsupported(what);
}

// minisign: "Ed", kdf, "B2", salt (32), operations (8), memory (8), then, encrypted when kdf is
// "Sc": key number (8), key (64), checksum (32) over "Ed", key number and key.
struct MinisignLayout {
  static constexpr size_t kKdf = 2, kChecksumKind = 4, kSalt = 6, kOperations = 38, kMemory = 46;
  static constexpr size_t kNumber = 54, kKey = 62, kChecksum = 126;
};

Result<void> unlock_minisign(SecretBytes& file,
                             const std::function<Result<std::string>()>& password) {
  const uint64_t operations = read_le64(&file[MinisignLayout::kOperations]);
  const uint64_t memory = read_le64(&file[MinisignLayout::kMemory]);
  if (operations > crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE ||
      memory > crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE) {
    return damaged("its password protection asks for more work than minisign ever does");
  }
  if (!password) {
    return fail(TENSORPATCH_E_KEY, "the minisign key is protected by a password",
                "set TENSORPATCH_PASSWORD, or run on a terminal");
  }
  Result<std::string> secret = password();
  if (!secret) return tl::unexpected(secret.error());
  SecretBytes stream(file.size() - MinisignLayout::kNumber);
  const int status = crypto_pwhash_scryptsalsa208sha256(
      stream.data(), stream.size(), secret->data(), secret->size(), &file[MinisignLayout::kSalt],
      operations, static_cast<size_t>(memory));
  wipe(*secret);
  if (status != 0) {
    return fail(TENSORPATCH_E_KEY, "not enough memory to unlock the minisign key",
                "it needs " + std::to_string(memory >> 20) + " MiB");
  }
  for (size_t i = 0; i < stream.size(); ++i) file[MinisignLayout::kNumber + i] ^= stream[i];
  return {};
}

Result<SecretBytes> read_minisign(SecretBytes file,
                                  const std::function<Result<std::string>()>& password) {
  const std::span<const uint8_t> bytes = file;
  if (!has_prefix(bytes, "Ed")) return unsupported("a minisign key of an unknown algorithm");
  if (!has_prefix(bytes.subspan(MinisignLayout::kChecksumKind), "B2")) {
    return damaged("unknown kind of minisign checksum");
  }
  const std::span<const uint8_t> kdf = bytes.subspan(MinisignLayout::kKdf, 2);
  const bool is_protected = has_prefix(kdf, "Sc");
  if (!is_protected && !has_prefix(kdf, std::string_view("\0\0", 2))) {
    return unsupported("a minisign key with an unknown password protection");
  }
  if (is_protected) {
    if (const Result<void> unlocked = unlock_minisign(file, password); !unlocked) {
      return tl::unexpected(unlocked.error());
    }
  }

  crypto_generichash_state state;
  std::array<uint8_t, 32> checksum{};
  crypto_generichash_init(&state, nullptr, 0, checksum.size());
  crypto_generichash_update(&state, bytes.data(), 2);
  crypto_generichash_update(&state, &file[MinisignLayout::kNumber], 8 + kSecretSize);
  crypto_generichash_final(&state, checksum.data(), checksum.size());
  const uint8_t* stored = &file[MinisignLayout::kChecksum];
  // Without a password minisign leaves the checksum zero; the public half then shows damage.
  const bool unset = !is_protected && sodium_is_zero(stored, checksum.size()) == 1;
  if (!unset && sodium_memcmp(checksum.data(), stored, checksum.size()) != 0) {
    if (is_protected) return fail(TENSORPATCH_E_KEY, "wrong password for the minisign key");
    return damaged("its checksum is wrong");
  }
  return SecretBytes(file.begin() + MinisignLayout::kKey, file.begin() + MinisignLayout::kChecksum);
}

// signify: "Ed", "BK", rounds (4, big-endian), salt (16), checksum (8), key number (8), key (64).
// The checksum is the beginning of the key's SHA-512.
Result<SecretBytes> read_signify(const SecretBytes& file) {
  constexpr size_t kKdf = 2, kRounds = 4, kChecksum = 24, kKey = 40, kChecksumSize = 8;
  const std::span<const uint8_t> bytes = file;
  if (!has_prefix(bytes, "Ed") || !has_prefix(bytes.subspan(kKdf), "BK")) {
    return unsupported("a signify key of an unknown algorithm");
  }
  if (sodium_is_zero(&file[kRounds], 4) != 1) {
    return fail(TENSORPATCH_E_KEY, "cannot sign with a signify key that is protected by a password",
                "make the key with signify -G -n, or sign with --signer-cmd CMD --pubkey P");
  }
  SecretBytes digest(crypto_hash_sha512_BYTES);
  crypto_hash_sha512(digest.data(), &file[kKey], kSecretSize);
  if (sodium_memcmp(digest.data(), &file[kChecksum], kChecksumSize) != 0) {
    return damaged("its checksum is wrong");
  }
  return SecretBytes(file.begin() + kKey, file.end());
}

Result<SecretBytes> read_key(KeyText text, const std::function<Result<std::string>()>& password) {
  if (text.kind == KeyText::Kind::kPem && text.label == "PRIVATE KEY") return read_pkcs8(text);
  if (text.kind == KeyText::Kind::kTwoLines) {
    if (text.payload.size() == kMinisignSecretSize) {
      return read_minisign(std::move(text.payload), password);
    }
    if (text.payload.size() == kSignifySecretSize) return read_signify(text.payload);
  }
  return unsupported(describe(text));
}

}  // namespace

// In memory that is locked, guarded and wiped (sodium_malloc).
struct PrivateKey::Secret {
  struct Free {
    void operator()(uint8_t* memory) const { sodium_free(memory); }
  };
  std::unique_ptr<uint8_t, Free> bytes;
  PublicKey public_key;

  // Derives the public half from the seed.
  explicit Secret(const uint8_t* seed) : bytes(static_cast<uint8_t*>(sodium_malloc(kSecretSize))) {
    if (!bytes) throw std::bad_alloc();
    std::array<uint8_t, 32> public_bytes{};
    crypto_sign_seed_keypair(public_bytes.data(), bytes.get(), seed);
    public_key = make_public_key(public_bytes);
  }
};

PrivateKey::PrivateKey(std::unique_ptr<Secret> secret) : secret_(std::move(secret)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

Result<PrivateKey> PrivateKey::generate() {
  require_sodium();
  SecretBytes seed(kSeedSize);
  randombytes_buf(seed.data(), seed.size());
  return PrivateKey(std::make_unique<Secret>(seed.data()));
}

Result<PrivateKey> PrivateKey::parse(std::string_view text,
                                     const std::function<Result<std::string>()>& password) {
  require_sodium();
  Result<KeyText> parts = take_apart(text);
  if (!parts) return tl::unexpected(parts.error());
  const Result<SecretBytes> key = read_key(std::move(*parts), password);
  if (!key) return tl::unexpected(key.error());
  auto secret = std::make_unique<Secret>(key->data());
  if (key->size() == kSecretSize &&
      sodium_memcmp(key->data(), secret->bytes.get(), kSecretSize) != 0) {
    return damaged("its public half does not belong to its secret half");
  }
  return PrivateKey(std::move(secret));
}

const PublicKey& PrivateKey::public_key() const {
  return secret_->public_key;
}

Signature PrivateKey::sign(base::Bytes message) const {
  Signature signature{TENSORPATCH_ED25519, hint_of(secret_->public_key),
                      std::vector<uint8_t>(crypto_sign_BYTES)};
  crypto_sign_detached(signature.bytes.data(), nullptr, message.data(), message.size(),
                       secret_->bytes.get());
  return signature;
}

std::string PrivateKey::to_pem() const {
  SecretBytes der(kPkcs8Prefix.begin(), kPkcs8Prefix.end());
  der.insert(der.end(), secret_->bytes.get(), secret_->bytes.get() + kSeedSize);
  return to_pem_text("PRIVATE KEY", der);
}

void wipe(std::string& secret) {
  sodium_memzero(secret.data(), secret.size());
  secret.clear();
}

}  // namespace tensorpatch::keys
