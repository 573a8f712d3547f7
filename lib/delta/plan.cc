// delta/plan.cc: tries the codings that may fit each stretch and keeps the cheapest.
// SPDX-License-Identifier: Apache-2.0
#include "delta/plan.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <memory>
#include <numeric>

#include "base/parallel.h"

namespace tensorpatch::delta {
namespace {

constexpr uint64_t kSampleWindow = 2048;  // stretches longer than kSampleFrom are sampled first
constexpr uint64_t kSampleFrom = 16384;
constexpr uint64_t kSampleStep = 256;     // bytes after which a sample may be given up
constexpr uint64_t kThreadedFrom = 8192;  // sizes from which trials are worth threads
constexpr uint64_t kSwitchCost = uint64_t{9 * 8} << 16;      // of another operation, in 1/65536 bit
constexpr uint64_t kRowsHeaderCost = uint64_t{6 * 8} << 16;  // about
constexpr uint64_t kJumpCost = uint64_t{7 * 8} << 16;        // to another place in old and back
constexpr uint64_t kLeastRowsBytes = 64;  // a shorter piece gains nothing from rows
constexpr uint64_t kTiny = 24;            // bytes; too few to learn anything from
constexpr uint64_t kMinRegion = 32;       // bytes of new that may be worth one operation
constexpr uint64_t kFragment = 512;  // mean size of pieces up to which a large region is tried too
constexpr uint64_t kLongestRow = 2048;    // values of a row that is looked for
constexpr uint64_t kMaxGroup = 65536;     // bytes of new that are tried as one operation
constexpr uint64_t kMaxWholeNew = 32768;  // sizes up to which a whole file is tried as one
constexpr uint64_t kMaxWholeOld = 65536;  // operation that learns all of old

constexpr uint64_t kLargestScales = 65536;  // bytes of an array of scales

// A way to code a stretch.
struct Coding {
  OperationKind kind = OperationKind::kBytes;
  ValueType type = ValueType::kUint8;
  bool intra = false;
  unsigned phase = 0;  // values begin at offsets congruent to it, counted from the stretch's start
  unsigned width_log2 = 0;
  bool zero_map = false;
  std::optional<Grid> grid{};
  std::optional<Lattice> lattice{};
  RecordShape record{};
  uint32_t row_bytes = 0;  // of untyped pieces, where a row length was found

  unsigned grain() const {
    if (kind == OperationKind::kRecords) return record_size(record);
    return kind == OperationKind::kValues ? value_size(type) : 1;
  }
};

// A stretch of new inside the interval, with its alignment.
struct Piece {
  uint64_t new_offset;
  uint64_t size;
  std::optional<OldPlace> old;
  std::optional<ValueType> type;
  RecordShape record;  // of block-quantised tensors; count 0: none
  uint64_t row_bytes;
  uint64_t tensor_bytes = 0;  // of the tensor, in front of it
  bool copied = false;        // all of it equals old

  uint64_t grain() const {
    if (record.count != 0) return record_size(record);
    return type.has_value() ? value_size(*type) : 1;
  }
  bool structured() const { return type.has_value() || record.count != 0; }
};

// A whole piece as one operation with numbers of its own, at its place in old or at another.
struct Special {
  Operation operation;
  RowNumbers numbers;
  Piece piece;
  uint64_t header_cost;
};

// The segments that hold scales; `model` may be null.
std::vector<const model::Segment*> scales_of(const model::Model* model) {
  std::vector<const model::Segment*> scales;
  if (model == nullptr) return scales;
  for (const model::Segment& segment : model->segments) {
    if (segment.role == model::Role::kScale) scales.push_back(&segment);
  }
  return scales;
}

class Planner {
 public:
  Planner(const std::vector<ComponentInput>& components, uint32_t component,
          const PatchOptions& options, const PlanTask& task)
      : components_(components),
        options_(options),
        component_(component),
        effort_(effort_of(options.level)),
        task_(task),
        view_{components[component].new_bytes, task.interval.begin,
              (1u << options.limits.history_log2) - 1},
        interval_(task.interval),
        old_floor_(old_floor(options.limits, task.interval.begin)),
        old_scales_(scales_of(components[component].old_model)),
        new_scales_(scales_of(components[component].new_model)) {}

  std::vector<PlannedOperation> run() {
    for (const Piece& piece : cut(task_.alignments)) split_rows(piece);
    operation_model_reset(headers_, {interval_.begin, component_});
    if (bytes_allowed()) tables_ = std::make_unique<ByteTables>(options_.limits);
    for (size_t first = 0; first < pieces_.size();) {
      const size_t last = region_end(first);
      plan_region({pieces_.data() + first, last - first});
      first = last;
    }
    join_copies();
    return std::move(out_);
  }

 private:
  bool allowed(uint32_t codec) const { return (options_.codecs >> codec & 1) != 0; }
  bool values_allowed() const { return delta::values_allowed(options_); }
  // Beyond what is_plain() tells.
  bool all_values_allowed() const { return values_allowed() && allowed(format::kCodecValuesFull); }
  bool bytes_allowed() const { return delta::bytes_allowed(options_); }
  // Whether the width kStructures is another way to code bytes.
  bool structures_allowed() const {
    return bytes_allowed() && options_.limits.byte_cells_log2 >= kStrongCells;
  }
  const uint8_t* old_at(const OldPlace& place) const {
    return components_[place.component].old_bytes.data() + place.offset;
  }

