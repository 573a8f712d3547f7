// tests/faults/schedules.cc: see schedules.h.
// SPDX-License-Identifier: Apache-2.0
#include "faults/schedules.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "apply/format.h"
#include "apply/wire.h"
#include "faults/versions.h"
#include "support/bundle_builder.h"
#include "support/flash_port.h"
#include "tensorpatch/ports/libcrypto.h"
#include "tensorpatch/ports/libsodium.h"
#include "tensorpatch/slots.h"

namespace tensorpatch::test {
namespace {

constexpr uint32_t kStateLogPages = 2;
constexpr uint32_t kVersions = 3;

// --- Models and bundles ------------------------------------------------------------------------

// Versions of a model, and the bundles from each to the next, for one page and write size.
struct Release {
  std::vector<Bytes> models;
  std::vector<BuiltBundle> bundles;
  uint32_t workspace_size = 0;
  uint32_t area_pages = 0;
};

Release make_release(uint32_t page_size, uint32_t write_size) {
  Release made;
  const uint32_t size = page_size <= 512 ? 5 * page_size + 133 : page_size + page_size / 2 + 133;
  const PatchLimits limits = small_limits(page_size, write_size, 0);
  made.workspace_size = workspace_size(limits);
  Version version = first_version(size, page_size + write_size);
  made.models.push_back(version.file);
  while (made.models.size() < kVersions) {
    const auto sequence = static_cast<uint32_t>(made.models.size());
    const Version next = next_version(version, sequence);
    BundleSpec spec = make_spec(version, next, limits);
    spec.sequence = sequence;
    made.bundles.push_back(build_bundle(spec));
    made.models.push_back(next.file);
    version = next;
  }
  made.area_pages = static_cast<uint32_t>((version.file.size() + page_size - 1) / page_size);
  return made;
}

uint32_t bundle_write_size(const SchedulePlan& plan) {
  return plan.bundle_write_size != 0 ? plan.bundle_write_size : plan.geometry.write_size;
}

const Release& release_for(const SchedulePlan& plan) {
  static std::map<std::pair<uint32_t, uint32_t>, Release> all;
  const std::pair<uint32_t, uint32_t> key = {plan.geometry.page_size, bundle_write_size(plan)};
  const auto found = all.find(key);
  if (found != all.end()) return found->second;
  return all.emplace(key, make_release(key.first, key.second)).first->second;
}

const TestKey& release_key() {
  static const TestKey key(1);
  return key;
}

// --- The device --------------------------------------------------------------------------------

int accept_signature(void*, const tensorpatch_key*, const uint8_t*, size_t, const uint8_t*,
                     size_t) {
  return 0;
}

// Stands in for a keyed hash: any function of all the bytes shows that tags are kept and compared.
int compute_tag(void*, const uint8_t* data, size_t size, uint8_t tag[TENSORPATCH_FLASH_TAG_SIZE]) {
  uint64_t state = 0x5EC2E7;
  for (size_t i = 0; i < size; ++i) state = (state ^ data[i]) * 0x100000001B3u;
  for (size_t i = 0; i < TENSORPATCH_FLASH_TAG_SIZE; ++i) {
    tag[i] = static_cast<uint8_t>(next_random(state));
  }
  return 0;
}

// The hash port, opened once: libcrypto uses the processor's instructions.
const tensorpatch_hash_port& hash_port() {
  static const tensorpatch_hash_port port = [] {
    tensorpatch_hash_port opened{};
    if (tensorpatch_libcrypto_hash_open(&opened) != 0) std::abort();
    return opened;
  }();
  return port;
}

class Device {
 public:
  Device(const SchedulePlan& plan, Verdict& verdict)
      : plan_(plan),
        verdict_(verdict),
        release_(release_for(plan)),
        random_(plan.seed),
        flash_(whole_geometry(plan, release_), plan.seed) {
    port_ = flash_port(flash_);
    // What was there before: nobody erased it.
    flash_.fill(area(1).offset, Bytes(static_cast<size_t>(flash_.size() - area(1).offset), 0x3C));
    flash_.fill(0, release_.models[0]);
    if (plan.broken_page >= 0) flash_.break_page(release_.area_pages + page(plan.broken_page));
    if (plan.broken_log_page >= 0) {
      flash_.break_page(2 * release_.area_pages + page(plan.broken_log_page));
    }
    flash_.fail_operation(plan.failing_operation);
    flash_.fail_read(plan.failing_read);
  }

