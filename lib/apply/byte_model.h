// byte_model.h: how bytes without a type are coded: graphs, metadata, text, and what no other coder
// fits.
//
// With old, each byte is first compared with the one that a pointer into old expects; a flag in
// context of how well the pointer did says whether they are equal. A pointer that lost its way
// first tries what was right the last time (so many bytes of new for so many of old), then looks
// for the last four bytes of new within kResyncReach bytes of its place, then in what was learnt of
// old: so it survives insertions, deletions and moves without a new operation. Bytes that differ,
// and all bytes without old, are literals:
//
// Context mixing of the bytes before (orders 0, 1, 2 and 4; in large tables 3, 6 and words of four
// bytes too), the byte of old, the byte one row before, and a match model that follows the last
// place where the same three bytes stood, and goes on behind bytes that differ until it knows a
// better one. `width` and `stride` make the contexts aware of arrays: width is the size of an
// element, stride the distance of a row. Two sets of weights are added up, one chosen by what is
// known of the contexts, one by the place in the element. Cells live in one table indexed by hash,
// with four bits that tell contexts apart; a collision costs size, never correctness.
//
// An operation may first *learn* a stretch of old: the model is trained on it as if it stood in new
// before, and the match model finds places in it.
//
// With fewer than 2^10 cells only orders 0 and 1 are mixed, and without a match table no match
// model.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "entropy_model.h"

namespace tensorpatch {

// Bytes of new that were written before, in the decoder's ring or in the encoder's file.
struct History {
  const uint8_t* bytes;
  uint32_t mask;      // of an index into bytes: a ring's size - 1, or all ones
  uint32_t reach;     // largest distance that may be asked for: the ring's size - 1
  uint32_t position;  // of the next byte, counted from the last restart point

  // The byte `distance` (>= 1) before; 0 when it is out of reach or before the restart point.
  uint8_t back(uint32_t distance) const {
    return distance <= position && distance <= reach ? bytes[(position - distance) & mask]
                                                     : uint8_t{0};
  }
  // The byte `before` bytes before the one at `distance`, which must be in reach.
  int followed(uint32_t distance, uint32_t before) const {
    return distance > reach ? -1 : back(distance + before);
  }
};

inline constexpr uint8_t kStructures = 3;  // instead of a width: parts lie at multiples of 4

struct ByteShape {
  uint8_t width_log2;  // 0..2, or kStructures
  uint8_t intra;       // 1: no pointer into old
  uint32_t stride;     // 0: the element before

