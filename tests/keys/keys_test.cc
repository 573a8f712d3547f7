// tests/keys/keys_test.cc: key files and signatures on fixed vectors; what must be refused.
// SPDX-License-Identifier: Apache-2.0
#include "keys/keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "keys/rfc8032.h"
#include "support/temp_folder.h"

extern "C" const tensorpatch_key tensorpatch_test_c_keys[1];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
namespace {
const tensorpatch_key kKeysOfCxx[] = {
#include "rfc8032_key.inc"
};
}  // namespace
#pragma GCC diagnostic pop

namespace tensorpatch::keys {
namespace {

using test::as_bytes;
using test::from_hex;
using test::no_password;
using test::to_hex;

PublicKey rfc_key() {
  return parse_public_key(test::kPublicPem).value();
}

std::string two_lines(const std::vector<uint8_t>& payload) {
  return "untrusted comment: a key\n" + test::base64(payload) + "\n";
}

std::string pem(const std::string& label, const std::string& body) {
  return "-----BEGIN " + label + "-----\n" + body + "\n-----END " + label + "-----\n";
}

void append(std::vector<uint8_t>& to, std::span<const uint8_t> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append(std::vector<uint8_t>& to, const char* text) {
  append(to, as_bytes(text));
}

void append_le64(std::vector<uint8_t>& to, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) to.push_back(static_cast<uint8_t>(value >> shift));
}

std::vector<uint8_t> secret_and_public() {
  std::vector<uint8_t> key = from_hex(test::kSeedHex);
  append(key, from_hex(test::kPublicHex));
  return key;
}

// What minisign -G writes, at the lowest price of scrypt so that tests are quick.
struct MinisignOptions {
  std::string password;  // empty: the form of -W
  uint64_t operations = crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MIN;
  uint64_t memory = crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MIN;
};

std::vector<uint8_t> minisign_secret(const MinisignOptions& options) {
  const std::vector<uint8_t> salt(32, 0x5a);
  std::vector<uint8_t> numbered_key = {1, 2, 3, 4, 5, 6, 7, 8};
  append(numbered_key, secret_and_public());
  std::vector<uint8_t> checked = {'E', 'd'};
  append(checked, numbered_key);
  std::vector<uint8_t> body = numbered_key;
  std::vector<uint8_t> checksum(32);
  crypto_generichash(checksum.data(), checksum.size(), checked.data(), checked.size(), nullptr, 0);
  append(body, checksum);

  std::vector<uint8_t> stream(body.size());
  EXPECT_EQ(crypto_pwhash_scryptsalsa208sha256(
                stream.data(), stream.size(), options.password.data(), options.password.size(),
                salt.data(), crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MIN,
                crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MIN),
            0);
  std::vector<uint8_t> file = {'E', 'd'};
  if (options.password.empty()) {
    append(file, std::vector<uint8_t>(2));
  } else {
    append(file, "Sc");
    for (size_t i = 0; i < body.size(); ++i) body[i] ^= stream[i];
  }
  append(file, "B2");
  append(file, salt);
  append_le64(file, options.operations);
  append_le64(file, options.memory);
  append(file, body);
  return file;
}

std::vector<uint8_t> signify_secret() {
  std::vector<uint8_t> file;
  append(file, "EdBK");
  append(file, std::vector<uint8_t>(4));         // rounds
  append(file, std::vector<uint8_t>(16, 0x77));  // salt
  const std::vector<uint8_t> key = secret_and_public();
  std::vector<uint8_t> digest(crypto_hash_sha512_BYTES);
  crypto_hash_sha512(digest.data(), key.data(), key.size());
  digest.resize(8);
  append(file, digest);
  append(file, std::vector<uint8_t>(8, 0x11));  // key number
  append(file, key);
  return file;
}

void expect_rfc_key(const Result<PrivateKey>& key) {
  ASSERT_TRUE(key.has_value()) << key.error().message;
  EXPECT_EQ(to_hex(key->public_key().bytes), test::kPublicHex);
  EXPECT_EQ(to_hex(key->sign({}).bytes), test::kSignatureHex);
}

TEST(PrivateKey, Pkcs8VectorSignsAsInRfc8032) {
  const auto key = PrivateKey::parse(test::kPrivatePem, no_password);
  expect_rfc_key(key);
  EXPECT_EQ(key->public_key().algorithm, TENSORPATCH_ED25519);
  EXPECT_EQ(to_hex(key->public_key().id), test::kKeyIdHex);
  EXPECT_EQ(key->to_pem(), test::kPrivatePem);
  const Signature signature = key->sign(as_bytes("message"));
  EXPECT_EQ(signature.algorithm, TENSORPATCH_ED25519);
  EXPECT_EQ(signature.key, hint_of(key->public_key()));
  EXPECT_TRUE(verify(key->public_key(), as_bytes("message"), signature));
}

TEST(PrivateKey, Pkcs8WithPublicKeyAttached) {
  expect_rfc_key(PrivateKey::parse(test::kPrivatePemWithPublic, no_password));
  std::string wrong = test::kPrivatePemWithPublic;
  wrong.replace(wrong.find("aPcHURo="), 8, "aPcHURs=");
  const auto key = PrivateKey::parse(wrong, no_password);
  ASSERT_FALSE(key.has_value());
  EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY);
}

TEST(PrivateKey, TextAroundPemAndLineEndsOfWindows) {
  expect_rfc_key(PrivateKey::parse(std::string("a note\n") + test::kPrivatePem, no_password));
  std::string text = "\xef\xbb\xbf";
  for (const char c : std::string(test::kPrivatePem)) {
    if (c == '\n') text += '\r';
    text += c;
  }
  expect_rfc_key(PrivateKey::parse(text, no_password));
}

TEST(PrivateKey, MinisignAndSignifyLayouts) {
  expect_rfc_key(PrivateKey::parse(two_lines(minisign_secret({})), no_password));
  expect_rfc_key(PrivateKey::parse(two_lines(signify_secret()), no_password));
  std::vector<uint8_t> no_checksum = minisign_secret({});
  std::fill(no_checksum.end() - 32, no_checksum.end(), uint8_t{0});
  expect_rfc_key(PrivateKey::parse(two_lines(no_checksum), no_password));
}

TEST(PrivateKey, MinisignPassword) {
  const std::string text = two_lines(minisign_secret({.password = "open sesame"}));
  int asked = 0;
  const auto ask = [&](const char* answer) {
    return [&asked, answer]() -> Result<std::string> {
      ++asked;
      return std::string(answer);
    };
  };
  expect_rfc_key(PrivateKey::parse(text, ask("open sesame")));
  EXPECT_EQ(asked, 1);
  const auto wrong = PrivateKey::parse(text, ask("open sesam"));
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(wrong.error().code, TENSORPATCH_E_KEY);
  EXPECT_NE(wrong.error().message.find("wrong password"), std::string::npos);

  const auto given_up = PrivateKey::parse(text, no_password);
  ASSERT_FALSE(given_up.has_value());
  EXPECT_EQ(given_up.error().code, TENSORPATCH_E_STATE);
  const auto nobody_to_ask = PrivateKey::parse(text, nullptr);
  ASSERT_FALSE(nobody_to_ask.has_value());
  EXPECT_EQ(nobody_to_ask.error().code, TENSORPATCH_E_KEY);
}

TEST(PrivateKey, MinisignAskingForMoreThanAGibibyteIsRefusedBeforeTheWork) {
  constexpr uint64_t kTooMuch = uint64_t{1} << 40;
  for (const MinisignOptions& options : {MinisignOptions{.password = "p", .operations = kTooMuch},
                                         MinisignOptions{.password = "p", .memory = kTooMuch}}) {
    const auto key = PrivateKey::parse(two_lines(minisign_secret(options)), no_password);
    ASSERT_FALSE(key.has_value());
    EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY);
  }
}

