// tests/keys/programs_test.cc: keys and signatures exchanged with openssl, signify, minisign and an
// HSM.
//
// The programs come from the packages openssl, signify-openbsd, minisign, opensc and softhsm2; a
// missing one is a failure. minisign's default protection takes 1 GiB of memory and a few seconds.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "keys/keys.h"
#include "keys/rfc8032.h"
#include "keys/shell.h"
#include "support/temp_folder.h"

namespace tensorpatch::keys {
namespace {

using test::as_bytes;
using test::no_password;
using test::read_file;
using test::shell;
using test::TempFolder;
using test::to_hex;
using test::write_file;

constexpr const char* kMessage = "the bytes that are signed\n";

class Programs : public testing::Test {
 protected:
  Programs() { write_file(folder_ / "message", kMessage); }

  void run(const std::string& script) {
    const auto result = shell(folder_, script);
    ASSERT_EQ(result.status, 0) << script << "\n" << result.output;
  }

  void write_signature(const std::vector<uint8_t>& bytes) {
    write_file(folder_ / "signature", std::string(bytes.begin(), bytes.end()));
  }

  PrivateKey read_private(const std::string& name) {
    return PrivateKey::parse(read_file(folder_ / name), no_password).value();
  }
  PublicKey read_public(const std::string& name) {
    return parse_public_key(read_file(folder_ / name)).value();
  }

  // minisign's and signify's signature files carry the key number of the public key that they
  // belong to.
  std::vector<uint8_t> numbered(const PublicKey& key, const Signature& signature) {
    std::vector<uint8_t> payload = {'E', 'd'};
    payload.insert(payload.end(), key.id.begin(), key.id.begin() + 8);
    payload.insert(payload.end(), signature.bytes.begin(), signature.bytes.end());
    return payload;
  }

