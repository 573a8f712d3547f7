// delta/delta.h: two models to a patch stream.
//
// new is aligned with old (tensors by name, content or shape; the bytes between by the bsdiff
// method), each aligned stretch gets the operations that need the fewest bytes, and intervals of
// new are encoded independently, so that work is parallel, memory bounded and the result the same
// for any job count. docs/FORMAT.md section 3 describes the patch stream.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "apply/operation_model.h"
#include "apply/patch_decoder.h"
#include "base/file.h"
#include "delta/effort.h"
#include "model/model.h"

namespace tensorpatch::delta {

struct ComponentInput {
  base::Bytes old_bytes;  // empty for a whole file
  base::Bytes new_bytes;
  const model::Model* old_model = nullptr;
  const model::Model* new_model = nullptr;
};

struct PatchOptions {
  PatchLimits limits{};            // valid; what the decoder may use
  uint32_t codecs = 0;             // bit set of format::CodecId that may be used; copies always may
  unsigned level = kDefaultLevel;  // 1..9, see effort.h
  unsigned jobs = 0;               // threads; 0: one a processor
  std::function<void(uint64_t done, uint64_t total)> progress;  // bytes of new; may be empty
};

// Whether the codec of values, or that of bytes, may be used with these limits.
bool values_allowed(const PatchOptions& options);
bool bytes_allowed(const PatchOptions& options);

// How a stretch of new travels in the patch.
enum class Method : uint8_t {
  kCopy,      // old as it is
  kResidual,  // differences to old
  kZeroMap,   // the same, behind a map of new zeros
  kGain,      // differences to old times a gain for each row or column
  kLowRank,   // differences to old plus a low-rank update
  kGrid,      // steps of a grid around old
  kLattice,   // quantised values stored as floats: differences of their integers
  kBlocks,    // the fields of quantised blocks, each with its differences to old
  kProduct,   // scales that are others times a number
  kIntra,     // values by themselves
  kBytes,     // bytes in the context of old
  kLiteral,   // bytes by themselves
  kZstd,      // a zstd frame
};
inline constexpr unsigned kMethodCount = 13;
std::string_view method_name(Method method);  // "copy", "residual", "zero map", ...
Method method_of(const Operation& operation);

// How a segment of new travels in the patch.
struct SegmentReport {
  size_t segment = 0;        // index into new_model->segments
  std::string method;        // a method's name, or "mixed"
  uint64_t patch_bytes = 0;  // its share of the patch, estimated
};

// Where decoding can begin anew.
struct RestartPoint {
  uint64_t new_offset = 0;
  uint64_t patch_offset = 0;
};

// A stretch of new, and the one of old, of the same size, that it was compared with.
struct RelatedStretch {
  uint64_t new_offset = 0;
  uint64_t size = 0;
  OldPlace old;
};

struct PatchReport {
  uint64_t patch_size = 0;
  uint32_t required_codecs = 0;  // bit set of format::CodecId
  uint64_t reach = 0;            // most bytes behind a restart point at which old is looked at
  std::vector<RestartPoint> restarts;   // ascending, the first at 0
  std::vector<SegmentReport> segments;  // all of new_model's, in order
  std::vector<RelatedStretch>
      related;  // ascending in new; a tensor's begins where its old one does
};

// Writes the patch stream of components[index]; operations may read the old of any component.
Result<PatchReport> make_patch(const std::vector<ComponentInput>& components, size_t index,
                               const PatchOptions& options, base::Sink& patch);

}  // namespace tensorpatch::delta
