// byte_model.h: how bytes without a type are coded: graphs, metadata, text, and what no other coder
// fits.
//
// With old, each byte is first compared with the one that a pointer into old expects; a flag in
// context of how well the pointer did says whether they are equal. After a mismatch the pointer
// looks for the last four bytes of new within kResyncReach bytes of its place in old, so that it
// survives small insertions and deletions without a new operation. Bytes that differ, and all bytes
// without old, are literals:
//
// Context mixing of the bytes before: orders 0, 1, 2 and 4, the byte one row before, and a match
// model that follows the last place where the same four bytes stood. `width` and `stride` make the
// contexts aware of arrays: width is the size of an element, stride the distance of a row. Cells
// live in one table indexed by hash, without checks: a collision costs size, never correctness.
//
// With fewer than 2^10 cells only orders 0 and 1 are mixed, and without a match table no match
// model.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

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
};

struct ByteShape {
  uint8_t width_log2;  // 0..3
  uint32_t stride;     // 0: the element before
};

inline constexpr unsigned kByteInputs = 6;
inline constexpr unsigned kMatchCells = 32;
inline constexpr unsigned kSameCells = 64;
inline constexpr uint32_t kResyncReach = 64;     // farthest that a pointer into old moves at once
inline constexpr uint32_t kResyncLength = 4;     // equal bytes that it needs
inline constexpr uint32_t kResyncPatience = 32;  // bytes after a mismatch in which it looks

// What a literal run uses for old: nothing.
struct NoOld {
  int at(uint64_t /*offset*/) { return -1; }
};

struct ByteState {
  alignas(8) uint64_t old_at;  // pointer into old
  uint32_t old_run;            // equal bytes since the last mismatch
  uint32_t old_search;         // bytes for which the pointer still looks for a better place
  uint32_t match_at;           // position that the match model follows, 0 when none
  uint32_t match_length;       // bytes matched so far
  MixWeight weights[16][kByteInputs];
  Cell match_cells[kMatchCells];
  Cell same_cells[kSameCells];
};

inline void byte_state_reset(ByteState& state) {
  state.old_at = 0;
  state.old_run = 0;
  state.old_search = 0;
  state.match_at = 0;
  state.match_length = 0;
  for (auto& set : state.weights) {
    for (MixWeight& weight : set) weight = mix_start(3);
  }
  for (Cell& cell : state.match_cells) cell = kCellStart;
  for (Cell& cell : state.same_cells) cell = kCellStart;
}

// Begins the bytes of an operation.
inline void byte_state_begin(ByteState& state, uint64_t old_offset) {
  state.match_length = 0;
  state.old_at = old_offset;
  state.old_run = 0;
  state.old_search = 0;
}

