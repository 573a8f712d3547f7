// tests/support/flash_simulator.cc: see flash_simulator.h. Random numbers: SplitMix64 by Steele,
// Lea and Flood.
// SPDX-License-Identifier: Apache-2.0
#include "support/flash_simulator.h"

#include <algorithm>
#include <cstring>

namespace tensorpatch::test {

const char* cut_name(Cut cut) {
  switch (cut) {
    case Cut::kBefore:
      return "before";
    case Cut::kFirstByte:
      return "first byte";
    case Cut::kMiddle:
      return "middle";
    case Cut::kLastByte:
      return "last byte";
    case Cut::kGarbage:
      return "garbage";
    case Cut::kAfter:
      break;
  }
  return "after";
}

uint64_t next_random(uint64_t& seed) {
  seed += 0x9E3779B97F4A7C15u;
  uint64_t value = seed;
  value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
  value = (value ^ value >> 27) * 0x94D049BB133111EBu;
  return value ^ value >> 31;
}

FlashSimulator::FlashSimulator(const FlashGeometry& geometry, uint64_t seed)
    : geometry_(geometry),
      bytes_(uint64_t{geometry.page_size} * geometry.page_count, geometry.erased_value),
      words_(bytes_.size() / geometry.write_size, kErased),
      seed_(seed) {}

bool FlashSimulator::inside(uint64_t offset, uint64_t size) const {
  return offset <= bytes_.size() && size <= bytes_.size() - offset;
}

int FlashSimulator::fail(const char* why) {
  if (misuse_.empty()) misuse_ = why;
  return kFailed;
}

void FlashSimulator::cut_power(uint64_t operation, Cut cut) {
  cut_operation_ = operation;
  cut_ = cut;
}

void FlashSimulator::power_on() {
  has_power_ = true;
}

void FlashSimulator::fill(uint64_t offset, const std::vector<uint8_t>& data) {
  std::copy(data.begin(), data.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
  mark(offset, data.size(), kProgrammed);
}

int FlashSimulator::read(uint64_t offset, uint8_t* data, size_t size) {
  ++reads_;
  if (!has_power_ || reads_ == failing_read_) return kFailed;
  if (!inside(offset, size)) return fail("read outside of the flash");
  if (geometry_.has_ecc && size != 0) {
    const uint64_t first = offset / geometry_.write_size;
    const uint64_t last = (offset + size - 1) / geometry_.write_size;
    if (std::memchr(words_.data() + first, kTorn, last - first + 1) != nullptr) return kDamaged;
  }
  if (size != 0) std::memcpy(data, bytes_.data() + offset, size);
  return 0;
}

// Counts the operation and says whether anything of it happens.
bool FlashSimulator::begin_operation(uint64_t offset, uint64_t size, Cut* cut) {
  *cut = Cut::kAfter;
  const bool is_cut = operations() == cut_operation_;
  if (is_cut) has_power_ = false;
  if (is_cut) *cut = cut_;
  if (operations() == failing_operation_ && !is_cut) *cut = Cut::kGarbage;
  if (*cut == Cut::kBefore) return false;
  return std::none_of(broken_pages_.begin(), broken_pages_.end(), [&](uint32_t page) {
    const uint64_t begin = uint64_t{page} * geometry_.page_size;
    return offset < begin + geometry_.page_size && begin < offset + size;
  });
}

int FlashSimulator::write(uint64_t offset, const uint8_t* data, size_t size) {
  if (!has_power_) return kFailed;
  if (!inside(offset, size) || size == 0) return fail("write outside of the flash");
  if (offset % geometry_.write_size != 0 || size % geometry_.write_size != 0) {
    return fail("write of no whole words");
  }
  const auto word = words_.begin() + static_cast<std::ptrdiff_t>(offset / geometry_.write_size);
  const auto words = static_cast<std::ptrdiff_t>(size / geometry_.write_size);
  if (std::any_of(word, word + words, [](uint8_t state) { return state != kErased; })) {
    return fail("write into words that are not erased");
  }
  ++writes_;
  Cut cut;
  if (!begin_operation(offset, size, &cut)) return kFailed;
  if (cut != Cut::kAfter) {
    tear_write(cut, offset, data, size);
  } else {
    std::memcpy(bytes_.data() + offset, data, size);
    mark(offset, size, kProgrammed);
  }
  return has_power_ && cut == Cut::kAfter ? 0 : kFailed;
}

int FlashSimulator::erase(uint64_t offset, uint64_t size) {
  if (!has_power_) return kFailed;
  if (!inside(offset, size) || size == 0) return fail("erase outside of the flash");
  if (offset % geometry_.page_size != 0 || size % geometry_.page_size != 0) {
    return fail("erase of no whole pages");
  }
  ++erases_;
  Cut cut;
  if (!begin_operation(offset, size, &cut)) return kFailed;
  if (cut != Cut::kAfter) {
    tear_erase(cut, offset, size);
  } else {
    std::memset(bytes_.data() + offset, geometry_.erased_value, size);
    mark(offset, size, kErased);
  }
  return has_power_ && cut == Cut::kAfter ? 0 : kFailed;
}

// How many bytes of an operation are done when the power goes.
size_t FlashSimulator::cut_point(Cut cut, uint64_t size) {
  if (cut == Cut::kFirstByte || size == 1) return 1;
  if (cut == Cut::kMiddle) return size / 2;
  if (cut == Cut::kLastByte) return size - 1;
  return next_random(seed_) % size;
}

void FlashSimulator::tear_write(Cut cut, uint64_t offset, const uint8_t* data, size_t size) {
  const size_t done = cut_point(cut, size);
  std::memcpy(bytes_.data() + offset, data, done);
  mark(offset, done, kProgrammed);
  if (cut == Cut::kGarbage) {
    put_garbage(offset + done, size - done);
    return;
  }
  const size_t whole = done - done % geometry_.write_size;
  if (whole != size) mark(offset + whole, geometry_.write_size, kTorn);
}

void FlashSimulator::tear_erase(Cut cut, uint64_t offset, uint64_t size) {
  const size_t done = cut_point(cut, size);
  std::memset(bytes_.data() + offset, geometry_.erased_value, done);
  const uint64_t whole = done - done % geometry_.page_size;
  mark(offset, whole, kErased);
  if (whole == size) return;
  if (cut == Cut::kGarbage) {
    put_garbage(offset + done, whole + geometry_.page_size - done);
  }
  mark(offset + whole, geometry_.page_size, kTorn);
}

void FlashSimulator::put_garbage(uint64_t offset, uint64_t size) {
  for (uint64_t i = offset; i < offset + size; ++i) {
    bytes_[i] = static_cast<uint8_t>(next_random(seed_) >> 56);
  }
  mark(offset, size, kTorn);
}

// Marks every word that the range touches.
void FlashSimulator::mark(uint64_t offset, uint64_t size, Word word) {
  if (size == 0) return;
  const uint64_t first = offset / geometry_.write_size;
  const uint64_t last = (offset + size - 1) / geometry_.write_size;
  std::memset(words_.data() + first, word, last - first + 1);
}

}  // namespace tensorpatch::test