  // The alignments inside the interval; neighbours of one kind on one diagonal are joined.
  std::vector<Piece> cut(std::span<const Alignment> alignments) const {
    std::vector<Piece> pieces;
    for (const Alignment& a : alignments) {
      const uint64_t begin = std::max(a.new_offset, interval_.begin);
      const uint64_t end = std::min(a.new_offset + a.size, interval_.end);
      if (begin >= end) continue;
      Piece piece{begin, end - begin, a.old, a.type, a.record, a.row_bytes, begin - a.new_offset};
      if (piece.old.has_value()) piece.old->offset += begin - a.new_offset;
      if (piece.structured()) trim_to_values(piece, pieces);
      trim_to_floor(piece, pieces);
      if (piece.size == 0) continue;
      if (!pieces.empty() && joins(pieces.back(), piece)) {
        pieces.back().size += piece.size;
      } else {
        pieces.push_back(piece);
      }
    }
    return pieces;
  }

  // An interval may begin or end inside a value: those bytes become pieces of their own.
  static void trim_to_values(Piece& piece, std::vector<Piece>& pieces) {
    const uint64_t grain = piece.grain();
    const uint64_t into = piece.tensor_bytes % grain;
    const uint64_t head = into == 0 ? 0 : std::min<uint64_t>(grain - into, piece.size);
    const uint64_t tail = (piece.size - head) % grain;
    const uint64_t whole = piece.size - head - tail;
    if (head != 0) pieces.push_back(unstructured(part(piece, 0, head)));
    if (tail == 0) {
      piece = part(piece, head, head + whole);
      return;
    }
    if (whole != 0) pieces.push_back(part(piece, head, head + whole));
    piece = unstructured(part(piece, head + whole, piece.size));
  }
  // What old had before the floor is not there any more: those values go without old.
  void trim_to_floor(Piece& piece, std::vector<Piece>& pieces) const {
    if (!piece.old.has_value() || piece.old->offset >= old_floor_ || piece.size == 0) return;
    const uint64_t grain = piece.grain();
    const uint64_t missing = (old_floor_ - piece.old->offset + grain - 1) / grain * grain;
    const uint64_t lost = std::min(missing, piece.size);
    pieces.push_back(part(piece, 0, lost));
    pieces.back().old.reset();
    pieces.back().record = {};
    piece = part(piece, lost, piece.size);
  }

  static Piece unstructured(Piece piece) {
    piece.type.reset();
    piece.record = {};
    return piece;
  }

  static bool joins(const Piece& a, const Piece& b) {
    if (a.structured() || b.structured() || a.old.has_value() != b.old.has_value()) {
      return false;
    }
    return !a.old.has_value() ||
           (a.old->component == b.old->component && a.old->offset + a.size == b.old->offset);
  }

  void push(Operation operation, uint64_t new_offset, uint64_t size) {
    operation.size = static_cast<uint32_t>(size);
    out_.push_back({operation, new_offset});
  }

  // Copies that follow each other in old as in new are one.
  void join_copies() {
    size_t kept = 0;
    for (const PlannedOperation& next : out_) {
      if (kept != 0 && goes_on(out_[kept - 1].operation, next.operation)) {
        out_[kept - 1].operation.size += next.operation.size;
      } else {
        out_[kept++] = next;
      }
    }
    out_.resize(kept);
  }

  static bool goes_on(const Operation& a, const Operation& b) {
    return a.kind == OperationKind::kCopy && b.kind == OperationKind::kCopy &&
           a.old.component == b.old.component && a.old.offset + a.size == b.old.offset;
  }

  // Rows that are quantised each with a step of its own become pieces of their own.
  void split_rows(const Piece& piece) {
    if (!has_steps_by_row(piece)) return split_copies(piece);
    uint64_t end = 0;
    for (uint64_t begin = 0; begin < piece.size; begin = end) {
      end = std::min(begin + piece.row_bytes - (piece.tensor_bytes + begin) % piece.row_bytes,
                     piece.size);
      split_copies(part(piece, begin, end));
    }
  }

  // By the first whole row and the one in the middle.
  bool has_steps_by_row(const Piece& piece) const {
    if (!effort_.special || !piece.type.has_value() || !piece.old.has_value() ||
        piece.row_bytes == 0 || piece.size < 2 * piece.row_bytes ||
        piece.row_bytes % piece.grain() != 0) {
      return false;
    }
    const uint64_t first =
        (piece.row_bytes - piece.tensor_bytes % piece.row_bytes) % piece.row_bytes;
    const uint64_t rows = (piece.size - first) / piece.row_bytes;
    for (const uint64_t row : {uint64_t{0}, rows / 2}) {
      const uint64_t begin = first + row * piece.row_bytes;
      if (!find_lattice(values_of(part(piece, begin, begin + piece.row_bytes)))) return false;
    }
    return !find_lattice(values_of(piece));
  }

