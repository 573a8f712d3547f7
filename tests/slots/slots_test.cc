// tests/slots/slots_test.cc: the state machine of two slots, call by call; power cuts are in
// tests/faults.
// SPDX-License-Identifier: Apache-2.0
#include "tensorpatch/slots.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <optional>

#include "support/temp_folder.h"
#include "tensorpatch/ports/posix.h"

namespace tensorpatch::test {
namespace {

using StateRecord = std::array<uint8_t, TENSORPATCH_SLOTS_RECORD_SIZE>;

struct MemoryStore {
  std::optional<StateRecord> record;
  bool fails = false;
  int saves = 0;

  tensorpatch_slots_store store() { return {this, load, save}; }

 private:
  static int load(void* context, uint8_t* data, size_t size) {
    const MemoryStore& self = *static_cast<MemoryStore*>(context);
    if (self.fails) return -1;
    if (!self.record) return 1;
    std::memcpy(data, self.record->data(), size);
    return 0;
  }
  static int save(void* context, const uint8_t* data, size_t size) {
    MemoryStore& self = *static_cast<MemoryStore*>(context);
    if (self.fails) return -1;
    ++self.saves;
    self.record.emplace();
    std::memcpy(self.record->data(), data, size);
    return 0;
  }
};

// A device that is restarted now and then.
struct Slots : public testing::Test {
  void restart() {
    const tensorpatch_slots_store store = kept.store();
    ASSERT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_OK);
    ASSERT_EQ(tensorpatch_slots_start(&slots), TENSORPATCH_SLOTS_OK);
  }
  // With a new model in the free slot.
  void stage(uint32_t trials) {
    uint8_t slot = 9;
    ASSERT_EQ(tensorpatch_slots_free(&slots, &slot), TENSORPATCH_SLOTS_OK);
    ASSERT_EQ(slot, 1 - slots.active);
    ASSERT_EQ(tensorpatch_slots_stage(&slots, trials), TENSORPATCH_SLOTS_OK);
  }
  void expect(tensorpatch_slots_phase phase, uint8_t active, uint8_t current) const {
    EXPECT_EQ(slots.phase, phase);
    EXPECT_EQ(slots.active, active);
    EXPECT_EQ(slots.current, current);
  }

  MemoryStore kept;
  tensorpatch_slots slots{};
};

TEST_F(Slots, ANewDeviceUsesSlotZeroAndStoresNothing) {
  restart();
  expect(TENSORPATCH_SLOTS_STABLE, 0, 0);
  EXPECT_EQ(slots.outcome, TENSORPATCH_SLOTS_NONE);
  EXPECT_EQ(kept.saves, 0);
}

TEST_F(Slots, AConfirmedModelBecomesTheActiveOne) {
  restart();
  stage(2);
  expect(TENSORPATCH_SLOTS_READY, 0, 0);
  restart();
  expect(TENSORPATCH_SLOTS_TRIAL, 0, 1);
  EXPECT_EQ(slots.trials_left, 1);
  ASSERT_EQ(tensorpatch_slots_confirm(&slots), TENSORPATCH_SLOTS_OK);
  expect(TENSORPATCH_SLOTS_STABLE, 1, 1);
  const int saves = kept.saves;
  for (int i = 0; i < 5; ++i) restart();
  expect(TENSORPATCH_SLOTS_STABLE, 1, 1);
  EXPECT_EQ(slots.outcome, TENSORPATCH_SLOTS_CONFIRMED);
  EXPECT_EQ(kept.saves, saves) << "a start writes although nothing changes";
  stage(1);
  restart();
  expect(TENSORPATCH_SLOTS_TRIAL, 1, 0);
}

TEST_F(Slots, WithoutConfirmationTheOldModelIsUsedAgain) {
  restart();
  stage(3);
  for (int i = 0; i < 3; ++i) {
    restart();
    expect(TENSORPATCH_SLOTS_TRIAL, 0, 1);
  }
  restart();
  expect(TENSORPATCH_SLOTS_STABLE, 0, 0);
  EXPECT_EQ(slots.outcome, TENSORPATCH_SLOTS_EXPIRED);
  restart();
  expect(TENSORPATCH_SLOTS_STABLE, 0, 0);
  stage(1);
  restart();
  expect(TENSORPATCH_SLOTS_TRIAL, 0, 1);
}

TEST_F(Slots, ARejectedModelIsGivenUpAtOnce) {
  restart();
  stage(255);
  ASSERT_EQ(tensorpatch_slots_reject(&slots), TENSORPATCH_SLOTS_OK);
  expect(TENSORPATCH_SLOTS_STABLE, 0, 0);
  stage(255);
  restart();
  ASSERT_EQ(tensorpatch_slots_reject(&slots), TENSORPATCH_SLOTS_OK);
  expect(TENSORPATCH_SLOTS_STABLE, 0, 0);
  EXPECT_EQ(slots.outcome, TENSORPATCH_SLOTS_REJECTED);
  restart();
  expect(TENSORPATCH_SLOTS_STABLE, 0, 0);
}

TEST_F(Slots, AReadyModelIsForgottenBeforeItsSlotIsWritten) {
  restart();
  stage(3);
  uint8_t slot = 9;
  ASSERT_EQ(tensorpatch_slots_free(&slots, &slot), TENSORPATCH_SLOTS_OK);
  EXPECT_EQ(slot, 1);
  expect(TENSORPATCH_SLOTS_STABLE, 0, 0);
  restart();
  expect(TENSORPATCH_SLOTS_STABLE, 0, 0);
  stage(3);
  kept.fails = true;
  EXPECT_EQ(tensorpatch_slots_free(&slots, &slot), TENSORPATCH_SLOTS_E_STORE);
  expect(TENSORPATCH_SLOTS_READY, 0, 0);
}

TEST_F(Slots, CallsInTheWrongPhaseChangeNothing) {
  restart();
  EXPECT_EQ(tensorpatch_slots_confirm(&slots), TENSORPATCH_SLOTS_E_PHASE);
  EXPECT_EQ(tensorpatch_slots_reject(&slots), TENSORPATCH_SLOTS_E_PHASE);
  EXPECT_EQ(tensorpatch_slots_stage(&slots, 0), TENSORPATCH_SLOTS_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_slots_stage(&slots, 256), TENSORPATCH_SLOTS_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_slots_free(&slots, nullptr), TENSORPATCH_SLOTS_E_ARGUMENT);
  EXPECT_EQ(kept.saves, 0);
  stage(3);
  EXPECT_EQ(tensorpatch_slots_confirm(&slots), TENSORPATCH_SLOTS_E_PHASE) << "never tried";
  EXPECT_EQ(tensorpatch_slots_stage(&slots, 1), TENSORPATCH_SLOTS_E_PHASE);
  restart();
  uint8_t slot = 9;
  const int saves = kept.saves;
  EXPECT_EQ(tensorpatch_slots_free(&slots, &slot), TENSORPATCH_SLOTS_E_PHASE);
  EXPECT_EQ(slot, 9);
  EXPECT_EQ(tensorpatch_slots_stage(&slots, 1), TENSORPATCH_SLOTS_E_PHASE);
  EXPECT_EQ(kept.saves, saves);
}

TEST_F(Slots, ATrialThatCannotBeCountedIsNone) {
  restart();
  stage(3);
  for (int i = 0; i < 2; ++i) {
    const tensorpatch_slots_store store = kept.store();
    ASSERT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_OK);
    kept.fails = true;
    EXPECT_EQ(tensorpatch_slots_start(&slots), TENSORPATCH_SLOTS_E_STORE);
    EXPECT_EQ(slots.current, 0);
    EXPECT_EQ(tensorpatch_slots_confirm(&slots), TENSORPATCH_SLOTS_E_PHASE);
    kept.fails = false;
    restart();  // READY the first time, TRIAL the second
    EXPECT_EQ(slots.current, 1);
  }
}

