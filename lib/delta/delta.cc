// delta/delta.cc: cuts new into intervals, encodes them in parallel and writes the chunks in order.
// SPDX-License-Identifier: Apache-2.0
#include "delta/delta.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <thread>

#include "base/parallel.h"
#include "delta/plan.h"

namespace tensorpatch::delta {
namespace {

void put_varint(std::vector<uint8_t>& out, uint32_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<uint8_t>(value | 128));
  out.push_back(static_cast<uint8_t>(value));
}

// One interval's chunk, ready to be written.
struct Chunk {
  std::vector<uint8_t> bytes;  // header and payload
  uint32_t codecs = 0;
  uint64_t reach = 0;
  // Payload bytes of each operation, with its place.
  struct Share {
    PlannedOperation planned;
    uint64_t payload;
  };
  std::vector<Share> shares;
};

class PatchMaker {
 public:
  PatchMaker(const std::vector<ComponentInput>& components, size_t index,
             const PatchOptions& options)
      : components_(components),
        input_(components[index]),
        component_(static_cast<uint32_t>(index)),
        options_(options),
        effort_(effort_of(options.level)) {}

  Result<PatchReport> run(base::Sink& patch) {
    report_.required_codecs = 1u << format::kCodecOperations;
    shares_.resize(input_.new_model->segments.size());
    alignments_ = align(components_, component_);
    const uint64_t step = options_.limits.restart_interval;
    const auto count = static_cast<size_t>((input_.new_bytes.size() + step - 1) / step);
    chunks_.resize(count);
    const unsigned window = 16;
    // Where there are fewer intervals than threads, the threads try codings within an interval.
    const size_t threads =
        options_.jobs != 0 ? options_.jobs : std::max(1U, std::thread::hardware_concurrency());
    threads_within_ =
        static_cast<unsigned>(std::max<size_t>(threads / std::max<size_t>(count, 1), 1));
    Result<void> written;
    base::parallel_ordered(
        count, options_.jobs, window, [&](size_t i) { chunks_[i] = make_chunk(interval(i)); },
        [&](size_t i) {
          written = take_chunk(i, patch);
          return written.has_value();
        });
    if (!written.has_value()) return tl::unexpected(written.error());
    report_segments();
    return std::move(report_);
  }

 private:
  Interval interval(size_t i) const {
    const uint64_t step = options_.limits.restart_interval;
    return {i * step, std::min<uint64_t>((i + 1) * step, input_.new_bytes.size())};
  }

  Chunk make_chunk(const Interval& interval) const {
    const auto first =
        std::upper_bound(alignments_.begin(), alignments_.end(), interval.begin,
                         [](uint64_t offset, const Alignment& a) { return offset < a.new_offset; });
    const auto last =
        std::lower_bound(first, alignments_.end(), interval.end,
                         [](const Alignment& a, uint64_t offset) { return a.new_offset < offset; });
    const auto begin = first == alignments_.begin() ? first : first - 1;
    Chunk chunk = smallest_chunk({begin, last}, interval);
    std::vector<uint8_t> payload = std::move(chunk.bytes);
    chunk.bytes.clear();
    uint64_t literal = 0;
    for (const Chunk::Share& share : chunk.shares) {
      const Operation& operation = share.planned.operation;
      if (!operation_reads_old(operation)) literal += operation.size;
    }
    uint8_t codec = format::kCodecOperations;
    if (literal * 2 > interval.end - interval.begin) try_zstd(interval, payload, codec, chunk);
    chunk.bytes.push_back(static_cast<uint8_t>(codec | format::kChunkRestart));
    put_varint(chunk.bytes, static_cast<uint32_t>(interval.end - interval.begin));
    put_varint(chunk.bytes, static_cast<uint32_t>(payload.size()));
    chunk.bytes.insert(chunk.bytes.end(), payload.begin(), payload.end());
    return chunk;
  }