TEST(PrivateKey, GenerateMakesDifferentKeysThatSurviveTheirPem) {
  const auto one = PrivateKey::generate();
  const auto two = PrivateKey::generate();
  ASSERT_TRUE(one && two);
  EXPECT_NE(one->public_key().bytes, two->public_key().bytes);
  const auto again = PrivateKey::parse(one->to_pem(), no_password);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->public_key().bytes, one->public_key().bytes);
  EXPECT_EQ(again->sign(as_bytes("m")).bytes, one->sign(as_bytes("m")).bytes);
}

TEST(PrivateKey, OtherKindsAreRefusedByNameWithAHint) {
  std::vector<uint8_t> protected_signify = signify_secret();
  protected_signify[7] = 42;
  // An Ed448 key's algorithm in front of 57 bytes.
  std::vector<uint8_t> ed448 = from_hex("3047020100300506032b6571043b0439");
  ed448.resize(ed448.size() + 57, 9);
  const struct {
    std::string text;
    std::string named;
  } kCases[] = {
      {pem("ENCRYPTED PRIVATE KEY", "MIGb"), "an encrypted private key"},
      {pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nMIGb"), "an RSA private key"},
      {pem("EC PARAMETERS", "BggqhkjOPQMBBw==") + pem("EC PRIVATE KEY", "MHcC"),
       "an elliptic curve private key"},
      {pem("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEA"), "an OpenSSH private key"},
      {pem("PRIVATE KEY", test::base64(ed448)), "an Ed448 private key"},
      {two_lines(protected_signify), "a signify key that is protected by a password"},
      {test::kPublicPem, "an Ed25519 public key"},
      {test::kPublicSsh, "an ssh-ed25519 public key"},
      {test::kPublicHex, "a public key in hex"},
  };
  for (const auto& a_case : kCases) {
    const auto key = PrivateKey::parse(a_case.text, no_password);
    ASSERT_FALSE(key.has_value()) << a_case.named;
    EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY);
    EXPECT_NE(key.error().message.find(a_case.named), std::string::npos) << key.error().message;
    EXPECT_NE(key.error().hint.find("--signer-cmd"), std::string::npos) << key.error().hint;
  }
}