  // Long stretches that equal old become pieces of their own.
  void split_copies(const Piece& piece) {
    const auto add = [&](uint64_t begin, uint64_t end, bool copied) {
      if (begin == end) return;
      pieces_.push_back(part(piece, begin, end));
      pieces_.back().copied = copied;
    };
    if (!piece.old.has_value()) return add(0, piece.size, false);
    const uint8_t* old_bytes = old_at(*piece.old);
    const uint8_t* new_bytes = view_.bytes.data() + piece.new_offset;
    const uint64_t grain = piece.grain();
    uint64_t done = 0, at = 0;
    while (at < piece.size) {
      const uint8_t* from = new_bytes + at;
      const auto equal = static_cast<uint64_t>(
          std::mismatch(from, new_bytes + piece.size, old_bytes + at).first - from);
      const uint64_t begin = (at + grain - 1) / grain * grain;
      const uint64_t end = at + equal == piece.size ? piece.size : (at + equal) / grain * grain;
      if (end > begin && (end - begin >= task_.effort.copy_run || end - begin == piece.size)) {
        add(done, begin, false);
        add(begin, end, true);
        done = end;
      }
      at += equal;
      while (at < piece.size && new_bytes[at] != old_bytes[at]) ++at;
    }
    add(done, piece.size, false);
  }

  // Pieces without a type whose places in old are near each other may travel as one operation,
  // whose pointer into old finds its way from one to the next.
  size_t group_end(std::span<const Piece> pieces, size_t first) const {
    const Piece& head = pieces[first];
    size_t last = first + 1;
    if (head.structured() || !head.old.has_value() || !bytes_allowed()) return last;
    uint64_t total = head.size;
    auto diagonal = static_cast<int64_t>(head.old->offset - head.new_offset);
    for (; last < pieces.size(); ++last) {
      const Piece& piece = pieces[last];
      total += piece.size;
      if (piece.structured() || total > kMaxGroup || piece.size >= task_.effort.copy_run) {
        break;
      }
      if (!piece.old.has_value()) continue;
      const auto here = static_cast<int64_t>(piece.old->offset - piece.new_offset);
      const int64_t moved = here < diagonal ? diagonal - here : here - diagonal;
      if (piece.old->component != head.old->component || moved > kResyncReach) break;
      diagonal = here;
    }
    return last;
  }

  // One operation for all of the group, or the best for each piece.
  uint64_t plan_group(std::span<const Piece> group) {
    const size_t before = out_.size();
    uint64_t separate = 0;
    for (const Piece& piece : group) separate += choose(piece);
    separate += header_cost({out_.data() + before, out_.size() - before});
    if (group.size() == 1) return separate;
    Piece whole = group.front();
    whole.size = group.back().new_offset + group.back().size - whole.new_offset;
    const Coding coding{};
    const std::vector<PlannedOperation> parts(out_.begin() + static_cast<std::ptrdiff_t>(before),
                                              out_.end());
    out_.resize(before);
    emit(whole, coding, 0, whole.size);
    const uint64_t together = costs(whole, coding, {whole.size, tables_.get()})[0] +
                              header_cost({out_.data() + before, 1});
    if (together < separate) return together;
    out_.resize(before);
    out_.insert(out_.end(), parts.begin(), parts.end());
    return separate;
  }

  // Pieces without a type that follow each other, short copies among them.
  size_t region_end(size_t first) const {
    if (!in_bytes(pieces_[first]) || !bytes_allowed()) return first + 1;
    size_t last = first + 1;
    while (last < pieces_.size() && in_bytes(pieces_[last])) ++last;
    return last;
  }

  // Group by group, or all as one operation, whose pointer finds its way by what was learnt of old.
  void plan_region(std::span<const Piece> region) {
    const size_t before = out_.size();
    const uint64_t size = region.back().new_offset + region.back().size - region[0].new_offset;
    const bool may_be_whole = effort_.wholes && tables_ != nullptr && in_bytes(region[0]) &&
                              size >= kMinRegion &&
                              (size <= kMaxGroup || size / region.size() <= kFragment);
    ByteTrial separate(may_be_whole ? tables_.get() : nullptr, size);
    const OperationModel headers = headers_;
    uint64_t best = 0;
    for (size_t first = 0; first < region.size();) {
      const size_t last = group_end(region, first);
      const size_t planned = out_.size();
      best += plan_group(region.subspan(first, last - first));
      for (size_t i = planned; i < out_.size(); ++i) follow(separate.counter, out_[i]);
      first = last;
    }
    if (!may_be_whole) return;
    const std::vector<PlannedOperation> parts(out_.begin() + static_cast<std::ptrdiff_t>(before),
                                              out_.end());
    separate.undo();
    headers_ = headers;
    std::vector<PlannedOperation> chosen = parts;
    const auto try_whole = [&](const PlannedOperation& whole) {
      ByteTrial trial(tables_.get(), size + whole.operation.learn_size);
      follow(trial.counter, whole);
      const uint64_t cost = trial.counter.cost();
      trial.undo();
      headers_ = headers;
      if (cost >= best) return;
      best = cost;
      chosen = {whole};
    };
    for (const PlannedOperation& whole : whole_region(region, size)) try_whole(whole);
    if (chosen[0].operation.size == size && chosen[0].operation.kind == OperationKind::kBytes &&
        structures_allowed()) {
      PlannedOperation whole = chosen[0];
      whole.operation.width_log2 = kStructures;
      try_whole(whole);
    }
    out_.resize(before);
    out_.insert(out_.end(), chosen.begin(), chosen.end());
    TrialCounter nothing;
    for (const PlannedOperation& planned : chosen) follow(nothing, planned);
  }

  bool in_bytes(const Piece& piece) const {
    return !piece.structured() && !(piece.copied && piece.size >= task_.effort.copy_run);
  }

