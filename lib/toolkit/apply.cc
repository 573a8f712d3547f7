// toolkit/apply.cc: a bundle from a file or a stream to new files.
//
// With a resume file, the first checkpoint makes the partial files worth keeping: from then on they
// and the state stay through everything but success and a new file that came out wrong.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>

#include "toolkit/applier_run.h"
#include "toolkit/bundle_head.h"
#include "toolkit/new_file.h"
#include "toolkit/old_files.h"
#include "toolkit/paths.h"
#include "toolkit/resume_state.h"
#include "toolkit/signing.h"

namespace tensorpatch::toolkit {
namespace {

using namespace std::chrono_literals;

constexpr size_t kPieceSize = size_t{1} << 18;
constexpr auto kStoreEvery = 500ms;  // a state on disk costs an fsync of the new files

// One component's files, opened.
struct OpenComponent {
  std::string name;
  base::MappedFile old_file;
  std::unique_ptr<NewFile> new_file;
};

// The files behind the applier. Which file is which component is known once the manifest, with the
// names, has passed by and was found right: at the first look at an old file.
class FileStorage : public Storage {
 public:
  explicit FileStorage(const ApplyOptions& options) : resume_path_(options.resume) {}
  Result<void> open(const ApplyOptions& options);

  Result<void> read_old(Place place, std::span<uint8_t> data) override;
  Result<void> write_new(Place place, base::Bytes data) override;
  Result<void> read_new(Place place, std::span<uint8_t> data) override;
  Result<void> save_checkpoint(const CheckpointRecord& record) override;

  BundleHead& head() { return head_; }
  const std::optional<ResumeState>& resumed() const { return resumed_; }
  // Stores the newest checkpoint; the offset in the bundle to go on from.
  Result<uint64_t> suspend();
  // After a failure: removes what is not worth keeping.
  void give_up(tensorpatch_status status);
  // The old files already are the new ones: copies them.
  Result<void> copy_old();
  Result<void> commit();
  uint64_t new_size() const;  // of all components, once done

 private:
  Result<OpenComponent*> component(uint32_t index);
  Result<void> match_names();
  Result<void> open_new(const ApplyOptions& options, size_t index);
  Result<void> store();
  void discard();

