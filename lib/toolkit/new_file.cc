// toolkit/new_file.cc: see new_file.h.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "toolkit/paths.h"

namespace tensorpatch::toolkit {
namespace {

class TemporaryFile : public NewFile {
 public:
  explicit TemporaryFile(std::unique_ptr<base::OutputFile> file) : file_(std::move(file)) {}
  Result<void> write_at(uint64_t offset, base::Bytes data) override {
    return file_->write_at(offset, data);
  }
  Result<void> read_at(uint64_t offset, std::span<uint8_t> data) override {
    return file_->read_at(offset, data);
  }
  Result<void> sync() override { return {}; }
  Result<void> commit(uint64_t) override { return file_->commit(); }
  void discard() override {}

 private:
  std::unique_ptr<base::OutputFile> file_;
};

class PartFile : public NewFile {
 public:
  PartFile(Path path, Existing existing, int descriptor)
      : path_(std::move(path)), existing_(existing), descriptor_(descriptor) {}
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile() override { ::close(descriptor_); }

  Result<void> write_at(uint64_t offset, base::Bytes data) override {
    while (!data.empty()) {
      const ssize_t count =
          ::pwrite(descriptor_, data.data(), data.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return system_error("write " + quoted(part_path(path_)));
      data = data.subspan(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
    return {};
  }

  Result<void> read_at(uint64_t offset, std::span<uint8_t> data) override {
    while (!data.empty()) {
      const ssize_t count =
          ::pread(descriptor_, data.data(), data.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return system_error("read back " + quoted(part_path(path_)));
      if (count == 0) {
        return fail(TENSORPATCH_E_NEW,
                    quoted(part_path(path_)) + " is shorter than what was written",
                    "begin again without the kept state");
      }
      data = data.subspan(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
    return {};
  }

  Result<void> sync() override {
    return ::fdatasync(descriptor_) == 0 ? Result<void>()
                                         : system_error("write " + quoted(part_path(path_)));
  }

  Result<void> commit(uint64_t size) override {
    if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0 || ::fsync(descriptor_) != 0) {
      return system_error("write " + quoted(part_path(path_)));
    }
    const unsigned flags = existing_ == Existing::kKeep ? RENAME_NOREPLACE : 0;
    int renamed = ::renameat2(AT_FDCWD, part_path(path_).c_str(), AT_FDCWD, path_.c_str(), flags);
    if (renamed != 0 && (errno == EINVAL || errno == ENOSYS)) {
      // A file system that cannot refuse by itself.
      if (auto is_free = check_free(path_, existing_); !is_free) return is_free;
      renamed = ::rename(part_path(path_).c_str(), path_.c_str());
    }
    if (renamed == 0) return {};
    if (errno == EEXIST) return check_free(path_, existing_);
    return system_error("create " + quoted(path_));
  }

  void discard() override { ::unlink(part_path(path_).c_str()); }

 private:
  Path path_;
  Existing existing_;
  int descriptor_;
};

}  // namespace

Path part_path(const Path& new_file) {
  Path path = new_file;
  path += ".part";
  return path;
}

Result<std::unique_ptr<NewFile>> NewFile::create_temporary(const Path& path, Existing existing) {
  auto file = base::OutputFile::create(path, {.replace = existing == Existing::kReplace});
  if (!file) return tl::unexpected(file.error());
  return std::make_unique<TemporaryFile>(std::move(*file));
}

Result<std::unique_ptr<NewFile>> NewFile::create_part(const Path& path, Existing existing) {
  if (::unlink(part_path(path).c_str()) != 0 && errno != ENOENT) {
    return system_error("replace " + quoted(part_path(path)));
  }
  const int descriptor =
      ::open(part_path(path).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0) return system_error("create " + quoted(part_path(path)));
  return std::make_unique<PartFile>(path, existing, descriptor);
}

Result<std::unique_ptr<NewFile>> NewFile::open_part(const Path& path, Existing existing) {
  const int descriptor = ::open(part_path(path).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) {
    return fail(TENSORPATCH_E_CHECKPOINT,
                "there is a kept state, but no " + quoted(part_path(path)) + " that belongs to it",
                "remove the state to begin again");
  }
  return std::make_unique<PartFile>(path, existing, descriptor);
}

}  // namespace tensorpatch::toolkit
