// bundle/digest.h: SHA-256 on the host, by libcrypto.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/file.h"

namespace tensorpatch::bundle {

using Digest = std::array<uint8_t, 32>;

// One digest at a time: update any number of times, finish once; then it starts afresh.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(base::Bytes data);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(base::Bytes data);

// Lower-case hex digits, two a byte.
std::string to_hex(base::Bytes data);

}  // namespace tensorpatch::bundle