const std::string kGarbage[] = {
    "",
    "\n\n",
    "hello",
    std::string("\x30\x2e\x02\x01\x00\x30", 6),
    std::string(64, 'g'),
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    pem("PRIVATE KEY", "MC4C*"),
    pem("PRIVATE KEY", ""),
    pem("PUBLIC KEY", "MCow"),
    std::string(test::kPublicPem) + test::kPublicPem,
    "untrusted comment: only this",
    "untrusted comment: x\n\n",
    "untrusted comment: x\nRWQ=\n",
    two_lines(std::vector<uint8_t>(42, 'E')) + "more\n",
    two_lines(std::vector<uint8_t>(74, 'E')) + "trusted comment: x\nabcd\n",
    two_lines(std::vector<uint8_t>(104, 'E')),
    two_lines(std::vector<uint8_t>(158, 'E')),
    "ssh-ed25519",
    "ssh-ed25519 !!!!",
    std::string(test::kPublicSsh) + "\n" + test::kPublicSsh,
};

TEST(PrivateKey, GarbageIsRefused) {
  for (const std::string& text : kGarbage) {
    const auto key = PrivateKey::parse(text, no_password);
    ASSERT_FALSE(key.has_value()) << text;
    EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY) << text;
    EXPECT_FALSE(key.error().message.empty());
  }
}

// Every form of the test's private key, without its last newline, which nobody misses.
std::vector<std::string> private_texts() {
  std::vector<std::string> texts = {test::kPrivatePem, test::kPrivatePemWithPublic,
                                    two_lines(minisign_secret({})), two_lines(signify_secret()),
                                    two_lines(minisign_secret({.password = "p"}))};
  for (std::string& text : texts) text.pop_back();
  return texts;
}

Result<std::string> password_p() {
  return std::string("p");
}

TEST(PrivateKey, EveryTruncationIsRefused) {
  for (const std::string& text : private_texts()) {
    expect_rfc_key(PrivateKey::parse(text, password_p));
    for (size_t size = 0; size < text.size(); ++size) {
      const auto key = PrivateKey::parse(text.substr(0, size), password_p);
      ASSERT_FALSE(key.has_value()) << text.substr(0, size);
      EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY);
    }
  }
}

TEST(PrivateKey, NoDamagedByteGivesAnotherKeyWhereTheFormHasACheck) {
  const std::vector<std::string> texts = private_texts();
  for (size_t form = 1; form <= 3;
       ++form) {  // plain PKCS#8 has no check; scrypt is too slow for this
    for (size_t i = 0; i < texts[form].size(); ++i) {
      for (const char change : {'\x01', '\x02', '\x10', '\x40'}) {
        std::string text = texts[form];
        text[i] = static_cast<char>(text[i] ^ change);
        const auto key = PrivateKey::parse(text, no_password);
        if (key.has_value()) {
          EXPECT_EQ(to_hex(key->public_key().bytes), test::kPublicHex) << i;
        }
      }
    }
  }
}

