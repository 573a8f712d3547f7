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

// One tensor of a new file. Names of roles, types and methods are lower case words of the maker.
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
  // How far it moved from its old tensor; nothing when there is none, or no numbers in it.
  std::optional<double> relative_norm;  // |new - old| / |old|, Euclidean
  std::optional<double> equal_share;    // elements that are the same bit for bit, 0..1
  Digest new_digest{};                  // of its bytes in the new file
  bool operator==(const TensorDetail&) const = default;
};

struct Details {
  std::vector<TensorDetail> tensors;  // ascending component, then offset
  bool operator==(const Details&) const = default;
};

// E_LIMIT when the file would exceed 1 GiB.
Result<std::vector<uint8_t>> write_details(const Details& details);
// E_FORMAT for what is no details file; E_DIGEST when its digest is not `expected`.
Result<Details> read_details(base::Bytes bytes, const Digest& expected);

}  // namespace tensorpatch::bundle
