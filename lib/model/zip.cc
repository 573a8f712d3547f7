// model/zip.cc: finds the tensors of the files inside a zip file.
//
// Source: APPNOTE.TXT, with the zip64 records. The central directory at the end says where the
// members are; those that are stored (not compressed, not encrypted) are parsed by what they hold,
// their tensors named "<member>/<tensor>". A pickle "x.pkl" of PyTorch says what the members below
// "x/" are: storages, which have the names of their tensors. A member that is compressed, damaged
// or of no known kind stays bytes. Refused: a directory or members that end early, members that
// overlap.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "model/parsers.h"
#include "model/pickle.h"

namespace tensorpatch::model {
namespace {

constexpr uint32_t kLocalHeader = 0x04034B50;
constexpr uint32_t kEntry = 0x02014B50;
constexpr uint32_t kEnd = 0x06054B50;
constexpr uint32_t kEnd64 = 0x06064B50;
constexpr uint32_t kLocator64 = 0x07064B50;
constexpr uint64_t kEndSize = 22;
constexpr uint64_t kLocator64Size = 20;
constexpr uint64_t kMaxComment = 65535;
constexpr uint16_t kExtra64 = 1;  // the extra field that holds sizes of 64 bits
constexpr uint16_t kEncrypted = 1;
constexpr uint16_t kStored = 0;
constexpr size_t kMaxPrefix = 256;  // many tensors may share a member's name

// Below "archive/data.pkl" lies "archive/data/0": the folder of a pickle is its name without this.
constexpr std::string_view kPickle = ".pkl";

tl::unexpected<Error> damaged(const char* what) {
  return fail(TENSORPATCH_E_FORMAT, what);
}

struct Directory {
  uint64_t offset;
  uint64_t count;  // of entries
};

struct Member {
  std::string_view name;
  uint64_t offset;  // of its bytes
  uint64_t size;
  bool is_stored;
};

// The directory by the zip64 record, where the bytes before the end record lead to one.
std::optional<Directory> find_directory64(base::Bytes file, uint64_t end_offset) {
  if (end_offset < kLocator64Size) return std::nullopt;
  Cursor locator(file, end_offset - kLocator64Size);
  uint32_t signature = 0;
  uint64_t record = 0;
  if (!locator.read(signature) || signature != kLocator64 || !locator.skip(4) ||
      !locator.read(record) || record > file.size()) {
    return std::nullopt;
  }
  Cursor cursor(file, record);
  Directory directory{};
  constexpr uint64_t kBeforeCount = 28;  // size, versions, disks, count on this disk
  if (!cursor.read(signature) || signature != kEnd64 || !cursor.skip(kBeforeCount) ||
      !cursor.read(directory.count) || !cursor.skip(sizeof(uint64_t)) ||
      !cursor.read(directory.offset)) {
    return std::nullopt;
  }
  return directory;
}

// The last end record whose comment ends with the file.
Result<Directory> find_directory(base::Bytes file) {
  if (file.size() < kEndSize) return damaged("there is no directory");
  const uint64_t last = file.size() - kEndSize;
  for (uint64_t comment = 0; comment <= std::min(last, kMaxComment); ++comment) {
    const uint64_t offset = last - comment;
    if (load<uint32_t>(file, offset) != kEnd || load<uint16_t>(file, offset + 20) != comment) {
      continue;
    }
    if (const auto directory = find_directory64(file, offset)) return *directory;
    return Directory{load<uint32_t>(file, offset + 16), load<uint16_t>(file, offset + 10)};
  }
  return damaged("there is no directory");
}

// Sizes and offset that do not fit 32 bits are in the extra field, in this order.
bool read_extra64(std::string_view extra, std::initializer_list<uint64_t*> numbers) {
  const base::Bytes bytes(reinterpret_cast<const uint8_t*>(extra.data()), extra.size());
  Cursor cursor(bytes, 0);
  uint16_t id = 0;
  std::string_view field;
  while (cursor.read(id)) {
    if (!cursor.read_text<uint16_t>(field)) return false;
    if (id != kExtra64) continue;
    Cursor values(bytes.subspan(cursor.offset() - field.size(), field.size()), 0);
    return std::all_of(numbers.begin(), numbers.end(), [&](uint64_t* number) {
      return *number != 0xFFFFFFFF || values.read(*number);
    });
  }
  return true;  // a size may really be 0xFFFFFFFF
}

// Reads an entry of the directory and passes the member's own header.
Result<Member> read_member(base::Bytes file, Cursor& cursor) {
  struct Entry {  // the numbers in the order of the file
    uint32_t signature;
    uint16_t flags, method;
    uint32_t packed_size, size, offset;
    uint16_t name_size, extra_size, comment_size;
  } entry{};
  std::string_view name;
  std::string_view extra;
  if (!cursor.read(entry.signature) || entry.signature != kEntry || !cursor.skip(4) ||
      !cursor.read(entry.flags) || !cursor.read(entry.method) || !cursor.skip(8) ||
      !cursor.read(entry.packed_size) || !cursor.read(entry.size) ||
      !cursor.read(entry.name_size) || !cursor.read(entry.extra_size) ||
      !cursor.read(entry.comment_size) || !cursor.skip(8) || !cursor.read(entry.offset) ||
      !cursor.read_view(entry.name_size, name) || !cursor.read_view(entry.extra_size, extra) ||
      !cursor.skip(entry.comment_size)) {
    return damaged("the directory is malformed");
  }
  uint64_t size = entry.size;
  uint64_t packed_size = entry.packed_size;
  uint64_t offset = entry.offset;
  if (!read_extra64(extra, {&size, &packed_size, &offset}) || offset > file.size()) {
    return damaged("the directory is malformed");
  }
  Cursor header(file, offset);
  uint32_t signature = 0;
  uint16_t name_size = 0;
  uint16_t extra_size = 0;
  if (!header.read(signature) || signature != kLocalHeader || !header.skip(22) ||
      !header.read(name_size) || !header.read(extra_size) ||
      !header.skip(uint64_t{name_size} + extra_size) || header.remaining() < packed_size) {
    return damaged("a member is not where the directory says");
  }
  const bool is_stored =
      entry.method == kStored && (entry.flags & kEncrypted) == 0 && size == packed_size;
  return Member{name, header.offset(), packed_size, is_stored};
}

Result<std::vector<Member>> read_members(base::Bytes file) {
  auto directory = find_directory(file);
  if (!directory) return tl::unexpected(std::move(directory.error()));
  if (directory->offset > file.size()) return damaged("the directory is malformed");
  Cursor cursor(file, directory->offset);
  std::vector<Member> members;
  if (directory->count > kMaxTensors) return damaged("too many members");
  for (uint64_t i = 0; i < directory->count; ++i) {
    auto member = read_member(file, cursor);
    if (!member) return tl::unexpected(std::move(member.error()));
    members.push_back(*member);
  }
  std::stable_sort(members.begin(), members.end(),
                   [](const Member& a, const Member& b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (const Member& member : members) {  // so that no byte is parsed twice
    if (member.size > 0 && member.offset < end) return damaged("members overlap");
    end = std::max(end, member.offset + member.size);
  }
  return members;
}

class MemberReader {
 public:
  MemberReader(base::Bytes file, const std::vector<Member>& members)
      : file_(file), members_(members) {}

  Result<Segments> read() {
    for (const Member& member : members_) {
      if (member.is_stored && member.name.ends_with(kPickle)) add_storages(member);
    }
    for (const Member& member : members_) {
      if (member.is_stored && member.size > 0) add_tensors(member);
      if (segments_.size() > kMaxTensors) return damaged("too many tensors");
    }
    return std::move(segments_);
  }

 private:
  base::Bytes bytes_of(const Member& member) const {
    return file_.subspan(member.offset, member.size);
  }

  void add_storages(const Member& member) {
    auto pickle = scan_pickle(bytes_of(member), 0);
    if (!pickle) return;
    std::string folder(member.name.substr(0, member.name.size() - kPickle.size()));
    if (folder.size() > kMaxPrefix) return;
    for (PickledStorage& storage : pickle->storages) {
      std::string path = folder + "/";
      path += storage.key;
      storages_.emplace(std::move(path), std::move(storage));
    }
  }

  void add_tensors(const Member& member) {
    if (const auto storage = storages_.find(member.name); storage != storages_.end()) {
      Segment& segment = segments_.emplace_back();
      segment.offset = member.offset;
      segment.size = member.size;
      describe_storage(segment, storage->second);
      return;
    }
    for (Segment& segment : find_in_member(bytes_of(member))) {
      segment.offset += member.offset;
      if (member.name.size() <= kMaxPrefix) {
        std::string name(member.name);
        if (!segment.name.empty()) name += "/" + segment.name;
        segment.name = std::move(name);
      }
      segments_.push_back(std::move(segment));
    }
  }

  base::Bytes file_;
  const std::vector<Member>& members_;
  std::map<std::string, PickledStorage, std::less<>> storages_;  // by the member's name
  Segments segments_;
};

}  // namespace

bool looks_like_zip(base::Bytes file) {
  return file.size() >= sizeof kLocalHeader && load<uint32_t>(file, 0) == kLocalHeader;
}

Result<Segments> find_zip(base::Bytes file) {
  auto members = read_members(file);
  if (!members) return tl::unexpected(std::move(members.error()));
  return MemberReader(file, *members).read();
}

}  // namespace tensorpatch::model
