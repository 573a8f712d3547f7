// tests/faults/in_place_schedules.cc: lives of a device that has room for one model only.
//
// A region holds old and new, a log the checkpoints, another log which version is installed and
// where it begins. The firmware asks nothing else of its storage after a restart.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <tuple>

#include "apply/format.h"
#include "faults/schedules.h"
#include "faults/versions.h"
#include "support/bundle_builder.h"
#include "support/flash_port.h"
#include "tensorpatch/ports/libcrypto.h"

namespace tensorpatch::test {
namespace {

constexpr uint32_t kStateLogPages = 2;
constexpr uint32_t kMostStarts = 40;

// Two versions, the bundles from the first to the second and back.
struct Release {
  std::vector<Bytes> models;
  std::vector<Bytes> bundles;
  uint32_t workspace_size = 0;
  uint64_t region_size = 0;  // the least for both ways
};

uint64_t round_up(uint64_t size, uint64_t page) {
  return (size + page - 1) / page * page;
}

Release make_release(uint32_t page_size, uint32_t write_size) {
  // Without slack in the margin, and with: what lies behind the tensor moves back farther.
  const uint32_t reach = write_size >= 8 ? page_size : 40;
  const PatchLimits limits = small_limits(page_size, write_size, reach);
  const uint32_t size = page_size <= 512 ? 5 * page_size + 133 : page_size + page_size / 2 + 133;
  const Version first = first_version(size, page_size + write_size);
  const Version second = next_version(first, 1);
  BundleSpec back = make_spec(second, first, limits);
  back.required_flags |= format::kFlagUndo;
  Release made;
  made.workspace_size = workspace_size(limits);
  made.models = {first.file, second.file};
  made.bundles = {build_bundle(make_spec(first, second, limits)).bytes, build_bundle(back).bytes};
  const uint64_t margin = round_up(page_size + limits.reach, page_size);
  made.region_size = round_up(second.file.size(), page_size) + margin;
  return made;
}

const Release& release_for(const SchedulePlan& plan) {
  static std::map<std::pair<uint32_t, uint32_t>, Release> all;
  const uint32_t write_size =
      plan.bundle_write_size != 0 ? plan.bundle_write_size : plan.geometry.write_size;
  const std::pair<uint32_t, uint32_t> key = {plan.geometry.page_size, write_size};
  const auto found = all.find(key);
  if (found != all.end()) return found->second;
  return all.emplace(key, make_release(key.first, key.second)).first->second;
}

int accept_signature(void*, const tensorpatch_key*, const uint8_t*, size_t, const uint8_t*,
                     size_t) {
  return 0;
}

tensorpatch_hash_port open_hash() {
  tensorpatch_hash_port opened{};
  if (tensorpatch_libcrypto_hash_open(&opened) != 0) std::abort();
  return opened;
}

// Which version is in the region, and where.
struct Installed {
  uint8_t version = 0;
  uint8_t page = 0;
  uint8_t update = 0;  // number of updates done
};

class InPlaceLife {
 public:
  InPlaceLife(const SchedulePlan& plan, uint32_t updates)
      : plan_(plan),
        release_(release_for(plan)),
        updates_(updates),
        random_(plan.seed),
        flash_(geometry(plan, release_), plan.seed) {
    port_ = flash_port(flash_);
    // Anywhere in the region: at its start, a little behind, or so far that it need not move.
    const uint64_t pages = (region_size() - round_up(release_.models[0].size(), page())) / page();
    first_page_ = static_cast<uint8_t>(next_random(random_) % (pages + 1));
    flash_.fill(0, Bytes(static_cast<size_t>(region_size()), 0x3C));
    flash_.fill(first_page_ * page(), release_.models[0]);
    if (plan.broken_page >= 0) flash_.break_page(static_cast<uint32_t>(plan.broken_page));
    if (plan.broken_log_page >= 0) {
      flash_.break_page(static_cast<uint32_t>(region_size() / page()) +
                        static_cast<uint32_t>(plan.broken_log_page));
    }
    flash_.fail_operation(plan.failing_operation);
    flash_.fail_read(plan.failing_read);
  }