  // Power on, with the next cut armed.
  void start() {
    flash_.power_on();
    if (next_cut_ < plan_.cuts.size()) {
      const PlannedCut& planned = plan_.cuts[next_cut_++];
      flash_.cut_power(flash_.operations() + planned.operation, planned.cut);
    }
    ++verdict_.starts;
  }

  // Applies the bundle from a version to the next, from the slot that holds it to the other one.
  tensorpatch_status update(uint32_t version, uint8_t old_slot);

  // The version that a slot holds exactly; empty when none.
  std::optional<uint32_t> version_in(uint8_t slot) const {
    for (uint32_t i = 0; i < kVersions; ++i) {
      const Bytes& model = release_.models[i];
      if (std::memcmp(flash_.at(area(slot).offset), model.data(), model.size()) == 0) return i;
    }
    return {};
  }

  // Notes a cut; whether there was one since the last start.
  bool was_cut() {
    if (flash_.has_power()) return false;
    ++verdict_.cuts;
    return true;
  }

  tensorpatch_flash_log open_state_log(bool& opened) const {
    tensorpatch_flash_log log{};
    log.flash = &port_;
    log.area = pages(2 * release_.area_pages + plan_.log_pages, kStateLogPages);
    opened = tensorpatch_flash_log_open(&log) == 0;
    return log;
  }

  FlashSimulator& flash() { return flash_; }
  void fail(const std::string& what) {
    if (verdict_.wrong.empty()) verdict_.wrong = what;
  }
  void finish() {
    verdict_.operations = flash_.operations();
    verdict_.reads = flash_.reads();
    if (!flash_.misuse().empty()) fail("the flash was misused: " + flash_.misuse());
  }

 private:
  // Old, new, checkpoints, state.
  static FlashGeometry whole_geometry(const SchedulePlan& plan, const Release& release) {
    FlashGeometry made = plan.geometry;
    made.page_count = 2 * release.area_pages + plan.log_pages + kStateLogPages;
    return made;
  }
  static uint32_t page(int index) { return static_cast<uint32_t>(index); }
  tensorpatch_flash_area pages(uint32_t first, uint32_t count) const {
    return {uint64_t{first} * plan_.geometry.page_size, uint64_t{count} * plan_.geometry.page_size};
  }
  tensorpatch_flash_area area(uint8_t slot) const {
    return pages(slot * release_.area_pages, release_.area_pages);
  }

  struct Session;
  tensorpatch_status push_all(tensorpatch_applier* applier, const BuiltBundle& bundle,
                              uint64_t first_block);

  SchedulePlan plan_;
  Verdict& verdict_;
  const Release& release_;
  uint64_t random_;
  FlashSimulator flash_;
  tensorpatch_flash port_{};
  size_t next_cut_ = 0;
  uint64_t saved_offset_ = 0;           // of new, in the last checkpoint that was surely stored
  uint32_t saved_version_ = kVersions;  // whose update that was
  bool is_silent_ = false;              // the bundle stopped coming, once
};

// The storage of one update, with a note of what was saved.
struct Device::Session {
  tensorpatch_flash_storage storage{};  // first: the callbacks' context
  int (*save)(void*, const uint8_t*) = nullptr;
  Device* device = nullptr;
  uint32_t version = 0;