  uint32_t element() const { return 1u << (width_log2 < 2 ? width_log2 : 2); }
  uint32_t phase(uint32_t position) const { return position & (element() - 1); }
};

inline constexpr unsigned kMixedCells = 10;   // log2: fewer cells use two contexts and little state
inline constexpr unsigned kStrongCells = 14;  // log2: from here on, eleven contexts
inline constexpr unsigned kByteInputs = kMaxMixed;
inline constexpr uint32_t kCheckMask = 15u << 6;  // of a hashed cell: bits of its context's hash
inline constexpr unsigned kRuns = 18;             // contexts of how well the pointer did,
inline constexpr unsigned kTrusts = 5;            // and of what it is doing
inline constexpr uint32_t kResyncReach = 64;      // farthest that a pointer moves at once by itself
inline constexpr uint32_t kResyncLength = 4;      // equal bytes that it needs
inline constexpr uint32_t kJumpLength = 6;        // equal bytes for a jump to what was learnt
inline constexpr uint32_t kResyncPatience = 32;   // bytes after a mismatch in which it looks
inline constexpr uint32_t kMaxLearnSize = 1u << 30;
inline constexpr uint32_t kLearnt = 1u << 31;   // of a place in the match table: in learnt old
inline constexpr uint32_t kMatchLength = 3;     // equal bytes that the match model needs
inline constexpr uint32_t kMatchPatience = 16;  // bytes that differ until it gives up
inline constexpr MixWeight kByteWeight = 15000;

// What only tables of 2^kMixedCells cells and more use.
struct ByteMixer {
  MixWeight known[19][kByteInputs];  // by what is known of the contexts
  MixWeight phase[32][kByteInputs];  // added: by the place in the element
  MixWeight same_run[4][4];          // the same for the flag
  MixWeight same_other[11][4];
  Cell match[32];
  Cell other[11 * 4];
};

struct ByteState {
  alignas(8) uint64_t old_at;       // pointer into old
  uint64_t anchor_old;              // where it was when it lost its way
  uint64_t learnt;                  // offset in old of the stretch that was learnt last
  uint32_t anchor;                  // position in new when the pointer lost its way
  uint32_t anchor_gap;              // from the time before
  uint32_t shift_new;               // when it was found again: bytes of new that stood
  uint32_t shift_old;               // for so many of old
  uint32_t guessed;                 // 1: the pointer was moved and is not confirmed yet
  uint32_t old_run;                 // equal bytes since the last mismatch
  uint32_t old_search;              // bytes for which the pointer still looks for a better place
  uint32_t match_at;                // place that the match model follows, 0 when none
  uint32_t match_length;            // bytes matched so far
  uint32_t match_missed;            // bytes that differed since it found the place
  uint32_t learning;                // 1: nothing is coded
  Cell forgotten[kByteInputs - 1];  // see ByteModel::cell; here to spare the stack
  Cell same[kRuns * kTrusts];
  MixWeight small[2][2];
  ByteMixer mixer;  // absent in small tables
};

inline uint32_t byte_state_size(unsigned cells_log2) {
  return static_cast<uint32_t>(cells_log2 < kMixedCells ? offsetof(ByteState, mixer)
                                                        : sizeof(ByteState));
}

inline void byte_state_reset(ByteState& state, unsigned cells_log2) {
  memset(&state, 0, byte_state_size(cells_log2));
  // The longer the run, the likelier it goes on.
  for (uint32_t i = 0; i < kRuns * kTrusts; ++i) {
    state.same[i] = ((1u << 22) - (1u << 21) / (1 + i / kTrusts)) << 10 | 4;
  }
  state.small[0][0] = state.small[0][1] = kByteWeight;
  if (cells_log2 < kMixedCells) return;
  for (auto& set : state.mixer.known) {
    for (MixWeight& weight : set) weight = kByteWeight;
  }
  for (auto& set : state.mixer.same_run) {
    for (MixWeight& weight : set) weight = kByteWeight;
  }
  for (Cell& cell : state.mixer.match) cell = kCellStart;
  for (Cell& cell : state.mixer.other) cell = kCellStart;
}

// Begins the bytes of an operation.
inline void byte_state_begin(ByteState& state, uint64_t old_offset) {
  state.match_at = 0;
  state.match_length = 0;
  state.match_missed = 0;
  state.old_at = old_offset;
  state.old_run = 0;
  state.old_search = 0;
  state.guessed = 0;
}

// Without `Full` for small tables only: fewer than 2^kStrongCells cells and no match table.
template <class Coder, bool Full = true>
class ByteModel {
 public:
  struct Tables {
    Cell* cells;
    unsigned cells_log2;
    uint32_t* matches;
    unsigned matches_log2;  // 0: no match model
  };

  ByteModel(Coder& coder, ByteState& state, const Tables& tables)
      : coder_(coder), s_(state), t_(tables) {}

  template <class Old>
  uint8_t code_byte(const History& history, const ByteShape& shape, Old& old, uint8_t value) {
    const Past<Old> past{&history, old, 0, history.position};
    const int expected = shape.intra != 0 ? -1 : old.at(s_.old_at);
    if (expected < 0) {
      ++s_.old_at;
      return code_literal(past, past.position, shape, expected, value);
    }
    const int other = s_.old_search != 0 ? find_match(past, past.position) : -1;
    const unsigned same = code_same(past, shape, static_cast<uint32_t>(expected), other,
                                    static_cast<unsigned>(expected) == value);
    ++s_.old_at;
    uint8_t coded = static_cast<uint8_t>(expected);
    if (same != 0) {
      ++s_.old_run;
      if (s_.old_search != 0) {
        note_match(past, past.position, coded, other);
      } else {
        s_.match_length = s_.match_at = 0;
      }
    } else {
      if (s_.old_search == 0 || s_.old_run >= kResyncLength - 1) {
        s_.anchor_gap = past.position - s_.anchor;
        s_.anchor = past.position;
        s_.anchor_old = s_.old_at - 1;
        s_.guessed = 0;
      }
      coded = code_literal(past, past.position, shape, expected, value);
      s_.old_run = 0;
      s_.old_search = kResyncPatience;
    }
    if (s_.old_search != 0) resync(past, coded);
    return coded;
  }

  // Learns the byte at old's `offset` as if it were a literal of new.
  template <class Old>
  void learn(const ByteShape& shape, Old& old, uint64_t offset) {
    s_.learning = 1;
    const auto position = static_cast<uint32_t>(offset - s_.learnt);
    const Past<Old> past{nullptr, old, offset, position};
    code_literal(past, position | kLearnt, shape, -1, static_cast<uint8_t>(old.at(offset)));
    s_.learning = 0;
  }

 private:
  bool has_matches() const { return Full && t_.matches_log2 != 0; }