TEST(PrivateKey, WrongChecksumsAreRefusedEvenWhenTheKeyIsRight) {
  std::vector<uint8_t> signify = signify_secret();
  signify[24] ^= 1;
  std::vector<uint8_t> minisign = minisign_secret({});
  minisign.back() ^= 1;
  for (const std::vector<uint8_t>& file : {signify, minisign}) {
    const auto key = PrivateKey::parse(two_lines(file), no_password);
    ASSERT_FALSE(key.has_value());
    EXPECT_EQ(key.error().message, "the key is damaged: its checksum is wrong");
  }
}

TEST(PublicKey, EveryFormGivesTheSameKey) {
  const PublicKey expected = rfc_key();
  EXPECT_EQ(to_hex(expected.bytes), test::kPublicHex);
  EXPECT_EQ(to_hex(expected.id), test::kKeyIdHex);
  EXPECT_EQ(expected.algorithm, TENSORPATCH_ED25519);
  std::vector<uint8_t> payload = from_hex("45640102030405060708");
  append(payload, expected.bytes);
  std::vector<uint8_t> prehashed = payload;
  prehashed[1] = 'D';
  std::string upper = test::kPublicHex;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const std::string texts[] = {test::kPublicSsh,
                               std::string(test::kPublicSsh) + " me@example comment\n",
                               test::kPublicHex,
                               upper + "\r\n",
                               two_lines(payload),
                               two_lines(prehashed),
                               test::base64(payload) + "\n",
                               std::string("# note\n\n") + test::kPublicPem + "more text\n"};
  for (const std::string& text : texts) {
    const auto key = parse_public_key(text);
    ASSERT_TRUE(key.has_value()) << text << key.error().message;
    EXPECT_EQ(key->bytes, expected.bytes) << text;
    EXPECT_EQ(key->id, expected.id) << text;
  }
}

TEST(PublicKey, OtherKindsAreRefusedByName) {
  const struct {
    std::string text;
    std::string named;
  } kCases[] = {
      {pem("PUBLIC KEY",
           "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEdd0pU20U1Tt/4xF/pi1Fb7OK0F476E6C\n"
           "StBny4mM3I96TFlttQ1V4q+7S0e6M1e/F53lcXkW6BPr5mJ7c8LqW2sdVTPGJwuR"),
       "a P-384 public key"},
      {pem("PUBLIC KEY", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), "an RSA public key"},
      {pem("PUBLIC KEY", "MCowBQYDK2VuAyEAZVR8nA9Q0scb6OSwT5GRQ6+bN/uqO01zt2U10xwxM2s="),
       "an X25519 public key"},
      {pem("RSA PUBLIC KEY", "MIIB"), "an RSA public key"},
      {pem("CERTIFICATE", "MIIB"), "a certificate"},
      {"ssh-rsa AAAAB3NzaC1yc2E= me", "an ssh-rsa public key"},
      {"ecdsa-sha2-nistp256 AAAA me", "an ecdsa-sha2-nistp256 public key"},
      {"sk-ssh-ed25519@openssh.com AAAA me", "an sk-ssh-ed25519@openssh.com public key"},
      {two_lines(signify_secret()), "a signify secret key"},
      {two_lines(minisign_secret({})), "a minisign secret key"},
      {two_lines(std::vector<uint8_t>(74, 'E')), "signature"},
      {test::kPrivatePem, "an Ed25519 private key"},
  };
  for (const auto& a_case : kCases) {
    const auto key = parse_public_key(a_case.text);
    ASSERT_FALSE(key.has_value()) << a_case.named;
    EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY);
    EXPECT_NE(key.error().message.find(a_case.named), std::string::npos) << key.error().message;
    EXPECT_FALSE(key.error().hint.empty());
  }
}

constexpr const char* kP256 =
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYTrLABN/CK/F0jKsxdsEWBzfFs6k\n"
    "3g1pw0vQn9CjNYNmgV2IuQ34jTXVUpuM8ONa+YSAdXNZwNfrcNYymhEvwg==";

