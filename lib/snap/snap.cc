// snap/snap.cc: finds each tensor's old one, chooses the steps, writes the file in order.
//
// Three looks at the files, all mapped: sums of the updates, the multiple of each matrix, writing.
// SPDX-License-Identifier: Apache-2.0
#include "snap/snap.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/parallel.h"
#include "delta/alignment.h"
#include "snap/quantised.h"
#include "snap/tensor.h"

namespace tensorpatch::snap {
namespace {

using model::Segment;

constexpr uint64_t kStretchBytes = uint64_t{1} << 18;
constexpr double kMostOfOwn = 2;
constexpr double kCoderSkill = 0.9;  // what the coder's contexts make of an estimate
constexpr std::string_view kFateNames[] = {"equal",      "snapped", "no match",
                                           "not finite", "no grid", "no gain"};

// Bytes of the snapped file: of new, or made.
struct Made {
  base::Bytes bytes;
  std::unique_ptr<uint8_t[]> buffer;
};

// Values of a row of a matrix; 0 for vectors.
uint64_t row_of(const Segment& segment) {
  if (std::ranges::count_if(segment.shape, [](uint64_t size) { return size > 1; }) < 2) return 0;
  const uint64_t count = segment.size / model::element_size(segment.type);
  if (segment.row_elements != 0) return segment.row_elements;
  return count / segment.shape.front();
}

// Whether the values of such a file can be replaced in place.
Result<void> check_format(const model::Model& model) {
  switch (model.format) {
    case model::Format::kSafetensors:
    case model::Format::kTflite:
    case model::Format::kOnnx:
    case model::Format::kOnnxData:
    case model::Format::kGguf:
    case model::Format::kNpy:
      return {};
    case model::Format::kRaw:
      return fail(TENSORPATCH_E_USAGE, "the tensors of the new file are not known",
                  model.warning.empty() ? "snap needs safetensors, TFLite, ONNX or GGUF"
                                        : "taken as raw: " + model.warning);
    default:
      return fail(TENSORPATCH_E_USAGE,
                  "a " + std::string(model::format_name(model.format)) +
                      " file has checksums of its weights, which snap would break",
                  "snap needs safetensors, TFLite, ONNX or GGUF");
  }
}

}  // namespace

std::string_view fate_name(Fate fate) {
  return kFateNames[static_cast<size_t>(fate)];
}

struct Snapper::State {
  // A segment of new.
  struct Entry {
    Fate fate = Fate::kEqual;
    std::unique_ptr<Tensor> tensor;  // when it may be snapped
    Sums sums;                       // of the first look
    std::optional<Grid> grid;        // of the last writing
  };
  // A piece of work: values of a tensor, or bytes of a segment that stays.
  struct Piece {
    size_t segment;
    Stretch stretch;
  };

  State(const delta::ComponentInput& input, unsigned study_jobs)
      : pair(input), entries(input.new_model->segments.size()) {
    find_tensors();
    look(study_jobs);
  }

  void find_tensors() {
    matched = delta::match_tensors(pair);
    const auto& segments = pair.new_model->segments;
    for (size_t i = 0; i < segments.size(); ++i) {
      if (!is_like(segments[i], matched[i])) matched[i] = nullptr;
      if (segments[i].role == model::Role::kOther) continue;
      entries[i] = entry_of(segments[i], matched[i]);
    }
  }

  // What integers become depends on the grid, for their scales do.
  void find_quantised(double grid, unsigned jobs) {
    const auto& segments = pair.new_model->segments;
    for (const size_t i : quantised) entries[i] = entry_of(segments[i], matched[i]);
    quantised.clear();
    for (auto& [i, tensor] : quantised_tensors(pair, matched, grid)) {
      const Fate fate = tensor != nullptr ? Fate::kSnapped : Fate::kNoGain;
      entries[i] = {fate, std::move(tensor), {}, {}};
      quantised.push_back(i);
    }
    if (!quantised.empty()) look(jobs);
  }

  static bool is_like(const Segment& segment, const Segment* old) {
    return old != nullptr && old->type == segment.type && old->shape == segment.shape &&
           old->size == segment.size && old->block.fields.data() == segment.block.fields.data();
  }