  Verdict run() {
    verdict_.faults = (plan_.failing_operation != 0 ? 1u : 0u) +
                      (plan_.failing_read != 0 ? 1u : 0u) + (plan_.broken_page >= 0 ? 1u : 0u) +
                      (plan_.broken_log_page >= 0 ? 1u : 0u);
    uint32_t unexplained = 0;
    while (verdict_.wrong.empty() && !is_over_) {
      if (verdict_.starts == kMostStarts) fail("is stuck");
      start();
      const tensorpatch_status status = live();
      if (!flash_.has_power()) {
        ++verdict_.cuts;
      } else if (!is_over_ && status != TENSORPATCH_DONE && ++unexplained > verdict_.faults) {
        // There is no other place: with a broken page it must stop, and not say that it is done.
        const bool is_broken = status == TENSORPATCH_E_WRITE_NEW || status == TENSORPATCH_E_ERASE;
        if (plan_.broken_page >= 0 && is_broken) break;
        fail(std::string("stopped for no reason: ") + tensorpatch_status_text(status));
      }
    }
    verdict_.ended_new = is_over_;
    verdict_.operations = flash_.operations();
    verdict_.reads = flash_.reads();
    if (!flash_.misuse().empty()) fail("the flash was misused: " + flash_.misuse());
    return verdict_;
  }

 private:
  static FlashGeometry geometry(const SchedulePlan& plan, const Release& release) {
    FlashGeometry made = plan.geometry;
    const uint64_t region = release.region_size / made.page_size + plan.seed % 3;
    made.page_count = static_cast<uint32_t>(region) + plan.log_pages + kStateLogPages;
    return made;
  }
  uint64_t page() const { return plan_.geometry.page_size; }
  uint64_t region_size() const { return release_.region_size + plan_.seed % 3 * page(); }
  void fail(const std::string& what) {
    if (verdict_.wrong.empty()) verdict_.wrong = what;
  }

  void start() {
    flash_.power_on();
    if (next_cut_ < plan_.cuts.size()) {
      const PlannedCut& planned = plan_.cuts[next_cut_++];
      flash_.cut_power(flash_.operations() + planned.operation, planned.cut);
    }
    ++verdict_.starts;
  }

  bool open_log(uint32_t first_page, uint32_t count, tensorpatch_flash_log& log) const {
    log.flash = &port_;
    log.area = {region_size() + first_page * page(), count * page()};
    return tensorpatch_flash_log_open(&log) == 0;
  }

  bool holds(const Bytes& model, uint64_t offset) const {
    return std::memcmp(flash_.at(offset), model.data(), model.size()) == 0;
  }

  // From start to the next restart, or the end.
  tensorpatch_status live() {
    tensorpatch_flash_log state{}, checkpoints{};
    if (!open_log(plan_.log_pages, kStateLogPages, state) ||
        !open_log(0, plan_.log_pages, checkpoints)) {
      return TENSORPATCH_E_SAVE_CHECKPOINT;
    }
    Installed installed{0, first_page_, 0};
    const int loaded = tensorpatch_flash_log_load(&state, reinterpret_cast<uint8_t*>(&installed),
                                                  sizeof installed);
    if (loaded < 0) return TENSORPATCH_E_SAVE_CHECKPOINT;
    while (true) {
      if (installed.update == updates_) {
        is_over_ = true;
        if (!holds(release_.models[installed.version], installed.page * page())) {
          fail("the end is another model");
        }
        return TENSORPATCH_DONE;
      }
      const tensorpatch_status status = update(installed, checkpoints);
      const bool untouched = status != TENSORPATCH_DONE && recorded_ != installed.update;
      if (untouched && !holds(release_.models[installed.version], installed.page * page())) {
        fail("old was changed before there was a record");
      }
      if (status != TENSORPATCH_DONE) return status;
      installed.version ^= 1;
      installed.page = 0;
      ++installed.update;
      if (!holds(release_.models[installed.version], 0)) fail("done, but not new");
      if (tensorpatch_flash_log_save(&state, reinterpret_cast<const uint8_t*>(&installed),
                                     sizeof installed) != 0) {
        return TENSORPATCH_E_SAVE_CHECKPOINT;
      }
    }
  }

