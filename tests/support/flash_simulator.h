// tests/support/flash_simulator.h: raw flash in memory, as strict as the worst chip, with power
// cuts.
//
// A word (write size) is programmed once; only erasing its page makes it ready again. What a cut
// has touched counts as programmed even where it looks erased, a page whose erase was cut as well:
// who decides by reading whether flash is blank is caught. Wrong use (unaligned, outside,
// programmed twice) fails and is kept in misuse(). The same seed and calls give the same bytes.
// Copies are independent, so that a prepared flash can begin many schedules.
//
// Operations are writes and erases, counted from 1 since construction, also over power cuts.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tensorpatch::test {

struct FlashGeometry {
  uint32_t page_size = 256;
  uint32_t page_count = 16;
  uint32_t write_size = 4;
  uint8_t erased_value = 0xFF;
  bool has_ecc = false;  // reading a word that a cut has torn gives kDamaged
};

// Where in an operation the power goes. The bytes before are done, those behind are not; what lies
// there is garbage with kGarbage.
enum class Cut : uint8_t { kBefore, kFirstByte, kMiddle, kLastByte, kGarbage, kAfter };
inline constexpr Cut kCuts[] = {Cut::kBefore,   Cut::kFirstByte, Cut::kMiddle,
                                Cut::kLastByte, Cut::kGarbage,   Cut::kAfter};
const char* cut_name(Cut cut);

// One number from a seed; advances it (SplitMix64).
uint64_t next_random(uint64_t& seed);

class FlashSimulator {
 public:
  static constexpr int kFailed = -1;  // no power, a broken page, a fault, wrong use
  static constexpr int kDamaged = 1;  // the chip is well, the data are not

  FlashSimulator(const FlashGeometry& geometry, uint64_t seed);

  // Each returns 0, kFailed or kDamaged. Writes are of whole words, erases of whole pages.
  int read(uint64_t offset, uint8_t* data, size_t size);
  int write(uint64_t offset, const uint8_t* data, size_t size);
  int erase(uint64_t offset, uint64_t size);

  // Arms one power cut in the operation of that number. Afterwards every call fails until power_on.
  void cut_power(uint64_t operation, Cut cut);
  void power_on();
  bool has_power() const { return has_power_; }

  // The operation of that number fails and leaves garbage, the read of that number fails; 0: none.
  void fail_operation(uint64_t operation) { failing_operation_ = operation; }
  void fail_read(uint64_t read) { failing_read_ = read; }
  // Writes and erases of this page fail from now on.
  void break_page(uint32_t page) { broken_pages_.push_back(page); }

  const FlashGeometry& geometry() const { return geometry_; }
  uint64_t size() const { return bytes_.size(); }
  uint64_t operations() const { return writes_ + erases_; }
  uint64_t writes() const { return writes_; }
  uint64_t erases() const { return erases_; }
  uint64_t reads() const { return reads_; }
  const std::string& misuse() const { return misuse_; }

  // Past the counters and faults: what a place holds, and filling it (erased, then programmed).
  const uint8_t* at(uint64_t offset) const { return bytes_.data() + offset; }
  void fill(uint64_t offset, const std::vector<uint8_t>& data);

 private:
  enum Word : uint8_t { kErased, kProgrammed, kTorn };

  bool inside(uint64_t offset, uint64_t size) const;
  bool begin_operation(uint64_t offset, uint64_t size, Cut* cut);
  int fail(const char* why);
  size_t cut_point(Cut cut, uint64_t size);
  void tear_write(Cut cut, uint64_t offset, const uint8_t* data, size_t size);
  void tear_erase(Cut cut, uint64_t offset, uint64_t size);
  void put_garbage(uint64_t offset, uint64_t size);
  void mark(uint64_t offset, uint64_t size, Word word);

  FlashGeometry geometry_;
  std::vector<uint8_t> bytes_;
  std::vector<uint8_t> words_;  // a Word for each
  uint64_t seed_;
  uint64_t writes_ = 0;
  uint64_t erases_ = 0;
  uint64_t reads_ = 0;
  uint64_t cut_operation_ = 0;
  Cut cut_ = Cut::kBefore;
  uint64_t failing_operation_ = 0;
  uint64_t failing_read_ = 0;
  std::vector<uint32_t> broken_pages_;
  bool has_power_ = true;
  std::string misuse_;
};

}  // namespace tensorpatch::test
