// file_writer.h: model files written byte by byte; shared by the container tests.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tensorpatch::model {

using File = std::vector<uint8_t>;

class FileWriter {
 public:
  template <class T>
  FileWriter& number(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      file_.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i)));
    }
    return *this;
  }
  FileWriter& bytes(std::string_view content) {
    for (const char letter : content) file_.push_back(static_cast<uint8_t>(letter));
    return *this;
  }
  uint64_t size() const { return file_.size(); }
  const File& file() const { return file_; }
  std::string text() const { return {file_.begin(), file_.end()}; }

 private:
  File file_;
};

}  // namespace tensorpatch::model