  tensorpatch_status update(const Installed& installed, tensorpatch_flash_log& log) {
    Session session;
    session.life = this;
    session.update = installed.update;
    session.storage.old_flash = &port_;
    session.storage.new_flash = &port_;
    session.storage.new_areas[0] = {0, region_size()};
    session.storage.checkpoints = &log;
    tensorpatch_ports ports{};
    static const tensorpatch_hash_port first_hash = open_hash(), second_hash = open_hash();
    ports.hash = first_hash;
    ports.verify = accept_signature;
    if (tensorpatch_flash_set_ports(&session.storage, &ports) != 0) return TENSORPATCH_E_ARGUMENT;
    session.save = ports.save_checkpoint;
    ports.save_checkpoint = Session::save_and_note;
    const tensorpatch_region region = {&tensorpatch_in_place_method, region_size(),
                                       installed.page * page(), second_hash};
    static const TestKey key(1);
    const tensorpatch_key ring = key.entry();
    const tensorpatch_codec* const codecs[] = {&tensorpatch_codec_values, &tensorpatch_codec_bytes};
    tensorpatch_options options{};
    options.keys = &ring;
    options.key_count = 1;
    options.threshold = 1;
    options.codecs = codecs;
    options.codec_count = 2;
    options.region = &region;
    options.accept = installed.version == 1 ? uint32_t{TENSORPATCH_ACCEPT_UNDO} : 0u;
    options.work_limit = next_random(random_) % 2 == 0 ? 0 : 100 + next_random(random_) % 1000;
    std::vector<uint64_t> workspace((release_.workspace_size + 7) / 8);
    while (true) {
      tensorpatch_applier applier;
      tensorpatch_status status = tensorpatch_apply_init(&applier, workspace.data(),
                                                         release_.workspace_size, &ports, &options);
      if (status != TENSORPATCH_OK) return status;
      uint8_t record[TENSORPATCH_CHECKPOINT_SIZE];
      const int loaded = tensorpatch_flash_log_load(&log, record, sizeof record);
      if (loaded < 0) return TENSORPATCH_E_SAVE_CHECKPOINT;
      if (loaded == 0) status = tensorpatch_apply_resume(&applier, record);
      if (loaded == 0) ++verdict_.resumes;
      if (status == TENSORPATCH_OK) status = feed(&applier, release_.bundles[installed.version]);
      if (status != TENSORPATCH_E_CHECKPOINT && loaded == 0) recorded_ = installed.update;
      if (status != TENSORPATCH_E_CHECKPOINT || loaded != 0) return status;
      // A record of the update before: begin without it.
      if (recorded_ == installed.update) fail("a record of this update is refused");
      if (tensorpatch_flash_log_clear(&log) != 0) return TENSORPATCH_E_SAVE_CHECKPOINT;
    }
  }

  tensorpatch_status feed(tensorpatch_applier* applier, const Bytes& bundle) {
    const size_t bite = 1 + next_random(random_) % 700;
    while (true) {
      const uint64_t offset = tensorpatch_apply_next_offset(applier);
      tensorpatch_status status = TENSORPATCH_MORE;
      if (offset < bundle.size()) {
        const size_t size = std::min(bite, bundle.size() - static_cast<size_t>(offset));
        size_t consumed = 0;
        status = tensorpatch_apply_push(applier, bundle.data() + offset, size, &consumed);
      } else {
        status = tensorpatch_apply_finish(applier);
      }
      if (status != TENSORPATCH_MORE) return status;
    }
  }

  // The storage of one update, with a note that something was saved or perhaps saved.
  struct Session {
    tensorpatch_flash_storage storage{};  // first: the callbacks' context
    int (*save)(void*, const uint8_t*) = nullptr;
    InPlaceLife* life = nullptr;
    int update = 0;

    static int save_and_note(void* context, const uint8_t record[TENSORPATCH_CHECKPOINT_SIZE]) {
      Session& session = *static_cast<Session*>(context);
      const int result = session.save(context, record);
      if (result == 0) session.life->recorded_ = session.update;
      return result;
    }
  };

  SchedulePlan plan_;
  const Release& release_;
  uint32_t updates_;
  uint64_t random_;
  FlashSimulator flash_;
  Verdict verdict_;
  tensorpatch_flash port_{};
  size_t next_cut_ = 0;
  uint8_t first_page_ = 0;
  int recorded_ = -1;  // the update of which a record was surely stored last
  bool is_over_ = false;
};

uint64_t count_operations(const SchedulePlan& plan, Verdict (*run)(const SchedulePlan&)) {
  static std::map<std::tuple<bool, uint32_t, uint32_t, uint32_t, uint32_t, uint64_t>, uint64_t> all;
  const auto key =
      std::make_tuple(run == run_undo, plan.geometry.page_size, plan.geometry.write_size,
                      plan.bundle_write_size, plan.log_pages, plan.seed % 256);
  const auto found = all.find(key);
  if (found != all.end()) return found->second;
  SchedulePlan quiet = plan;
  quiet.cuts.clear();
  quiet.failing_operation = quiet.failing_read = 0;
  quiet.broken_page = quiet.broken_log_page = -1;
  const Verdict verdict = run(quiet);
  if (!verdict.wrong.empty()) {
    std::fprintf(stderr, "without faults: %s\n", verdict.wrong.c_str());
    std::abort();
  }
  return all.emplace(key, verdict.operations).first->second;
}

}  // namespace

Verdict run_in_place(const SchedulePlan& plan) {
  return InPlaceLife(plan, 1).run();
}

Verdict run_undo(const SchedulePlan& plan) {
  return InPlaceLife(plan, 2).run();
}

uint64_t in_place_operations(const SchedulePlan& plan) {
  return count_operations(plan, run_in_place);
}

uint64_t undo_operations(const SchedulePlan& plan) {
  return count_operations(plan, run_undo);
}

}  // namespace tensorpatch::test
