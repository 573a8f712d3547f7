// wire.h: little-endian reads and writes, and small memory helpers. Bounds are the caller's to
// check.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace tensorpatch::wire {

inline uint16_t read_u16(const uint8_t* p) {
  return static_cast<uint16_t>(p[0] | p[1] << 8);
}

inline uint32_t read_u32(const uint8_t* p) {
  return p[0] | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 |
         static_cast<uint32_t>(p[3]) << 24;
}

inline uint64_t read_u64(const uint8_t* p) {
  return read_u32(p) | static_cast<uint64_t>(read_u32(p + 4)) << 32;
}

inline void write_u16(uint8_t* p, uint16_t v) {
  p[0] = static_cast<uint8_t>(v);
  p[1] = static_cast<uint8_t>(v >> 8);
}

inline void write_u32(uint8_t* p, uint32_t v) {
  write_u16(p, static_cast<uint16_t>(v));
  write_u16(p + 2, static_cast<uint16_t>(v >> 16));
}

inline void write_u64(uint8_t* p, uint64_t v) {
  write_u32(p, static_cast<uint32_t>(v));
  write_u32(p + 4, static_cast<uint32_t>(v >> 32));
}

// 2^log2, or 0, which no limit may be, where that has more than 32 bits.
inline uint32_t power_of_two(uint8_t log2) {
  return log2 < 32 ? uint32_t{1} << log2 : 0;
}

inline bool is_zero(const uint8_t* p, size_t size) {
  uint8_t any = 0;
  for (size_t i = 0; i < size; ++i) any = static_cast<uint8_t>(any | p[i]);
  return any == 0;
}

}  // namespace tensorpatch::wire