  TempFolder folder_;
};

TEST_F(Programs, OpensslKeySignsForOpenssl) {
  run("openssl genpkey -algorithm ed25519 -out key.pem\n"
      "openssl pkey -in key.pem -pubout -out key.pub");
  const PrivateKey key = read_private("key.pem");
  EXPECT_EQ(format_public_key(key.public_key(), PublicKeyFormat::kPem).value(),
            read_file(folder_ / "key.pub"));
  EXPECT_EQ(key.to_pem(), read_file(folder_ / "key.pem"));
  EXPECT_EQ(read_public("key.pub").bytes, key.public_key().bytes);

  const std::string check =
      "openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in message -sigfile signature";
  Signature signature = key.sign(as_bytes(kMessage));
  write_signature(signature.bytes);
  run(check);
  signature.bytes[5] ^= 1;
  write_signature(signature.bytes);
  EXPECT_NE(shell(folder_, check).status, 0);
}

TEST_F(Programs, OpensslSignatureVerifies) {
  run("openssl genpkey -algorithm ed25519 -out key.pem\n"
      "openssl pkeyutl -sign -inkey key.pem -rawin -in message -out signature");
  const PublicKey key = read_private("key.pem").public_key();
  const std::string bytes = read_file(folder_ / "signature");
  const Signature signature{TENSORPATCH_ED25519, hint_of(key), {bytes.begin(), bytes.end()}};
  EXPECT_TRUE(verify(key, as_bytes(kMessage), signature));
  EXPECT_FALSE(verify(key, as_bytes("other bytes"), signature));
}

TEST_F(Programs, OpensslReadsOurKeysAndTheKeyIdIsTheDigestOfItsDer) {
  const PrivateKey key = PrivateKey::generate().value();
  write_file(folder_ / "key.pem", key.to_pem());
  write_file(folder_ / "ours.pub",
             format_public_key(key.public_key(), PublicKeyFormat::kPem).value());
  run("openssl pkey -in key.pem -check -pubout -out theirs.pub\n"
      "tail -n 3 theirs.pub | cmp - ours.pub\n"
      "openssl pkey -pubin -in ours.pub -pubout -outform DER | sha256sum | cut -c 1-64 >id");
  EXPECT_EQ(read_file(folder_ / "id"), to_hex(key.public_key().id) + "\n");
}

TEST_F(Programs, KeysOfOtherKindsMadeByOpensslAreRefusedByName) {
  run("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa\n"
      "openssl pkey -in rsa -pubout -out rsa.pub\n"
      "openssl pkey -in rsa -traditional -out rsa1\n"
      "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256\n"
      "openssl ecparam -genkey -name secp384r1 -out p384\n"
      "openssl genpkey -algorithm ed448 -out ed448\n"
      "openssl pkey -in ed448 -pubout -out ed448.pub\n"
      "openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret -out encrypted\n"
      "openssl genpkey -algorithm ed25519 -outform DER -out der\n");
  const struct {
    const char* file;
    const char* named;
  } kPrivate[] = {{"rsa", "an RSA private key"},
                  {"rsa1", "an RSA private key"},
                  {"p256", "a P-256 private key"},
                  {"p384", "an elliptic curve private key"},
                  {"ed448", "an Ed448 private key"},
                  {"encrypted", "an encrypted private key"},
                  {"der", "DER"}};
  for (const auto& a_case : kPrivate) {
    const auto key = PrivateKey::parse(read_file(folder_ / a_case.file), no_password);
    ASSERT_FALSE(key.has_value()) << a_case.file;
    EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY);
    EXPECT_NE(key.error().message.find(a_case.named), std::string::npos) << key.error().message;
    EXPECT_FALSE(key.error().hint.empty());
  }
  const struct {
    const char* file;
    const char* named;
  } kPublic[] = {{"rsa.pub", "an RSA public key"}, {"ed448.pub", "an Ed448 public key"}};
  for (const auto& a_case : kPublic) {
    const auto key = parse_public_key(read_file(folder_ / a_case.file));
    ASSERT_FALSE(key.has_value()) << a_case.file;
    EXPECT_NE(key.error().message.find(a_case.named), std::string::npos) << key.error().message;
  }
}

// What openssl signs is DER, the curve's numbers without a fixed size: many keys and messages.
TEST_F(Programs, OpensslSignsWithP256) {
  run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256\n"
      "openssl pkey -in p256 -pubout -out p256.pub\n"
      "openssl pkey -pubin -in p256.pub -outform DER | sha256sum | cut -c 1-64 >id");
  const PublicKey key = read_public("p256.pub");
  EXPECT_EQ(format_public_key(key, PublicKeyFormat::kPem).value(), read_file(folder_ / "p256.pub"));
  EXPECT_EQ(read_file(folder_ / "id"), to_hex(key.id) + "\n");
  const std::string command =
      "openssl pkeyutl -sign -inkey " + (folder_ / "p256").string() + " -rawin -in /dev/stdin";
  for (int i = 0; i < 8; ++i) {
    const std::string message = kMessage + std::to_string(i);
    auto signature = sign_with_command(command, key, as_bytes(message));
    ASSERT_TRUE(signature.has_value()) << signature.error().message;
    EXPECT_EQ(signature->algorithm, TENSORPATCH_ECDSA_P256_SHA256);
    ASSERT_EQ(signature->bytes.size(), 64u);
    EXPECT_FALSE(verify(key, as_bytes(kMessage), *signature));
    signature->bytes[static_cast<size_t>(i) * 8] ^= 1;
    EXPECT_FALSE(verify(key, as_bytes(message), *signature));
    signature->bytes.assign(64, 0);
    EXPECT_FALSE(verify(key, as_bytes(message), *signature));
  }
  // The wrong key, and something that is no signature.
  run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other\n"
      "openssl pkey -in other -pubout -out other.pub");
  const auto wrong = sign_with_command(command, read_public("other.pub"), as_bytes(kMessage));
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, TENSORPATCH_E_SIGNER);
  const auto text = sign_with_command("printf hello", key, as_bytes(kMessage));
  ASSERT_FALSE(text.has_value());
  EXPECT_NE(text.error().message.find("DER or has 64"), std::string::npos) << text.error().message;
}

