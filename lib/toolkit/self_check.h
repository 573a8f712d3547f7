// toolkit/self_check.h: proves that a bundle can be applied, with the device library itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "bundle/bundle_writer.h"
#include "delta/delta.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

struct CheckedFile {
  base::Bytes old_bytes;
  base::Bytes new_bytes;
  std::vector<delta::RestartPoint> restarts;  // of its patch
};

struct CheckJob {
  const bundle::BundleWriter* writer = nullptr;
  std::vector<CheckedFile> files;  // one a component
  std::optional<DeviceClass> device_class;
  unsigned jobs = 0;  // threads; 0: one a processor
  ProgressCallback progress;
};

// The device library rebuilds every new file from the bundle, which is not signed yet, with a
// workspace of exactly the declared size. Several threads each take a stretch of it, beginning as a
// device does that was interrupted there; the last one sees the update end, digests and all.
// E_SELF_CHECK when anything is not as it should be; E_CANCELLED.
Result<void> self_check(const CheckJob& job);

}  // namespace tensorpatch::toolkit
