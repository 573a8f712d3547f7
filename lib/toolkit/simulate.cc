// toolkit/simulate.cc: what an update costs a microcontroller, without one.
//
// The device library runs as it would there: the workspace is no larger than the profile's, storage
// counts, and a bundle that was packed for it is applied in place. Instructions are estimated from
// the operations; the figures behind that are measured (kCosts).
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "bundle/bundle_reader.h"
#include "bundle/radio.h"
#include "toolkit/applier_run.h"
#include "toolkit/old_files.h"
#include "toolkit/profile_choice.h"
#include "toolkit/signing.h"

namespace tensorpatch::toolkit {
namespace {

// Instructions of a Cortex-M4 by operation: so many for a byte of new, and so many for a byte of
// the patch; less the time of hash and signature. `small`: values at level S, fewer than 10 byte
// cells (log2). Made by scripts/device_costs, which counts in QEMU (-icount shift=0, g++ 12.2 -Os).
struct Cost {
  std::string_view method;
  double small_new, small_patch;
  double large_new, large_patch;
};
constexpr Cost kCosts[] = {
    {"copy", 5, 0, 3, 0},
    {"bytes", 267, 7195, 883, 9749},
    {"literal", 3662, 0, 8436, 0},
    {"", 291, 986, 501, 3416},  // any kind of values
};
constexpr double kHashInstructions = 37;  // a byte of SHA-256, libsodium's portable C
constexpr double kSignatureInstructions = 1.33e6;
constexpr double kCyclesAnInstruction = 1.5;  // assumed, as in bundle/radio.tsv
constexpr double kCountedMhz = 64;            // the clock of radio.tsv's row "apply"

// Flash in memory. Beside old, or in place: then both lie in the region.
class CountingStorage : public OldStorage {
 public:
  CountingStorage(const std::vector<base::Bytes>& old_files, uint64_t region_size)
      : OldStorage(old_files), places_(old_files.size()) {
    if (region_size == 0) return;
    places_[0].resize(region_size, 0xFF);
    std::ranges::copy(old_files[0], places_[0].begin());
  }

  Result<void> read_old(Place place, std::span<uint8_t> data) override {
    old_read += data.size();
    return OldStorage::read_old(place, data);
  }
  Result<void> write_new(Place place, base::Bytes data) override {
    std::vector<uint8_t>& bytes = places_[place.component];
    bytes.resize(std::max<size_t>(bytes.size(), place.offset + data.size()));
    std::ranges::copy(data, bytes.begin() + static_cast<std::ptrdiff_t>(place.offset));
    written += data.size();
    return {};
  }
  Result<void> read_new(Place place, std::span<uint8_t> data) override {
    const std::vector<uint8_t>& bytes = places_[place.component];
    if (place.offset + data.size() > bytes.size()) {
      return fail(TENSORPATCH_E_READ_NEW, "read beyond what was written");
    }
    std::memcpy(data.data(), bytes.data() + place.offset, data.size());
    new_read += data.size();
    return {};
  }
  Result<void> erase(Place, uint64_t size) override {
    erased += size;
    return {};
  }
  Result<void> save_checkpoint(const CheckpointRecord&) override {
    ++records;
    return {};
  }

  uint64_t old_read = 0, new_read = 0, written = 0, erased = 0, records = 0;

