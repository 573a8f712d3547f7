// toolkit/self_check.cc: cuts an update into stretches and lets an applier run over each.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/self_check.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/parallel.h"
#include "bundle/digest.h"
#include "toolkit/applier_run.h"

namespace tensorpatch::toolkit {
namespace {

using RestartPlace = bundle::BundleWriter::RestartPlace;

// Each thread hashes all of old first: a stretch should be worth that.
constexpr size_t kMostStretches = 8;
// Bytes of new that take as long as a byte of the patch: of copies, which cost next to nothing.
constexpr uint64_t kCopyWeight = 32;

// Where a stretch ends; none: with the update.
using End = std::optional<RestartPlace>;

// Storage that compares what is written with the new files at hand, and reads back from those.
class CheckStorage : public OldStorage {
 public:
  CheckStorage(const CheckJob& job, const RestartPlace& begin, End end)
      : OldStorage(old_files_of(job)), files_(job.files), end_(end), written_(job.files.size()) {
    for (size_t i = 0; i < begin.component; ++i) written_[i] = files_[i].new_bytes.size();
    written_[begin.component] = begin.new_offset;
  }

  // Whether all of a stretch that the update goes on behind has been written.
  bool is_over() const {
    return end_.has_value() && written_[end_->component] >= end_->new_offset &&
           (end_->new_offset != 0 || end_->component == 0 ||
            written_[end_->component - 1] == files_[end_->component - 1].new_bytes.size());
  }

  Result<void> write_new(Place place, base::Bytes data) override {
    const base::Bytes file = files_[place.component].new_bytes;
    uint64_t& written = written_[place.component];
    if (place.offset != written || data.size() > file.size() - place.offset ||
        std::memcmp(file.data() + place.offset, data.data(), data.size()) != 0) {
      return fail(TENSORPATCH_E_SELF_CHECK, "the bundle does not rebuild the new file",
                  "this is a defect of tensorpatch; please report it with the two files");
    }
    written += data.size();
    return {};
  }

  Result<void> read_new(Place place, std::span<uint8_t> data) override {
    if (place.offset + data.size() > written_[place.component]) {
      return fail(TENSORPATCH_E_SELF_CHECK, "the bundle does not write the whole new file");
    }
    std::memcpy(data.data(), files_[place.component].new_bytes.data() + place.offset, data.size());
    return {};
  }

 private:
  static std::vector<base::Bytes> old_files_of(const CheckJob& job) {
    std::vector<base::Bytes> files;
    for (const CheckedFile& file : job.files) files.push_back(file.old_bytes);
    return files;
  }

  const std::vector<CheckedFile>& files_;
  End end_;
  std::vector<uint64_t> written_;  // as if all before the stretch had been
};

// Passes on what an applier wants of a bundle that begins in its middle: the head, then the blocks
// from one on, until the storage has its stretch.
class StretchSink : public base::Sink {
 public:
  StretchSink(ApplierRun& run, const CheckStorage& storage,
              std::optional<bundle::BundleWriter::Resumption> from)
      : run_(run), storage_(storage), from_(from) {}

  Result<void> write(base::Bytes data) override {
    if (storage_.is_over()) return fail(TENSORPATCH_E_CANCELLED, "the stretch is over");
    if (from_.has_value() && position_ >= from_->head_size) {
      if (position_ == from_->head_size) {
        if (auto gone_on = run_.go_on_at(from_->block_offset); !gone_on) return gone_on;
      }
      const uint64_t skipped = from_->block_offset - std::min(from_->block_offset, position_);
      position_ += data.size();
      data = data.subspan(std::min<uint64_t>(skipped, data.size()));
    } else {
      position_ += data.size();
    }
    return data.empty() ? Result<void>() : run_.write(data);
  }

