// toolkit/applier_run.cc: see applier_run.h.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/applier_run.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "apply/format.h"
#include "tensorpatch/ports/libcrypto.h"

namespace tensorpatch::toolkit {
namespace {

// A statement asks for memory before it is trusted; no limits of the format need more than this.
constexpr uint64_t kMaxWorkspace = uint64_t{64} << 20;
constexpr size_t kWorkLimit = size_t{1} << 20;  // between two looks at progress

// What happened, for a person, and what to do. Facts that only the caller knows are not in it.
Error error_of(tensorpatch_status status, const RunOptions& options, uint32_t workspace_size) {
  Error error{status, tensorpatch_status_text(status), {}};
  switch (status) {
    case TENSORPATCH_E_FORMAT:
      error.message = "this is not a well-formed bundle";
      break;
    case TENSORPATCH_E_VERSION:
      error.message = "the bundle is of a version or kind that this program does not know";
      error.hint = "a newer tensorpatch may";
      break;
    case TENSORPATCH_E_TRUNCATED:
      error.message = "the bundle ends too early";
      error.hint = "fetch it again";
      break;
    case TENSORPATCH_E_TRAILING:
      error.message = "there are bytes after the end of the bundle";
      break;
    case TENSORPATCH_E_SIGNATURE:
      error.message = "a signature of a trusted key is wrong";
      error.hint = "the bundle was changed after it was signed; do not use it";
      break;
    case TENSORPATCH_E_UNTRUSTED:
      error.message = "the bundle is not trusted: it needs " +
                      std::to_string(options.device.threshold) +
                      " valid signature(s) by the given keys and does not have them";
      error.hint = "`tensorpatch inspect` shows who signed; `tensorpatch sign` adds a signature";
      break;
    case TENSORPATCH_E_DIGEST:
      error.message = "the bundle is damaged: its bytes are not what was signed";
      error.hint = "fetch it again";
      break;
    case TENSORPATCH_E_SEQUENCE:
      error.message = "the bundle's sequence is below the accepted minimum";
      break;
    case TENSORPATCH_E_SECURITY_VERSION:
      error.message = "the bundle's security version is below the accepted minimum";
      break;
    case TENSORPATCH_E_DEVICE_CLASS:
      error.message = options.device.device_class
                          ? "the bundle is for another device class"
                          : "the bundle is for one device class only and none was given";
      error.hint = "`tensorpatch inspect` shows the class; --device-class says what the device is";
      break;
    case TENSORPATCH_E_UNDO:
      error.message = "the bundle leads back from an update, which is not accepted now";
      error.hint = "--undo accepts it";
      break;
    case TENSORPATCH_E_OLD:
      error.message = "wrong old file: not the one that the bundle was made from";
      error.hint = "`tensorpatch inspect` shows its size and digest; compare with sha256sum";
      break;
    case TENSORPATCH_E_WORKSPACE:
      error.message = "the bundle needs a workspace of " + std::to_string(workspace_size) +
                      " bytes, more than allowed";
      error.hint = "pack it with a smaller --memory or --profile";
      break;
    case TENSORPATCH_E_CHECKPOINT:
      error.message = "the kept state is damaged or belongs to another bundle";
      error.hint = "remove it to begin again";
      break;
    case TENSORPATCH_E_CANCELLED:
      error.message = "stopped before the end";
      break;
    default:
      break;
  }
  return error;
}

}  // namespace

Result<void> OldStorage::read_old(Place place, std::span<uint8_t> data) {
  const base::Bytes file =
      place.component < old_files_.size() ? old_files_[place.component] : base::Bytes();
  if (place.offset > file.size() || data.size() > file.size() - place.offset) {
    return fail(TENSORPATCH_E_OLD, "the old file is too short");
  }
  std::memcpy(data.data(), file.data() + place.offset, data.size());
  return {};
}

Result<void> OldStorage::write_new(Place, base::Bytes) {
  return fail(TENSORPATCH_E_WRITE_NEW, "nothing is to be written here");
}

Result<void> OldStorage::read_new(Place, std::span<uint8_t>) {
  return fail(TENSORPATCH_E_READ_NEW, "nothing was written here");
}

Result<void> OldStorage::save_checkpoint(const CheckpointRecord&) {
  return {};
}

HostCodecs::HostCodecs(uint32_t zstd_window_log2)
    : table_{&tensorpatch_codec_values, &tensorpatch_codec_bytes} {
  const size_t size = tensorpatch_zstd_memory_size(zstd_window_log2);
  if (size == 0) return;  // no zstd in this bundle
  zstd_memory_.resize(size / 8 + 1);
  const tensorpatch_codec* codec =
      tensorpatch_zstd_init(&zstd_, zstd_memory_.data(), zstd_memory_.size() * 8, zstd_window_log2);
  if (codec != nullptr) table_.push_back(codec);
}

struct ApplierRun::State {
  RunOptions options;
  std::vector<uint8_t> begin;  // bytes before the applier exists: not more than peek looks at
  std::vector<uint64_t> workspace;
  uint32_t workspace_size = 0;
  tensorpatch_applier applier{};
  bool is_started = false;
  bool is_over = false;
  std::optional<Error> storage_error;  // why a callback said no
  std::vector<Digest> signed_by;
  std::vector<tensorpatch_key> keys;
  tensorpatch_hash_port hash{};
  tensorpatch_region region{};
  std::optional<HostCodecs> codecs;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (hash.state != nullptr) tensorpatch_libcrypto_hash_close(&hash);
    if (region.hash.state != nullptr) tensorpatch_libcrypto_hash_close(&region.hash);
  }