TEST_F(Slots, OnlyWholeRecordsOfThisVersionAreTaken) {
  restart();
  stage(3);
  const StateRecord right = *kept.record;
  const tensorpatch_slots_store store = kept.store();
  for (size_t i = 0; i < right.size(); ++i) {
    if (i == 6 || i == 7 || i == 8)
      continue;  // active, trials left, outcome: other values are right
    kept.record = right;
    (*kept.record)[i] ^= 0x84;
    EXPECT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_E_RECORD) << "byte " << i;
  }
  const struct {
    size_t at;
    uint8_t value;
  } kWrong[] = {{5, 3}, {6, 2}, {7, 0}, {8, 4}, {5, TENSORPATCH_SLOTS_STABLE}};
  for (const auto& wrong : kWrong) {
    kept.record = right;
    (*kept.record)[wrong.at] = wrong.value;
    EXPECT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_E_RECORD) << wrong.at;
  }
  kept.record = right;
  EXPECT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_OK);
  kept.fails = true;
  EXPECT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_E_STORE);
  EXPECT_EQ(tensorpatch_slots_open(nullptr, &store), TENSORPATCH_SLOTS_E_ARGUMENT);
  EXPECT_EQ(tensorpatch_slots_open(&slots, nullptr), TENSORPATCH_SLOTS_E_ARGUMENT);
}

TEST(SlotsOnFiles, TheStateIsAFileThatIsReplacedAsAWhole) {
  const TempFolder folder;
  std::string path = (folder / "state").string();
  const tensorpatch_slots_store store = {path.data(), tensorpatch_posix_record_load,
                                         tensorpatch_posix_record_save};
  tensorpatch_slots slots;
  ASSERT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_OK);
  ASSERT_EQ(tensorpatch_slots_stage(&slots, 1), TENSORPATCH_SLOTS_OK);
  write_file(folder / "state.tmp", "a save that was cut");
  ASSERT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_OK);
  ASSERT_EQ(tensorpatch_slots_start(&slots), TENSORPATCH_SLOTS_OK);
  EXPECT_EQ(slots.current, 1);
  ASSERT_EQ(tensorpatch_slots_confirm(&slots), TENSORPATCH_SLOTS_OK);
  ASSERT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_OK);
  EXPECT_EQ(slots.active, 1);
  write_file(folder / "state", "cut");
  EXPECT_EQ(tensorpatch_slots_open(&slots, &store), TENSORPATCH_SLOTS_E_STORE);
  path = (folder / "missing" / "state").string();
  const tensorpatch_slots_store nowhere = {path.data(), store.load, store.save};
  ASSERT_EQ(tensorpatch_slots_open(&slots, &nowhere), TENSORPATCH_SLOTS_OK);
  EXPECT_EQ(tensorpatch_slots_stage(&slots, 1), TENSORPATCH_SLOTS_E_STORE);
}

}  // namespace
}  // namespace tensorpatch::test
