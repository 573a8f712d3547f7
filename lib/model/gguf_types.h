// model/gguf_types.h: the tensor types of GGUF files.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/model.h"

namespace tensorpatch::model {

struct GgufType {
  uint32_t id;  // ggml_type in the file
  ElementType type;
  BlockLayout block;  // empty where the type is one of ours
};

// The type of that number, or null where it is not known. The result lives forever.
const GgufType* find_gguf_type(uint32_t id);

}  // namespace tensorpatch::model