  // The bytes before the one at hand: of new, or of the stretch of old that is learnt.
  template <class Old>
  struct Past {
    const History* history;  // null: learnt
    Old& old;
    uint64_t offset;  // learnt: in old
    uint32_t position;
    uint8_t back(uint32_t distance) const {
      if (history != nullptr) return history->back(distance);
      const int byte = distance <= offset ? old.at(offset - distance) : -1;
      return byte >= 0 ? static_cast<uint8_t>(byte) : uint8_t{0};
    }
    // While old is learnt, new is not here.
    int followed(uint32_t distance, uint32_t before) const {
      return history != nullptr ? history->followed(distance, before) : -1;
    }
  };

  // `place`: what the match table holds for this byte.
  template <class Old>
  uint8_t code_literal(const Past<Old>& past, uint32_t place, const ByteShape& shape, int old,
                       uint8_t value) {
    uint32_t slots[kByteInputs];
    const int expected = find_match(past, place);
    const unsigned count = make_slots(past, shape, {old, expected}, slots);
    const uint32_t phase = shape.phase(past.position);
    uint32_t node = 1;
    int still = t_.cells_log2 < kMixedCells ? -1 : expected;
    for (unsigned i = 8; i-- > 0;) {
      const unsigned bit = value >> i & 1;
      Cell* mixed[kByteInputs];
      unsigned seen = 0;  // contexts of order 2 and more that are not new
      for (unsigned k = 0; k < count; ++k) {
        mixed[k] = &cell(slots[k], node, k);
        if (k >= 2 && k < 6 && (*mixed[k] & 63) != 0) ++seen;
      }
      unsigned coded;
      if (still >= 0) {
        const unsigned predicted = static_cast<unsigned>(still) >> i & 1;
        const unsigned length = s_.match_length < 15 ? s_.match_length : 15;
        mixed[count] = &s_.mixer.match[length * 2 + predicted];
        const unsigned set = s_.match_length < 32 ? s_.match_length / 4 : 8;
        coded = mix({mixed, count + 1, s_.mixer.known[set], s_.mixer.phase[phase * 8 + i]}, bit);
        if (predicted != coded) still = -1;
      } else if (t_.cells_log2 < kMixedCells) {
        coded = mix({mixed, count, s_.small[0], s_.small[1]}, bit);
      } else {
        const unsigned set = 9 + (old >= 0 ? 5 : 0) + seen;
        coded = mix({mixed, count, s_.mixer.known[set], s_.mixer.phase[phase * 8 + i]}, bit);
      }
      node = node << 1 | coded;
    }
    const auto coded = static_cast<uint8_t>(node);
    note_match(past, place, coded, expected);
    return coded;
  }

  unsigned mix(const Mix& mix, unsigned bit) {
    return code_mixed(s_.learning == 0 ? &coder_ : nullptr, mix, bit);
  }

  static uint32_t mix_hash(uint32_t a, uint32_t b) {
    uint32_t h = a * 0x9E3779B1u ^ (b + 0x7F4A7C15u) * 0x85EBCA6Bu;
    h ^= h >> 15;
    return h * 0x2C1B3C6Du;
  }

  // Whether the byte is the expected one of old; `other`: what the match model expects, or -1.
  template <class Old>
  unsigned code_same(const Past<Old>& past, const ByteShape& shape, uint32_t expected, int other,
                     unsigned same) {
    const uint32_t run = s_.old_run < 16 ? s_.old_run : s_.old_run < 32 ? 16 : 17;
    const uint32_t trust = trust_of(past.position);
    Cell& direct = s_.same[run * kTrusts + trust];
    if (t_.cells_log2 < kMixedCells) return code_bit(coder_, direct, same);
    const uint32_t phase = shape.phase(past.position);
    const uint32_t near = run < 3 ? run : 3;
    const uint32_t salt = near + 16 * trust;
    const uint32_t length = s_.match_length < 16 ? s_.match_length / 4 : 4;
    const uint32_t agrees =
        other < 0 ? 0 : 2 * length + (static_cast<uint32_t>(other) == expected ? 1 : 2);
    Cell* const mixed[4] = {&direct, &cell(mix_hash(expected << 8 | past.back(1), 5 + salt), 0, 0),
                            &cell(mix_hash(phase << 8 | expected, 9 + salt), 0, 1),
                            &s_.mixer.other[agrees * 4 + near]};
    return mix({mixed, 4, s_.mixer.same_run[near], s_.mixer.same_other[agrees]}, same);
  }

