// bundle/radio.h: what an update costs a device in time and energy, by the link that it comes over.
//
// Estimates after radio.tsv, which names the source of each figure and is compiled in: whole frames
// are received, new is decoded and checked, flash is erased and written. No retries, signalling or
// duty cycles: they grow with the frames of every method alike. benchmarks/harness/radio.py counts
// in the same way from the same table.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tensorpatch::bundle {

struct UpdateSizes {
  uint64_t received = 0;  // bytes over the link
  uint64_t decoded = 0;   // bytes of new
  uint64_t erased = 0;    // bytes of flash that are erased and written
};

// Milliseconds and millijoules, rounded, at most UINT64_MAX.
struct LinkCost {
  std::string_view name;   // "nb-iot"
  std::string_view title;  // "NB-IoT Cat NB1"
  uint64_t air_ms = 0;     // the receiver is on
  uint64_t time_ms = 0;    // receiving, decoding and writing, one after the other
  uint64_t energy_mj = 0;  // of all three
};

// What one row of the table costs.
struct Step {
  double ms = 0;  // of whole units
  double mw = 0;
};
// All zero when there is no such row.
Step step(std::string_view kind, std::string_view name, uint64_t size);
// "lorawan-sf12, nb-iot, ..."
std::string link_names();

// One a link, in the table's order.
std::vector<LinkCost> link_costs(const UpdateSizes& sizes);

}  // namespace tensorpatch::bundle
