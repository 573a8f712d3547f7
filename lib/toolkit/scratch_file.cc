// toolkit/scratch_file.cc: see scratch_file.h.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/scratch_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>

#include "toolkit/paths.h"

namespace tensorpatch::toolkit {
namespace {

constexpr size_t kBufferSize = 65536;

}  // namespace

Result<std::unique_ptr<ScratchFile>> ScratchFile::create_beside(const Path& output) {
  const Path folder = output.has_parent_path() ? output.parent_path() : Path(".");
  std::string name = (folder / ".tensorpatch-scratch-XXXXXX").string();
  const int descriptor = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor < 0) return system_error("write to the folder " + quoted(folder));
  ::unlink(name.c_str());
  return std::unique_ptr<ScratchFile>(new ScratchFile(descriptor));
}

ScratchFile::~ScratchFile() {
  ::close(descriptor_);
}

Result<void> ScratchFile::write(base::Bytes data) {
  buffer_.insert(buffer_.end(), data.begin(), data.end());
  return buffer_.size() < kBufferSize ? Result<void>() : flush();
}

Result<void> ScratchFile::flush() {
  for (base::Bytes rest = buffer_; !rest.empty();) {
    const ssize_t count = ::write(descriptor_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return system_error("write a temporary file beside the output");
    rest = rest.subspan(static_cast<size_t>(count));
  }
  buffer_.clear();
  return {};
}

Result<base::MappedFile> ScratchFile::map() {
  if (auto flushed = flush(); !flushed) return tl::unexpected(flushed.error());
  return base::MappedFile::map(descriptor_, "a temporary file");
}

}  // namespace tensorpatch::toolkit
