// toolkit/scratch_file.h: a file without a name: written as a sink, then mapped.
//
// Lies in the folder of the output, which has room for results of that size, and is gone with its
// last user however the program ends.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/file.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

class ScratchFile : public base::Sink {
 public:
  static Result<std::unique_ptr<ScratchFile>> create_beside(const Path& output);
  ~ScratchFile() override;
  Result<void> write(base::Bytes data) override;
  // After the last write; stays valid as long as the result lives.
  Result<base::MappedFile> map();

 private:
  explicit ScratchFile(int descriptor) : descriptor_(descriptor) {}
  Result<void> flush();

  int descriptor_;
  std::vector<uint8_t> buffer_;
};

}  // namespace tensorpatch::toolkit
