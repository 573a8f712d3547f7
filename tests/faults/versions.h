// tests/faults/versions.h: versions of a small model, and the patches between them.
//
// A version is bytes, a tensor of int8 values and bytes again, so that a patch has operations of
// every codec. Few bytes change from one to the next: decoding takes no longer than the flash.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/model.h"
#include "support/bundle_builder.h"

namespace tensorpatch::test {

struct Version {
  Bytes file;
  model::Model model;
};

Version first_version(size_t size, uint32_t seed);
// Some bytes differ, 37 are new before the tensor and 11 behind it, values of the tensor move by
// one.
Version next_version(const Version& old_version, uint32_t seed);

// What flash with such pages and words is packed for; in place with a reach.
PatchLimits small_limits(uint32_t page_size, uint32_t write_size, uint32_t reach);

// Of one component, with a patch by lib/delta.
BundleSpec make_spec(const Version& old_version, const Version& new_version,
                     const PatchLimits& limits);

}  // namespace tensorpatch::test
