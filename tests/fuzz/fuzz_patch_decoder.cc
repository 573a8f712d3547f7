// tests/fuzz/fuzz_patch_decoder.cc: any bytes as a patch stream, in any bites and budgets, from
// any restart point: callbacks are never misused, and what is written does not depend on bites and
// budgets.
//
// First eight bytes: see fuzz/patch_input.h.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>

#include "fuzz/patch_input.h"

namespace {

using namespace tensorpatch;
using namespace tensorpatch::test;

Replayed checked(const Replay& job, const std::vector<uint8_t>& patch) {
  Replayed got = replay(job, patch);
  if (!got.misuse.empty()) {
    std::fprintf(stderr, "%s\n", got.misuse.c_str());
    std::abort();
  }
  if (got.event == PatchEvent::kDone && !job.from.has_value() &&
      got.new_file.size() != job.new_size) {
    std::abort();
  }
  return got;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kPatchInputHeader) return 0;
  static const std::vector<uint8_t> old_file = fuzz_old();
  const std::vector<uint8_t> patch(data + kPatchInputHeader, data + size);
  Replay job;
  job.old_files = {old_file, {1, 2, 3}};
  job.limits = fuzz_limits(data[0]);
  job.new_size = data[1] | static_cast<uint64_t>(data[2]) << 8;
  const Replayed whole = checked(job, patch);

  Replay bitten = job;
  bitten.bite = data[3];
  bitten.budget = data[4] != 0 ? data[4] : SIZE_MAX;
  const Replayed again = checked(bitten, patch);
  if (again.event != whole.event || again.status != whole.status) std::abort();
  if (whole.event == PatchEvent::kDone && again.new_file != whole.new_file) std::abort();

  if (!whole.restart_points.empty()) {
    const RestartPoint& point = whole.restart_points[data[5] % whole.restart_points.size()];
    bitten.from = point;
    const Replayed rest = checked(bitten, patch);
    if (rest.event != whole.event) std::abort();
    if (whole.event == PatchEvent::kDone &&
        !std::equal(rest.new_file.begin(), rest.new_file.end(),
                    whole.new_file.begin() + static_cast<std::ptrdiff_t>(point.new_offset),
                    whole.new_file.end())) {
      std::abort();
    }
  }
  // A place that cannot be a restart point, or may be one.
  bitten.from = RestartPoint{uint64_t{data[6]} * 64, std::min<uint64_t>(data[7], patch.size())};
  checked(bitten, patch);
  return 0;
}