  Result<void> start();  // does nothing while there are too few first bytes
  Result<void> push(base::Bytes data);
  Result<void> report();  // progress; E_CANCELLED
  tl::unexpected<Error> error(tensorpatch_status status);
  int keep(const Result<void>& result);
  tensorpatch_ports ports();
};

// 0 for the applier, or the error is kept and the applier stopped.
int ApplierRun::State::keep(const Result<void>& result) {
  if (result) return 0;
  storage_error = result.error();
  return -1;
}

tensorpatch_ports ApplierRun::State::ports() {
  tensorpatch_ports ports{};
  ports.context = this;
  ports.hash = hash;
  ports.verify = [](void* context, const tensorpatch_key* key, const uint8_t* message,
                    size_t message_size, const uint8_t* signature, size_t signature_size) -> int {
    auto* state = static_cast<State*>(context);
    const base::Bytes only = state->options.only_message;
    if (!only.empty()) return std::ranges::equal(only, base::Bytes(message, message_size)) ? 0 : 1;
    const keys::PublicKey with{
        key->algorithm, {}, {key->public_key, key->public_key + key->public_key_size}};
    const keys::Signature given{key->algorithm, {}, {signature, signature + signature_size}};
    if (!keys::verify(with, {message, message_size}, given)) return 1;
    std::copy_n(key->id, 32, state->signed_by.emplace_back().begin());
    return 0;
  };
  ports.read_old = [](void* context, uint32_t component, uint64_t offset, uint8_t* data,
                      size_t size) -> int {
    auto* state = static_cast<State*>(context);
    const auto read = state->options.storage->read_old({component, offset}, {data, size});
    if (!read && read.error().code == TENSORPATCH_E_OLD) return TENSORPATCH_BEYOND_END;
    return state->keep(read);
  };
  if (options.mode == Mode::kDecodeOnly) return ports;
  ports.write_new = [](void* context, uint32_t component, uint64_t offset, const uint8_t* data,
                       size_t size) -> int {
    auto* state = static_cast<State*>(context);
    return state->keep(state->options.storage->write_new({component, offset}, {data, size}));
  };
  ports.read_new = [](void* context, uint32_t component, uint64_t offset, uint8_t* data,
                      size_t size) -> int {
    auto* state = static_cast<State*>(context);
    return state->keep(state->options.storage->read_new({component, offset}, {data, size}));
  };
  if (options.mode == Mode::kWrite) return ports;
  ports.save_checkpoint = [](void* context, const uint8_t* record) -> int {
    auto* state = static_cast<State*>(context);
    CheckpointRecord copy;
    std::copy_n(record, copy.size(), copy.begin());
    return state->keep(state->options.storage->save_checkpoint(copy));
  };
  if (options.mode == Mode::kWriteWithCheckpoints) return ports;
  ports.erase = [](void* context, uint32_t component, uint64_t offset, uint64_t size) -> int {
    auto* state = static_cast<State*>(context);
    return state->keep(state->options.storage->erase({component, offset}, size));
  };
  return ports;
}

tl::unexpected<Error> ApplierRun::State::error(tensorpatch_status status) {
  if (storage_error) return tl::unexpected(*storage_error);
  return tl::unexpected(error_of(status, options, workspace_size));
}

