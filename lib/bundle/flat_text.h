// bundle/flat_text.h: strings of FlatBuffers tables, both ways; for this room's files only.
//
// Offsets let a small hostile buffer name one long string many times. A TextReader copies no more
// than the buffer has bytes, which suffices for every buffer whose strings are its own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <string>

namespace tensorpatch::bundle {

// Empty strings are left out.
inline flatbuffers::Offset<flatbuffers::String> put_text(flatbuffers::FlatBufferBuilder& builder,
                                                         const std::string& text) {
  return text.empty() ? flatbuffers::Offset<flatbuffers::String>() : builder.CreateString(text);
}

class TextReader {
 public:
  explicit TextReader(size_t buffer_size) : left_(buffer_size) {}

  std::string read(const flatbuffers::String* text) {
    return text != nullptr && charge(text->size()) ? text->str() : std::string();
  }
  // Takes `size` bytes of what is left; false, now and at the end, when there are fewer.
  bool charge(size_t size) {
    is_within_ = is_within_ && size <= left_;
    if (is_within_) left_ -= size;
    return is_within_;
  }
  bool is_within() const { return is_within_; }

 private:
  size_t left_;
  bool is_within_ = true;
};

}  // namespace tensorpatch::bundle
