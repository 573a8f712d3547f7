// delta/entropy_encoder.h: the encoding half of lib/apply/entropy_decoder.h, and a counter of its
// cost.
//
// Both have the interface that the shared models call: code(probability, bit) and raw(value, bits),
// each returning what it was given.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace tensorpatch::delta {

class RangeEncoder {
 public:
  unsigned code(uint32_t probability, unsigned bit) {
    const uint32_t bound = (range_ >> 16) * probability;
    if (bit != 0) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    normalize();
    return bit;
  }

  uint32_t raw(uint32_t value, unsigned bits) {
    range_ >>= bits;
    low_ += uint64_t{value} * range_;
    normalize();
    return value;
  }

  // Ends the stream with the fewest bytes that decode right when zeros follow, and returns it.
  std::vector<uint8_t> finish() {
    for (unsigned kept = 0; kept <= 4; ++kept) {
      const uint64_t mask = kept == 4 ? 0 : (uint64_t{1} << (8 * (4 - kept))) - 1;
      const uint64_t value = (low_ + mask) & ~mask;
      if (value - low_ < range_) {
        low_ = value;
        break;
      }
    }
    for (int i = 0; i < 5; ++i) shift_low();
    while (!out_.empty() && out_.back() == 0) out_.pop_back();
    return std::move(out_);
  }

  size_t size() const { return out_.size() + pending_; }

 private:
  void normalize() {
    while (range_ < 1u << 24) {
      range_ <<= 8;
      shift_low();
    }
  }

  // Moves the top byte of low out; a run of 0xFF waits, since a carry may still change it.
  void shift_low() {
    if (low_ < 0xFF000000u || low_ > 0xFFFFFFFFu) {
      const auto carry = static_cast<uint8_t>(low_ >> 32);
      if (begun_) out_.push_back(static_cast<uint8_t>(cache_ + carry));
      begun_ = true;
      for (; pending_ > 0; --pending_) out_.push_back(static_cast<uint8_t>(0xFF + carry));
      cache_ = static_cast<uint8_t>(low_ >> 24);
    } else {
      ++pending_;
    }
    low_ = (low_ & 0x00FFFFFFu) << 8;
  }

  uint64_t low_ = 0;
  uint32_t range_ = 0xFFFFFFFFu;
  uint8_t cache_ = 0;
  bool begun_ = false;
  size_t pending_ = 0;
  std::vector<uint8_t> out_;
};

// Adds up what the range coder would need, in 1/65536 bit, without making bytes.
class CostCounter {
 public:
  unsigned code(uint32_t probability, unsigned bit) {
    cost_ += table()[(bit != 0 ? probability : 65536 - probability) >> 4];
    return bit;
  }
  uint32_t raw(uint32_t value, unsigned bits) {
    cost_ += uint64_t{bits} << 16;
    return value;
  }
  uint64_t cost() const { return cost_; }
  uint64_t bytes() const { return (cost_ + (8u << 16) - 1) >> 19; }

 private:
  // Cost of a bit whose probability is (i + 0.5) / 4096. The table is made once, in plain
  // arithmetic whose rounding cannot differ in the result's last place by more than choices
  // tolerate: std::log2 of exactly representable values, rounded to 1/65536.
  static const std::array<uint32_t, 4097>& table() {
    static const std::array<uint32_t, 4097> costs = [] {
      std::array<uint32_t, 4097> made{};
      for (size_t i = 0; i < made.size(); ++i) {
        made[i] = static_cast<uint32_t>(
            std::lround(-std::log2((static_cast<double>(i) + 0.5) / 4096.5) * 65536.0));
      }
      return made;
    }();
    return costs;
  }
  uint64_t cost_ = 0;
};

// What a trial found before it changed it.
struct TrialNote {
  uint32_t* word;
  uint32_t before;
};
using TrialNotes = std::vector<TrialNote>;

// A CostCounter that can note what a trial does to the tables of the bytes codec, and undo it.
class TrialCounter : public CostCounter {
 public:
  // Trials within trials share the notes.
  void note_changes(TrialNotes& notes) {
    notes_ = &notes;
    first_ = notes.size();
  }
  void touch(uint32_t* word) {
    if (notes_ != nullptr) notes_->push_back({word, *word});
  }
  void undo() {
    if (notes_ == nullptr) return;
    for (; notes_->size() > first_; notes_->pop_back())
      *notes_->back().word = notes_->back().before;
  }

 private:
  TrialNotes* notes_ = nullptr;
  size_t first_ = 0;
};

}  // namespace tensorpatch::delta