  static int save_and_note(void* context, const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]) {
    Session& session = *static_cast<Session*>(context);
    const int result = session.save(context, record);
    if (result == 0) {
      session.device->saved_offset_ = wire::read_u64(record + format::checkpoint::kNewOffsetAt);
      session.device->saved_version_ = session.version;
    }
    return result;
  }
};

tensorpatch_status Device::push_all(tensorpatch_applier* applier, const BuiltBundle& bundle,
                                    uint64_t first_block) {
  const size_t bite = 1 + next_random(random_) % 700;
  uint64_t left = plan_.silent_after_bytes;
  while (true) {
    const uint64_t offset = tensorpatch_apply_next_offset(applier);
    if (offset >= bundle.bytes.size()) break;
    if (offset >= bundle.blocks_offset && offset < first_block) {
      fail("needs a block again that was applied");
    }
    size_t size = std::min(bite, bundle.bytes.size() - static_cast<size_t>(offset));
    // Like a device that keeps the head of the bundle: pieces end where the blocks begin.
    if (offset < bundle.blocks_offset) size = std::min(size, bundle.blocks_offset - offset);
    if (!is_silent_ && left != 0 && size >= left) {
      is_silent_ = true;
      return TENSORPATCH_MORE;
    }
    left -= std::min<uint64_t>(left, size);
    size_t consumed = 0;
    const tensorpatch_status status =
        tensorpatch_apply_push(applier, bundle.bytes.data() + offset, size, &consumed);
    if (status >= TENSORPATCH_E_ARGUMENT || status == TENSORPATCH_ALREADY_NEW) return status;
  }
  tensorpatch_status status = TENSORPATCH_MORE;
  while (status == TENSORPATCH_MORE) status = tensorpatch_apply_finish(applier);
  return status;
}

tensorpatch_status Device::update(uint32_t version, uint8_t old_slot) {
  const uint8_t new_slot = 1 - old_slot;
  const BuiltBundle& bundle = release_.bundles[version];
  tensorpatch_flash_log log{};
  log.flash = &port_;
  log.area = pages(2 * release_.area_pages, plan_.log_pages);
  if (plan_.has_mac) log.mac.compute = compute_tag;
  if (tensorpatch_flash_log_open(&log) != 0) return TENSORPATCH_E_SAVE_CHECKPOINT;

  Session session;
  session.device = this;
  session.version = version;
  session.storage.old_flash = &port_;
  session.storage.new_flash = &port_;
  session.storage.old_areas[0] = area(old_slot);
  session.storage.new_areas[0] = area(new_slot);
  session.storage.checkpoints = &log;
  tensorpatch_ports ports{};
  ports.hash = hash_port();
  ports.verify = plan_.checks_signature ? tensorpatch_libsodium_verify : accept_signature;
  if (tensorpatch_flash_set_ports(&session.storage, &ports) != 0) return TENSORPATCH_E_ARGUMENT;
  session.save = ports.save_checkpoint;
  ports.save_checkpoint = Session::save_and_note;

  const tensorpatch_key ring = release_key().entry();
  const tensorpatch_codec* const codecs[] = {&tensorpatch_codec_values, &tensorpatch_codec_bytes};
  tensorpatch_options options{};
  options.keys = &ring;
  options.key_count = 1;
  options.threshold = 1;
  options.codecs = codecs;
  options.codec_count = 2;
  options.capacity[0] = area(new_slot).size;
  std::vector<uint64_t> workspace((release_.workspace_size + 7) / 8);
  while (true) {
    tensorpatch_applier applier;
    tensorpatch_status status = tensorpatch_apply_init(&applier, workspace.data(),
                                                       release_.workspace_size, &ports, &options);
    if (status != TENSORPATCH_OK) return status;
    std::array<uint8_t, TENSORPATCH_CHECKPOINT_SIZE> record;
    const int loaded = tensorpatch_flash_log_load(&log, record.data(), record.size());
    if (loaded < 0) return TENSORPATCH_E_SAVE_CHECKPOINT;
    uint64_t first_block = 0;
    if (loaded == 0) {
      ++verdict_.resumes;
      if (wire::read_u64(record.data() + format::checkpoint::kNewOffsetAt) < saved_offset_) {
        fail("a checkpoint that was stored is lost");
      }
      const uint64_t index = wire::read_u64(record.data() + format::checkpoint::kBlockIndexAt);
      first_block = bundle.blocks_offset + index * 256;
      status = tensorpatch_apply_resume(&applier, record.data());
    } else if (saved_offset_ != 0) {
      fail("the checkpoint that was stored is gone");
    }
    if (status == TENSORPATCH_OK) status = push_all(&applier, bundle, first_block);
    if (status != TENSORPATCH_E_CHECKPOINT || loaded != 0) return status;
    // A checkpoint of another update: begin without it.
    if (saved_version_ == version) fail("a checkpoint of this update is refused");
    saved_offset_ = 0;
    if (tensorpatch_flash_log_clear(&log) != 0) return TENSORPATCH_E_SAVE_CHECKPOINT;
  }
}

uint32_t fault_count(const SchedulePlan& plan) {
  const bool planned[] = {plan.failing_operation != 0, plan.failing_read != 0,
                          plan.silent_after_bytes != 0, plan.broken_page >= 0,
                          plan.broken_log_page >= 0};
  return static_cast<uint32_t>(std::count(std::begin(planned), std::end(planned), true));
}

// More starts than cuts and faults can explain: it is stuck.
constexpr uint32_t kMostStarts = 40;

// --- Slots -------------------------------------------------------------------------------------

// What firmware does with two slots, and what may never happen.
class SlotsLife {
 public:
  explicit SlotsLife(const SchedulePlan& plan) : plan_(plan), device_(plan, verdict_) {}

