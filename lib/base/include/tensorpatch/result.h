// tensorpatch/result.h: how host functions report failure.
//
// Every function that can fail because of its input, the file system or a key returns Result<T>;
// what asserts check are our own mistakes. Nothing here throws on purpose; std::bad_alloc may pass
// through.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "tensorpatch/apply.h"

namespace tensorpatch {

// What went wrong, for a person: `message` says what was found where, `hint` (may be empty) what to
// do. Both are lower case, without a full stop.
struct Error {
  tensorpatch_status code = TENSORPATCH_E_FORMAT;
  std::string message;
  std::string hint;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(tensorpatch_status code, std::string message,
                                  std::string hint = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(hint)});
}

}  // namespace tensorpatch
