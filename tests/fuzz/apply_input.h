// tests/fuzz/apply_input.h: what the bytes of a fuzz input for the applier mean.
//
// Bytes 0..7: bite size, work limit, flags, new size (u16), share of the stream that is component
// 0's (of 255), history, slots and value level, number of edits. Then the edits, three bytes each:
// where in the statement (u16, wraps), new byte. The rest is patch stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace tensorpatch::test {

inline constexpr size_t kFuzzHeader = 8;
enum FuzzFlag : uint8_t {
  kFuzzVerifyOnly = 1,
  kFuzzErases = 2,
  kFuzzTwoComponents = 4,
  kFuzzPages = 8,  // erase size 32, write size 8
};
// In byte 6: seven value slots and column numbers, for operations that need them.
inline constexpr uint8_t kFuzzSpecial = 32;

}  // namespace tensorpatch::test
