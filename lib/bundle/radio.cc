// bundle/radio.cc: sums over the rows of radio.tsv.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/radio.h"

#include <cmath>
#include <iterator>

namespace tensorpatch::bundle {
namespace {

struct Unit {  // of `bytes` takes `ms` at `mw`
  std::string_view kind;
  std::string_view name;
  std::string_view title;
  uint64_t bytes;
  double ms;
  double mw;
};

constexpr Unit kUnits[] = {
#include "radio_units.inc"
};

struct Cost {
  double ms = 0;
  double mj = 0;
  void add(const Unit& unit, uint64_t size) {
    const uint64_t units = size / unit.bytes + (size % unit.bytes == 0 ? 0 : 1);
    const double unit_ms = static_cast<double>(units) * unit.ms;
    ms += unit_ms;
    mj += unit_ms * unit.mw / 1000;
  }
};

uint64_t rounded(double value) {
  constexpr double kLimit = 18446744073709551615.0;  // 2^64 as a double
  return value >= kLimit ? UINT64_MAX : static_cast<uint64_t>(std::round(value));
}

}  // namespace

Step step(std::string_view kind, std::string_view name, uint64_t size) {
  for (const Unit& unit : kUnits) {
    if (unit.kind != kind || unit.name != name) continue;
    Cost cost;
    cost.add(unit, size);
    return {cost.ms, unit.mw};
  }
  return {};
}

std::string link_names() {
  std::string names;
  for (const Unit& unit : kUnits) {
    if (unit.kind != "link") continue;
    names += names.empty() ? "" : ", ";
    names += unit.name;
  }
  return names;
}

std::vector<LinkCost> link_costs(const UpdateSizes& sizes) {
  Cost device;
  for (const Unit& unit : kUnits) {
    if (unit.kind == "apply") device.add(unit, sizes.decoded);
    if (unit.kind == "flash") device.add(unit, sizes.erased);
  }
  std::vector<LinkCost> costs;
  for (const Unit& unit : kUnits) {
    if (unit.kind != "link") continue;
    Cost air;
    air.add(unit, sizes.received);
    costs.push_back({unit.name, unit.title, rounded(air.ms), rounded(air.ms + device.ms),
                     rounded(air.mj + device.mj)});
  }
  return costs;
}

}  // namespace tensorpatch::bundle