Result<void> ApplierRun::State::start() {
  tensorpatch_summary summary{};
  const tensorpatch_status peeked = tensorpatch_peek(begin.data(), begin.size(), &summary);
  if (peeked == TENSORPATCH_E_TRUNCATED) return {};  // not yet
  if (peeked != TENSORPATCH_OK) return error(peeked);
  workspace_size = summary.workspace_size;
  // Less than it asks for when that is too much: the applier refuses once it trusts the statement.
  const uint64_t most = std::min(options.device.memory.value_or(kMaxWorkspace), kMaxWorkspace);
  const uint64_t size = std::min<uint64_t>(workspace_size, most) / 8 * 8;
  workspace.resize(std::max<size_t>(static_cast<size_t>(size / 8), 1));
  for (const keys::PublicKey& key : options.ring) {
    tensorpatch_key entry{
        key.algorithm, TENSORPATCH_ROLE_RELEASE, {}, key.bytes.data(), key.bytes.size()};
    std::copy(key.id.begin(), key.id.end(), entry.id);
    keys.push_back(entry);
  }
  if (tensorpatch_libcrypto_hash_open(&hash) != 0) return error(TENSORPATCH_E_HASH);
  codecs.emplace(summary.zstd_window_log2);
  tensorpatch_options given{};
  given.keys = keys.data();
  given.key_count = keys.size();
  given.threshold = options.device.threshold;
  given.codecs = codecs->table().data();
  given.codec_count = codecs->table().size();
  given.device_class = options.device.device_class ? options.device.device_class->data() : nullptr;
  given.sequence_floor = options.device.sequence_floor;
  given.security_version_floor = options.device.security_version_floor;
  if (options.device.accepts_undo) given.accept |= TENSORPATCH_ACCEPT_UNDO;
  std::fill(std::begin(given.capacity), std::end(given.capacity), UINT64_MAX);
  given.work_limit = kWorkLimit;
  if (options.region_size != 0) {
    region.method = &tensorpatch_in_place_method;
    region.size = options.region_size;
    if (tensorpatch_libcrypto_hash_open(&region.hash) != 0) return error(TENSORPATCH_E_HASH);
    given.region = &region;
  }
  const tensorpatch_ports callbacks = ports();
  tensorpatch_status status = tensorpatch_apply_init(&applier, workspace.data(),
                                                     static_cast<size_t>(size), &callbacks, &given);
  if (status == TENSORPATCH_OK && options.checkpoint) {
    status = tensorpatch_apply_resume(&applier, options.checkpoint->data());
  }
  if (status != TENSORPATCH_OK) return error(status);
  is_started = true;
  return push(begin);
}

Result<void> ApplierRun::State::report() {
  if (!options.progress) return {};
  tensorpatch_progress progress{};
  tensorpatch_apply_progress(&applier, &progress);
  if (options.progress({options.stage, progress.done, progress.total})) return {};
  tensorpatch_apply_cancel(&applier);
  return error(TENSORPATCH_E_CANCELLED);
}

Result<void> ApplierRun::State::push(base::Bytes data) {
  do {
    size_t consumed = 0;
    const tensorpatch_status status =
        tensorpatch_apply_push(&applier, data.data(), data.size(), &consumed);
    data = data.subspan(consumed);
    if (status >= TENSORPATCH_E_ARGUMENT) return error(status);
    is_over = status != TENSORPATCH_MORE;
    if (status == TENSORPATCH_ALREADY_NEW) return {};  // what follows does not matter
    if (auto reported = report(); !reported) return reported;
  } while (!data.empty());
  return {};
}

ApplierRun::ApplierRun(RunOptions options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
}
ApplierRun::~ApplierRun() = default;

Result<void> ApplierRun::write(base::Bytes data) {
  if (!state_->is_started) {
    const size_t count =
        std::min(data.size(), size_t{TENSORPATCH_PEEK_SIZE} - state_->begin.size());
    state_->begin.insert(state_->begin.end(), data.begin(),
                         data.begin() + static_cast<std::ptrdiff_t>(count));
    data = data.subspan(count);
    if (auto started = state_->start(); !started) return started;
  }
  return data.empty() ? Result<void>() : state_->push(data);
}

Result<void> ApplierRun::go_on_at(uint64_t offset) {
  // Each push works a while on the old files; the last one goes to the block.
  tensorpatch_progress progress{};
  tensorpatch_apply_progress(&state_->applier, &progress);
  for (uint64_t left = progress.total / kWorkLimit + 2; !is_over() && next_offset() != offset;) {
    if (left-- == 0) return state_->error(TENSORPATCH_E_CHECKPOINT);
    if (auto pushed = state_->push({}); !pushed) return pushed;
  }
  return {};
}

Result<bool> ApplierRun::finish() {
  if (!state_->is_started) return state_->error(TENSORPATCH_E_TRUNCATED);
  tensorpatch_status status = TENSORPATCH_MORE;
  while ((status = tensorpatch_apply_finish(&state_->applier)) == TENSORPATCH_MORE) {
    if (auto reported = state_->report(); !reported) return tl::unexpected(reported.error());
  }
  if (status >= TENSORPATCH_E_ARGUMENT) return state_->error(status);
  return status == TENSORPATCH_DONE;
}

bool ApplierRun::is_over() const {
  return state_->is_over;
}

uint64_t ApplierRun::next_offset() const {
  return state_->is_started ? tensorpatch_apply_next_offset(&state_->applier)
                            : state_->begin.size();
}

uint32_t ApplierRun::workspace_size() const {
  return state_->workspace_size;
}

const std::vector<Digest>& ApplierRun::signed_by() const {
  return state_->signed_by;
}

}  // namespace tensorpatch::toolkit
