// model/pickle.h: what a Python pickle says of PyTorch tensors; private to lib/model.
//
// Nothing is executed: the opcodes are followed only as far as storages, tensors and the dictionary
// keys that lead to them are concerned; all other objects are blanks.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "model/parsers.h"

namespace tensorpatch::model {

// Values of one tensor, or of several that share them. Views point into the scanned bytes.
struct PickledStorage {
  std::string_view key;                    // says where the values are: part of a file name
  ElementType type = ElementType::kBytes;  // kBytes where it is not known
  uint64_t count = 0;                      // elements
  std::string name;  // dictionary keys that lead to the first tensor, with dots; may be empty
  std::vector<uint64_t> shape;  // of that tensor where it is the storage in order, else flat
};

struct Pickle {
  uint64_t end = 0;                      // offset behind it
  std::vector<PickledStorage> storages;  // in the order of the file, each key once
  std::vector<std::string_view> texts;   // all of them, in the order of the file
};

// Scans the pickle (protocols 2 to 5) that begins at `offset`, which is within the file. Refused:
// what ends early, opcodes that are not known, stacks that run empty, more opcodes than a limit.
Result<Pickle> scan_pickle(base::Bytes file, uint64_t offset);

// Gives a segment, whose offset and size are known, what is said of its values.
void describe_storage(Segment& segment, const PickledStorage& storage);

}  // namespace tensorpatch::model