  // The ways to code a region as one operation.
  std::vector<PlannedOperation> whole_region(std::span<const Piece> region, uint64_t size) const {
    std::vector<PlannedOperation> result;
    Operation operation;
    operation.kind = OperationKind::kBytes;
    operation.size = static_cast<uint32_t>(size);
    operation.intra = 1;
    const uint64_t begin = region[0].new_offset;
    uint64_t low = std::numeric_limits<uint64_t>::max(), high = 0;
    const Piece* head = nullptr;
    for (const Piece& piece : region) {
      if (!piece.old.has_value()) continue;
      if (head == nullptr) head = &piece;
      if (piece.old->component != head->old->component) continue;
      if (piece.size < 12) continue;
      low = std::min(low, piece.old->offset);
      high = std::max(high, piece.old->offset + piece.size);
    }
    result.push_back({operation, begin});
    if (head == nullptr) return result;
    const uint64_t ahead = head->new_offset - begin;
    operation.intra = 0;
    operation.old = {head->old->offset - std::min(head->old->offset, ahead), head->old->component};
    result.push_back({operation, begin});
    if (low >= high || high - low > 4 * size + 4096) {
      low = operation.old.offset;
      high = std::min<uint64_t>(low + size, components_[head->old->component].old_bytes.size());
    }
    low = std::max(low, old_floor_);
    if (high <= low) return result;
    operation.learn_offset = low;
    operation.learn_size = static_cast<uint32_t>(high - low);
    result.push_back({operation, begin});
    if (operation.old.component == component_) {
      operation.intra = 1;
      operation.old = {};
      result.push_back({operation, begin});
    }
    return result;
  }

  // Of operations that come next.
  uint64_t header_cost(std::span<const PlannedOperation> planned) const {
    OperationModel headers = headers_;
    CostCounter counter;
    OperationCoder<CostCounter> coder(counter, headers, static_cast<uint32_t>(components_.size()));
    for (const PlannedOperation& next : planned) coder.code(next.operation);
    return counter.cost();
  }

  // Codes a bytes operation with the tables as they stand then.
  void follow(TrialCounter& counter, const PlannedOperation& planned) {
    const Operation& operation = planned.operation;
    OperationCoder<TrialCounter>(counter, headers_, static_cast<uint32_t>(components_.size()))
        .code(operation);
    if (operation.kind != OperationKind::kBytes) return;
    const ByteShape shape{operation.width_log2, operation.intra, operation.row_bytes};
    OldBytes old{components_[operation.intra != 0 ? component_ : operation.old.component].old_bytes,
                 old_floor_};
    byte_state_begin(tables_->state, operation.old.offset);
    learn_bytes(counter, *tables_, shape, old,
                {operation.learn_offset, operation.learn_offset + operation.learn_size});
    code_bytes(counter, *tables_, view_, shape, old,
               {planned.new_offset, planned.new_offset + operation.size});
    if (operation.intra == 0) headers_.old.offset = tables_->state.old_at;
  }

  static Piece part(const Piece& piece, uint64_t begin, uint64_t end) {
    Piece result = piece;
    result.new_offset += begin;
    result.size = end - begin;
    result.tensor_bytes += begin;
    if (result.old.has_value()) result.old->offset += begin;
    return result;
  }

  std::vector<Coding> candidates(const Piece& piece) const {
    std::vector<Coding> all;
    const bool near_equal = mostly_equal(piece);
    const auto add_values = [&](ValueType type, unsigned phase) {
      if (!values_allowed() || piece.size < phase + value_size(type)) return;
      if (piece.old.has_value()) all.push_back({OperationKind::kValues, type, false, phase});
      if (near_equal && piece.structured()) return;
      const bool by_itself = all_values_allowed() || type <= ValueType::kInt32;
      if (!bytes_allowed() || (by_itself && piece.size >= kTiny)) {
        all.push_back({OperationKind::kValues, by_itself ? type : ValueType::kUint8, true, phase});
      }
    };
    if (piece.type.has_value()) {
      add_values(*piece.type, 0);
      add_special(piece, all);
    } else {
      add_values(ValueType::kUint8, 0);
      if (piece.record.count != 0 && piece.record.count <= options_.limits.value_slots &&
          all_values_allowed() && piece.old.has_value()) {
        Coding coding;
        coding.kind = OperationKind::kRecords;
        coding.record = piece.record;
        all.push_back(coding);
      }
      const auto add_in_rows = [&](ValueType type, unsigned phase) {
        Coding coding{OperationKind::kValues, type, true, phase};
        coding.row_bytes = row_length(piece, type, phase);
        if (coding.row_bytes != 0) all.push_back(coding);
      };
      if (effort_.all_types && values_allowed() && piece.record.count == 0 && !near_equal) {
        add_in_rows(ValueType::kInt8, 0);
        for (const unsigned phase : {0u, 1u}) add_in_rows(ValueType::kInt16, phase);
      }
      if (piece.record.count == 0 && piece.size >= 256 && !near_equal) {
        add_values(ValueType::kInt8, 0);
        if (effort_.all_types)
          for (const ValueType type : {ValueType::kInt16, ValueType::kInt32, ValueType::kFloat16,
                                       ValueType::kBfloat16, ValueType::kFloat32}) {
            for (unsigned phase = 0; phase < value_size(type); ++phase) add_values(type, phase);
          }
      }
    }
    if (bytes_allowed() && (effort_.typed_bytes || !piece.structured() || all.empty())) {
      const unsigned typed = piece.type.has_value()
                                 ? static_cast<unsigned>(std::countr_zero(value_size(*piece.type)))
                                 : 0;
      const auto add_bytes = [&](unsigned width_log2) {
        if (piece.old.has_value()) {
          all.push_back({OperationKind::kBytes, ValueType::kUint8, false, 0, width_log2});
        }
        if (!near_equal) {
          all.push_back({OperationKind::kBytes, ValueType::kUint8, true, 0, width_log2});
        }
      };
      add_bytes(typed);
      if (!piece.structured() && structures_allowed()) add_bytes(kStructures);
      if (!piece.structured() && piece.size >= 256 && !near_equal) {
        add_bytes(1);
        add_bytes(2);
      }
    }
    return all;
  }

