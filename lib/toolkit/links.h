// toolkit/links.h: what a bundle costs a device by the link that it comes over, for reports.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bundle/manifest.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

// Of a bundle of `bundle_size` bytes; the rest follows from its contract.
std::vector<LinkFacts> link_facts(uint64_t bundle_size, const bundle::ResourceContract& contract);

}  // namespace tensorpatch::toolkit
