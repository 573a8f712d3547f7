// tests/ports/flash_test.cc: the log of records and the model areas on simulated flash; whole
// updates with power cuts are in tests/faults.
// SPDX-License-Identifier: Apache-2.0
#include "tensorpatch/ports/flash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "support/bundle_builder.h"
#include "support/flash_port.h"

namespace tensorpatch::test {
namespace {

// A log in all of a flash, opened anew with every object.
struct Log {
  explicit Log(FlashSimulator& flash) : port(flash_port(flash)) {
    log.flash = &port;
    log.area = {0, flash.size()};
  }
  int open() { return tensorpatch_flash_log_open(&log); }
  int save(const Bytes& data) { return tensorpatch_flash_log_save(&log, data.data(), data.size()); }
  std::optional<Bytes> load(size_t size) {
    Bytes data(size);
    if (tensorpatch_flash_log_load(&log, data.data(), size) != 0) return {};
    return data;
  }
  tensorpatch_flash port;
  tensorpatch_flash_log log{};
};

constexpr FlashGeometry kGeometries[] = {{256, 2, 1, 0xFF, false}, {256, 3, 32, 0x00, true},
                                         {512, 2, 8, 0xFF, true},  {1024, 4, 4, 0x00, false},
                                         {256, 2, 16, 0xFF, true}, {4096, 2, 8, 0xFF, false}};

Bytes record_of(uint32_t number, size_t size) {
  return noise(size, number);
}

TEST(FlashLog, KeepsTheLastRecordThroughManyPages) {
  for (const FlashGeometry& geometry : kGeometries) {
    FlashSimulator flash(geometry, 1);
    flash.fill(0, Bytes(flash.size(), 0x99));
    for (uint32_t start = 0; start < 5; ++start) {
      Log log(flash);
      ASSERT_EQ(log.open(), 0);
      if (start != 0) {
        EXPECT_EQ(log.load(128), record_of(100 * start - 51, 128));
      }
      for (uint32_t i = 0; i < 50; ++i) {
        const Bytes data = record_of(100 * start + i, 128);
        ASSERT_EQ(log.save(data), 0);
        EXPECT_EQ(log.load(128), data);
      }
    }
    EXPECT_EQ(flash.misuse(), "");
    EXPECT_LE(flash.erases(), 5 * (2 + 50 / (geometry.page_size / 160)));
  }
}

TEST(FlashLog, ACutLeavesTheRecordBeforeOrTheNewOne) {
  for (const FlashGeometry& geometry : kGeometries) {
    for (uint64_t operation = 1; operation <= 14; ++operation) {
      for (const Cut cut : kCuts) {
        FlashSimulator flash(geometry, operation);
        uint32_t last = 0;  // surely saved
        uint32_t next = 0;  // perhaps
        for (uint32_t start = 0; start < 4; ++start) {
          flash.power_on();
          flash.cut_power(start == 1 ? operation : operation / 2 + start, cut);
          Log log(flash);
          ASSERT_EQ(log.open(), 0);
          const auto loaded = log.load(77);
          ASSERT_TRUE(loaded.has_value() || last == 0) << operation << cut_name(cut);
          if (loaded && *loaded == record_of(next, 77)) last = next;
          ASSERT_TRUE(!loaded || *loaded == record_of(last, 77)) << operation << cut_name(cut);
          do {
            ++next;
          } while (log.save(record_of(next, 77)) == 0 && (last = next) % 7 != 0);
        }
        ASSERT_EQ(flash.misuse(), "");
      }
    }
  }
}

TEST(FlashLog, ABrokenPageIsPassedOver) {
  for (uint32_t page = 0; page < 3; ++page) {
    FlashSimulator flash({256, 3, 4, 0xFF, false}, 1);
    flash.break_page(page);
    for (uint32_t start = 0; start < 4; ++start) {
      Log log(flash);
      ASSERT_EQ(log.open(), 0);
      for (uint32_t i = 0; i < 3; ++i) ASSERT_EQ(log.save(record_of(i, 100)), 0);
      EXPECT_EQ(log.load(100), record_of(2, 100));
    }
  }
  FlashSimulator flash({256, 2, 4, 0xFF, false}, 1);
  Log log(flash);
  ASSERT_EQ(log.open(), 0);
  ASSERT_EQ(log.save(record_of(1, 128)), 0);
  flash.break_page(1);
  EXPECT_NE(log.save(record_of(2, 128)), 0) << "the page of the newest record must not be used";
  EXPECT_EQ(log.load(128), record_of(1, 128));
}

// A chip that programs and then says that it failed: what it has left is a whole record.
TEST(FlashLog, AFailedWriteThatWasDoneIsOlderThanTheNextOne) {
  FlashSimulator flash({256, 2, 4, 0xFF, false}, 1);
  {
    Log log(flash);
    ASSERT_EQ(log.open(), 0);
    ASSERT_EQ(log.save(record_of(1, 50)), 0);
    const auto program = log.port.program;
    log.port.program = [](void* context, uint64_t offset, const uint8_t* data, size_t size) {
      static_cast<FlashSimulator*>(context)->write(offset, data, size);
      return -1;
    };
    ASSERT_NE(log.save(record_of(2, 50)), 0);
    log.port.program = program;
    ASSERT_EQ(log.save(record_of(3, 50)), 0);
  }
  Log log(flash);
  ASSERT_EQ(log.open(), 0);
  EXPECT_EQ(log.load(50), record_of(3, 50));
}

TEST(FlashLog, ClearedAndOtherSizes) {
  FlashSimulator flash({256, 2, 4, 0xFF, false}, 1);
  {
    Log log(flash);
    EXPECT_NE(log.save(record_of(1, 16)), 0) << "not open";
    EXPECT_EQ(log.load(16), std::nullopt);
    ASSERT_EQ(log.open(), 0);
    EXPECT_EQ(tensorpatch_flash_log_clear(&log.log), 0);
    EXPECT_EQ(flash.operations(), 0u) << "nothing to clear";
    EXPECT_NE(log.save({}), 0);
    EXPECT_NE(log.save(Bytes(129)), 0);
    ASSERT_EQ(log.save(record_of(1, 16)), 0);
    EXPECT_EQ(log.load(17), std::nullopt);
    ASSERT_EQ(tensorpatch_flash_log_clear(&log.log), 0);
    EXPECT_EQ(log.load(16), std::nullopt);
  }
  Log log(flash);
  ASSERT_EQ(log.open(), 0);
  EXPECT_EQ(log.load(16), std::nullopt);
  ASSERT_EQ(log.save(record_of(2, 16)), 0);
  EXPECT_EQ(log.load(16), record_of(2, 16));
}

int keyed_sum(void* context, const uint8_t* data, size_t size,
              uint8_t tag[TENSORPATCH_FLASH_TAG_SIZE]) {
  uint64_t state = *static_cast<uint8_t*>(context);
  for (size_t i = 0; i < size; ++i) state = (state + data[i]) * 0x100000001B3u;
  for (size_t i = 0; i < TENSORPATCH_FLASH_TAG_SIZE; ++i) {
    tag[i] = static_cast<uint8_t>(next_random(state));
  }
  return 0;
}

TEST(FlashLog, RecordsWithoutTheRightTagDoNotCount) {
  FlashSimulator flash({256, 2, 4, 0xFF, false}, 1);
  uint8_t key = 5;
  const auto open = [&](bool has_mac) {
    Log log(flash);
    if (has_mac) log.log.mac = {&key, keyed_sum};
    EXPECT_EQ(log.open(), 0);
    return log;
  };
  Log with = open(true);
  with.log.flash = &with.port;
  ASSERT_EQ(with.save(record_of(1, 128)), 0);
  EXPECT_EQ(with.load(128), record_of(1, 128));
  Log again = open(true);
  again.log.flash = &again.port;
  EXPECT_EQ(again.load(128), record_of(1, 128));
  Log without = open(false);
  without.log.flash = &without.port;
  EXPECT_EQ(without.load(128), std::nullopt);
  ASSERT_EQ(without.save(record_of(2, 128)), 0);
  Log forged = open(true);
  forged.log.flash = &forged.port;
  EXPECT_NE(forged.load(128), record_of(2, 128));
  key = 6;
  Log other = open(true);
  other.log.flash = &other.port;
  EXPECT_EQ(other.load(128), std::nullopt);
}

TEST(FlashLog, FailuresOfTheFlashAreNoMissingRecord) {
  FlashSimulator flash({256, 2, 4, 0xFF, false}, 1);
  {
    Log log(flash);
    ASSERT_EQ(log.open(), 0);
    ASSERT_EQ(log.save(record_of(1, 128)), 0);
  }
  const uint64_t reads = flash.reads();
  Log quiet(flash);
  ASSERT_EQ(quiet.open(), 0);
  const uint64_t needed = flash.reads() - reads;
  for (uint64_t n = 1; n <= needed; ++n) {
    Log log(flash);
    flash.fail_read(flash.reads() + n);
    EXPECT_NE(log.open(), 0) << n;
  }
  Log log(flash);
  ASSERT_EQ(log.open(), 0);
  flash.fail_read(flash.reads() + 1);
  uint8_t data[128];
  EXPECT_LT(tensorpatch_flash_log_load(&log.log, data, sizeof data), 0);
}

TEST(FlashLog, RefusesGeometriesThatCannotWork) {
  FlashSimulator flash({256, 4, 4, 0xFF, false}, 1);
  const auto opens = [&](auto change) {
    Log log(flash);
    change(log);
    return log.open() == 0;
  };
  EXPECT_TRUE(opens([](Log&) {}));
  EXPECT_FALSE(opens([](Log& log) { log.log.area.size = 256; }));
  EXPECT_FALSE(opens([](Log& log) { log.log.area.size = 600; }));
  EXPECT_FALSE(opens([](Log& log) { log.log.area.offset = 4; }));
  EXPECT_FALSE(opens([](Log& log) { log.port.page_size = 128; }));
  EXPECT_FALSE(opens([](Log& log) { log.port.page_size = 384; }));
  EXPECT_FALSE(opens([](Log& log) { log.port.write_size = 64; }));
  EXPECT_FALSE(opens([](Log& log) { log.port.write_size = 3; }));
  EXPECT_FALSE(opens([](Log& log) { log.port.write_size = 0; }));
  EXPECT_FALSE(opens([](Log& log) { log.log.flash = nullptr; }));
}

// --- Models ------------------------------------------------------------------------------------

struct Storage {
  explicit Storage(FlashSimulator& flash) : port(flash_port(flash)) {
    const uint64_t page = port.page_size;
    storage.old_flash = &port;
    storage.new_flash = &port;
    storage.old_areas[0] = {0, page};
    storage.new_areas[0] = {page, 2 * page};
    storage.new_areas[1] = {3 * page, page};
  }
  int set() { return tensorpatch_flash_set_ports(&storage, &ports); }
  int write(uint32_t component, uint64_t offset, const Bytes& data) {
    return ports.write_new(&storage, component, offset, data.data(), data.size());
  }
  Bytes read_new(uint32_t component, uint64_t offset, size_t size) {
    Bytes data(size);
    EXPECT_EQ(ports.read_new(&storage, component, offset, data.data(), size), 0);
    return data;
  }
  tensorpatch_flash port;
  tensorpatch_flash_storage storage{};
  tensorpatch_ports ports{};
};

TEST(FlashStorage, PiecesOfAnySizeBecomeWholeWords) {
  for (const uint32_t word : {1u, 4u, 8u, 32u}) {
    for (const size_t piece : std::initializer_list<size_t>{1, 3, 8, 31, 100}) {
      FlashSimulator flash({256, 4, word, 0x00, false}, 1);
      flash.fill(256, Bytes(768, 0x42));
      Storage device(flash);
      ASSERT_EQ(device.set(), 0);
      const Bytes models[] = {noise(301, 1), noise(77, 2)};
      for (uint32_t c = 0; c < 2; ++c) {
        ASSERT_EQ(device.ports.erase(&device.storage, c, 0, c == 0 ? 512 : 256), 0);
        for (size_t at = 0; at < models[c].size(); at += piece) {
          const size_t end = std::min(at + piece, models[c].size());
          const Bytes part(models[c].begin() + static_cast<std::ptrdiff_t>(at),
                           models[c].begin() + static_cast<std::ptrdiff_t>(end));
          ASSERT_EQ(device.write(c, at, part), 0);
        }
      }
      EXPECT_EQ(device.read_new(0, 0, 301), models[0]);
      EXPECT_EQ(device.read_new(1, 0, 77), models[1]);
      EXPECT_EQ(flash.at(256 + 511)[0], 0x00);
      EXPECT_EQ(flash.misuse(), "") << "word " << word << ", piece " << piece;
    }
  }
}

TEST(FlashStorage, KeepsToItsAreas) {
  FlashSimulator flash({256, 4, 8, 0xFF, false}, 1);
  Storage device(flash);
  ASSERT_EQ(device.set(), 0);
  Bytes out(300);
  const auto read_old = [&](uint64_t offset, size_t size) {
    return device.ports.read_old(&device.storage, 0, offset, out.data(), size);
  };
  EXPECT_EQ(read_old(0, 256), 0);
  EXPECT_EQ(read_old(250, 7), TENSORPATCH_BEYOND_END);
  EXPECT_EQ(read_old(UINT64_MAX, 1), TENSORPATCH_BEYOND_END);
  flash.fail_read(flash.reads() + 1);
  EXPECT_LT(read_old(0, 1), 0);
  EXPECT_NE(device.write(1, 250, Bytes(8)), 0);
  EXPECT_NE(device.write(2, 0, Bytes(1)), 0) << "there is no such area";
  EXPECT_NE(device.write(0, 4, Bytes(8)), 0) << "not where a word begins";
  EXPECT_NE(device.ports.erase(&device.storage, 0, 512, 256), 0);
  EXPECT_NE(device.ports.erase(&device.storage, 0, 128, 256), 0);
  EXPECT_EQ(flash.operations(), 0u);
  // A bundle made for larger pages asks for more than the area at its end.
  EXPECT_EQ(device.ports.erase(&device.storage, 0, 256, 1024), 0);
  EXPECT_EQ(flash.erases(), 1u);
  EXPECT_EQ(flash.misuse(), "");
  EXPECT_EQ(device.ports.save_checkpoint, nullptr);
  device.storage.new_areas[0].size = 300;
  EXPECT_NE(device.set(), 0);
  device.storage.new_areas[0].size = 512;
  device.port.write_size = 5;
  EXPECT_NE(device.set(), 0);
}

}  // namespace
}  // namespace tensorpatch::test
