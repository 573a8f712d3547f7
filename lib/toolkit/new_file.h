// toolkit/new_file.h: where apply writes a new file until it may have its name.
//
// Either a temporary file that is gone unless committed, or "<name>.part", which stays for the next
// run unless discarded.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>

#include "base/file.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

Path part_path(const Path& new_file);

class NewFile {
 public:
  static Result<std::unique_ptr<NewFile>> create_temporary(const Path& path, Existing existing);
  // An empty part file, in place of one that is there.
  static Result<std::unique_ptr<NewFile>> create_part(const Path& path, Existing existing);
  // The part file of an earlier run; E_CHECKPOINT when there is none.
  static Result<std::unique_ptr<NewFile>> open_part(const Path& path, Existing existing);
  virtual ~NewFile() = default;

  virtual Result<void> write_at(uint64_t offset, base::Bytes data) = 0;
  virtual Result<void> read_at(uint64_t offset, std::span<uint8_t> data) = 0;
  // What was written survives a power cut.
  virtual Result<void> sync() = 0;
  // Gives the file its name, when it has exactly `size` bytes; a longer part is cut.
  virtual Result<void> commit(uint64_t size) = 0;
  // Removes a part file.
  virtual void discard() = 0;
};

}  // namespace tensorpatch::toolkit