  // The distance in bytes at which integers resemble those before most, when that stands out: the
  // rows of an array whose container is not known. 0: none.
  uint32_t row_length(const Piece& piece, ValueType type, unsigned phase) const {
    constexpr uint64_t kLook = 4096;  // values
    const unsigned size = value_size(type);
    const uint64_t count = (piece.size - phase) / size;
    if (piece.size < phase || count < kLongestRow + kLook) return 0;
    std::vector<int32_t> values(kLongestRow + kLook);
    const uint64_t longest = std::min<uint64_t>(kLongestRow, view_.reach / size);
    const uint8_t* first =
        view_.bytes.data() + piece.new_offset + phase + (count - values.size()) * size;
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<int32_t>(centered(type, load_value(first + i * size, size)));
    }
    uint64_t sum = 0, least = std::numeric_limits<uint64_t>::max();
    uint64_t best = 0;
    for (uint64_t row = 8; row <= longest; ++row) {
      const uint64_t distance = row_distance(values, row, size);
      sum += distance;
      if (distance < least) least = distance, best = row;
    }
    const uint64_t mean = sum / (longest - 7);
    return least * 10 < mean * 9 ? static_cast<uint32_t>(best * size) : 0;
  }

  // How far values are from those one row before, in sum; few large ones do not count for much.
  static uint64_t row_distance(const std::vector<int32_t>& values, uint64_t row, unsigned size) {
    const int32_t most = size == 1 ? 128 : 1024;
    uint64_t distance = 0;
    for (size_t i = kLongestRow; i < values.size(); ++i) {
      const int32_t away = std::abs(values[i] - values[i - row]);
      distance += static_cast<uint64_t>(std::min(away, most));
    }
    return distance;
  }

  // Codings that fit only some changes: newly pruned tensors, and those on a grid.
  void add_special(const Piece& piece, std::vector<Coding>& all) const {
    if (!piece.old.has_value() || !all_values_allowed() || !effort_.special) return;
    Coding coding{OperationKind::kValues, *piece.type};
    if (grows_zeros(piece)) {
      coding.zero_map = true;
      all.push_back(coding);
    }
    coding.zero_map = false;
    coding.grid = find_grid(values_of(piece));
    if (coding.grid.has_value()) all.push_back(coding);
    coding.grid.reset();
    coding.lattice = find_lattice(values_of(piece));
    if (coding.lattice.has_value()) all.push_back(coding);
  }

  ValuePair values_of(const Piece& piece) const {
    const unsigned size = value_size(*piece.type);
    ValuePair pair;
    pair.type = *piece.type;
    pair.old_values = old_at(*piece.old);
    pair.new_values = view_.bytes.data() + piece.new_offset;
    pair.count = piece.size / size;
    pair.row_values = piece.row_bytes / size;
    pair.column = pair.row_values != 0 ? piece.tensor_bytes / size % pair.row_values : 0;
    return pair;
  }

  // Whether many more values are zero than were.
  bool grows_zeros(const Piece& piece) const {
    const ValuePair pair = values_of(piece);
    const unsigned size = value_size(pair.type);
    const uint32_t sign = sign_of(pair.type), zero = zero_of(pair.type);
    uint64_t before = 0, after = 0;
    for (uint64_t i = 0; i < pair.count; ++i) {
      const uint32_t old_bits = load_value(pair.old_values + i * size, size);
      const uint32_t new_bits = load_value(pair.new_values + i * size, size);
      before += (old_bits & ~sign) == zero ? 1 : 0;
      after += (new_bits & ~sign) == zero ? 1 : 0;
    }
    return after > before + pair.count / 32;
  }

  // Whether so few bytes differ from old that only the codings made for that are worth trying.
  bool mostly_equal(const Piece& piece) const {
    if (!piece.old.has_value()) return false;
    const uint8_t* old_bytes = old_at(*piece.old);
    const uint8_t* new_bytes = view_.bytes.data() + piece.new_offset;
    uint64_t different = 0;
    for (uint64_t i = 0; i < piece.size; ++i) different += old_bytes[i] != new_bytes[i] ? 1 : 0;
    return different * 20 < piece.size;
  }

