// bundle/details.h: the severable list of a bundle's tensors: how each came about and how far it
// moved.
//
// docs/FORMAT.md section 6. A file beside the bundle; its digest is in the manifest, so it may be
// lost without harm and cannot be exchanged. FlatBuffers of schemas/bundle.fbs, the same bytes for
// the same list.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bundle/digest.h"
#include "tensorpatch/result.h"

namespace tensorpatch::bundle {

// The tensor of the old file that one was compared with.
struct OldTensorDetail {
  std::string name;                            // empty: as in new
  std::string type;                            // empty: as in new
  std::optional<std::vector<uint64_t>> shape;  // none: as in new
  uint64_t offset = 0;                         // in the old file
  uint64_t size = 0;
  bool operator==(const OldTensorDetail&) const = default;
};

// One tensor of a new file, or one that only old has. Names of roles, types and methods are lower
// case words of the maker.
struct TensorDetail {
  uint32_t component = 0;
  std::string name;
  std::string role;    // "weight", "bias", "scale", ...
  std::string type;    // "f32", "i8", ...
  std::string method;  // "copy", "values", "bytes", ...
  std::vector<uint64_t> shape;
  uint64_t offset = 0;       // in the new file
  uint64_t size = 0;         // bytes in the new file
  uint64_t patch_bytes = 0;  // bytes of the patch stream that it took
  std::string state;         // "changed", "added", "removed", ...
  bool moved = false;        // its place among the others is another one
  std::optional<OldTensorDetail> old;
  // How far it moved from its old tensor; nothing when there is none, or no numbers in it.
  std::optional<double> relative_norm;  // |new - old| / |old|, Euclidean
  std::optional<double> equal_share;    // elements that are the same bit for bit, 0..1
  std::optional<double> correlation;    // -1..1
  std::optional<double> lineage;        // 0: no relation to old, near 1: moved a little
  std::optional<uint64_t> bound_bytes;  // what an ideal order-0 coder would need
  Digest new_digest{};                  // of its bytes in the new file
  bool operator==(const TensorDetail&) const = default;
};

// What is known of a component as a whole.
struct ComponentDetail {
  std::string old_format;
  double old_entropy = 0;  // bits a byte, 0..8
  double new_entropy = 0;
  std::vector<uint64_t> histogram;  // values that differ by how far they moved, in half octaves
  bool operator==(const ComponentDetail&) const = default;
};

struct Details {
  std::vector<TensorDetail> tensors;  // ascending component, then offset; removed ones last
  std::vector<ComponentDetail> components;
  bool operator==(const Details&) const = default;
};

// E_LIMIT when the file would exceed 1 GiB.
Result<std::vector<uint8_t>> write_details(const Details& details);
// E_FORMAT for what is no details file; E_DIGEST when its digest is not `expected`.
Result<Details> read_details(base::Bytes bytes, const Digest& expected);

}  // namespace tensorpatch::bundle