  // Every way that the level tries, the payload alone.
  Chunk smallest_chunk(std::span<const Alignment> alignments, const Interval& interval) const {
    const auto planned = [&](const PlanEffort& effort) {
      return plan_interval(components_, component_, options_,
                           {interval, alignments, effort, threads_within_});
    };
    std::vector<std::vector<PlannedOperation>> plans{planned(effort_.plans.front())};
    const auto copies = std::ranges::count_if(plans[0], [](const PlannedOperation& next) {
      return next.operation.kind == OperationKind::kCopy;
    });
    std::vector<const PlanEffort*> others;
    for (const PlanEffort& effort : effort_.plans.subspan(1)) {
      if (static_cast<unsigned>(copies) >= effort.copies) others.push_back(&effort);
    }
    for (const Operation& operation : whole_operations(input_, options_, interval)) {
      plans.push_back({{operation, 0}});
    }
    const size_t known = plans.size();
    plans.resize(known + others.size());
    std::vector<Chunk> tries(plans.size());
    base::parallel_for(tries.size(), threads_within_, [&](size_t i) {
      if (i >= known) plans[i] = planned(*others[i - known]);
      tries[i].bytes = encode(plans[i], interval, tries[i]);
    });
    return std::move(
        *std::ranges::min_element(tries, {}, [](const Chunk& made) { return made.bytes.size(); }));
  }

  // The payload of operations; notes in `chunk` what they are.
  std::vector<uint8_t> encode(const std::vector<PlannedOperation>& plan, const Interval& interval,
                              Chunk& chunk) const {
    ChunkEncoder encoder(components_, component_, options_.limits, interval.begin);
    for (const PlannedOperation& planned : plan) {
      const size_t before = encoder.size();
      encoder.encode(planned.operation, planned.new_offset, planned.numbers.get());
      chunk.shares.push_back({planned, encoder.size() - before});
    }
    chunk.codecs = encoder.used_codecs();
    chunk.reach = encoder.reach();
    return encoder.finish();
  }

  // Where little is taken from old, zstd's long matches may win over everything.
  void try_zstd(const Interval& interval, std::vector<uint8_t>& payload, uint8_t& codec,
                Chunk& chunk) const {
    if ((options_.codecs >> format::kCodecZstd & 1) == 0 || options_.limits.zstd_window_log2 == 0) {
      return;
    }
    const auto bytes = input_.new_bytes.subspan(interval.begin, interval.end - interval.begin);
    const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                     ZSTD_freeCCtx);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, effort_.zstd_level);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, options_.limits.zstd_window_log2);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
    std::vector<uint8_t> packed(ZSTD_compressBound(bytes.size()));
    const size_t size =
        ZSTD_compress2(context.get(), packed.data(), packed.size(), bytes.data(), bytes.size());
    if (ZSTD_isError(size) != 0 || size >= payload.size()) return;
    packed.resize(size);
    payload = std::move(packed);
    codec = format::kCodecZstd;
    chunk.codecs = 1u << format::kCodecOperations | 1u << format::kCodecZstd;
  }

  Result<void> take_chunk(size_t i, base::Sink& patch) {
    const Chunk chunk = std::move(chunks_[i]);
    if (auto written = patch.write(chunk.bytes); !written) return written;
    report_.restarts.push_back({interval(i).begin, report_.patch_size});
    report_.patch_size += chunk.bytes.size();
    report_.required_codecs |= chunk.codecs;
    report_.reach = std::max(report_.reach, chunk.reach);
    for (const Chunk::Share& share : chunk.shares) note_share(share);
    const uint64_t end = interval(i).end;
    if (options_.progress) options_.progress(end, input_.new_bytes.size());
    return {};
  }

  // Adds an operation's bytes to the segments that it covers, in proportion.
  void note_share(const Chunk::Share& share) {
    const auto& segments = input_.new_model->segments;
    const uint64_t begin = share.planned.new_offset;
    const uint64_t end = begin + share.planned.operation.size;
    auto it = std::upper_bound(
        segments.begin(), segments.end(), begin,
        [](uint64_t offset, const model::Segment& s) { return offset < s.offset; });
    for (--it; it != segments.end() && it->offset < end; ++it) {
      const uint64_t from = std::max(begin, it->offset);
      const uint64_t to = std::min(end, it->offset + it->size);
      SegmentShare& segment = shares_[static_cast<size_t>(it - segments.begin())];
      const double part = static_cast<double>(to - from) / static_cast<double>(end - begin);
      segment.payload += static_cast<double>(share.payload) * part;
      segment.methods |= 1u << static_cast<unsigned>(method_of(share.planned.operation));
    }
  }

  void report_segments() {
    for (size_t i = 0; i < shares_.size(); ++i) {
      SegmentReport segment;
      segment.segment = i;
      segment.patch_bytes = static_cast<uint64_t>(std::llround(shares_[i].payload));
      const unsigned methods = shares_[i].methods;
      segment.method = "mixed";
      if (std::has_single_bit(methods)) {
        segment.method = method_name(static_cast<Method>(std::countr_zero(methods)));
      }
      report_.segments.push_back(std::move(segment));
    }
    for (const Alignment& a : alignments_) {
      if (a.old.has_value()) report_.related.push_back({a.new_offset, a.size, *a.old});
    }
  }

  struct SegmentShare {
    double payload = 0;
    unsigned methods = 0;
  };

  const std::vector<ComponentInput>& components_;
  const ComponentInput& input_;
  uint32_t component_;
  const PatchOptions& options_;
  const Effort& effort_;
  unsigned threads_within_ = 1;
  std::vector<Alignment> alignments_;
  std::vector<Chunk> chunks_;
  std::vector<SegmentShare> shares_;
  PatchReport report_;
};

}  // namespace

