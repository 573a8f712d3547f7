// delta/bsdiff40.h: patches in the classic format of bsdiff 4, "BSDIFF40".
//
// Layout, integers as 64-bit sign and magnitude, little-endian: the magic, the sizes of the
// compressed control and difference streams, the size of new; then three bzip2 streams: control
// (triples: bytes to add to old, bytes of extra to insert, signed move in old), differences, extra.
// The format has no digest: a wrong old file gives a wrong new file.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/file.h"
#include "delta/byte_match.h"

namespace tensorpatch::delta {

// The compressed patch is held in memory before it is written. Deterministic.
Result<void> write_bsdiff40(base::Bytes old_bytes, base::Bytes new_bytes, base::Sink& patch,
                            const ByteMatchOptions& options = {});

// Any patch may be given. Bytes outside old read as zero, as in bspatch. Everything else that is
// not a patch from the first byte to the last is E_FORMAT: sizes that are negative or too large, a
// stream that ends too early, bytes left over. `out` never gets more than the size that the header
// declares, but may have got some bytes when an error is returned. Memory is constant.
Result<void> apply_bsdiff40(base::Bytes old_bytes, base::Bytes patch, base::Sink& out);

}  // namespace tensorpatch::delta
