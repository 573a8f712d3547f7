// tests/support/operation_cases.h: small files and the operations that make one from the other,
// for what an encoder chooses only on larger files: rows, grids, zero maps, tails and records.
//
// The values hold what hurts: both zeros, infinities, NaN, subnormals, the largest and the
// smallest. All is made from integers alone, so that it is the same everywhere.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apply/patch_decoder.h"
#include "delta/predictors.h"

namespace tensorpatch::test {

struct CaseOperation {
  Operation operation;
  delta::RowNumbers numbers;  // of the rows predictor
};

// Operations one after another, old and new from the first byte of each on.
struct OperationCase {
  std::string name;
  std::vector<uint8_t> old_file;
  std::vector<uint8_t> new_file;
  std::vector<CaseOperation> operations;
};

// At most 1,024 bytes of new each; tables of at most 64 column numbers.
std::vector<OperationCase> operation_cases();

// How many value slots a case needs.
uint8_t slots_needed(const OperationCase& each);

// The patch stream of a case: one chunk.
std::vector<uint8_t> encode_case(const OperationCase& each, const PatchLimits& limits);

}  // namespace tensorpatch::test