std::string_view method_name(Method method) {
  static constexpr std::string_view kNames[kMethodCount] = {
      "copy",   "residual", "zero map", "gain",  "low rank", "grid", "lattice",
      "blocks", "product",  "intra",    "bytes", "literal",  "zstd"};
  return kNames[static_cast<size_t>(method)];
}

Method method_of(const Operation& operation) {
  switch (operation.kind) {
    case OperationKind::kCopy:
      return Method::kCopy;
    case OperationKind::kRecords:
      return Method::kBlocks;
    case OperationKind::kBytes:
      return operation.intra != 0 ? Method::kLiteral : Method::kBytes;
    case OperationKind::kValues:
      break;
  }
  if (operation.intra != 0) return operation.factor != 0 ? Method::kProduct : Method::kIntra;
  if (operation.predictor == Predictor::kGrid) return Method::kGrid;
  if (operation.predictor == Predictor::kLattice) return Method::kLattice;
  if (operation.predictor == Predictor::kRows) {
    return operation.rows.rank != 0 ? Method::kLowRank : Method::kGain;
  }
  return operation.zero_map != 0 ? Method::kZeroMap : Method::kResidual;
}

bool values_allowed(const PatchOptions& options) {
  const uint32_t needed =
      options.limits.value_level != 0 ? format::kAllOfValues : 1u << format::kCodecValues;
  return options.limits.value_slots != 0 && (needed & ~options.codecs) == 0;
}

bool bytes_allowed(const PatchOptions& options) {
  const uint32_t needed =
      byte_tables_full(options.limits) ? format::kAllOfBytes : 1u << format::kCodecBytes;
  return options.limits.byte_cells_log2 != 0 && (needed & ~options.codecs) == 0;
}

Result<PatchReport> make_patch(const std::vector<ComponentInput>& components, size_t index,
                               const PatchOptions& options, base::Sink& patch) {
  if (!values_allowed(options) && !bytes_allowed(options)) {
    return fail(TENSORPATCH_E_LIMIT, "new content needs the codec of values or that of bytes",
                "allow one of them in the profile, with value slots or byte cells");
  }
  return PatchMaker(components, index, options).run(patch);
}

}  // namespace tensorpatch::delta
