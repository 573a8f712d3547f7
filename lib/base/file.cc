// base/file.cc: files through POSIX calls.
//
// An output is written to ".tensorpatch-<pid>-<n>.tmp" in the folder of its final name, so that the
// last step is one rename within a file system. The file's final name is not part of the temporary
// one: it may already have the greatest length that the file system allows.
// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <system_error>
#include <vector>

namespace tensorpatch::base {
namespace {

constexpr size_t kBufferSize = 65536;
constexpr int kTemporaryNameAttempts = 1000;

std::string quoted(const std::filesystem::path& path) {
  return "'" + path.string() + "'";
}

// The reason as the system tells it, in the manner of our messages. `error` is a value of errno.
tl::unexpected<Error> io_error(const std::string& action, const std::filesystem::path& path,
                               int error) {
  std::string reason = std::generic_category().message(error);
  if (!reason.empty()) {
    reason[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason[0])));
  }
  return fail(TENSORPATCH_E_IO, "cannot " + action + " " + quoted(path) + ": " + reason);
}

tl::unexpected<Error> exists_error(const std::filesystem::path& path) {
  return fail(TENSORPATCH_E_EXISTS, quoted(path) + " exists already",
              "give --force to replace it, or choose another name");
}

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }

 private:
  int value_;
};

// Repeats a system call that a signal interrupted.
template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// The folder that holds `path`; "." for a bare name.
std::filesystem::path folder_of(const std::filesystem::path& path) {
  std::filesystem::path folder = path.parent_path();
  return folder.empty() ? std::filesystem::path(".") : folder;
}

// Whether [offset, offset + size) can be named by the file system's signed offsets.
bool is_in_range(uint64_t offset, size_t size) {
  constexpr uint64_t kMaximum = std::numeric_limits<int64_t>::max();
  return offset <= kMaximum && size <= kMaximum - offset;
}

tl::unexpected<Error> range_error(const std::filesystem::path& path) {
  return fail(TENSORPATCH_E_LIMIT, quoted(path) + " would be larger than a file can be");
}

// Gives `from` the name `to` only when that name is free, also against a file that appears
// meanwhile. 0 or a value of errno.
int rename_without_replacing(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // A file system without that flag: a hard link is refused when the name is taken, too.
  if (::link(from.c_str(), to.c_str()) != 0) return errno;
  ::unlink(from.c_str());
  return 0;
}

// Makes a rename in `folder` survive a power cut. 0 or a value of errno.
int sync_folder(const std::filesystem::path& folder) {
  Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0) return errno;
  if (::fsync(descriptor.get()) == 0) return 0;
  return errno == EINVAL || errno == EROFS ? 0 : errno;  // file systems that cannot sync a folder
}

// A block device has no size in its status.
Result<uint64_t> size_of(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return io_error("open", path, errno);
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    return fail(TENSORPATCH_E_IO, quoted(path) + " is neither a regular file nor a block device");
  }
  if (S_ISREG(status.st_mode)) return static_cast<uint64_t>(status.st_size);
  const off_t end = ::lseek(descriptor, 0, SEEK_END);
  if (end < 0) return io_error("measure", path, errno);
  return static_cast<uint64_t>(end);
}

// The size of the region, which must be inside the file.
Result<uint64_t> region_size(const std::filesystem::path& path, Region region, uint64_t file_size) {
  if (region.offset <= file_size && region.size.value_or(0) <= file_size - region.offset) {
    return region.size.value_or(file_size - region.offset);
  }
  const std::string size =
      region.size ? std::to_string(*region.size) + " bytes at offset " : std::string("offset ");
  return fail(TENSORPATCH_E_OLD, size + std::to_string(region.offset) +
                                     " would be beyond the end of " + quoted(path) +
                                     ", which has " + std::to_string(file_size) + " bytes");
}

// Mappings begin at a page.
size_t offset_in_page(uint64_t offset) {
  return static_cast<size_t>(offset % static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path, Region region) {
  // O_NONBLOCK: a pipe without a writer is refused below instead of waited for.
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.get() < 0) return io_error("open", path, errno);
  return map(descriptor.get(), path, region);
}

Result<MappedFile> MappedFile::map(int descriptor, const std::filesystem::path& path) {
  return map(descriptor, path, {});
}

Result<MappedFile> MappedFile::map(int descriptor, const std::filesystem::path& path,
                                   Region region) {
  auto file_size = size_of(descriptor, path);
  if (!file_size) return tl::unexpected(file_size.error());
  const auto size = region_size(path, region, *file_size);
  if (!size) return tl::unexpected(size.error());
  if (*size > std::numeric_limits<size_t>::max() / 2) {
    return fail(TENSORPATCH_E_LIMIT, quoted(path) + " is too large for this machine's memory map");
  }
  MappedFile file;
  if (*size == 0) return file;
  const size_t lead = offset_in_page(region.offset);
  const auto mapped_size = static_cast<size_t>(*size);
  void* start = ::mmap(nullptr, lead + mapped_size, PROT_READ, MAP_PRIVATE, descriptor,
                       static_cast<off_t>(region.offset - lead));
  if (start == MAP_FAILED) return io_error("map", path, errno);
  file.bytes_ = Bytes(static_cast<const uint8_t*>(start) + lead, mapped_size);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  const size_t lead = offset_in_page(reinterpret_cast<uintptr_t>(bytes_.data()));
  ::munmap(const_cast<uint8_t*>(bytes_.data()) - lead, lead + bytes_.size());
}