  // How costs are counted.
  struct Count {
    uint64_t tile;                                         // bytes whose cost is told
    ByteTables* tables;                                    // as tables_ stand
    uint64_t most = std::numeric_limits<uint64_t>::max();  // beyond it nothing more is counted
  };
  // Cost of each tile of `piece` when all of it is coded like this, with states that begin fresh.
  std::vector<uint64_t> costs(const Piece& piece, const Coding& coding, const Count& count) const {
    std::vector<uint64_t> result;
    const uint64_t tile = count.tile;
    ByteTrial trial(coding.kind == OperationKind::kBytes ? count.tables : nullptr, piece.size);
    TrialCounter& counter = trial.counter;
    uint64_t before = 0;
    const auto note = [&] {
      result.push_back(counter.cost() - before);
      before = counter.cost();
      return before <= count.most;
    };
    if (coding.kind == OperationKind::kBytes) {
      const ByteShape shape{static_cast<uint8_t>(coding.width_log2),
                            static_cast<uint8_t>(coding.intra ? 1 : 0), 0};
      OldBytes old{components_[coding.intra ? component_ : piece.old->component].old_bytes,
                   old_floor_};
      byte_state_begin(count.tables->state, coding.intra ? 0 : piece.old->offset);
      for (uint64_t at = 0; at < piece.size; at += tile) {
        const Interval range{piece.new_offset + at,
                             piece.new_offset + std::min(at + tile, piece.size)};
        code_bytes(counter, *count.tables, view_, shape, old, range);
        if (!note()) break;
      }
      trial.undo();
      return result;
    }
    std::vector<ValueSlot> slots(std::max<size_t>(coding.record.count, 1),
                                 ValueSlot(options_.limits.value_level));
    const unsigned grain = coding.grain();
    const Operation operation = operation_of(piece, coding);
    uint64_t value = coding.phase;  // offset of the next value in the piece
    for (uint64_t at = 0; at < piece.size; at += tile) {
      const uint64_t end = std::min(at + tile, piece.size);
      uint64_t values = value < end ? (end - value + grain - 1) / grain : 0;
      while (values > 0 && value + values * grain > piece.size) --values;
      code_values(counter, slots, view_, run_of(piece, operation, value, values));
      value += values * grain;
      if (!note()) break;
    }
    return result;
  }

  Operation operation_of(const Piece& piece, const Coding& coding) const {
    Operation operation;
    operation.kind = coding.kind;
    operation.type = coding.type;
    operation.intra = coding.intra ? 1 : 0;
    operation.width_log2 = static_cast<uint8_t>(coding.width_log2);
    operation.zero_map = coding.zero_map ? 1 : 0;
    operation.record = coding.record;
    if (coding.grid.has_value()) {
      operation.predictor = Predictor::kGrid;
      operation.grid = *coding.grid;
    }
    if (coding.lattice.has_value()) {
      operation.predictor = Predictor::kLattice;
      operation.lattice = *coding.lattice;
    }
    if (coding.kind == OperationKind::kValues && coding.intra) {
      operation.row_bytes = row_of(piece, coding);
    }
    return operation;
  }

  ValueRun run_of(const Piece& piece, const Operation& operation, uint64_t at,
                  uint64_t count) const {
    return {operation, nullptr, operation_reads_old(operation) ? old_at(*piece.old) + at : nullptr,
            piece.new_offset + at, count};
  }

  uint32_t row_of(const Piece& piece, const Coding& coding) const {
    if (coding.row_bytes != 0) return coding.row_bytes;
    const bool usable = piece.row_bytes >= coding.grain() && piece.row_bytes <= view_.reach;
    return usable ? static_cast<uint32_t>(piece.row_bytes) : 0;
  }

  // Calls trial(i, tables) for 0 .. count - 1, on threads where the piece is worth that; each
  // thread has tables that stand as tables_ do.
  template <class Trial>
  void each_trial(const Piece& piece, size_t count, const Trial& trial) const {
    if (task_.threads == 1 || piece.size < kThreadedFrom || tables_ == nullptr) {
      for (size_t i = 0; i < count; ++i) trial(i, tables_.get());
      return;
    }
    base::parallel_for(count, task_.threads, [&](size_t i) {
      const auto tables = tables_->copy();
      trial(i, tables.get());
    });
  }

  // Of a sample; of one that is given up, what all of it may cost.
  uint64_t sample_cost(const Piece& window, const Coding& coding, const Count& count) const {
    const std::vector<uint64_t> parts = costs(window, coding, count);
    const uint64_t cost = std::accumulate(parts.begin(), parts.end(), uint64_t{0});
    const uint64_t all = (window.size + count.tile - 1) / count.tile;
    return cost / parts.size() * all + cost % parts.size();
  }

  // The codings that are best in some sample, or over all samples. Where the type is known, a
  // sample must speak clearly.
  std::vector<Coding> survivors(const Piece& piece, const std::vector<Coding>& all) const {
    std::vector<uint64_t> totals(all.size(), 0);
    const unsigned samples =
        piece.structured() ? std::max(task_.effort.samples / 2, 2u) : task_.effort.samples;
    std::vector<std::vector<uint64_t>> sampled(samples, totals);
    std::vector<char> kept(all.size(), 0);
    const uint64_t unit = piece.structured() ? piece.grain() : 64;
    const uint64_t size = kSampleWindow / unit * unit;
    const uint64_t stride = (piece.size - size) / (samples - 1) / unit * unit;
    each_trial(piece, samples, [&](size_t sample, ByteTables* tables) {
      const Piece window = part(piece, sample * stride, sample * stride + size);
      uint64_t least = std::numeric_limits<uint64_t>::max() / 4;
      for (size_t i = 0; i < all.size(); ++i) {
        sampled[sample][i] = sample_cost(window, all[i], {kSampleStep, tables, least / 2 * 3});
        least = std::min(least, sampled[sample][i]);
      }
    });
    for (const std::vector<uint64_t>& sample : sampled) {
      for (size_t i = 0; i < all.size(); ++i) totals[i] += sample[i];
    }
    const auto least =
        static_cast<size_t>(std::min_element(totals.begin(), totals.end()) - totals.begin());
    kept[least] = 1;
    for (const std::vector<uint64_t>& sample : sampled) {
      const auto best =
          static_cast<size_t>(std::min_element(sample.begin(), sample.end()) - sample.begin());
      const uint64_t enough = sample[least] - sample[least] / (piece.structured() ? 8 : 64);
      if (sample[best] < enough) kept[best] = 1;
    }
    std::vector<Coding> result;
    for (size_t i = 0; i < all.size(); ++i) {
      if (kept[i] != 0) result.push_back(all[i]);
    }
    return result;
  }