TEST(PublicKey, AP256KeyIsReadAndWritten) {
  const auto key = parse_public_key(pem("PUBLIC KEY", kP256));
  ASSERT_TRUE(key.has_value()) << key.error().message;
  EXPECT_EQ(key->algorithm, TENSORPATCH_ECDSA_P256_SHA256);
  EXPECT_EQ(key->bytes.size(), 65u);
  EXPECT_EQ(format_public_key(*key, PublicKeyFormat::kPem).value(), pem("PUBLIC KEY", kP256));
  const std::string hex = format_public_key(*key, PublicKeyFormat::kHex).value();
  EXPECT_EQ(hex.size(), 131u);
  std::vector<uint8_t> ssh = {0, 0, 0, 19};
  for (const char c : std::string("ecdsa-sha2-nistp256")) ssh.push_back(static_cast<uint8_t>(c));
  ssh.insert(ssh.end(), {0, 0, 0, 8, 'n', 'i', 's', 't', 'p', '2', '5', '6', 0, 0, 0, 65});
  ssh.insert(ssh.end(), key->bytes.begin(), key->bytes.end());
  for (const std::string& text : {hex, "ecdsa-sha2-nistp256 " + test::base64(ssh) + " me"}) {
    const auto again = parse_public_key(text);
    ASSERT_TRUE(again.has_value()) << text << again.error().message;
    EXPECT_EQ(again->bytes, key->bytes);
    EXPECT_EQ(again->id, key->id);
  }
  for (const PublicKeyFormat format : {PublicKeyFormat::kMinisign, PublicKeyFormat::kSignify}) {
    EXPECT_EQ(format_public_key(*key, format).error().code, TENSORPATCH_E_KEY);
  }
  const std::string entry = format_public_key(*key, PublicKeyFormat::kC).value();
  EXPECT_NE(entry.find("TENSORPATCH_ECDSA_P256_SHA256"), std::string::npos);
  EXPECT_NE(entry.find(".public_key_size = 65"), std::string::npos);

  std::string off_the_curve = hex;
  off_the_curve[129] = off_the_curve[129] == '0' ? '1' : '0';
  const auto refused = parse_public_key(off_the_curve);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("not a valid P-256 key"), std::string::npos);
  EXPECT_FALSE(parse_public_key("02" + hex.substr(2)).has_value()) << "no compressed points";
}

TEST(PublicKey, GarbageIsRefused) {
  for (const std::string& text : kGarbage) {
    const auto key = parse_public_key(text);
    ASSERT_FALSE(key.has_value()) << text;
    EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY) << text;
  }
}

TEST(PublicKey, TextAfterTheSecondLineIsRefused) {
  const std::string text = format_public_key(rfc_key(), PublicKeyFormat::kMinisign).value();
  EXPECT_TRUE(parse_public_key(text + "\n\n").has_value());
  EXPECT_FALSE(parse_public_key(text + "more").has_value());
  EXPECT_FALSE(parse_public_key(text + text).has_value());
}

TEST(PublicKey, BytesThatAreNoHonestKeyAreRefused) {
  const char* const kBad[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",  // order 4
      "0100000000000000000000000000000000000000000000000000000000000000",  // the identity
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // order 2
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  // order 8
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // 0, not canonical
      "0200000000000000000000000000000000000000000000000000000000000000",  // not on the curve
  };
  for (const char* text : kBad) {
    const auto key = parse_public_key(text);
    ASSERT_FALSE(key.has_value()) << text;
    EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY);
  }
}

TEST(PublicKey, EveryTruncationIsRefused) {
  const PublicKey key = rfc_key();
  for (const PublicKeyFormat format : {PublicKeyFormat::kPem, PublicKeyFormat::kMinisign,
                                       PublicKeyFormat::kSignify, PublicKeyFormat::kHex}) {
    const std::string text = format_public_key(key, format).value();
    for (size_t size = 0; size + 1 < text.size(); ++size) {
      const auto parsed = parse_public_key(text.substr(0, size));
      ASSERT_FALSE(parsed.has_value()) << text.substr(0, size);
    }
  }
  const std::string ssh = test::kPublicSsh;
  for (size_t size = 0; size < ssh.size(); ++size) {
    EXPECT_FALSE(parse_public_key(ssh.substr(0, size)).has_value()) << size;
  }
}

