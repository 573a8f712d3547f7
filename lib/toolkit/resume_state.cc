// toolkit/resume_state.cc: see resume_state.h.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/resume_state.h"

#include <algorithm>

#include "apply/wire.h"
#include "bundle/digest.h"
#include "toolkit/paths.h"

namespace tensorpatch::toolkit {
namespace {

constexpr uint8_t kMagic[4] = {'T', 'P', 'R', 'S'};
constexpr uint16_t kVersion = 1;
constexpr uint16_t kHasCheckpoint = 1;
constexpr size_t kHeaderSize = 12;
constexpr size_t kRecordAt = kHeaderSize;
constexpr size_t kHeadAt = kRecordAt + TENSORPATCH_CHECKPOINT_SIZE;
constexpr size_t kMaxSize = size_t{1} << 18;

}  // namespace

Result<ResumeState> load_resume_state(const Path& path) {
  const auto refuse = [&] {
    return fail(TENSORPATCH_E_CHECKPOINT,
                quoted(path) + " is not the state of an interrupted apply",
                "name another file, or remove it to begin again");
  };
  auto text = base::read_small_file(path, kMaxSize);
  if (!text) return tl::unexpected(text.error());
  const base::Bytes bytes(reinterpret_cast<const uint8_t*>(text->data()), text->size());
  if (bytes.size() < kHeadAt + sizeof(Digest)) return refuse();
  const base::Bytes content = bytes.first(bytes.size() - sizeof(Digest));
  const uint16_t flags = wire::read_u16(bytes.data() + 6);
  if (!std::equal(std::begin(kMagic), std::end(kMagic), bytes.begin()) ||
      wire::read_u16(bytes.data() + 4) != kVersion || (flags & ~kHasCheckpoint) != 0 ||
      wire::read_u32(bytes.data() + 8) != content.size() - kHeadAt ||
      !std::ranges::equal(bundle::sha256(content), bytes.last(sizeof(Digest)))) {
    return refuse();
  }
  ResumeState state;
  if ((flags & kHasCheckpoint) != 0) {
    std::copy_n(bytes.begin() + kRecordAt, TENSORPATCH_CHECKPOINT_SIZE,
                state.checkpoint.emplace().begin());
  }
  state.head.assign(content.begin() + kHeadAt, content.end());
  return state;
}

Result<void> store_resume_state(const Path& path, const ResumeState& state) {
  std::vector<uint8_t> bytes(kHeadAt);
  std::copy(std::begin(kMagic), std::end(kMagic), bytes.begin());
  wire::write_u16(bytes.data() + 4, kVersion);
  wire::write_u16(bytes.data() + 6, state.checkpoint ? kHasCheckpoint : uint16_t{0});
  wire::write_u32(bytes.data() + 8, static_cast<uint32_t>(state.head.size()));
  if (state.checkpoint) {
    std::copy(state.checkpoint->begin(), state.checkpoint->end(), bytes.begin() + kRecordAt);
  }
  bytes.insert(bytes.end(), state.head.begin(), state.head.end());
  const Digest digest = bundle::sha256(bytes);
  bytes.insert(bytes.end(), digest.begin(), digest.end());
  auto file = base::OutputFile::create(path, {.replace = true, .mode = 0600});
  if (!file) return tl::unexpected(file.error());
  auto written = (*file)->write(bytes);
  return written ? (*file)->commit() : written;
}

}  // namespace tensorpatch::toolkit