  // What the pointer is doing.
  uint32_t trust_of(uint32_t position) const {
    if (s_.old_search == 0) return 0;
    if (s_.guessed != 0) return 1;
    if (position - s_.anchor < s_.shift_new) return 2;
    return s_.old_search > 24 ? 3 : 4;
  }

  // After a byte, `coded`: a pointer that lost its way looks for a better place.
  template <class Old>
  void resync(const Past<Old>& past, uint8_t coded) {
    --s_.old_search;
    if (s_.old_run >= kResyncLength) s_.old_search = 0;
    if (s_.old_run != 0 || shift_again(past, coded)) return;
    const Recent<Old> recent{past, coded};
    if (fits(recent, s_.old_at, kResyncLength)) return;
    for (uint32_t distance = 1; distance <= kResyncReach; ++distance) {
      const bool ahead = fits(recent, s_.old_at + distance, kResyncLength);
      if (!ahead && (s_.old_at < distance || !fits(recent, s_.old_at - distance, kResyncLength))) {
        continue;
      }
      s_.old_at = ahead ? s_.old_at + distance : s_.old_at - distance;
      note_shift(past);
      return;
    }
    if (!has_matches()) return;
    const uint32_t place = t_.matches[match_key(recent)];
    if ((place & kLearnt) == 0) return;
    const uint64_t far = s_.learnt + (place & ~kLearnt);
    if (!fits(recent, far, kJumpLength)) return;
    s_.old_at = far;
    s_.guessed = 1;
  }

  // The bytes of new up to `coded`, which is not in the past yet.
  template <class Old>
  struct Recent {
    const Past<Old>& past;
    uint8_t coded;
    uint8_t back(uint32_t distance) const {
      return distance == 1 ? coded : past.back(distance - 1);
    }
  };

  // Whether `count` bytes of old before the offset are the last of new.
  template <class Old>
  static bool fits(const Recent<Old>& recent, uint64_t offset, uint32_t count) {
    for (uint32_t i = 1; i <= count; ++i) {
      if (offset < i || recent.past.old.at(offset - i) != recent.back(i)) return false;
    }
    return true;
  }

  // Tries the last shift, once for each time that the pointer lost its way.
  template <class Old>
  bool shift_again(const Past<Old>& past, uint8_t coded) {
    if (s_.guessed != 0) return false;
    const uint64_t behind = s_.anchor_old + s_.shift_old;
    const bool only_deleted = s_.shift_new == 0;
    if (past.position + 1 - s_.anchor != (only_deleted ? 1 : s_.shift_new)) return false;
    if (only_deleted && (s_.shift_old == 0 || past.old.at(behind) != coded)) return false;
    s_.old_at = behind + (only_deleted ? 1 : 0);
    s_.guessed = 1;
    return true;
  }

  // The pointer was found again: how many bytes of new since the anchor stood for how many of old?
  // What is equal right before the place is not among them.
  template <class Old>
  void note_shift(const Past<Old>& past) {
    const uint32_t since = past.position + 1 - s_.anchor;
    uint32_t equal = kResyncLength;
    while (equal < since && s_.old_at > s_.anchor_old + equal &&
           past.old.at(s_.old_at - equal - 1) == past.back(equal)) {
      ++equal;
    }
    if (s_.old_at < s_.anchor_old + equal || equal > since) return;
    s_.shift_new = since - equal;
    s_.shift_old = static_cast<uint32_t>(s_.old_at - s_.anchor_old) - equal;
  }

  struct Expected {
    int old, match;  // the byte, or -1
  };
  template <class Old>
  unsigned make_slots(const Past<Old>& past, const ByteShape& shape, const Expected& expected,
                      uint32_t* slots) const {
    const uint32_t phase = shape.phase(past.position);
    const uint32_t b1 = past.back(1), b2 = past.back(2);
    const uint32_t b3 = past.back(3), b4 = past.back(4);
    const uint32_t above = past.back(shape.stride != 0 ? shape.stride : shape.element());
    const uint32_t order2 = b1 | b2 << 8;
    const uint32_t order4 = order2 | b3 << 16 | b4 << 24;
    slots[0] = mix_hash(phase, 0);
    slots[1] = mix_hash(phase << 8 | b1, 1);
    if (t_.cells_log2 < kMixedCells) return 2;
    // In arrays: all of the element so far.
    slots[2] = mix_hash(phase == 3 ? order2 | b3 << 16 : order2, 2 | phase << 4);
    slots[3] = mix_hash(order4, 3);
    slots[4] = expected.old >= 0
                   ? mix_hash(static_cast<uint32_t>(expected.old) << 8 | phase, 13)
                   : mix_hash(phase << 16 | above << 8 | (phase != 0 ? b1 : above), 4);
    if (!Full || t_.cells_log2 < kStrongCells || shape.width_log2 == 2) return 5;
    slots[5] = mix_hash(order4 << 8, 5);
    slots[6] =
        mix_hash(order4, mix_hash(past.back(5) | static_cast<uint32_t>(past.back(6)) << 8, 6));
    slots[7] = mix_hash(b2 | b3 << 8, 7);
    if (s_.old_search != 0 && expected.old >= 0 && s_.anchor_gap != 0) {
      const uint32_t since = past.position - s_.anchor;
      slots[7] = mix_hash(past.back(s_.anchor_gap) | b1 << 8, 8 | (since < 15 ? since : 15) << 4);
    }
    slots[8] = mix_hash((past.position & 3) << 16 | b4 << 8 | past.back(8), 21);
    const uint32_t length = s_.match_length < 15 ? s_.match_length : 15;
    const uint32_t match =
        expected.match < 0 ? 0 : 1 << 16 | static_cast<uint32_t>(expected.match) << 8 | length;
    slots[9] = mix_hash(match, 22);
    slots[10] = mix_hash(match, 23 | b1 << 8);
    return 11;
  }

