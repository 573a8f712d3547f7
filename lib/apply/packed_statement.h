// packed_statement.h: the statement as bundles store it, its runs of zero bytes left out.
//
// A control byte c below 128: c + 1 bytes follow as they are; from 128 on: c - 127 zero bytes.
// docs/FORMAT.md section 1.2. Nothing here is authentic yet, so the reader only bounds what it
// writes.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string.h>

#include "format.h"

namespace tensorpatch {

// How far a statement is unpacked.
struct PackedStatement {
  uint16_t size = 0;   // bytes of the statement so far
  uint8_t copies = 0;  // stored bytes that follow as they are
};

// Takes one stored byte. `statement` has room for kMaxStatementSize bytes; false where they do not
// suffice.
inline bool unpack_statement(PackedStatement& packed, uint8_t stored, uint8_t* statement) {
  if (packed.copies != 0) {
    --packed.copies;
    statement[packed.size++] = stored;
    return true;
  }
  const bool is_zeros = stored >= 128;
  const uint8_t count = static_cast<uint8_t>((stored & 127) + 1);
  if (count > format::kMaxStatementSize - packed.size) return false;
  if (is_zeros) {
    memset(statement + packed.size, 0, count);
    packed.size = static_cast<uint16_t>(packed.size + count);
  } else {
    packed.copies = count;
  }
  return true;
}

// Whether it is the size of a header and 1 to 6 components.
inline bool statement_size_valid(size_t size) {
  return size >= format::header::kSize + format::component::kSize &&
         size <= format::kMaxStatementSize &&
         (size - format::header::kSize) % format::component::kSize == 0;
}

// Whether it ended between runs, at the end of a component.
inline bool statement_is_whole(const PackedStatement& packed) {
  return packed.copies == 0 && statement_size_valid(packed.size);
}

}  // namespace tensorpatch
