// tests/keys/external_signer_test.cc: signatures by other programs, and all the ways in which they
// fail.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>

#include "keys/keys.h"
#include "keys/rfc8032.h"
#include "support/temp_folder.h"

namespace tensorpatch::keys {
namespace {

using test::as_bytes;
using test::no_password;
using test::TempFolder;
using test::write_file;

// A folder with the right signature over `message` in a file, and the key that made it.
class ExternalSigner : public testing::Test {
 protected:
  ExternalSigner() {
    const auto& bytes = key_.sign(as_bytes(message_)).bytes;
    write_file(folder_ / "right", std::string(bytes.begin(), bytes.end()));
  }

  // No child is left behind, running or dead, whatever happened.
  void TearDown() override {
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  Result<Signature> sign(const std::string& command,
                         std::chrono::milliseconds patience = std::chrono::seconds(60)) const {
    return sign_with_command(command, key_.public_key(), as_bytes(message_), patience);
  }

  // Runs `script` by sh, with the path of the right signature as $1.
  Result<Signature> sign_by_script(const std::string& script, std::chrono::milliseconds patience =
                                                                  std::chrono::seconds(60)) const {
    write_file(folder_ / "script.sh", script);
    return sign("sh " + path("script.sh") + " " + path("right"), patience);
  }

  void expect_failure(const Result<Signature>& result, const std::string& said) const {
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, TENSORPATCH_E_SIGNER);
    EXPECT_NE(result.error().message.find(said), std::string::npos) << result.error().message;
  }