  Entry entry_of(const Segment& segment, const Segment* old) const {
    if (old == nullptr) return {Fate::kNoMatch, nullptr, {}, {}};
    const TensorBytes bytes{pair.old_bytes.subspan(old->offset, old->size),
                            pair.new_bytes.subspan(segment.offset, segment.size)};
    if (std::memcmp(bytes.old_bytes.data(), bytes.new_bytes.data(), bytes.new_bytes.size()) == 0) {
      return {};
    }
    Entry entry{Fate::kNoGrid, nullptr, {}, {}};
    const auto type = delta::value_type(segment.type);
    if (type && float_shape(*type).exponent_mask != 0) {
      entry.tensor = float_tensor({*type, row_of(segment)}, bytes);
    } else if (segment.block.size != 0) {
      entry.tensor = block_tensor(segment.block, bytes);
    }
    return entry;
  }

  // The stretches of the tensors that may be snapped.
  std::vector<Piece> tensor_pieces() const {
    std::vector<Piece> pieces;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].tensor != nullptr) cut(i, pieces);
    }
    return pieces;
  }

  void cut(size_t segment, std::vector<Piece>& pieces) const {
    const Entry& entry = entries[segment];
    const uint64_t grain = entry.tensor != nullptr ? entry.tensor->value_bytes() : 1;
    const uint64_t count = pair.new_model->segments[segment].size / grain;
    const uint64_t step = std::max<uint64_t>(1, kStretchBytes / grain);
    for (uint64_t at = 0; at < count; at += step) {
      pieces.push_back({segment, {at, std::min(step, count - at)}});
    }
  }

  // Sums over each tensor, the same for any number of threads.
  template <class Work>
  std::vector<Sums> sums_of(unsigned jobs, Work work) const {
    const std::vector<Piece> pieces = tensor_pieces();
    std::vector<Sums> parts(pieces.size());
    base::parallel_for(pieces.size(), jobs, [&](size_t i) {
      parts[i] = work(entries[pieces[i].segment], pieces[i].stretch);
    });
    std::vector<Sums> sums(entries.size());
    for (size_t i = 0; i < pieces.size(); ++i) sums[pieces[i].segment].add(parts[i]);
    return sums;
  }

  void look(unsigned jobs) {
    const std::vector<Sums> sums = sums_of(jobs, [](const Entry& entry, const Stretch& stretch) {
      return entry.tensor->study(stretch);
    });
    double squares = 0;
    uint64_t count = 0;
    for (size_t i = 0; i < entries.size(); ++i) {
      Entry& entry = entries[i];
      if (entry.tensor == nullptr) continue;
      entry.sums = sums[i];
      if (!sums[i].finite) {
        entry.tensor.reset();
        entry.fate = Fate::kNotFinite;
      } else if (entry.tensor->is_float_matrix()) {
        squares += sums[i].squares;
        count += entry.tensor->count();
      }
    }
    matrix_update = count != 0 ? std::sqrt(squares / static_cast<double>(count)) : 0;
  }

  // The step of the matrices of a model is one, but where a matrix moved much less than the others
  // (as layers with folded batch norms do) its own size bounds it.
  Wanted wanted_of(const Entry& entry, double grid) const {
    const double own = std::sqrt(entry.sums.squares / static_cast<double>(entry.tensor->count()));
    return {grid, grid * std::min(matrix_update, kMostOfOwn * own)};
  }

  void choose_grids(double grid, unsigned jobs) {
    const std::vector<Sums> sums = sums_of(jobs, [&](const Entry& entry, const Stretch& stretch) {
      return entry.tensor->weigh(stretch, wanted_of(entry, grid));
    });
    for (size_t i = 0; i < entries.size(); ++i) {
      Entry& entry = entries[i];
      if (entry.tensor == nullptr) continue;
      Sums all = entry.sums;
      all.add(sums[i]);
      entry.grid = entry.tensor->choose(all, wanted_of(entry, grid));
      entry.fate = entry.grid ? Fate::kSnapped : Fate::kNoGrid;
      if (entry.grid && !is_worth(*entry.tensor, wanted_of(entry, grid), *entry.grid)) {
        entry.grid.reset();
        entry.fate = Fate::kNoGain;
      }
    }
  }

  static bool is_worth(const Tensor& tensor, const Wanted& wanted, const Grid& grid) {
    const auto sample = tensor.sample();
    if (!sample) return true;
    const double step = tensor.is_float_matrix() ? wanted.step : step_of(grid);
    return !is_pruned(*sample) &&
           bits_in_steps(sample->updates, step) < kCoderSkill * bits_as_it_is(*sample);
  }

  delta::ComponentInput pair;
  std::vector<const Segment*> matched;  // of old, like new's segments
  std::vector<Entry> entries;           // of new's segments
  std::vector<size_t> quantised;        // those of the last grid
  double matrix_update = 0;             // root mean square over the matrices that changed
};

