// delta/byte_match.h: finds which stretches of new correspond to which stretches of old, byte by
// byte.
//
// Method: Colin Percival, "Naive differences of executable code" (bsdiff): exact matches from a
// suffix array of old, extended forwards and backwards while at least half of the bytes are equal.
// A match is worth a change of alignment only when it covers more than eight bytes that the present
// alignment gets wrong; so only stretches between nine mismatches of the present alignment are ever
// looked up, and a filter of all eight-byte strings of old answers most look-ups. Identical,
// truncated and extended inputs, and insertions of fresh bytes, are matched without sorting
// anything.
//
// Bounds: time O(n log n) in old + new for any input; memory about 5 x min(window, old) plus the
// result. Inputs are read in place and may be mapped files. Deterministic.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/file.h"

namespace tensorpatch::delta {

// A stretch of new that corresponds to a stretch of old of the same size, most bytes equal.
struct Equivalence {
  uint64_t old_offset = 0;
  uint64_t new_offset = 0;
  uint64_t size = 0;

  bool operator==(const Equivalence&) const = default;
};

// What the search did, for tests and tuning.
struct ByteMatchStats {
  uint64_t indexed = 0;   // bytes of old that were sorted
  uint64_t searches = 0;  // binary searches in a suffix array
  uint64_t compared = 0;  // bytes compared, filter look-ups included at one each
};

struct ByteMatchOptions {
  // Bytes of old that are indexed at once, clamped to [4 KiB, 1 GiB]. In a larger old, content that
  // moved by less than a quarter of the window from its proportional place is found as in a small
  // one; content that moved further is found when longer than about 64 x old / window bytes, at
  // least 64.
  uint64_t window = uint64_t{64} << 20;
  ByteMatchStats* stats = nullptr;  // filled when not null
};

// Equivalences in ascending, disjoint offsets of new, none smaller than eight bytes. Two neighbours
// never have the same alignment (old_offset - new_offset) with a small gap between them: they are
// one.
std::vector<Equivalence> match_bytes(base::Bytes old_bytes, base::Bytes new_bytes,
                                     const ByteMatchOptions& options = {});

}  // namespace tensorpatch::delta
