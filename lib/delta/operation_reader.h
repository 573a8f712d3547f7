// delta/operation_reader.h: which operations a patch stream consists of, by replaying it.
//
// Headers and data of operations share one adaptive coder, so the stream is decoded as a device
// does, with the device's decoder; nothing is written. The stream must be authentic.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apply/patch_decoder.h"
#include "base/file.h"

namespace tensorpatch::delta {

// All operations of one method (delta/delta.h), by its name.
struct OperationCount {
  std::string method;
  uint64_t count = 0;
  uint64_t new_bytes = 0;
  uint64_t patch_bytes = 0;  // of payload; the decoder reads up to four bytes ahead
};

struct OperationSource {
  base::Bytes patch;
  PatchLimits limits{};
  std::span<const base::Bytes> old_files;  // one a component; empty bytes for a whole file
  uint32_t component = 0;
  uint64_t new_size = 0;
  std::span<const tensorpatch_codec* const> codecs;
};

// Methods that occur, in their order. The decoder's status when the stream is malformed.
Result<std::vector<OperationCount>> read_operations(const OperationSource& source);

}  // namespace tensorpatch::delta