 private:
  ApplierRun& run_;
  const CheckStorage& storage_;
  std::optional<bundle::BundleWriter::Resumption> from_;
  uint64_t position_ = 0;  // in the bundle
};

// Restart points that cut the work into about equal parts; the first is the beginning.
std::vector<RestartPlace> cuts(const CheckJob& job) {
  const size_t threads =
      job.jobs != 0 ? job.jobs : std::max(1U, std::thread::hardware_concurrency());
  const size_t count = std::min(threads, kMostStretches);
  const auto work_at = [](const delta::RestartPoint& point) {
    return point.patch_offset + point.new_offset / kCopyWeight;
  };
  uint64_t total = 0;
  for (size_t i = 0; i < job.files.size(); ++i) {
    total +=
        work_at({job.files[i].new_bytes.size(), job.writer->statement().components[i].patch_size});
  }
  std::vector<RestartPlace> places{{}};
  uint64_t before = 0;
  for (uint32_t i = 0; i < job.files.size(); ++i) {
    for (const delta::RestartPoint& point : job.files[i].restarts) {
      const uint64_t wanted = total / count * places.size();
      if (places.size() == count || before + work_at(point) < wanted || wanted == 0) continue;
      places.push_back({i, point.new_offset, point.patch_offset});
    }
    before +=
        work_at({job.files[i].new_bytes.size(), job.writer->statement().components[i].patch_size});
  }
  return places;
}

class Checker {
 public:
  explicit Checker(const CheckJob& job)
      : job_(job),
        message_(bundle::dsse_message(job.writer->statement_bytes())),
        stand_in_{TENSORPATCH_ED25519, hint_of(key_), std::vector<uint8_t>(64)} {}

  Result<void> run() {
    const std::vector<RestartPlace> places = cuts(job_);
    std::vector<Result<void>> results(places.size());
    base::parallel_for(places.size(), job_.jobs, [&](size_t i) {
      const End end = i + 1 < places.size() ? End(places[i + 1]) : std::nullopt;
      results[i] = run_stretch(places[i], end);
      if (!results[i]) stopped_ = true;
    });
    // What stopped the others comes before that they were stopped.
    const Result<void>* worst = nullptr;
    for (const Result<void>& result : results) {
      if (result) continue;
      if (worst == nullptr || worst->error().code == TENSORPATCH_E_CANCELLED) worst = &result;
    }
    return worst == nullptr ? Result<void>() : *worst;
  }

 private:
  Result<void> run_stretch(const RestartPlace& begin, End end) {
    CheckStorage storage(job_, begin, end);
    RunOptions options;
    options.storage = &storage;
    options.mode = Mode::kWrite;
    options.device.device_class = job_.device_class;
    options.device.accepts_undo = true;
    options.ring = {key_};
    options.only_message = message_;
    options.stage = "checking";
    options.progress = [&](const Progress& progress) {
      if (stopped_) return false;
      return end.has_value() || !job_.progress || job_.progress(progress);
    };
    std::optional<bundle::BundleWriter::Resumption> from;
    if (begin.component != 0 || begin.new_offset != 0) {
      from = job_.writer->resumption({&stand_in_, 1}, begin);
      options.checkpoint = from->record;
    }
    ApplierRun run(options);
    StretchSink sink(run, storage, from);
    const auto written = job_.writer->write({&stand_in_, 1}, sink);
    if (storage.is_over()) return {};
    Result<bool> done = written ? run.finish() : Result<bool>(tl::unexpected(written.error()));
    if (storage.is_over() || (done && *done && !end.has_value())) return {};
    if (!done && done.error().code == TENSORPATCH_E_CANCELLED) return tl::unexpected(done.error());
    const std::string reason = !done   ? done.error().message
                               : *done ? "a stretch of it is missing"
                                       : "the device library sees nothing to do";
    return fail(TENSORPATCH_E_SELF_CHECK, "the bundle failed its own check: " + reason,
                "this is a defect of tensorpatch; please report it with the two files");
  }

  const CheckJob& job_;
  // A stand-in signature takes the place that a record needs, and counts over this statement only.
  const keys::PublicKey key_{TENSORPATCH_ED25519, {}, std::vector<uint8_t>(32)};
  const std::vector<uint8_t> message_;
  const keys::Signature stand_in_;
  std::atomic<bool> stopped_ = false;
};

}  // namespace

Result<void> self_check(const CheckJob& job) {
  return Checker(job).run();
}

}  // namespace tensorpatch::toolkit
