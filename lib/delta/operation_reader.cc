// delta/operation_reader.cc: steps the patch decoder from operation to operation.
// SPDX-License-Identifier: Apache-2.0
#include "delta/operation_reader.h"
#include "delta/delta.h"

#include <algorithm>
#include <cstring>

namespace tensorpatch::delta {
namespace {

size_t method_index(const PatchDecoder& decoder) {
  const bool packed = decoder.codec != nullptr && decoder.codec->decode != nullptr;
  return static_cast<size_t>(packed ? Method::kZstd : method_of(decoder.operation));
}

int read_old(void* context, uint32_t component, uint64_t offset, uint8_t* data, size_t size) {
  const auto& files = static_cast<const OperationSource*>(context)->old_files;
  const base::Bytes file = files[component];
  if (offset > file.size() || size > file.size() - offset) return TENSORPATCH_BEYOND_END;
  std::memcpy(data, file.data() + offset, size);
  return 0;
}

class Reader {
 public:
  explicit Reader(const OperationSource& source)
      : source_(source),
        workspace_(decoder_workspace_size(source.limits) / 8 + 1),
        input_{source.patch.data(), source.patch.size(), source.patch.size()} {
    ports_.context = const_cast<OperationSource*>(&source_);  // read_old only reads it
    ports_.read_old = read_old;
    PatchJob& job = decoder_.job;
    job.ports = &ports_;
    job.read_old = read_old;
    job.codecs = source.codecs.data();
    job.codec_count = source.codecs.size();
    job.limits = source.limits;
    job.component = source.component;
    job.component_count = static_cast<uint32_t>(source.old_files.size());
    for (size_t i = 0; i < source.old_files.size(); ++i) {
      job.old_sizes[i] = source.old_files[i].size();
    }
    job.new_size = source.new_size;
    patch_decoder_begin(&decoder_, reinterpret_cast<uint8_t*>(workspace_.data()));
  }

  Result<std::vector<OperationCount>> run() {
    std::vector<OperationCount> counts;
    for (unsigned i = 0; i < kMethodCount; ++i) {
      counts.push_back({std::string(method_name(static_cast<Method>(i))), 0, 0, 0});
    }
    while (decoder_.new_offset < source_.new_size) {
      const uint64_t begin = decoder_.new_offset, before = input_.patch_remaining;
      if (!step(1)) return failed();  // into the next operation
      if (decoder_.new_offset == begin) continue;
      OperationCount& count = counts[method_index(decoder_)];
      const bool whole_chunk = &count == &counts.back();
      const uint32_t left = whole_chunk ? decoder_.chunk_left : decoder_.operation_left;
      if (left != 0 && !step(left)) return failed();
      ++count.count;
      count.new_bytes += decoder_.new_offset - begin;
      count.patch_bytes += before - input_.patch_remaining;
    }
    std::erase_if(counts, [](const OperationCount& count) { return count.count == 0; });
    return counts;
  }

 private:
  // Decodes `budget` bytes of new, or up to the next restart point.
  bool step(size_t budget) {
    const PatchEvent event = patch_decoder_run(&decoder_, &input_, &budget);
    return event != PatchEvent::kFailed && event != PatchEvent::kNeedInput;
  }

  tl::unexpected<Error> failed() const {
    const tensorpatch_status status = patch_decoder_status(&decoder_);
    return fail(status == TENSORPATCH_OK ? TENSORPATCH_E_FORMAT : status,
                "the patch stream cannot be decoded");
  }

  const OperationSource& source_;
  std::vector<uint64_t> workspace_;
  tensorpatch_ports ports_{};
  PatchInput input_;
  PatchDecoder decoder_{};
};

}  // namespace

Result<std::vector<OperationCount>> read_operations(const OperationSource& source) {
  return Reader(source).run();
}

}  // namespace tensorpatch::delta