  // Small tables share their cells. In others, one of another context gives way when it was used
  // once at most; otherwise it ages, and
  // `input` works with a cell that is forgotten at once.
  Cell& cell(uint32_t slot, uint32_t node, unsigned input) {
    // Two nodes of one byte never share a cell by accident of small steps: the node is spread.
    const uint32_t h = slot + node * 0x3D4D51CBu;
    Cell& found = t_.cells[h >> (32 - t_.cells_log2)];
    const uint32_t check = (h ^ (slot << 5)) & kCheckMask;
    if constexpr (requires { coder_.touch(&found); }) coder_.touch(&found);
    if ((found & kCheckMask) == check || t_.cells_log2 < kMixedCells) return found;
    if ((found & 63) <= 1) {
      found = kCellStart | check;
      return found;
    }
    found -= 1;
    s_.forgotten[input] = kCellStart;
    return s_.forgotten[input];
  }

  // The byte that the match model expects next, or -1.
  template <class Old>
  int find_match(const Past<Old>& past, uint32_t place) {
    if (!has_matches() || place < 4) return -1;
    if (s_.match_length == 0) {
      const uint32_t followed = s_.match_at;
      s_.match_at = t_.matches[match_key(past)];
      s_.match_length = s_.match_at == 0 ? 0 : equal_before(past);
      if (s_.match_length >= kMatchLength) {
        s_.match_missed = 0;
      } else {
        s_.match_length = 0;
        s_.match_at = s_.match_missed <= kMatchPatience ? followed : 0;
        if (s_.match_at == 0) return -1;
      }
    }
    const int byte = matched_byte(past, 0);
    if (byte < 0) s_.match_length = s_.match_at = 0;
    return byte;
  }

  // How many bytes before the place that is followed are those before this one, at most 16.
  template <class Old>
  uint32_t equal_before(const Past<Old>& past) const {
    uint32_t length = 0;
    while (length < 16 && past.back(length + 1) == matched_byte(past, length + 1)) {
      ++length;
    }
    return length;
  }

  // The byte `before` bytes before the place that is followed.
  template <class Old>
  int matched_byte(const Past<Old>& past, uint32_t before) const {
    if ((s_.match_at & kLearnt) != 0) {
      return past.old.at(s_.learnt + (s_.match_at & ~kLearnt) - before);
    }
    return past.followed(past.position - s_.match_at, before);
  }

  // Of the last kMatchLength bytes.
  template <class Bytes>
  uint32_t match_key(const Bytes& past) const {
    const uint32_t word = static_cast<uint32_t>(past.back(1)) << 8 |
                          static_cast<uint32_t>(past.back(2)) << 16 |
                          static_cast<uint32_t>(past.back(3)) << 24;
    return (word * 0x9E3779B1u) >> (32 - t_.matches_log2);
  }

  template <class Old>
  void note_match(const Past<Old>& past, uint32_t place, uint8_t coded, int expected) {
    if (!has_matches()) return;
    if (expected >= 0) {
      ++s_.match_at;
      if (static_cast<unsigned>(expected) == coded) {
        ++s_.match_length;
      } else {
        s_.match_length = 0;
        ++s_.match_missed;
      }
    }
    if (place < 4) return;
    uint32_t& entry = t_.matches[match_key(past)];
    if constexpr (requires { coder_.touch(&entry); }) coder_.touch(&entry);
    entry = place;
  }

  Coder& coder_;
  ByteState& s_;
  const Tables& t_;
};

}  // namespace tensorpatch