TEST_F(Programs, SignifyKeySignsForSignify) {
  run("signify-openbsd -G -n -p key.pub -s key.sec");
  const PrivateKey key = read_private("key.sec");
  EXPECT_EQ(read_public("key.pub").bytes, key.public_key().bytes);
  write_file(folder_ / "ours.pub",
             format_public_key(key.public_key(), PublicKeyFormat::kSignify).value());

  const std::string check = "signify-openbsd -V -p ours.pub -m message -x message.sig";
  Signature signature = key.sign(as_bytes(kMessage));
  const auto write_signature_file = [&] {
    write_file(folder_ / "message.sig", "untrusted comment: verify with ours.pub\n" +
                                            test::base64(numbered(key.public_key(), signature)) +
                                            "\n");
  };
  write_signature_file();
  run(check);
  signature.bytes[63] ^= 1;
  write_signature_file();
  EXPECT_NE(shell(folder_, check).status, 0);
}

TEST_F(Programs, SignifyKeyWithPasswordIsRefused) {
  run("printf 'secret\\nsecret\\n' | signify-openbsd -G -p key.pub -s key.sec");
  const auto key = PrivateKey::parse(read_file(folder_ / "key.sec"), no_password);
  ASSERT_FALSE(key.has_value());
  EXPECT_EQ(key.error().code, TENSORPATCH_E_KEY);
  EXPECT_NE(key.error().message.find("password"), std::string::npos);
  EXPECT_NE(key.error().hint.find("--signer-cmd"), std::string::npos);
}

TEST_F(Programs, MinisignKeyWithoutPasswordSignsForMinisign) {
  run("minisign -G -W -p key.pub -s key.sec");
  const PrivateKey key = read_private("key.sec");
  EXPECT_EQ(read_public("key.pub").bytes, key.public_key().bytes);
  write_file(folder_ / "ours.pub",
             format_public_key(key.public_key(), PublicKeyFormat::kMinisign).value());

  // A minisign file: the signature, then a second one over the first and the trusted comment.
  const Signature signature = key.sign(as_bytes(kMessage));
  const std::string comment = "a comment";
  std::vector<uint8_t> both = signature.bytes;
  both.insert(both.end(), comment.begin(), comment.end());
  write_file(folder_ / "message.minisig", "untrusted comment: x\n" +
                                              test::base64(numbered(key.public_key(), signature)) +
                                              "\ntrusted comment: " + comment + "\n" +
                                              test::base64(key.sign(both).bytes) + "\n");
  run("minisign -V -p ours.pub -m message");
  write_file(folder_ / "message", "other bytes");
  EXPECT_NE(shell(folder_, "minisign -V -p ours.pub -m message").status, 0);
}

TEST_F(Programs, MinisignKeyWithPassword) {
  run("printf 'open sesame\\nopen sesame\\n' | minisign -G -p key.pub -s key.sec");
  const std::string text = read_file(folder_ / "key.sec");
  const auto key = PrivateKey::parse(text, []() -> Result<std::string> { return "open sesame"; });
  ASSERT_TRUE(key.has_value()) << key.error().message;
  EXPECT_EQ(read_public("key.pub").bytes, key->public_key().bytes);
  EXPECT_TRUE(verify(read_public("key.pub"), as_bytes("m"), key->sign(as_bytes("m"))));

  const auto wrong = PrivateKey::parse(text, []() -> Result<std::string> { return "sesame"; });
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, TENSORPATCH_E_KEY);
  EXPECT_NE(wrong.error().message.find("wrong password"), std::string::npos);
}

