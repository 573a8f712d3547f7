// digest_test.cc: SHA-256 on the examples of FIPS 180-4, whole and in pieces.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/digest.h"

#include <gtest/gtest.h>

#include <string_view>

namespace tensorpatch::bundle {
namespace {

base::Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(Digest, KnownAnswers) {
  EXPECT_EQ(to_hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(bytes_of("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, PiecesGiveTheSameAndFinishStartsAfresh) {
  Sha256 hash;
  hash.update(bytes_of("a"));
  hash.update({});
  hash.update(bytes_of("bc"));
  EXPECT_EQ(hash.finish(), sha256(bytes_of("abc")));
  hash.update(bytes_of("x"));
  EXPECT_EQ(hash.finish(), sha256(bytes_of("x")));
  EXPECT_EQ(hash.finish(), sha256({}));
}

}  // namespace
}  // namespace tensorpatch::bundle