 private:
  std::vector<std::vector<uint8_t>> places_;
};

Result<void> check_profile(const bundle::Profile& profile, const bundle::Statement& statement,
                           uint64_t region_size) {
  const uint32_t zstd = 1u << format::kCodecZstd;
  if ((profile.codecs & zstd) != 0) {
    return fail(TENSORPATCH_E_USAGE, "profile " + profile.name + " is of no microcontroller",
                "give mcu-256k, mcu-64k, mcu-16k, mcu-8k, or a file that is like one of them");
  }
  if ((statement.required_codecs & ~profile.codecs) != 0) {
    return fail(TENSORPATCH_E_CODEC, "the bundle needs a codec that this device does not have",
                "pack it with --profile " + profile.name);
  }
  if (statement.limits.erase_size % profile.limits.erase_size != 0) {
    return fail(TENSORPATCH_E_CAPACITY,
                "the bundle was made for erase pages of " +
                    std::to_string(statement.limits.erase_size) + " bytes, the device has " +
                    std::to_string(profile.limits.erase_size),
                "pack it with --profile " + profile.name);
  }
  if (profile.region_size != 0 && region_size > profile.region_size) {
    return fail(TENSORPATCH_E_CAPACITY,
                "the bundle needs a region of " + std::to_string(region_size) +
                    " bytes, the device has " + std::to_string(profile.region_size),
                "pack it with --region " + std::to_string(profile.region_size));
  }
  return {};
}

// All of the bundle, and in place its blocks once more.
Result<bool> run_all(const bundle::BundleReader& reader, ApplierRun& run, bool in_place) {
  const base::Bytes bytes = reader.bytes();
  if (auto written = run.write(bytes); !written) return tl::unexpected(written.error());
  if (in_place && !run.is_over()) {
    const size_t after = reader.after_signatures().size() - reader.statement().manifest_size;
    const size_t blocks = bytes.size() - after;
    if (auto gone_on = run.go_on_at(blocks); !gone_on) return tl::unexpected(gone_on.error());
    if (auto written = run.write(bytes.subspan(blocks)); !written) {
      return tl::unexpected(written.error());
    }
  }
  return run.finish();
}

double instructions_of(const InspectReport& facts, const bundle::Statement& statement) {
  double sum = 0;
  for (const ComponentFacts& component : facts.components) {
    for (const MethodFacts& method : component.operations) {
      const Cost* cost = std::ranges::find_if(kCosts, [&](const Cost& each) {
        return each.method == method.method || each.method.empty();
      });
      const bool is_values = cost->method.empty();
      const bool is_large =
          is_values ? statement.limits.value_level != 0 : statement.limits.byte_cells_log2 >= 10;
      sum += static_cast<double>(method.new_bytes) * (is_large ? cost->large_new : cost->small_new);
      sum += static_cast<double>(method.patch_bytes) *
             (is_large ? cost->large_patch : cost->small_patch);
    }
  }
  return sum;
}

SimulatedStep cpu_step(double instructions, double mhz) {
  const double cycles = instructions * kCyclesAnInstruction;
  const bundle::Step counted = bundle::step("apply", "cortex-m", 1);
  // The same energy a cycle at any clock.
  const double seconds_counted = cycles / (kCountedMhz * 1e6);
  return {cycles / (mhz * 1e3), seconds_counted * counted.mw};
}

SimulatedStep step_of(std::string_view kind, std::string_view name, uint64_t size) {
  const bundle::Step step = bundle::step(kind, name, size);
  return {step.ms, step.ms * step.mw / 1000};
}

void add_costs(const SimulateOptions& options, const bundle::BundleReader& reader,
               const InspectReport& facts, SimulateReport& report) {
  const double passes = report.in_place ? 2 : 1;
  // Old once; new and the blocks in every pass.
  double digests = static_cast<double>(facts.bundle_size) * passes;
  for (const bundle::Component& component : reader.statement().components) {
    digests +=
        static_cast<double>(component.old_size) + static_cast<double>(component.new_size) * passes;
  }
  const double decoding = instructions_of(facts, reader.statement()) * passes;
  const double checking =
      digests * kHashInstructions +
      kSignatureInstructions * static_cast<double>(std::max<size_t>(report.signed_by.size(), 1));
  report.decode_instructions = static_cast<uint64_t>(decoding);
  report.check_instructions = static_cast<uint64_t>(checking);
  report.cpu = cpu_step(decoding + checking, options.clock_mhz);
  report.flash = step_of("flash", "nor", std::max(report.erased, report.written));
  if (!options.link.empty()) report.link = step_of("link", options.link, facts.bundle_size);
}

}  // namespace

Result<SimulateReport> simulate(const SimulateOptions& options) {
  if (!(options.clock_mhz > 0 && options.clock_mhz <= 10000)) {
    return fail(TENSORPATCH_E_USAGE, "a clock has more than 0 and at most 10,000 MHz");
  }
  if (!options.link.empty() && bundle::step("link", options.link, 1).ms <= 0) {
    return fail(TENSORPATCH_E_USAGE, "there is no link " + options.link,
                "one of " + bundle::link_names());
  }
  auto profile = load_profile({options.profile, options.device.memory, 0});
  if (!profile) return tl::unexpected(profile.error());
  auto ring = parse_ring(options.device.public_keys);
  if (!ring) return tl::unexpected(ring.error());
  auto file = base::MappedFile::open(options.bundle);
  if (!file) return tl::unexpected(file.error());
  auto reader = bundle::BundleReader::open(file->bytes());
  if (!reader) return tl::unexpected(reader.error());
  auto files = open_old_files(options.old_files);
  if (!files) return tl::unexpected(files.error());
  if (auto count = check_old_count(files->size(), *reader); !count) {
    return tl::unexpected(count.error());
  }
  const bundle::ResourceContract contract =
      bundle::contract(reader->statement(), reader->manifest());
  if (auto fits = check_profile(*profile, reader->statement(), contract.region_size); !fits) {
    return tl::unexpected(fits.error());
  }
  std::vector<base::Bytes> old_files;
  for (const base::MappedFile& each : *files) old_files.push_back(each.bytes());
  const bool in_place = contract.margin != 0;
  uint64_t region_size = in_place ? std::max(contract.region_size, profile->region_size) : 0;
  region_size -= region_size % reader->statement().limits.erase_size;
  if (in_place) {  // no more than the old file of the bundle
    const uint64_t old_size = reader->statement().components[0].old_size;
    old_files[0] = old_files[0].first(std::min<uint64_t>(old_files[0].size(), old_size));
  }
  CountingStorage storage(old_files, region_size);
  RunOptions run_options;
  run_options.storage = &storage;
  run_options.mode = Mode::kDevice;
  run_options.region_size = region_size;
  run_options.device = options.device;
  run_options.device.memory = profile->max_workspace;
  run_options.ring = *ring;
  run_options.stage = "simulating";
  run_options.progress = options.progress;
  ApplierRun run(run_options);
  auto done = run_all(*reader, run, in_place);
  if (!done) return tl::unexpected(done.error());

  SimulateReport report;
  report.already_new = !*done;
  report.signed_by = run.signed_by();
  report.workspace = run.workspace_size();
  report.applier = sizeof(tensorpatch_applier);
  report.written = storage.written;
  report.erased = storage.erased;
  report.records = storage.records;
  report.old_read = storage.old_read;
  report.new_read = storage.new_read;
  if (report.already_new) return report;
  auto facts = inspect({options.bundle, {}, options.device.public_keys, options.old_files});
  if (!facts) return tl::unexpected(facts.error());
  report.in_place = facts->contract.in_place;
  add_costs(options, *reader, *facts, report);
  return report;
}

}  // namespace tensorpatch::toolkit
