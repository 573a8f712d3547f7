// container.h: what the fuzz targets of the container parsers check.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <utility>

#include "model/parsers.h"

namespace tensorpatch::model {

struct FuzzedContainer {
  bool (*looks_like)(base::Bytes file);
  Result<Segments> (*find)(base::Bytes file);
  Format format;
};

// Runs one parser by itself, so that no other takes the input away. Returns 0, as libFuzzer wants.
inline int fuzz_container(base::Bytes file, FuzzedContainer container) {
  if (!container.looks_like(file)) return 0;
  auto found = container.find(file);
  if (!found) return 0;
  auto segments = tile(std::move(*found), file.size());
  if (!segments) return 0;
  const Model model{container.format, file.size(), std::move(*segments), {}};
  if (!check_tiling(model)) std::abort();
  return 0;
}

}  // namespace tensorpatch::model