  Verdict run() {
    const uint32_t wanted = plan_.new_is_bad ? 0 : kVersions - 1;
    while (verdict_.starts < kMostStarts && verdict_.wrong.empty() && !is_over_) {
      device_.start();
      live();
      device_.was_cut();
    }
    if (!is_over_) device_.fail("is stuck");
    if (is_over_ && confirmed_ != wanted) device_.fail("ended with the wrong version");
    verdict_.ended_new = confirmed_ != 0;
    device_.finish();
    return verdict_;
  }

 private:
  // From start to the next restart.
  void live() {
    bool opened = false;
    tensorpatch_flash_log log = device_.open_state_log(opened);
    if (!opened) return;
    const tensorpatch_slots_store store = {&log, tensorpatch_flash_log_load,
                                           tensorpatch_flash_log_save};
    tensorpatch_slots slots;
    const tensorpatch_slots_result result = tensorpatch_slots_open(&slots, &store);
    if (result == TENSORPATCH_SLOTS_E_RECORD) device_.fail("the stored state is wrong");
    if (result != TENSORPATCH_SLOTS_OK) return;
    const tensorpatch_slots_result started = tensorpatch_slots_start(&slots);
    if (!device_.flash().has_power()) return;
    const auto version = device_.version_in(slots.current);
    if (!version) return device_.fail("a slot is used that holds no whole model");
    // A confirmation that was cut may have been stored.
    if (slots.current == slots.active && *version == confirmed_ + 1 && may_be_confirmed_) {
      ++confirmed_;
    }
    may_be_confirmed_ = false;
    if (slots.current == slots.active && *version != confirmed_) {
      return device_.fail("a confirmed version was left, or another one is confirmed");
    }
    if (slots.outcome == TENSORPATCH_SLOTS_EXPIRED || slots.outcome == TENSORPATCH_SLOTS_REJECTED) {
      is_known_bad_ = true;
    }
    if (started != TENSORPATCH_SLOTS_OK) {
      if (slots.current != slots.active) device_.fail("a trial that was not counted");
      return;
    }
    if (slots.phase == TENSORPATCH_SLOTS_TRIAL) return try_out(slots, *version);
    if (*version == kVersions - 1 || (is_known_bad_ && plan_.new_is_bad)) {
      is_over_ = true;
      return;
    }
    fetch(slots, *version);
  }