Result<std::string> read_small_file(const std::filesystem::path& path, size_t limit) {
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor.get() < 0) return io_error("open", path, errno);
  std::string content;
  std::vector<char> piece(std::min(limit, kBufferSize) + 1);  // one more tells that limit is passed
  for (;;) {
    const ssize_t count =
        retry([&] { return ::read(descriptor.get(), piece.data(), piece.size()); });
    if (count < 0) return io_error("read", path, errno);
    if (count == 0) return content;
    if (static_cast<size_t>(count) > limit - content.size()) {
      return fail(TENSORPATCH_E_LIMIT,
                  quoted(path) + " is larger than " + std::to_string(limit) + " bytes",
                  "this is not the kind of file that is expected here");
    }
    content.append(piece.data(), static_cast<size_t>(count));
  }
}

bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code error;
  return std::filesystem::equivalent(a, b, error) && !error;
}

struct OutputFile::State {
  std::filesystem::path path;
  std::filesystem::path temporary;  // empty once the file has its final name
  OutputOptions options;
  Descriptor descriptor;
  uint64_t written = 0;         // bytes in the file by write(), without those in the buffer
  std::vector<uint8_t> buffer;  // what write() was given last

  ~State() {
    if (!temporary.empty()) ::unlink(temporary.c_str());
  }
  Result<void> put(uint64_t offset, Bytes data) const;
  Result<void> flush();
};

Result<void> OutputFile::State::put(uint64_t offset, Bytes data) const {
  if (!is_in_range(offset, data.size())) return range_error(path);
  while (!data.empty()) {
    const ssize_t count = retry([&] {
      return ::pwrite(descriptor.get(), data.data(), data.size(), static_cast<off_t>(offset));
    });
    if (count <= 0) return io_error("write", path, count < 0 ? errno : ENOSPC);
    data = data.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

Result<void> OutputFile::State::flush() {
  if (auto put_result = put(written, buffer); !put_result) return put_result;
  written += buffer.size();
  buffer.clear();
  return {};
}

OutputFile::OutputFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
OutputFile::~OutputFile() = default;

Result<std::unique_ptr<OutputFile>> OutputFile::create(const std::filesystem::path& path,
                                                       OutputOptions options) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!options.replace) return exists_error(path);
    // A rename over a device or a pipe would take it away from everyone else.
    if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {
      return fail(TENSORPATCH_E_IO, quoted(path) + " is not a regular file",
                  "name a file that can be replaced");
    }
  } else if (errno != ENOENT) {
    return io_error("create", path, errno);
  }
  if (!path.has_filename()) return io_error("create", path, EISDIR);

  static std::atomic<unsigned> next_number = 0;
  for (int attempt = 0; attempt < kTemporaryNameAttempts; ++attempt) {
    const std::filesystem::path temporary =
        folder_of(path) / (".tensorpatch-" + std::to_string(::getpid()) + "-" +
                           std::to_string(next_number++) + ".tmp");
    Descriptor descriptor(::open(temporary.c_str(),
                                 O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, options.mode));
    if (descriptor.get() >= 0) {
      return std::unique_ptr<OutputFile>(new OutputFile(std::unique_ptr<State>(
          new State{path, temporary, options, std::move(descriptor), 0, {}})));
    }
    if (errno != EEXIST) return io_error("create", path, errno);
  }
  return io_error("create", path, EEXIST);
}

Result<void> OutputFile::write(Bytes data) {
  assert(!state_->temporary.empty());
  if (state_->buffer.size() + data.size() < kBufferSize) {
    state_->buffer.insert(state_->buffer.end(), data.begin(), data.end());
    return {};
  }
  if (auto flushed = state_->flush(); !flushed) return flushed;
  if (auto put_result = state_->put(state_->written, data); !put_result) return put_result;
  state_->written += data.size();
  return {};
}

Result<void> OutputFile::write_at(uint64_t offset, Bytes data) {
  assert(!state_->temporary.empty());
  if (auto flushed = state_->flush(); !flushed) return flushed;
  return state_->put(offset, data);
}

Result<void> OutputFile::read_at(uint64_t offset, std::span<uint8_t> data) {
  assert(!state_->temporary.empty());
  if (auto flushed = state_->flush(); !flushed) return flushed;
  if (!is_in_range(offset, data.size())) return range_error(state_->path);
  while (!data.empty()) {
    const ssize_t count = retry([&] {
      return ::pread(state_->descriptor.get(), data.data(), data.size(),
                     static_cast<off_t>(offset));
    });
    if (count < 0) return io_error("read back", state_->path, errno);
    if (count == 0) {
      return fail(TENSORPATCH_E_IO, "cannot read back " + quoted(state_->path) +
                                        ": it ends before offset " + std::to_string(offset + 1));
    }
    data = data.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

Result<void> OutputFile::commit() {
  assert(!state_->temporary.empty());
  State& state = *state_;
  if (auto flushed = state.flush(); !flushed) return flushed;
  if (::fsync(state.descriptor.get()) != 0) return io_error("write", state.path, errno);
  int error = 0;
  if (!state.options.replace) {
    error = rename_without_replacing(state.temporary, state.path);
  } else if (::rename(state.temporary.c_str(), state.path.c_str()) != 0) {
    error = errno;
  }
  if (error == EEXIST) return exists_error(state.path);
  if (error != 0) return io_error("create", state.path, error);
  state.temporary.clear();
  if (error = sync_folder(folder_of(state.path)); error != 0) {
    return io_error("sync the folder of", state.path, error);
  }
  return {};
}

}  // namespace tensorpatch::base