Snapper::Snapper(std::unique_ptr<State> state) : state_(std::move(state)) {}
Snapper::Snapper(Snapper&& other) noexcept = default;
Snapper& Snapper::operator=(Snapper&& other) noexcept = default;
Snapper::~Snapper() = default;

Result<Snapper> Snapper::study(const delta::ComponentInput& pair, unsigned jobs) {
  if (auto checked = check_format(*pair.new_model); !checked) {
    return tl::unexpected(checked.error());
  }
  return Snapper(std::make_unique<State>(pair, jobs));
}

Result<Report> Snapper::write(const Options& options, base::Sink& out) {
  if (!(options.grid >= kLeastGrid && options.grid <= kLargestGrid)) {
    return fail(TENSORPATCH_E_USAGE, "a grid is a number from 1/1024 to 3",
                "0.25 is safe without an evaluation; above 0.5 evaluate");
  }
  State& state = *state_;
  const auto& segments = state.pair.new_model->segments;
  state.find_quantised(options.grid, options.jobs);
  state.choose_grids(options.grid, options.jobs);
  std::vector<State::Piece> pieces;
  for (size_t i = 0; i < segments.size(); ++i) state.cut(i, pieces);

  constexpr size_t kWindow = 32;
  std::vector<Made> made(pieces.size());
  std::vector<Sums> parts(pieces.size());
  std::vector<Sums> sums(segments.size());
  Result<void> status;
  uint64_t done = 0;
  const auto make = [&](size_t i) {
    const State::Entry& entry = state.entries[pieces[i].segment];
    const Segment& segment = segments[pieces[i].segment];
    const Stretch stretch = pieces[i].stretch;
    if (!entry.grid) {
      const uint64_t grain = entry.tensor != nullptr ? entry.tensor->value_bytes() : 1;
      made[i].bytes = state.pair.new_bytes.subspan(segment.offset + stretch.first * grain,
                                                   stretch.count * grain);
      return;
    }
    const size_t size = stretch.count * entry.tensor->value_bytes();
    made[i].buffer = std::make_unique_for_overwrite<uint8_t[]>(size);
    made[i].bytes = {made[i].buffer.get(), size};
    parts[i] = entry.tensor->write(stretch, state.wanted_of(entry, options.grid), *entry.grid,
                                   made[i].buffer.get());
  };
  const auto take = [&](size_t i) {
    status = out.write(made[i].bytes);
    done += made[i].bytes.size();
    sums[pieces[i].segment].add(parts[i]);
    made[i] = {};
    if (status && options.progress && !options.progress(done, state.pair.new_bytes.size())) {
      status = fail(TENSORPATCH_E_CANCELLED, "stopped before the end");
    }
    return status.has_value();
  };
  base::parallel_ordered(pieces.size(), options.jobs, kWindow, make, take);
  if (!status) return tl::unexpected(status.error());

  Report report;
  report.step = options.grid * state.matrix_update;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].role == model::Role::kOther) continue;
    const State::Entry& entry = state.entries[i];
    TensorReport tensor{i, entry.fate, entry.grid ? step_of(*entry.grid) : 0, 0, 0, 0, 0};
    if (entry.tensor != nullptr) {
      const auto count = static_cast<double>(entry.tensor->count());
      tensor.count = entry.tensor->count();
      tensor.moved = sums[i].moved;
      tensor.update = std::sqrt(entry.sums.squares / count);
      tensor.error = std::sqrt(sums[i].errors / count);
    }
    report.tensors.push_back(tensor);
  }
  return report;
}

}  // namespace tensorpatch::snap
