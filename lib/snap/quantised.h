// snap/quantised.h: quantised weights with their scales and biases on the way to the grid.
//
// An integer is old + k * m in units of its scale. Where the old scale still spans the new weights
// (to half a step of the grid) it is kept, and scales of activations where they hardly moved: what
// does not change costs nothing. Weights, zero points and biases are then said anew in the scales
// that are kept. Scales move only in a model where every bias has the scale of an activation times
// that of weights (found by their values), so that nothing is left that was said in another scale.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <vector>

#include "delta/delta.h"
#include "snap/tensor.h"

namespace tensorpatch::snap {

// Tensors by index of new's segment, for TFLite and ONNX; `matched` is of match_tensors(), with
// pairs of one type and size only. Without a tensor: its update is as small as it is.
std::map<size_t, std::unique_ptr<Tensor>> quantised_tensors(
    const delta::ComponentInput& pair, const std::vector<const model::Segment*>& matched,
    double grid);

// A tensor of GGUF blocks Q8_0 or Q4_0; none for other layouts.
std::unique_ptr<Tensor> block_tensor(const model::BlockLayout& block, TensorBytes bytes);

}  // namespace tensorpatch::snap