template <class Coder>
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
    const int expected = old.at(s_.old_at);
    if (expected < 0) {
      ++s_.old_at;
      return code_literal(history, shape, expected, value);
    }
    const unsigned same = code_same(history, shape, static_cast<uint32_t>(expected),
                                    static_cast<unsigned>(expected) == value);
    ++s_.old_at;
    uint8_t coded = static_cast<uint8_t>(expected);
    if (same != 0) {
      ++s_.old_run;
      s_.match_length = 0;
    } else {
      coded = code_literal(history, shape, expected, value);
      s_.old_run = 0;
      s_.old_search = kResyncPatience;
    }
    if (s_.old_search != 0) resync(history, old, coded);
    return coded;
  }

 private:
  uint8_t code_literal(const History& history, const ByteShape& shape, int old, uint8_t value) {
    uint32_t slots[kByteInputs];
    make_slots(history, shape, old, slots);
    const int expected = find_match(history);
    const unsigned set = expected >= 0 ? weight_set() : old >= 0 ? 10 : 0;
    uint32_t node = 1;
    int still = expected;
    for (unsigned i = 8; i-- > 0;) {
      const unsigned bit = value >> i & 1;
      const unsigned coded = t_.cells_log2 < 10 ? code_small(slots, node, bit)
                                                : code_full(slots, node, still, i, set, bit);
      if (still >= 0 && (static_cast<unsigned>(still) >> i & 1) != coded) still = -1;
      node = node << 1 | coded;
    }
    const auto coded = static_cast<uint8_t>(node);
    note_match(history, coded, expected);
    return coded;
  }

  static uint32_t mix_hash(uint32_t a, uint32_t b) {
    uint32_t h = a * 0x9E3779B1u ^ (b + 0x7F4A7C15u) * 0x85EBCA6Bu;
    h ^= h >> 15;
    return h * 0x2C1B3C6Du;
  }

  // Whether the byte is the expected one of old.
  unsigned code_same(const History& history, const ByteShape& shape, uint32_t expected,
                     unsigned same) {
    const uint32_t run = s_.old_run < 16 ? s_.old_run : s_.old_run < 32 ? 16 : 17;
    Cell& direct = s_.same_cells[run * 3 + (s_.old_search == 0 ? 0 : s_.old_search > 24 ? 2 : 1)];
    if (t_.cells_log2 < 10) return code_bit(coder_, direct, same);
    const uint32_t phase = history.position & ((1u << shape.width_log2) - 1);
    const uint32_t near = run < 3 ? run : 3;
    Cell* const mixed[3] = {&direct, &cell(mix_hash(expected << 8 | history.back(1), 5 + near), 0),
                            &cell(mix_hash(phase << 8 | expected, 9 + near), 0)};
    return code_mixed(coder_, mixed, s_.weights[12 + near], same);
  }

  // Looks for the last bytes of new, `coded` the newest, around the pointer in old; nearest first.
  template <class Old>
  void resync(const History& history, Old& old, uint8_t coded) {
    --s_.old_search;
    const uint8_t last[kResyncLength] = {coded, history.back(1), history.back(2), history.back(3)};
    const auto fits = [&](uint64_t at) {
      for (uint32_t i = 0; i < kResyncLength; ++i) {
        if (at < i + 1 || old.at(at - i - 1) != last[i]) return false;
      }
      return true;
    };
    if (s_.old_run >= kResyncLength) {
      s_.old_search = 0;
      return;
    }
    if (fits(s_.old_at)) return;
    for (uint32_t distance = 1; distance <= kResyncReach; ++distance) {
      const bool ahead = fits(s_.old_at + distance);
      if (!ahead && (s_.old_at < distance || !fits(s_.old_at - distance))) continue;
      s_.old_at = ahead ? s_.old_at + distance : s_.old_at - distance;
      s_.old_run = 0;
      return;
    }
  }

  void make_slots(const History& history, const ByteShape& shape, int old, uint32_t* slots) const {
    const uint32_t phase = history.position & ((1u << shape.width_log2) - 1);
    const uint32_t b1 = history.back(1), b2 = history.back(2);
    const uint32_t b3 = history.back(3), b4 = history.back(4);
    const uint32_t row = shape.stride != 0 ? shape.stride : 1u << shape.width_log2;
    const uint32_t above = history.back(row);
    const uint32_t order2 = b1 | b2 << 8;
    slots[0] = mix_hash(phase, 0);
    slots[1] = mix_hash(phase << 8 | b1, 1);
    // In arrays: all of the element so far.
    slots[2] = mix_hash(phase == 3 ? order2 | b3 << 16 : order2, 2 | phase << 4);
    slots[3] = mix_hash(order2 | b3 << 16 | b4 << 24, 3);
    slots[4] = old >= 0 ? mix_hash(static_cast<uint32_t>(old) << 8 | phase, 13)
                        : mix_hash(phase << 16 | above << 8 | (phase != 0 ? b1 : above), 4);
    slots[5] = 0;
  }

  Cell& cell(uint32_t slot, uint32_t node) {
    // Two nodes of one byte never share a cell by accident of small steps: the node is spread.
    return t_.cells[(slot + node * 0x3D4D51CBu) >> (32 - t_.cells_log2)];
  }

  unsigned code_small(const uint32_t* slots, uint32_t node, unsigned bit) {
    Cell* const mixed[2] = {&cell(slots[0], node), &cell(slots[1], node)};
    return code_mixed(coder_, mixed, s_.weights[0], bit);
  }

  unsigned code_full(const uint32_t* slots, uint32_t node, int expected, unsigned i, unsigned set,
                     unsigned bit) {
    if (expected < 0) {
      Cell* const mixed[5] = {&cell(slots[0], node), &cell(slots[1], node), &cell(slots[2], node),
                              &cell(slots[3], node), &cell(slots[4], node)};
      return code_mixed(coder_, mixed, s_.weights[set == 10 ? 10 : 0], bit);
    }
    const unsigned predicted = static_cast<unsigned>(expected) >> i & 1;
    const unsigned length = s_.match_length < 15 ? s_.match_length : 15;
    Cell* const mixed[6] = {&cell(slots[0], node), &cell(slots[1], node),
                            &cell(slots[2], node), &cell(slots[3], node),
                            &cell(slots[4], node), &s_.match_cells[length * 2 + predicted]};
    return code_mixed(coder_, mixed, s_.weights[set], bit);
  }

  // The byte that the match model expects next, or -1.
  int find_match(const History& history) {
    if (t_.matches_log2 == 0 || history.position < 4) return -1;
    if (s_.match_length == 0) {
      s_.match_at = t_.matches[match_key(history)];
      if (s_.match_at == 0) return -1;
      uint32_t length = 0;  // how much really is the same
      while (length < 16 && history.back(length + 1) ==
                                history.back(history.position - s_.match_at + length + 1)) {
        ++length;
      }
      if (length < 3) return -1;
      s_.match_length = length;
    }
    const uint32_t distance = history.position - s_.match_at;
    if (distance > history.reach) {
      s_.match_length = 0;
      return -1;
    }
    return history.back(distance);
  }

  unsigned weight_set() const { return 1 + (s_.match_length < 32 ? s_.match_length / 4 : 8); }

  uint32_t match_key(const History& history) const {
    const uint32_t last = history.back(1) | static_cast<uint32_t>(history.back(2)) << 8 |
                          static_cast<uint32_t>(history.back(3)) << 16 |
                          static_cast<uint32_t>(history.back(4)) << 24;
    return (last * 0x9E3779B1u) >> (32 - t_.matches_log2);
  }

  void note_match(const History& history, uint8_t coded, int expected) {
    if (t_.matches_log2 == 0) return;
    if (expected >= 0 && static_cast<unsigned>(expected) == coded) {
      ++s_.match_length;
      ++s_.match_at;
    } else {
      s_.match_length = 0;
    }
    if (history.position >= 4) t_.matches[match_key(history)] = history.position;
  }

  Coder& coder_;
  ByteState& s_;
  const Tables& t_;
};

}  // namespace tensorpatch
