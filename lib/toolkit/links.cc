// toolkit/links.cc: see links.h; the figures are those of bundle/radio.tsv.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/links.h"

#include "bundle/radio.h"

namespace tensorpatch::toolkit {

std::vector<LinkFacts> link_facts(uint64_t bundle_size, const bundle::ResourceContract& contract) {
  std::vector<LinkFacts> facts;
  for (const bundle::LinkCost& cost :
       bundle::link_costs({bundle_size, contract.new_reads, contract.flash_erased})) {
    facts.push_back({std::string(cost.name), std::string(cost.title), cost.air_ms, cost.time_ms,
                     cost.energy_mj});
  }
  return facts;
}

}  // namespace tensorpatch::toolkit
