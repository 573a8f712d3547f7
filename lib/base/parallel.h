// base/parallel.h: run independent pieces of work on several threads with results in a fixed order.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>

namespace tensorpatch::base {

// Calls work(0) .. work(count - 1), each once, on at most `jobs` threads (0: one a processor), and
// returns when all have ended. `work` must not throw. What it computes must not depend on the
// order.
void parallel_for(size_t count, unsigned jobs, const std::function<void(size_t)>& work);

// Pieces that must leave in order although they are made in parallel: make(i) runs on any thread,
// take(i) on the calling thread in ascending order of i, at most `window` pieces ahead of the
// slowest, so that memory stays bounded. Returns false as soon as a take returned false; remaining
// pieces are not started.
bool parallel_ordered(size_t count, unsigned jobs, size_t window,
                      const std::function<void(size_t)>& make,
                      const std::function<bool(size_t)>& take);

}  // namespace tensorpatch::base