  Path resume_path_;
  bool is_state_ours_ = false;          // made or understood: never remove another file
  std::optional<ResumeState> resumed_;  // the state that an earlier run left
  std::optional<CheckpointRecord> newest_;
  std::chrono::steady_clock::time_point stored_at_;
  BundleHead head_;
  std::vector<OpenComponent> components_;    // in the caller's order
  std::vector<size_t> order_;                // of the bundle's components
  std::vector<bundle::Component> promised_;  // in the bundle's order
};

Result<void> FileStorage::open(const ApplyOptions& options) {
  for (const ComponentFiles& files : options.components) {
    auto old_file = open_old_file({files.old_file, files.old_region});
    if (!old_file) return tl::unexpected(old_file.error());
    components_.push_back({files.name, std::move(*old_file), nullptr});
  }
  std::error_code error;
  if (!resume_path_.empty() && std::filesystem::exists(resume_path_, error)) {
    auto state = load_resume_state(resume_path_);
    if (!state) return tl::unexpected(state.error());
    resumed_ = std::move(*state);
    is_state_ours_ = true;
    newest_ = resumed_->checkpoint;
  }
  if (!resume_path_.empty() && !resumed_) {
    for (const ComponentFiles& files : options.components) {
      auto is_free = check_free(part_path(files.new_file), options.existing);
      if (!is_free) return is_free;
    }
    if (auto stored = store(); !stored) return stored;
    is_state_ours_ = true;
  }
  for (size_t i = 0; i < components_.size(); ++i) {
    if (auto opened = open_new(options, i); !opened) return opened;
  }
  return {};
}

Result<void> FileStorage::open_new(const ApplyOptions& options, size_t index) {
  const Path& path = options.components[index].new_file;
  auto file = resume_path_.empty() ? NewFile::create_temporary(path, options.existing)
              : newest_            ? NewFile::open_part(path, options.existing)
                                   : NewFile::create_part(path, options.existing);
  if (!file) return tl::unexpected(file.error());
  components_[index].new_file = std::move(*file);
  return {};
}

Result<void> FileStorage::match_names() {
  auto statement = head_.statement();
  if (!statement) return tl::unexpected(statement.error());
  auto manifest = head_.manifest();
  if (!manifest) return tl::unexpected(manifest.error());
  std::string names;
  for (const auto& component : manifest->components) names += " " + component.name;
  const std::string hint = "the bundle's components:" + names;
  if (manifest->components.size() != components_.size()) {
    return fail(TENSORPATCH_E_USAGE,
                "the bundle has " + std::to_string(manifest->components.size()) +
                    " component(s), but files for " + std::to_string(components_.size()) +
                    " were given",
                hint + "; give --component NAME OLD NEW for each");
  }
  for (const auto& component : manifest->components) {
    const auto named =
        std::find_if(components_.begin(), components_.end(), [&](const OpenComponent& given) {
          return given.name.empty() || given.name == component.name;
        });
    if (named == components_.end()) {
      return fail(TENSORPATCH_E_USAGE, "no files were given for component '" + component.name + "'",
                  hint);
    }
    order_.push_back(static_cast<size_t>(named - components_.begin()));
  }
  promised_ = statement->components;
  return {};
}

Result<OpenComponent*> FileStorage::component(uint32_t index) {
  if (order_.empty()) {
    if (auto matched = match_names(); !matched) return tl::unexpected(matched.error());
  }
  return &components_[order_[index]];
}

Result<void> FileStorage::read_old(Place place, std::span<uint8_t> data) {
  auto found = component(place.component);
  if (!found) return tl::unexpected(found.error());
  return OldStorage({(*found)->old_file.bytes()}).read_old({0, place.offset}, data);
}

Result<void> FileStorage::write_new(Place place, base::Bytes data) {
  auto found = component(place.component);
  if (!found) return tl::unexpected(found.error());
  return (*found)->new_file->write_at(place.offset, data);
}

Result<void> FileStorage::read_new(Place place, std::span<uint8_t> data) {
  auto found = component(place.component);
  if (!found) return tl::unexpected(found.error());
  return (*found)->new_file->read_at(place.offset, data);
}

Result<void> FileStorage::save_checkpoint(const CheckpointRecord& record) {
  newest_ = record;
  const auto now = std::chrono::steady_clock::now();
  if (resumed_.has_value() && now - stored_at_ < kStoreEvery) return {};
  if (!resumed_.has_value()) resumed_.emplace();
  return store();
}

Result<void> FileStorage::store() {
  ResumeState state;
  state.checkpoint = newest_;
  if (newest_) state.head.assign(head_.bytes().begin(), head_.bytes().end());
  for (const OpenComponent& opened : components_) {
    if (!opened.new_file) continue;
    if (auto synced = opened.new_file->sync(); !synced) return synced;
  }
  stored_at_ = std::chrono::steady_clock::now();
  return store_resume_state(resume_path_, state);
}

Result<uint64_t> FileStorage::suspend() {
  if (!newest_) return 0;
  auto offset = head_.offset_of(*newest_);
  if (!offset) return offset;
  if (auto stored = store(); !stored) return tl::unexpected(stored.error());
  return offset;
}

void FileStorage::discard() {
  if (!is_state_ours_) return;
  for (OpenComponent& opened : components_) {
    if (opened.new_file) opened.new_file->discard();
  }
  std::error_code ignored;
  std::filesystem::remove(resume_path_, ignored);
}

void FileStorage::give_up(tensorpatch_status status) {
  const bool is_hopeless = status == TENSORPATCH_E_NEW || status == TENSORPATCH_E_FORMAT;
  if (!newest_ || is_hopeless) discard();
}

Result<void> FileStorage::copy_old() {
  std::vector<uint8_t> check(kPieceSize);
  for (size_t i = 0; i < order_.size(); ++i) {
    const OpenComponent& opened = components_[order_[i]];
    // The applier has hashed so many bytes of it; fill may follow.
    const base::Bytes bytes = opened.old_file.bytes().first(promised_[i].new_size);
    for (uint64_t offset = 0; offset < bytes.size(); offset += kPieceSize) {
      const base::Bytes piece =
          bytes.subspan(offset, std::min<uint64_t>(kPieceSize, bytes.size() - offset));
      const std::span<uint8_t> back(check.data(), piece.size());
      auto done = opened.new_file->write_at(offset, piece);
      if (done) done = opened.new_file->read_at(offset, back);
      if (!done) return done;
      if (!std::ranges::equal(piece, back)) {
        return fail(TENSORPATCH_E_NEW, "storage does not hold what was written");
      }
    }
  }
  return {};
}

uint64_t FileStorage::new_size() const {
  uint64_t size = 0;
  for (const bundle::Component& component : promised_) size += component.new_size;
  return size;
}

Result<void> FileStorage::commit() {
  for (size_t i = 0; i < order_.size(); ++i) {
    auto named = components_[order_[i]].new_file->commit(promised_[i].new_size);
    if (!named) return named;
  }
  if (resume_path_.empty()) return {};
  std::error_code ignored;
  std::filesystem::remove(resume_path_, ignored);
  return {};
}

Result<void> check_options(const ApplyOptions& options) {
  const auto& components = options.components;
  if (components.empty() || components.size() > TENSORPATCH_MAX_COMPONENTS) {
    return fail(TENSORPATCH_E_USAGE, "an update has 1 to 6 components");
  }
  Paths paths;
  paths.inputs.push_back(options.bundle);
  paths.outputs.push_back(options.resume);
  for (size_t i = 0; i < components.size(); ++i) {
    if (components.size() > 1 && components[i].name.empty()) {
      return fail(TENSORPATCH_E_USAGE, "every component of several needs its name");
    }
    for (size_t j = 0; j < i; ++j) {
      if (components[i].name == components[j].name) {
        return fail(TENSORPATCH_E_USAGE, "component '" + components[i].name + "' is given twice");
      }
    }
    paths.inputs.push_back(components[i].old_file);
    paths.outputs.push_back(components[i].new_file);
    if (!options.resume.empty()) paths.outputs.push_back(part_path(components[i].new_file));
    auto is_free = check_free(components[i].new_file, options.existing);
    if (!is_free) return is_free;
  }
  return check_distinct(paths);
}

// The bundle's bytes, wherever they come from.
class Source {
 public:
  Source(base::Bytes bundle, InputCallback input)
      : bundle_(bundle), input_(std::move(input)), buffer_(input_ ? kPieceSize : 0) {}
  // All of a bundle in a file; empty for a stream.
  base::Bytes file() const { return bundle_; }
  // The bytes from `offset` on; a stream is there already. Empty: the end.
  Result<base::Bytes> next(uint64_t offset) {
    if (input_) {
      auto count = input_(buffer_);
      if (!count) return tl::unexpected(count.error());
      return base::Bytes(buffer_.data(), *count);
    }
    const uint64_t begin = std::min<uint64_t>(offset, bundle_.size());
    return bundle_.subspan(begin, std::min<uint64_t>(kPieceSize, bundle_.size() - begin));
  }

