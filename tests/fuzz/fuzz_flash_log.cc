// tests/fuzz/fuzz_flash_log.cc: a log of records, and the state of two slots in it, on flash that
// holds anything: what is loaded was a record, what is saved is loaded again, and after a power cut
// the record before or the new one.
//
// Byte 0: word size (3 bits), erased value, ECC, MAC, pages (2 bits). Byte 1: how many things the
// flash holds, each: kind (bit 0: a record with a right check, bit 1: with a right tag), page, word
// in the page, sequence (4 bytes), size and that many bytes. The rest are events, two bytes each.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include "apply/wire.h"
#include "support/flash_port.h"
#include "tensorpatch/slots.h"

namespace tensorpatch::test {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kPageSize = 256;
constexpr size_t kHeaderSize = 12;  // of a record

void require(bool ok) {
  if (!ok) std::abort();
}

// The bytes of an input, zeros behind its end.
struct Input {
  const uint8_t* data;
  size_t size;

  uint8_t byte() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
  Bytes bytes(size_t count) {
    Bytes taken(count);
    for (uint8_t& each : taken) each = byte();
    return taken;
  }
};

// Any function of all bytes will do.
int compute_tag(void*, const uint8_t* data, size_t size, uint8_t tag[TENSORPATCH_FLASH_TAG_SIZE]) {
  uint64_t state = size;
  for (size_t i = 0; i < size; ++i) state = (state ^ data[i]) * 0x100000001B3u;
  for (size_t i = 0; i < TENSORPATCH_FLASH_TAG_SIZE; ++i) {
    tag[i] = static_cast<uint8_t>(next_random(state));
  }
  return 0;
}

uint32_t crc32(const Bytes& data) {
  uint32_t crc = UINT32_MAX;
  for (const uint8_t byte : data) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

Bytes make_record(uint32_t sequence, const Bytes& data, bool has_tag) {
  Bytes record = {'T', 'P', 'L', 1};
  record.resize(kHeaderSize);
  wire::write_u32(record.data() + 4, sequence);
  wire::write_u16(record.data() + 8, static_cast<uint16_t>(data.size()));
  record.insert(record.end(), data.begin(), data.end());
  std::array<uint8_t, TENSORPATCH_FLASH_TAG_SIZE> tag{};
  if (has_tag) compute_tag(nullptr, record.data(), record.size(), tag.data());
  record.insert(record.end(), tag.begin(), tag.end());
  const uint32_t crc = crc32(record);
  record.resize(record.size() + 4);
  wire::write_u32(record.data() + record.size() - 4, crc);
  return record;
}

class LogDevice {
 public:
  explicit LogDevice(Input& input) : flash_(geometry_of(input.byte(), has_mac_), 1) {
    port_ = flash_port(flash_);
    uint8_t count = input.byte() % 16;
    for (; count != 0; --count) put(input);
  }

  void run(Input& input) {
    restart();
    while (input.size != 0) {
      const uint8_t event = input.byte(), value = input.byte();
      if ((event & 8) != 0) flash_.cut_power(flash_.operations() + 1 + value % 3, kCuts[value % 6]);
      if ((event & 16) != 0) fail_soon(event, value);
      switch (event % 4) {
        case 0:
          save(Bytes(1 + value % TENSORPATCH_FLASH_MAX_RECORD_SIZE, event));
          break;
        case 1:
          note(tensorpatch_flash_log_clear(&log_), {});
          break;
        case 2:
          use_slots(value);
          break;
        default:
          restart();
          break;
      }
      if (!flash_.has_power()) restart();
    }
    require(flash_.misuse().empty());
  }

 private:
  static FlashGeometry geometry_of(uint8_t choice, bool& has_mac) {
    has_mac = (choice & 32) != 0;
    FlashGeometry made;
    made.page_size = kPageSize;
    made.page_count = 2u + (choice >> 6);
    made.write_size = std::min(1u << (choice & 7), 32u);
    made.erased_value = (choice & 8) != 0 ? 0x00 : 0xFF;
    made.has_ecc = (choice & 16) != 0;
    return made;
  }

  // Something that the flash holds from before.
  void put(Input& input) {
    const uint8_t kind = input.byte();
    const uint64_t page = input.byte() % flash_.geometry().page_count;
    const uint64_t word = input.byte() % (kPageSize / flash_.geometry().write_size);
    const uint32_t sequence = wire::read_u32(input.bytes(4).data());
    Bytes data = input.bytes(input.byte() % (TENSORPATCH_FLASH_MAX_RECORD_SIZE + 1));
    const bool has_tag = (kind & 2) != 0;
    if ((kind & 3) == 3) proven_.insert(data);
    if ((kind & 1) != 0) data = make_record(sequence, data, has_tag);
    const uint64_t offset = page * kPageSize + word * flash_.geometry().write_size;
    data.resize(std::min<uint64_t>(data.size(), flash_.size() - offset));
    data.resize(data.size() / flash_.geometry().write_size * flash_.geometry().write_size);
    if (!data.empty()) flash_.fill(offset, data);
  }

  void fail_soon(uint8_t event, uint8_t value) {
    has_fault_ = true;
    if ((event & 32) != 0) flash_.fail_read(flash_.reads() + 1 + value % 5);
    if ((event & 32) == 0) flash_.fail_operation(flash_.operations() + 1 + value % 3);
  }

  std::optional<Bytes> load() const {
    Bytes data(log_.newest_size);
    void* const log = const_cast<tensorpatch_flash_log*>(&log_);
    if (tensorpatch_flash_log_load(log, data.data(), data.size()) != 0) return {};
    return data;
  }

  // No fault is left afterwards.
  void restart() {
    flash_.power_on();
    flash_.fail_operation(0);
    flash_.fail_read(0);
    has_fault_ = false;
    log_ = {};
    log_.flash = &port_;
    log_.area = {0, flash_.size()};
    if (has_mac_) log_.mac.compute = compute_tag;
    require(tensorpatch_flash_log_open(&log_) == 0);
    const std::optional<Bytes> found = load();
    if (found.has_value() && has_mac_) require(proven_.contains(*found));
    if (is_known_) require(found == expected_ || std::ranges::count(maybe_, found) != 0);
    expected_ = found;
    maybe_.clear();
    is_known_ = true;
  }

  int save(const Bytes& data) {
    if (has_mac_) proven_.insert(data);
    const int result = tensorpatch_flash_log_save(&log_, data.data(), data.size());
    note(result, data);
    return result;
  }

  // What was to be stored, and whether it was.
  void note(int result, const std::optional<Bytes>& wanted) {
    if (result != 0) {
      require(has_fault_ || !flash_.has_power() || log_.sequence == UINT32_MAX);
      maybe_.push_back(wanted);
      return;
    }
    expected_ = wanted;
    maybe_.clear();
    if (flash_.has_power() && !has_fault_) require(load() == expected_);
  }

  void use_slots(uint8_t value) {
    const tensorpatch_slots_store store = {this, load_state, save_state};
    tensorpatch_slots slots;
    if (tensorpatch_slots_open(&slots, &store) != TENSORPATCH_SLOTS_OK) return;
    uint8_t slot = 0;
    const tensorpatch_slots before = slots;
    tensorpatch_slots_result result = tensorpatch_slots_start(&slots);
    for (; result == TENSORPATCH_SLOTS_OK && value != 0; value /= 5) {
      if (value % 5 == 1) result = tensorpatch_slots_free(&slots, &slot);
      if (value % 5 == 1 && result == TENSORPATCH_SLOTS_OK) require(slot != slots.current);
      if (value % 5 == 2) result = tensorpatch_slots_stage(&slots, value);
      if (value % 5 == 3) result = tensorpatch_slots_confirm(&slots);
      if (value % 5 == 4) result = tensorpatch_slots_reject(&slots);
    }
    require(slots.phase <= TENSORPATCH_SLOTS_TRIAL && slots.active <= 1 && slots.current <= 1);
    if (slots.current != before.active) {  // the other one: on trial, or confirmed
      require(before.phase != TENSORPATCH_SLOTS_STABLE || slots.active != before.active);
    }
  }
  static int load_state(void* context, uint8_t* record, size_t size) {
    return tensorpatch_flash_log_load(&static_cast<LogDevice*>(context)->log_, record, size);
  }
  static int save_state(void* context, const uint8_t* record, size_t size) {
    return static_cast<LogDevice*>(context)->save(Bytes(record, record + size));
  }

  bool has_mac_ = false;
  bool has_fault_ = false;  // something may fail before the next restart
  bool is_known_ = false;
  FlashSimulator flash_;
  tensorpatch_flash port_{};
  tensorpatch_flash_log log_{};
  std::optional<Bytes> expected_;
  std::vector<std::optional<Bytes>> maybe_;  // what calls that failed may have stored
  std::set<Bytes> proven_;                   // with a MAC: what may be loaded
};

}  // namespace
}  // namespace tensorpatch::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tensorpatch::test::Input input = {data, size};
  tensorpatch::test::LogDevice device(input);
  device.run(input);
  return 0;
}