  // Adds the operations that code a piece with the least cost, and returns it.
  uint64_t choose(const Piece& piece) {
    if (piece.copied) {
      Operation copy;
      copy.kind = OperationKind::kCopy;
      copy.old = *piece.old;
      push(copy, piece.new_offset, piece.size);
      return 0;
    }
    std::vector<Coding> codings = candidates(piece);
    if (piece.size > kSampleFrom && codings.size() > 1 && task_.effort.samples != 0) {
      codings = survivors(piece, codings);
    }
    std::vector<Special> specials = rows_fits(piece);
    add_products(piece, specials);
    if (piece.structured() && codings.size() == 1 && specials.empty()) {  // nothing left to weigh
      emit_literal(piece, emit(piece, codings[0], 0, piece.size), piece.size);
      return 0;  // alone in its group: nobody compares
    }
    const uint64_t tile = tile_size(piece);
    std::vector<std::vector<uint64_t>> tile_costs(codings.size());
    each_trial(piece, codings.size(), [&](size_t i, ByteTables* tables) {
      tile_costs[i] = costs(piece, codings[i], {tile, tables});
    });
    const std::vector<size_t> path = cheapest_path(tile_costs);
    uint64_t cost = 0, done = 0;
    for (size_t i = 0; i < path.size(); ++i) cost += tile_costs[path[i]][i];
    const uint64_t special = choose_special(specials, cost);
    if (special < cost) return special;
    for (size_t first = 0; first < path.size();) {
      size_t last = first;
      while (last < path.size() && path[last] == path[first]) ++last;
      done = emit(piece, codings[path[first]], done, std::min(last * tile, piece.size));
      first = last;
    }
    emit_literal(piece, done, piece.size);
    return cost;
  }

  // What chooses its coding by itself.
  uint64_t tile_size(const Piece& piece) const {
    const unsigned shift = task_.effort.tile_shift;
    if (piece.structured()) return (16384u >> shift) / piece.grain() * piece.grain();
    return (piece.size >= 65536 ? 2048u : 512u) >> shift;
  }

  // What the rows predictor offers for a piece much of which has changed.
  std::vector<Special> rows_fits(const Piece& piece) const {
    const uint8_t column_log2 = options_.limits.column_log2;
    if (!effort_.rows || !piece.type.has_value() || !piece.old.has_value() ||
        !all_values_allowed() || column_log2 == 0 || piece.size < kLeastRowsBytes ||
        mostly_equal(piece)) {
      return {};
    }
    std::vector<Special> specials;
    for (RowsFit& fit : fit_rows(values_of(piece), 1u << column_log2)) {
      specials.push_back(in_rows(piece, std::move(fit)));
    }
    return specials;
  }

  static Special in_rows(const Piece& piece, RowsFit fit) {
    Special special{{}, std::move(fit.numbers), piece, kRowsHeaderCost};
    special.operation.kind = OperationKind::kValues;
    special.operation.type = *piece.type;
    special.operation.predictor = Predictor::kRows;
    special.operation.rows = fit.shape;
    return special;
  }

  // The scales of a bias are those of its weights times that of its input. They are told from
  // the weights' own in old, mostly still the same, or from those in new that came before.
  void add_products(const Piece& piece, std::vector<Special>& specials) const {
    if (!effort_.special || piece.type != ValueType::kFloat32 || !all_values_allowed() ||
        piece.copied || piece.size > kLargestScales) {
      return;
    }
    if (piece.old.has_value() && options_.limits.column_log2 != 0) {
      Piece elsewhere = piece;
      elsewhere.row_bytes = 0;
      for (const model::Segment* scales : old_scales_) {
        if (scales->size != piece.size || scales->offset < old_floor_) continue;
        elsewhere.old = OldPlace{scales->offset, component_};
        auto fit = fit_product(values_of(elsewhere));
        if (!fit) continue;
        specials.push_back(in_rows(elsewhere, std::move(*fit)));
        specials.back().header_cost += kJumpCost;
        break;
      }
    }
    for (const model::Segment* scales : new_scales_) {
      if (scales->size != piece.size || scales->offset < interval_.begin ||
          scales->offset >= piece.new_offset || piece.new_offset - scales->offset > view_.reach) {
        continue;
      }
      const ValuePair pair{*piece.type, view_.bytes.data() + scales->offset,
                           view_.bytes.data() + piece.new_offset, piece.size / 4};
      const auto factor = product_factor(pair);
      if (!factor) continue;
      Special special{{}, {}, piece, kRowsHeaderCost};
      special.operation.kind = OperationKind::kValues;
      special.operation.type = *piece.type;
      special.operation.intra = 1;
      special.operation.row_bytes = static_cast<uint32_t>(piece.new_offset - scales->offset);
      special.operation.factor = *factor;
      specials.push_back(std::move(special));
      break;
    }
  }

