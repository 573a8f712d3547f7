// toolkit/signing.h: where signatures come from, opened before the long work that they end.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "keys/keys.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

Result<std::vector<keys::PublicKey>> parse_ring(const std::vector<std::string>& texts);

// A signer whose keys have been read: passwords asked for, files understood.
class OpenSigner {
 public:
  static Result<OpenSigner> open(const Signer& signer);
  Result<keys::Signature> sign(base::Bytes message) const;
  const keys::PublicKey& public_key() const { return public_key_; }

 private:
  std::optional<keys::PrivateKey> key_;
  std::string command_;
  keys::PublicKey public_key_;
};

}  // namespace tensorpatch::toolkit