  void try_out(tensorpatch_slots& slots, uint32_t version) {
    if (version != confirmed_ + 1) return device_.fail("another version than the next is tried");
    if (++trials_ > plan_.trials) return device_.fail("more trials than allowed");
    if (plan_.new_is_bad && !plan_.rejects) return;  // it hangs, a watchdog restarts
    if (plan_.new_is_bad) {
      tensorpatch_slots_reject(&slots);
      return;
    }
    may_be_confirmed_ = true;
    if (tensorpatch_slots_confirm(&slots) != TENSORPATCH_SLOTS_OK) return;
    may_be_confirmed_ = false;
    ++confirmed_;
  }

  void fetch(tensorpatch_slots& slots, uint32_t version) {
    uint8_t slot = 0;
    if (tensorpatch_slots_free(&slots, &slot) != TENSORPATCH_SLOTS_OK) return;
    if (slot == slots.current) return device_.fail("the slot in use is said to be free");
    const tensorpatch_status status = device_.update(version, slots.current);
    if (device_.version_in(slots.current) != version) return device_.fail("old was changed");
    if (status != TENSORPATCH_DONE) return;
    if (device_.version_in(slot) != version + 1) return device_.fail("done, but not new");
    trials_ = 0;
    tensorpatch_slots_stage(&slots, plan_.trials);
  }

  SchedulePlan plan_;
  Verdict verdict_;
  Device device_;
  uint32_t confirmed_ = 0;  // the newest version that is surely confirmed
  uint32_t trials_ = 0;     // of the version that was staged last
  bool may_be_confirmed_ = false;
  bool is_known_bad_ = false;
  bool is_over_ = false;
};

}  // namespace

Verdict run_stream(const SchedulePlan& plan) {
  Verdict verdict;
  verdict.faults = fault_count(plan);
  Device device(plan, verdict);
  uint32_t unexplained = 0;
  while (verdict.wrong.empty()) {
    device.start();
    const tensorpatch_status status = device.update(0, 0);
    if (device.version_in(0) != 0u) device.fail("old was changed");
    const bool is_new = device.version_in(1) == 1u;
    if (status == TENSORPATCH_DONE) {
      if (!is_new) device.fail("done, but not new");
      verdict.ended_new = true;
      break;
    }
    if (device.was_cut()) continue;
    if (++unexplained <= verdict.faults) continue;
    if (plan.broken_page < 0 ||
        (status != TENSORPATCH_E_WRITE_NEW && status != TENSORPATCH_E_ERASE)) {
      device.fail(std::string("stopped for no reason: ") + tensorpatch_status_text(status));
    }
    break;  // with a broken page it must stop, and old is as it was
  }
  device.finish();
  return verdict;
}

Verdict run_slots(const SchedulePlan& plan) {
  Verdict verdict = SlotsLife(plan).run();
  verdict.faults = fault_count(plan);
  return verdict;
}