  // Codes a whole piece in the best special way if that costs less than `least`, and returns the
  // cost.
  uint64_t choose_special(std::vector<Special>& specials, uint64_t least) {
    Special* best = nullptr;
    for (Special& special : specials) {
      std::vector<ValueSlot> slots(1, ValueSlot(options_.limits.value_level));
      CostCounter counter;
      ValueRun run = run_of(special.piece, special.operation, 0,
                            special.piece.size / value_size(special.operation.type));
      run.numbers = &special.numbers;
      code_values(counter, slots, view_, run);
      const uint64_t cost = counter.cost() + special.header_cost;
      if (cost < least) least = cost, best = &special;
    }
    if (best == nullptr) return least;
    if (operation_reads_old(best->operation)) best->operation.old = *best->piece.old;
    push(best->operation, best->piece.new_offset, best->piece.size);
    if (best->operation.predictor == Predictor::kRows) {
      out_.back().numbers = std::make_shared<const RowNumbers>(std::move(best->numbers));
    }
    return least;
  }

  // Viterbi: one coding for each tile, every change costs kSwitchCost.
  static std::vector<size_t> cheapest_path(const std::vector<std::vector<uint64_t>>& costs) {
    const size_t tiles = costs[0].size();
    std::vector<uint64_t> reach(costs.size(), 0);
    std::vector<std::vector<size_t>> from(tiles, std::vector<size_t>(costs.size()));
    for (size_t tile = 0; tile < tiles; ++tile) {
      const auto cheapest =
          static_cast<size_t>(std::min_element(reach.begin(), reach.end()) - reach.begin());
      const uint64_t switched = reach[cheapest] + kSwitchCost;
      for (size_t i = 0; i < costs.size(); ++i) {
        const bool stays = tile == 0 || reach[i] <= switched;
        from[tile][i] = stays ? i : cheapest;
        reach[i] = (stays ? reach[i] : switched) + costs[i][tile];
      }
    }
    std::vector<size_t> path(tiles);
    auto at = static_cast<size_t>(std::min_element(reach.begin(), reach.end()) - reach.begin());
    for (size_t tile = tiles; tile-- > 0;) {
      path[tile] = at;
      at = from[tile][at];
    }
    return path;
  }

  // Bytes [begin, end) of the piece in one coding, as far as whole values go: up to a value beyond
  // `end`. Bytes before the first value are literals. Returns where the last operation ends.
  uint64_t emit(const Piece& piece, const Coding& coding, uint64_t begin, uint64_t end) {
    const unsigned grain = coding.grain();
    uint64_t first = begin;
    while (first % grain != coding.phase % grain) ++first;
    uint64_t last = end;
    while (last % grain != coding.phase % grain) ++last;
    while (last > piece.size) last -= grain;
    if (last <= first) return begin;
    emit_literal(piece, begin, first);
    Operation operation = operation_of(piece, coding);
    if (operation_reads_old(operation)) {
      operation.old = {piece.old->offset + first, piece.old->component};
    }
    push(operation, piece.new_offset + first, last - first);
    return last;
  }

  // A few bytes that no value covers.
  void emit_literal(const Piece& piece, uint64_t begin, uint64_t end) {
    if (begin == end) return;
    Operation operation;
    operation.kind = OperationKind::kBytes;
    operation.intra = 1;
    if (values_allowed() && (piece.old.has_value() || !bytes_allowed())) {
      operation.kind = OperationKind::kValues;
      operation.type = ValueType::kUint8;
      operation.intra = piece.old.has_value() ? 0 : 1;
      if (piece.old.has_value()) {
        operation.old = {piece.old->offset + begin, piece.old->component};
      }
    }
    push(operation, piece.new_offset + begin, end - begin);
  }

  const std::vector<ComponentInput>& components_;
  const PatchOptions& options_;
  uint32_t component_;
  const Effort& effort_;
  const PlanTask& task_;
  OperationModel headers_{};            // and this too
  std::unique_ptr<ByteTables> tables_;  // as they will stand behind the operations chosen so far
  NewView view_;
  Interval interval_;
  uint64_t old_floor_;
  std::vector<const model::Segment*> old_scales_;  // looked through for each small float tensor
  std::vector<const model::Segment*> new_scales_;
  std::vector<Piece> pieces_;
  std::vector<PlannedOperation> out_;
};

}  // namespace

std::vector<Operation> whole_operations(const ComponentInput& input, const PatchOptions& options,
                                        const Interval& interval) {
  std::vector<Operation> all;
  if (!effort_of(options.level).wholes || interval.end - interval.begin != input.new_bytes.size() ||
      (options.codecs >> format::kCodecBytes & 1) == 0 ||
      options.limits.byte_cells_log2 < kStrongCells || input.new_bytes.empty() ||
      input.new_bytes.size() > kMaxWholeNew || input.old_bytes.size() > kMaxWholeOld) {
    return all;
  }
  Operation operation;
  operation.kind = OperationKind::kBytes;
  operation.size = static_cast<uint32_t>(input.new_bytes.size());
  operation.intra = 1;
  operation.learn_size = static_cast<uint32_t>(input.old_bytes.size());
  all.push_back(operation);
  operation.width_log2 = kStructures;
  all.push_back(operation);
  return all;
}

std::vector<PlannedOperation> plan_interval(const std::vector<ComponentInput>& components,
                                            uint32_t component, const PatchOptions& options,
                                            const PlanTask& task) {
  return Planner(components, component, options, task).run();
}

}  // namespace tensorpatch::delta
