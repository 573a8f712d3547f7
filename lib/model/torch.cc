// model/torch.cc: finds the tensors of a file that torch.save wrote before PyTorch 1.6.
//
// Layout (torch.serialization, legacy): five pickles, namely a magic number, the protocol version,
// facts of the system, the object with its tensors, and the list of the storages' keys; then for
// each key the count of elements as u64 and the values. Newer files are zip files, see zip.cc.
// Refused: what ends early, storages of unknown type, counts that do not agree.
// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <utility>

#include "model/parsers.h"
#include "model/pickle.h"

namespace tensorpatch::model {
namespace {

// The pickle of 0x1950a86a20f9469cfc6c, protocol 2.
constexpr std::string_view kMagic = "\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.";

}  // namespace

bool looks_like_torch(base::Bytes file) {
  return file.size() >= kMagic.size() &&
         std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0;
}

Result<Segments> find_torch(base::Bytes file) {
  Pickle object;
  Pickle keys;
  uint64_t offset = kMagic.size();
  for (Pickle* const pickle : {&keys, &keys, &object, &keys}) {
    auto scanned = scan_pickle(file, offset);
    if (!scanned) return tl::unexpected(std::move(scanned.error()));
    *pickle = std::move(*scanned);
    offset = pickle->end;
  }
  std::map<std::string_view, const PickledStorage*> storages;
  for (const PickledStorage& storage : object.storages) storages[storage.key] = &storage;
  Segments segments;
  Cursor cursor(file, offset);
  for (const std::string_view key : keys.texts) {
    const auto found = storages.find(key);
    uint64_t count = 0;
    Segment segment;
    if (found == storages.end() || found->second->type == ElementType::kBytes) {
      return fail(TENSORPATCH_E_FORMAT, "a storage of unknown type");
    }
    const PickledStorage& storage = *found->second;
    if (!cursor.read(count) || count != storage.count ||
        __builtin_mul_overflow(count, uint64_t{element_size(storage.type)}, &segment.size)) {
      return fail(TENSORPATCH_E_FORMAT, "size of a storage");
    }
    segment.offset = cursor.offset();
    if (!cursor.skip(segment.size)) return fail(TENSORPATCH_E_FORMAT, "values end too early");
    describe_storage(segment, storage);
    segments.push_back(std::move(segment));
  }
  return segments;
}

}  // namespace tensorpatch::model