namespace {

// Counts are kept: a run without faults is as long as one with them.
uint64_t count_operations(const SchedulePlan& plan, Verdict (*run)(const SchedulePlan&)) {
  static std::map<std::tuple<bool, uint32_t, uint32_t, uint32_t, bool, bool>, uint64_t> all;
  const bool is_slots = run == run_slots;
  const auto key = std::make_tuple(is_slots, plan.geometry.page_size, plan.geometry.write_size,
                                   bundle_write_size(plan), plan.new_is_bad, plan.rejects);
  const auto found = all.find(key);
  if (found != all.end()) return found->second;
  SchedulePlan quiet;
  quiet.geometry = plan.geometry;
  quiet.bundle_write_size = plan.bundle_write_size;
  quiet.new_is_bad = plan.new_is_bad;
  quiet.rejects = plan.rejects;
  const Verdict verdict = run(quiet);
  if (!verdict.wrong.empty()) {
    std::fprintf(stderr, "without faults: %s\n", verdict.wrong.c_str());
    std::abort();
  }
  return all.emplace(key, verdict.operations).first->second;
}

uint64_t stream_operations(const SchedulePlan& plan) {
  return count_operations(plan, run_stream);
}

uint64_t slots_operations(const SchedulePlan& plan) {
  return count_operations(plan, run_slots);
}

template <class T, size_t kCount>
T pick(const T (&choices)[kCount], uint64_t& seed) {
  return choices[next_random(seed) % kCount];
}

bool one_in(uint64_t count, uint64_t& seed) {
  return next_random(seed) % count == 0;
}

FlashGeometry random_geometry(uint64_t& seed) {
  static constexpr uint32_t kSmall[] = {256, 256, 256, 512, 512, 1024};
  static constexpr uint32_t kMedium[] = {2048, 4096, 8192};
  static constexpr uint32_t kLarge[] = {16384, 65536, 131072};
  static constexpr uint32_t kWords[] = {1, 4, 8, 32};
  FlashGeometry made;
  made.page_size = pick(kSmall, seed);
  if (one_in(32, seed)) made.page_size = pick(kMedium, seed);
  if (one_in(2048, seed)) made.page_size = pick(kLarge, seed);
  made.write_size = pick(kWords, seed);
  made.erased_value = one_in(2, seed) ? 0x00 : 0xFF;
  made.has_ecc = one_in(3, seed);
  return made;
}

SchedulePlan random_plan(uint64_t seed, uint64_t (*count)(const SchedulePlan&)) {
  SchedulePlan plan;
  plan.seed = seed;
  plan.geometry = random_geometry(seed);
  plan.bundle_write_size = one_in(2, seed) ? 1 : 0;
  plan.log_pages = one_in(2, seed) ? 2 : 3;
  plan.checks_signature = one_in(64, seed);
  plan.has_mac = one_in(4, seed);
  plan.new_is_bad = one_in(3, seed);
  plan.rejects = one_in(2, seed);
  plan.trials = 1 + static_cast<uint32_t>(next_random(seed) % 3);
  const uint64_t operations = count(plan);
  for (uint64_t cuts = next_random(seed) % 4; cuts-- > 0;) {
    plan.cuts.push_back({1 + next_random(seed) % operations, pick(kCuts, seed)});
  }
  if (plan.cuts.empty() || one_in(8, seed)) {
    const uint64_t kind = next_random(seed) % 5;
    const uint64_t number = 1 + next_random(seed) % operations;
    if (kind == 0) plan.failing_operation = number;
    if (kind == 1) plan.failing_read = number;
    if (kind == 2) plan.silent_after_bytes = 1 + next_random(seed) % 1500;
    if (kind == 3) plan.broken_page = static_cast<int>(next_random(seed) % 2);
    if (kind == 4 && plan.log_pages == 3) plan.broken_log_page = static_cast<int>(number % 3);
  }
  return plan;
}

Verdict run_stream_seed(uint64_t seed) {
  return run_stream(random_plan(seed, stream_operations));
}

// A trial that a cut interrupts is used up: with as many trials as cuts, a good model is confirmed.
Verdict run_slots_seed(uint64_t seed) {
  SchedulePlan plan = random_plan(seed, slots_operations);
  plan.broken_page = -1;
  if (!plan.new_is_bad) {
    plan.trials = 1 + static_cast<uint32_t>(plan.cuts.size()) + fault_count(plan);
  }
  return run_slots(plan);
}

// The whole bundle is there already.
SchedulePlan in_place_plan(uint64_t seed, uint64_t (*count)(const SchedulePlan&)) {
  SchedulePlan plan = random_plan(seed, count);
  plan.silent_after_bytes = 0;
  return plan;
}
Verdict run_in_place_seed(uint64_t seed) {
  return run_in_place(in_place_plan(seed, in_place_operations));
}
Verdict run_undo_seed(uint64_t seed) {
  return run_undo(in_place_plan(seed, undo_operations));
}

constexpr ScheduleKind kKinds[] = {{"stream", run_stream_seed},
                                   {"slots", run_slots_seed},
                                   {"in place", run_in_place_seed},
                                   {"undo", run_undo_seed}};

}  // namespace

std::span<const ScheduleKind> schedule_kinds() {
  return kKinds;
}

}  // namespace tensorpatch::test