// A SoftHSM token of its own, with an Ed25519 key that cannot leave it.
class Hsm : public Programs {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_ / "tokens");
    write_file(folder_ / "softhsm2.conf",
               "directories.tokendir = " + (folder_ / "tokens").string() +
                   "\nobjectstore.backend = file\nlog.level = ERROR\n");
    setenv("SOFTHSM2_CONF", (folder_ / "softhsm2.conf").c_str(), 1);
    run("softhsm2-util --init-token --free --label fleet --pin 1234 --so-pin 5678\n" + kTool +
        "--login --pin 1234 --keypairgen --key-type EC:edwards25519 --id 0a --label release\n" +
        kTool + "--read-object --type pubkey --id 0a --output-file hsm.pub");
  }
  void TearDown() override {
    for (const char* name : {"SOFTHSM2_CONF", "HSM_MODULE", "HSM_TOKEN", "HSM_KEY_ID", "HSM_PIN"}) {
      unsetenv(name);
    }
  }

  void use_wrapper() {
    setenv("HSM_MODULE", kModule, 1);
    setenv("HSM_TOKEN", "fleet", 1);
    setenv("HSM_KEY_ID", "0a", 1);
    setenv("HSM_PIN", "1234", 1);
  }

  static constexpr const char* kModule = "/usr/lib/softhsm/libsofthsm2.so";
  const std::string kTool =
      std::string("pkcs11-tool --module ") + kModule + " --token-label fleet ";
  const std::string kWrapper = std::string("'") + TENSORPATCH_HSM_SIGNER + "'";
};

TEST_F(Hsm, SignsThroughTheExampleWrapper) {
  use_wrapper();
  const PublicKey key = read_public("hsm.pub");
  const std::string longest(TENSORPATCH_MAX_MESSAGE_SIZE, 'm');
  for (const std::string& message : {std::string(kMessage), longest}) {
    const auto signature = sign_with_command(kWrapper, key, as_bytes(message));
    ASSERT_TRUE(signature.has_value()) << signature.error().message;
    EXPECT_TRUE(verify(key, as_bytes(message), *signature));
  }
}

TEST_F(Hsm, SignsByPkcs11ToolItself) {
  const PublicKey key = read_public("hsm.pub");
  const auto signature = sign_with_command(
      kTool + "--login --pin 1234 --sign --mechanism EDDSA --id 0a", key, as_bytes(kMessage));
  ASSERT_TRUE(signature.has_value()) << signature.error().message;
  write_signature(signature->bytes);
  run("openssl pkeyutl -verify -pubin -inkey hsm.pub -rawin -in message -sigfile signature");
}

TEST_F(Hsm, WrongPinAndWrongKeyAreRefused) {
  use_wrapper();
  const PublicKey key = read_public("hsm.pub");
  const auto of_another_key =
      sign_with_command(kWrapper, PrivateKey::generate().value().public_key(), as_bytes(kMessage));
  ASSERT_FALSE(of_another_key.has_value());
  EXPECT_EQ(of_another_key.error().code, TENSORPATCH_E_SIGNER);

  setenv("HSM_PIN", "4321", 1);
  const auto wrong_pin = sign_with_command(kWrapper, key, as_bytes(kMessage));
  ASSERT_FALSE(wrong_pin.has_value());
  EXPECT_EQ(wrong_pin.error().code, TENSORPATCH_E_SIGNER);
  EXPECT_NE(wrong_pin.error().message.find("CKR_PIN_INCORRECT"), std::string::npos)
      << wrong_pin.error().message;

  unsetenv("HSM_TOKEN");
  const auto not_set = sign_with_command(kWrapper, key, as_bytes(kMessage));
  ASSERT_FALSE(not_set.has_value());
  EXPECT_NE(not_set.error().message.find("HSM_TOKEN"), std::string::npos)
      << not_set.error().message;
}

}  // namespace
}  // namespace tensorpatch::keys
