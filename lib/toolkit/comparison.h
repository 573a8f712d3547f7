// toolkit/comparison.h: what became of every tensor between two models: measured, or read off the
// details of a bundle.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "bundle/details.h"
#include "delta/delta.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {

// "weights", "bias", "scale", "zero-point" or "other".
std::string_view role_name(model::Role role);

// Measures components[index], of which `report` is the patch. Everything but the names of files.
Comparison compare(const std::vector<delta::ComponentInput>& components, size_t index,
                   const delta::PatchReport& report, unsigned jobs);

// Appends the comparison of the component with the number details.components.size(). Digests of
// tensors are of `new_bytes`.
void add_details(const Comparison& comparison, base::Bytes new_bytes, bundle::Details& details);

// The comparisons of a bundle's components, in order; E_FORMAT when the details speak of others.
Result<std::vector<Comparison>> comparisons_of(const bundle::Details& details,
                                               const std::vector<ComponentFacts>& components);

// Whether new holds something in it that its old tensor does not; not so of removed ones.
bool has_new_content(const TensorFacts& tensor);

// What the figures advise; comparison.advice is not looked at.
std::vector<Advice> advise(const Comparison& comparison);

}  // namespace tensorpatch::toolkit