  TempFolder folder_;
  PrivateKey key_ = PrivateKey::parse(test::kPrivatePem, no_password).value();
  std::string message_ = "bytes to sign";
};

TEST_F(ExternalSigner, GetsTheMessageAndItsSignatureIsReturned) {
  const auto signature = sign_by_script("cat >\"$1.seen\"; cat \"$1\"");
  ASSERT_TRUE(signature.has_value()) << signature.error().message;
  EXPECT_EQ(signature->algorithm, TENSORPATCH_ED25519);
  EXPECT_EQ(signature->key, hint_of(key_.public_key()));
  EXPECT_TRUE(verify(key_.public_key(), as_bytes(message_), *signature));
  EXPECT_EQ(test::read_file(folder_ / "right.seen"), message_);
}

TEST_F(ExternalSigner, OpensslSignsFromStandardInput) {
  write_file(folder_ / "key.pem", key_.to_pem());
  const auto signature =
      sign("openssl pkeyutl -sign -rawin -in /dev/stdin -inkey " + path("key.pem"));
  ASSERT_TRUE(signature.has_value()) << signature.error().message;
  EXPECT_EQ(signature->bytes, key_.sign(as_bytes(message_)).bytes);
}

TEST_F(ExternalSigner, WordsAreSplitAtQuotesAndBackslashes) {
  std::filesystem::create_directory(folder_ / "a b");
  std::filesystem::copy_file(folder_ / "right", folder_ / "a b" / "it's $HOME \\n");
  const std::string folder = folder_.path().string();
  for (const std::string& word :
       {"'" + folder + "/a b/it'\\''s $HOME \\n'", "\"" + folder + "/a b/it's \\$HOME \\n\"",
        folder + "/a\\ b/it\\'s\\ $HOME\\ \\\\n", folder + "/'a b'/\"it's\"' $HOME \\n'"}) {
    const auto signature = sign("  cat\t" + word + "  ");
    EXPECT_TRUE(signature.has_value()) << word << ": " << signature.error().message;
  }
  const auto two_words = sign("cat '' " + path("right"));  // an empty word stays a word
  expect_failure(two_words, "exited with status 1");
}

TEST_F(ExternalSigner, NoShellRunsTheCommand) {
  expect_failure(sign("cat " + path("right") + " ; true"), "exited with status 1");
  expect_failure(sign("cat $HOME"), "$HOME");
  expect_failure(sign("cat " + path("ri*")), "exited with status 1");
}

TEST_F(ExternalSigner, CommandsThatCannotBeSplitAreUsageErrors) {
  for (const std::string& command :
       {std::string(), std::string(" \t\n"), std::string("cat 'a"), std::string("cat \"a\\\""),
        std::string("cat a\\"), std::string("cat\0 a", 6)}) {
    const auto signature = sign(command);
    ASSERT_FALSE(signature.has_value()) << command;
    EXPECT_EQ(signature.error().code, TENSORPATCH_E_USAGE);
  }
}

TEST_F(ExternalSigner, DoesNotExist) {
  expect_failure(sign("tensorpatch-no-such-signer --now"), "cannot be started");
  expect_failure(sign(path("right")), "cannot be started");  // not executable
}

TEST_F(ExternalSigner, ExitStatusAndStandardErrorAreReported) {
  const auto result =
      sign_by_script("cat \"$1\"; printf 'token\\033[31m is\\nlocked\\n' >&2; exit 7");
  expect_failure(result, "exited with status 7: token [31m is locked");
  expect_failure(sign_by_script("kill -9 $$"), "was ended by signal 9");
}

TEST_F(ExternalSigner, OnlyTheEndOfALongStandardErrorIsShown) {
  const auto result = sign_by_script(
      "i=0; while [ $i -lt 20000 ]; do echo noise $i; i=$((i+1)); done >&2; echo at last >&2; exit "
      "1");
  expect_failure(result, "at last");
  EXPECT_LT(result.error().message.size(), 1000U);
  // What a signer says while it succeeds is no failure, however much it is.
  EXPECT_TRUE(sign_by_script("head -c 300000 /dev/zero >&2; cat \"$1\"").has_value());
}

TEST_F(ExternalSigner, WrongSignaturesAreNotReturned) {
  expect_failure(sign_by_script("head -c 64 /dev/zero"), "does not verify");
  const auto other = PrivateKey::generate().value();
  const auto signature =
      sign_with_command("cat " + path("right"), other.public_key(), as_bytes(message_));
  expect_failure(signature, "does not verify");
  EXPECT_FALSE(signature.error().hint.empty());
}

TEST_F(ExternalSigner, WrongSizes) {
  expect_failure(sign("true"), "wrote 0 bytes");
  expect_failure(sign_by_script("head -c 63 \"$1\""), "wrote 63 bytes");
  expect_failure(sign_by_script("cat \"$1\"; echo"), "wrote 65 bytes");
  expect_failure(sign_by_script("base64 -w0 \"$1\""), "wrote 88 bytes");
}

TEST_F(ExternalSigner, WritesTooMuch) {
  expect_failure(sign_by_script("head -c 4096 /dev/zero"), "wrote 4096 bytes");
  expect_failure(sign_by_script("head -c 4097 /dev/zero"), "wrote more than 4096 bytes");
  expect_failure(sign("cat /dev/zero"), "wrote more than 4096 bytes");  // and is stopped
}

TEST_F(ExternalSigner, NeverReadsStandardInput) {
  message_.assign(1 << 20, 'm');  // more than any pipe holds
  const auto& bytes = key_.sign(as_bytes(message_)).bytes;
  write_file(folder_ / "right", std::string(bytes.begin(), bytes.end()));
  EXPECT_TRUE(sign_by_script("exec <&-; cat \"$1\"").has_value());
  expect_failure(sign("true"), "wrote 0 bytes");
}

TEST_F(ExternalSigner, LongMessagesArriveWhole) {
  message_.assign(1 << 20, 'm');
  const auto& bytes = key_.sign(as_bytes(message_)).bytes;
  write_file(folder_ / "right", std::string(bytes.begin(), bytes.end()));
  EXPECT_TRUE(sign_by_script("[ $(wc -c) -eq 1048576 ] && cat \"$1\"").has_value());
}

TEST_F(ExternalSigner, NeverFinishes) {
  using std::chrono::milliseconds;
  const auto begin = std::chrono::steady_clock::now();
  expect_failure(sign("sleep 600", milliseconds(200)), "did not finish in time");
  // Closing its output does not let it stay either.
  expect_failure(sign_by_script("exec >&- 2>&-; exec sleep 600", milliseconds(400)),
                 "did not finish in time");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

}  // namespace
}  // namespace tensorpatch::keys