TEST(PublicKey, FormattedTexts) {
  const PublicKey key = rfc_key();
  EXPECT_EQ(format_public_key(key, PublicKeyFormat::kPem).value(), test::kPublicPem);
  EXPECT_EQ(format_public_key(key, PublicKeyFormat::kHex).value(),
            std::string(test::kPublicHex) + "\n");
  std::vector<uint8_t> payload = {'E', 'd'};
  append(payload, std::span(key.id).first(8));
  append(payload, key.bytes);
  EXPECT_EQ(
      format_public_key(key, PublicKeyFormat::kMinisign).value(),
      "untrusted comment: minisign public key 60BB29DA8FFDE306\n" + test::base64(payload) + "\n");
  EXPECT_EQ(format_public_key(key, PublicKeyFormat::kSignify).value(),
            "untrusted comment: tensorpatch public key\n" + test::base64(payload) + "\n");
  for (const PublicKeyFormat format : {PublicKeyFormat::kPem, PublicKeyFormat::kMinisign,
                                       PublicKeyFormat::kSignify, PublicKeyFormat::kHex}) {
    const auto again = parse_public_key(format_public_key(key, format).value());
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->id, key.id);
  }
}

// rfc8032_key.inc is the expected text, and is compiled as C99 (c_key.c) and as C++20 (above).
TEST(PublicKey, FormattedAsC) {
  const PublicKey key = rfc_key();
  EXPECT_EQ(format_public_key(key, PublicKeyFormat::kC).value(),
            test::read_file(TENSORPATCH_C_KEY_FILE));
  for (const tensorpatch_key* compiled : {&tensorpatch_test_c_keys[0], &kKeysOfCxx[0]}) {
    EXPECT_EQ(compiled->algorithm, TENSORPATCH_ED25519);
    EXPECT_EQ(compiled->role, TENSORPATCH_ROLE_RELEASE);
    EXPECT_EQ(to_hex(compiled->id), test::kKeyIdHex);
    ASSERT_EQ(compiled->public_key_size, 32U);
    EXPECT_EQ(to_hex({compiled->public_key, compiled->public_key_size}), test::kPublicHex);
  }
}

TEST(Verify, RightOnlyForTheKeyTheMessageAndEveryBitOfTheSignature) {
  const PublicKey key = rfc_key();
  const Signature right{TENSORPATCH_ED25519, hint_of(key), from_hex(test::kSignatureHex)};
  ASSERT_TRUE(verify(key, {}, right));
  EXPECT_FALSE(verify(key, as_bytes("x"), right));
  for (size_t bit = 0; bit < right.bytes.size() * 8; ++bit) {
    Signature wrong = right;
    wrong.bytes[bit / 8] = static_cast<uint8_t>(wrong.bytes[bit / 8] ^ (1U << (bit % 8)));
    EXPECT_FALSE(verify(key, {}, wrong)) << bit;
  }
  EXPECT_FALSE(verify(PrivateKey::generate()->public_key(), {}, right));

  Signature other_id = right;
  other_id.key = {};
  EXPECT_TRUE(verify(key, {}, other_id));  // the id is a hint
}

TEST(Verify, OtherAlgorithmsAndSizesAreRefused) {
  const PublicKey key = rfc_key();
  const Signature right{TENSORPATCH_ED25519, hint_of(key), from_hex(test::kSignatureHex)};
  Signature wrong = right;
  wrong.algorithm = TENSORPATCH_ECDSA_P256_SHA256;
  EXPECT_FALSE(verify(key, {}, wrong));
  for (const size_t size : {size_t{0}, size_t{63}, size_t{65}}) {
    wrong = right;
    wrong.bytes.resize(size);
    EXPECT_FALSE(verify(key, {}, wrong)) << size;
  }
  PublicKey other = key;
  other.algorithm = TENSORPATCH_ECDSA_P256_SHA256;
  EXPECT_FALSE(verify(other, {}, right));
  for (const size_t size : {size_t{0}, size_t{31}, size_t{33}}) {
    other = key;
    other.bytes.resize(size);
    EXPECT_FALSE(verify(other, {}, right)) << size;
  }
}

TEST(Wipe, EmptiesTheString) {
  std::string secret = "a password";
  const char* const memory = secret.data();  // short enough to live inside the string
  wipe(secret);
  EXPECT_TRUE(secret.empty());
  EXPECT_EQ(memory[3], '\0');
}

}  // namespace
}  // namespace tensorpatch::keys
