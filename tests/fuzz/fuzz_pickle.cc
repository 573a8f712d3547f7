// fuzz_pickle.cc: any bytes as a pickle: what is found lies inside and has a shape of its count.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>

#include "model/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tensorpatch::model;
  const auto pickle = scan_pickle({data, size}, 0);
  if (!pickle) return 0;
  if (pickle->end > size) std::abort();
  const auto is_inside = [&](std::string_view text) {
    const auto* const begin = reinterpret_cast<const uint8_t*>(text.data());
    return begin >= data && text.size() <= static_cast<size_t>(data + size - begin);
  };
  for (const std::string_view text : pickle->texts) {
    if (!is_inside(text)) std::abort();
  }
  for (const PickledStorage& storage : pickle->storages) {
    if (!is_inside(storage.key) || element_count(storage.shape) != storage.count) std::abort();
  }
  return 0;
}
