// base/file.h: reading files by mapping, and writing them so that they appear whole or not at all.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tensorpatch/result.h"

namespace tensorpatch::base {

using Bytes = std::span<const uint8_t>;

// A part of a file.
struct Region {
  uint64_t offset = 0;
  std::optional<uint64_t> size;  // none: up to the end
};

// A file or block device, or a region of it, read-only, mapped. An empty file is an empty span.
// Moving keeps `bytes()` valid. E_OLD when the region reaches beyond the end.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path, Region region = {});
  // A whole open file, which the caller may close; `path` is for messages.
  static Result<MappedFile> map(int descriptor, const std::filesystem::path& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  Bytes bytes() const { return bytes_; }

 private:
  static Result<MappedFile> map(int descriptor, const std::filesystem::path& path, Region region);

  Bytes bytes_;
};

// Reads a small file (at most `limit` bytes) into memory.
Result<std::string> read_small_file(const std::filesystem::path& path, size_t limit);

// Where bytes go in order: a patch, a bundle, a new file.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual Result<void> write(Bytes data) = 0;
};

// What a new output file may be.
struct OutputOptions {
  bool replace = false;  // an existing file may be replaced; otherwise E_EXISTS
  unsigned mode = 0644;  // permission bits, narrowed by the umask
};

// A file that appears under its name only when commit() succeeds: written beside it under a
// temporary name, then fsync, rename, fsync of the folder. Destroyed without commit, nothing is
// left behind.
class OutputFile : public Sink {
 public:
  static Result<std::unique_ptr<OutputFile>> create(const std::filesystem::path& path,
                                                    OutputOptions options);
  ~OutputFile() override;
  Result<void> write(Bytes data) override;
  // Random access before commit, for storage ports.
  Result<void> write_at(uint64_t offset, Bytes data);
  Result<void> read_at(uint64_t offset, std::span<uint8_t> data);
  Result<void> commit();

 private:
  struct State;
  explicit OutputFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Whether two paths name one file, also through links or other spellings. A missing file equals
// none.
bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace tensorpatch::base