 private:
  base::Bytes bundle_;
  InputCallback input_;
  std::vector<uint8_t> buffer_;
};

// Goes to where the checkpoint is, with the head of the bundle in the file, or for a stream with
// the kept one. The applier compares its statement with the checkpoint's.
Result<void> go_on(const Source& source, FileStorage& storage, ApplierRun& run) {
  const ResumeState& state = *storage.resumed();
  storage.head().take(source.file().empty() ? base::Bytes(state.head) : source.file());
  if (!storage.head().is_complete())
    return fail(TENSORPATCH_E_TRUNCATED, "the bundle ends too early");
  if (auto written = run.write(storage.head().bytes()); !written) return written;
  auto offset = storage.head().offset_of(*state.checkpoint);
  if (!offset) return tl::unexpected(offset.error());
  return run.go_on_at(*offset);
}

// True: done; false: already new.
Result<bool> feed(Source& source, FileStorage& storage, ApplierRun& run) {
  if (storage.resumed() && storage.resumed()->checkpoint) {
    if (auto gone_on = go_on(source, storage, run); !gone_on)
      return tl::unexpected(gone_on.error());
  }
  uint64_t offset = run.next_offset();
  for (;;) {
    auto piece = source.next(offset);
    if (!piece) return tl::unexpected(piece.error());
    if (piece->empty()) break;
    offset += piece->size();
    storage.head().take(*piece);
    if (auto written = run.write(*piece); !written) return tl::unexpected(written.error());
  }
  return run.finish();
}

bool is_interruption(tensorpatch_status status) {
  return status == TENSORPATCH_E_TRUNCATED || status == TENSORPATCH_E_CANCELLED;
}

}  // namespace

Result<ApplyReport> apply(const ApplyOptions& options) {
  if (auto checked = check_options(options); !checked) return tl::unexpected(checked.error());
  auto ring = parse_ring(options.device.public_keys);
  if (!ring) return tl::unexpected(ring.error());
  auto bundle_file = options.input ? base::MappedFile() : base::MappedFile::open(options.bundle);
  if (!bundle_file) return tl::unexpected(bundle_file.error());
  FileStorage storage(options);
  if (auto opened = storage.open(options); !opened) {
    storage.give_up(opened.error().code);
    return tl::unexpected(opened.error());
  }
  RunOptions run_options;
  run_options.storage = &storage;
  run_options.mode = options.resume.empty() ? Mode::kWrite : Mode::kWriteWithCheckpoints;
  run_options.device = options.device;
  run_options.ring = std::move(*ring);
  if (storage.resumed()) run_options.checkpoint = storage.resumed()->checkpoint;
  run_options.stage = "applying";
  run_options.progress = options.progress;
  ApplierRun run(run_options);
  Source source(bundle_file->bytes(), options.input);

  ApplyReport report;
  Result<bool> done = feed(source, storage, run);
  Result<void> ended;
  if (done) {
    report.outcome = *done ? Outcome::kDone : Outcome::kAlreadyNew;
    if (!*done) ended = storage.copy_old();
    if (ended) ended = storage.commit();
  } else if (!options.resume.empty() && is_interruption(done.error().code)) {
    auto offset = storage.suspend();
    if (!offset) return tl::unexpected(offset.error());
    report.outcome = Outcome::kInterrupted;
    report.next_offset = *offset;
  } else {
    ended = tl::unexpected(done.error());
  }
  if (!ended) {
    storage.give_up(ended.error().code);
    return tl::unexpected(ended.error());
  }
  report.new_size = storage.new_size();
  report.workspace_size = run.workspace_size();
  report.signed_by = run.signed_by();
  return report;
}

}  // namespace tensorpatch::toolkit
