// delta/alignment.cc: pairs segments of new with old's by name, content and shape, and the bytes
// between by the bsdiff method.
// SPDX-License-Identifier: Apache-2.0
#include "delta/alignment.h"

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "delta/byte_match.h"

namespace tensorpatch::delta {
namespace {

using model::Segment;

// Equivalences shorter than this that lead away from their neighbours cost more than they save.
constexpr uint64_t kShort = 32;

// Old bytes that are indexed at once; the suffix array takes five times as much memory.
constexpr uint64_t kWindow = uint64_t{32} << 20;

// Bytes of parts that are gathered at once, at most.
constexpr uint64_t kMostGathered = 2 * kWindow;

// Tensors of one name that are looked at for one of new.
constexpr size_t kMostNamesakes = 64;

std::string_view content(base::Bytes file, const Segment& segment) {
  return {reinterpret_cast<const char*>(file.data()) + segment.offset, segment.size};
}

bool is_tensor(const Segment& segment) {
  return segment.role != model::Role::kOther;
}

// Element type, shape and role in one key.
std::string shape_key(const Segment& segment) {
  std::string key = std::to_string(static_cast<int>(segment.type)) + ':' +
                    std::to_string(static_cast<int>(segment.role));
  for (const uint64_t dimension : segment.shape) key += ',' + std::to_string(dimension);
  return key;
}

struct OldTensor {
  uint32_t component;
  const Segment* segment;
  bool taken = false;
};

// Finds for each tensor of new the tensor of old that it came from.
class TensorMatcher {
 public:
  TensorMatcher(const std::vector<ComponentInput>& components, size_t index)
      : components_(components), input_(components[index]) {
    // The component's own old first, so that it wins where several fit.
    add_component(index);
    for (size_t i = 0; i < components.size(); ++i) {
      if (i != index) add_component(i);
    }
  }

  std::vector<const OldTensor*> match() {
    const auto& segments = input_.new_model->segments;
    result_.assign(segments.size(), nullptr);
    match_names(Equality::kRequired);
    match_content();
    match_names(Equality::kNotNeeded);
    match_shapes();
    return std::move(result_);
  }

 private:
  enum class Equality { kRequired, kNotNeeded };

  void add_component(size_t index) {
    if (components_[index].old_model == nullptr) return;
    for (const Segment& segment : components_[index].old_model->segments) {
      if (is_tensor(segment)) {
        old_.push_back({static_cast<uint32_t>(index), &segment});
      }
    }
  }

  base::Bytes old_file(const OldTensor& old) const { return components_[old.component].old_bytes; }

  template <class Visit>
  void each_open(Visit visit) {
    const auto& segments = input_.new_model->segments;
    for (size_t i = 0; i < segments.size(); ++i) {
      if (is_tensor(segments[i]) && result_[i] == nullptr) visit(i, segments[i]);
    }
  }

  void take(size_t index, OldTensor& old) {
    old.taken = true;
    result_[index] = &old;
  }

  void match_names(Equality equality) {
    struct Namesakes {
      std::vector<OldTensor*> tensors;  // in order: the first that fits wins
      size_t first = 0;                 // all before it are taken
    };
    std::unordered_map<std::string_view, Namesakes> by_name;
    for (OldTensor& old : old_) {
      if (!old.taken) by_name[old.segment->name].tensors.push_back(&old);
    }
    each_open([&](size_t index, const Segment& segment) {
      const auto found = by_name.find(segment.name);
      if (found == by_name.end()) return;
      auto& [tensors, first] = found->second;
      while (first < tensors.size() && tensors[first]->taken) ++first;
      const size_t last = std::min(tensors.size(), first + kMostNamesakes);
      for (size_t i = first; i < last; ++i) {
        OldTensor* old = tensors[i];
        if (old->taken || old->segment->type != segment.type) continue;
        if (equality == Equality::kRequired &&
            content(old_file(*old), *old->segment) != content(input_.new_bytes, segment)) {
          continue;
        }
        return take(index, *old);
      }
    });
  }

  void match_content() {
    std::unordered_set<uint64_t> sizes;  // hashing other tensors would be in vain
    each_open([&](size_t, const Segment& segment) {
      if (segment.size >= 32) sizes.insert(segment.size);  // others are too common to mean anything
    });
    std::unordered_map<std::string_view, std::vector<OldTensor*>> by_content;
    for (OldTensor& old : old_) {
      if (!sizes.contains(old.segment->size)) continue;
      by_content[content(old_file(old), *old.segment)].push_back(&old);
    }
    each_open([&](size_t index, const Segment& segment) {
      if (!sizes.contains(segment.size)) return;
      const auto found = by_content.find(content(input_.new_bytes, segment));
      if (found == by_content.end()) return;
      for (OldTensor* old : found->second) {
        if (!old->taken) return take(index, *old);
      }
      result_[index] = found->second.front();  // the same content twice in new
    });
  }

  void match_shapes() {
    std::map<std::string, std::vector<OldTensor*>> by_shape;
    for (OldTensor& old : old_) {
      if (!old.taken) by_shape[shape_key(*old.segment)].push_back(&old);
    }
    std::map<std::string, size_t> used;
    each_open([&](size_t index, const Segment& segment) {
      const std::string key = shape_key(segment);
      const auto found = by_shape.find(key);
      if (found == by_shape.end()) return;
      size_t& next = used[key];
      if (next < found->second.size()) take(index, *found->second[next++]);
    });
  }

  const std::vector<ComponentInput>& components_;
  const ComponentInput& input_;
  std::vector<OldTensor> old_;
  std::vector<const OldTensor*> result_;
};

// The fields of a quantised block; 4-bit and 8-bit codes behind a scale count in its units.
RecordShape record_of(const model::BlockLayout& block) {
  RecordShape record;
  if (block.fields.size() > kMaxFields) return record;
  bool has_scale = false;
  for (const model::BlockField& field : block.fields) {
    RecordField made;
    made.count = field.size;
    made.type = ValueType::kUint8;
    switch (field.kind) {
      case model::FieldKind::kFloat16:
        made.type = ValueType::kFloat16;
        break;
      case model::FieldKind::kFloat32:
        made.type = ValueType::kFloat32;
        break;
      case model::FieldKind::kInt16:
        made.type = ValueType::kInt16;
        break;
      case model::FieldKind::kInt8:
        made.type = ValueType::kInt8;
        break;
      case model::FieldKind::kNibbles:
        made.type = ValueType::kUint4;
        made.count = static_cast<uint16_t>(field.size * 2);
        break;
      default:
        break;
    }
    if (made.type != ValueType::kUint4) made.count /= static_cast<uint16_t>(value_size(made.type));
    const bool codes = made.type == ValueType::kUint4 || made.type == ValueType::kInt8;
    made.scaled = codes && has_scale ? 1 : 0;
    has_scale = has_scale || made.type == ValueType::kFloat16;
    if (made.count >= 512) return {};
    record.fields[record.count++] = made;
  }
  return record;
}

// A stretch of new that no tensor accounts for, and the alignments found inside it.
struct Rest {
  uint64_t offset;
  uint64_t size;
};

// Concatenates stretches of a file, and leads back.
class Gathered {
 public:
  Gathered(base::Bytes file, std::span<const Rest> parts) : parts_(parts.begin(), parts.end()) {
    uint64_t begin = 0;
    for (const Rest& part : parts) {
      begins_.push_back(begin);
      begin += part.size;
    }
    if (parts.size() == 1) {
      bytes_ = file.subspan(parts[0].offset, parts[0].size);
    } else {
      for (const Rest& part : parts) {
        const auto piece = file.subspan(part.offset, part.size);
        buffer_.insert(buffer_.end(), piece.begin(), piece.end());
      }
      bytes_ = buffer_;
    }
  }
  base::Bytes bytes() const { return bytes_; }

  // Offset in the file for one in the text, and how many bytes follow it there.
  Rest place(uint64_t text_offset) const {
    const auto part = std::ranges::upper_bound(begins_, text_offset) - begins_.begin() - 1;
    const Rest& found = parts_[static_cast<size_t>(part)];
    const uint64_t within = text_offset - begins_[static_cast<size_t>(part)];
    return {found.offset + within, found.size - within};
  }

 private:
  std::vector<Rest> parts_;
  std::vector<uint64_t> begins_;  // of the parts, in the text
  std::vector<uint8_t> buffer_;
  base::Bytes bytes_;
};

// The stretches of old that byte matching may refer to: the whole file while it fits the window,
// else what no tensor took.
std::vector<Rest> old_rest(const ComponentInput& input,
                           const std::vector<const OldTensor*>& matched, uint32_t component) {
  if (input.old_bytes.size() <= kWindow || input.old_model == nullptr) {
    return {{0, input.old_bytes.size()}};
  }
  std::vector<const Segment*> taken;
  for (const OldTensor* old : matched) {
    if (old != nullptr && old->component == component) taken.push_back(old->segment);
  }
  std::sort(taken.begin(), taken.end(),
            [](const Segment* a, const Segment* b) { return a->offset < b->offset; });
  std::vector<Rest> rest;
  uint64_t at = 0;
  for (const Segment* segment : taken) {
    if (segment->offset > at) rest.push_back({at, segment->offset - at});
    at = std::max(at, segment->offset + segment->size);
  }
  if (input.old_bytes.size() > at) rest.push_back({at, input.old_bytes.size() - at});
  return rest;
}

// Aligns what lies between two equivalences: on the diagonal of the one before, or of the one
// behind.
void fill_gap(const ComponentInput& input, uint32_t component, uint64_t begin, uint64_t end,
              std::optional<uint64_t> old_before, std::optional<uint64_t> old_behind,
              std::vector<Alignment>& out) {
  const uint64_t old_size = input.old_bytes.size();
  const auto push = [&](uint64_t from, uint64_t to, std::optional<uint64_t> old) {
    if (from == to) return;
    // Only as far as old reaches.
    if (old.has_value() && *old < old_size) {
      const uint64_t size = std::min(to - from, old_size - *old);
      out.push_back({from, size, OldPlace{*old, component}, {}, 0});
      from += size;
    }
    if (from != to) out.push_back({from, to - from, {}, {}, 0});
  };
  const uint64_t size = end - begin;
  const bool behind_fits = old_behind.has_value() && *old_behind >= size;
  if (behind_fits && (!old_before.has_value() || *old_behind - size != *old_before)) {
    const uint64_t middle = old_before.has_value() && size >= 64 ? begin + size / 2 : begin;
    push(begin, middle, old_before);
    push(middle, end, *old_behind - (end - middle));
  } else {
    push(begin, end, old_before);
  }
}

class Aligner {
 public:
  Aligner(const std::vector<ComponentInput>& components, size_t index)
      : component_(static_cast<uint32_t>(index)),
        input_(components[index]),
        matcher_(components, index) {}

  std::vector<Alignment> run() {
    matched_ = matcher_.match();
    for (size_t i = 0; i < matched_.size(); ++i) {
      if (matched_[i] == nullptr || matched_[i]->component != component_) continue;
      const Segment& segment = input_.new_model->segments[i];
      const Segment& old = *matched_[i]->segment;
      begins_[segment.offset] = old.offset;
      ends_[segment.offset + segment.size] = old.offset + old.size;
    }
    add_tensors();
    match_rest();
    std::sort(out_.begin(), out_.end(),
              [](const Alignment& a, const Alignment& b) { return a.new_offset < b.new_offset; });
    return std::move(out_);
  }

 private:
  // Where the outermost dimension is not that of the channels, the innermost is.
  static uint64_t row_bytes(const Segment& segment) {
    const uint64_t elements = segment.row_elements != 0 || segment.shape.empty()
                                  ? segment.row_elements
                                  : segment.shape.back();
    return elements * model::element_size(segment.type);
  }

  void add_tensors() {
    const auto& segments = input_.new_model->segments;
    uint64_t at = 0;
    const auto add_rest = [&](uint64_t end) {
      if (end > at) rest_.push_back({at, end - at});
    };
    for (size_t i = 0; i < segments.size(); ++i) {
      if (matched_[i] == nullptr) continue;
      const Segment& segment = segments[i];
      const Segment& old = *matched_[i]->segment;
      const uint64_t size = std::min(segment.size, old.size);
      add_rest(segment.offset);
      out_.push_back({segment.offset, size, OldPlace{old.offset, matched_[i]->component},
                      value_type(segment.type), row_bytes(segment), record_of(segment.block)});
      if (segment.size > size) {  // it grew: new rows
        out_.push_back({segment.offset + size,
                        segment.size - size,
                        {},
                        value_type(segment.type),
                        row_bytes(segment),
                        record_of(segment.block)});
      }
      at = segment.offset + segment.size;
    }
    add_rest(input_.new_bytes.size());
  }

  void match_rest() {
    if (rest_.empty()) return;
    const uint64_t size = total_size(rest_);
    if (rest_.size() == 1 || size <= kMostGathered) {
      std::vector<Rest> old_parts = old_rest(input_, matched_, component_);
      if (old_parts.size() > 1 && total_size(old_parts) > kMostGathered) {
        old_parts = {{0, input_.old_bytes.size()}};
      }
      match_parts(rest_, old_parts);
      return;
    }
    // More than is gathered at once: a number of parts with what lies about there in old.
    for (size_t first = 0; first < rest_.size();) {
      uint64_t gathered = rest_[first].size;
      size_t last = first + 1;
      while (last < rest_.size() && gathered + rest_[last].size <= kMostGathered) {
        gathered += rest_[last++].size;
      }
      const std::span<const Rest> parts(rest_.data() + first, last - first);
      match_parts(parts,
                  {old_about(parts.front().offset, parts.back().offset + parts.back().size)});
      first = last;
    }
  }

  static uint64_t total_size(std::span<const Rest> parts) {
    uint64_t size = 0;
    for (const Rest& part : parts) size += part.size;
    return size;
  }

  // Where [begin, end) of new would be in old if all had grown evenly, and a window around that.
  Rest old_about(uint64_t begin, uint64_t end) const {
    const uint64_t old_size = input_.old_bytes.size();
    const double growth =
        static_cast<double>(old_size) / static_cast<double>(input_.new_bytes.size());
    const auto first = static_cast<uint64_t>(static_cast<double>(begin) * growth);
    const auto last = static_cast<uint64_t>(static_cast<double>(end) * growth);
    const uint64_t from = first - std::min(first, kWindow);
    return {from, std::min(old_size, last + kWindow) - from};
  }

  void match_parts(std::span<const Rest> parts, const std::vector<Rest>& old_parts) {
    const Gathered old_text(input_.old_bytes, old_parts), new_text(input_.new_bytes, parts);
    ByteMatchOptions options;
    options.window = kWindow;
    std::vector<Equivalence> found;
    if (!input_.old_bytes.empty()) {
      found = match_bytes(old_text.bytes(), new_text.bytes(), options);
      drop_strays(found);
    }
    uint64_t text_offset = 0;  // of the part in new_text
    size_t next = 0;
    for (const Rest& part : parts) {
      align_part(part, text_offset, old_text, found, next);
      text_offset += part.size;
    }
  }

  static void drop_strays(std::vector<Equivalence>& found) {
    const auto near = [](const Equivalence& a, const Equivalence& b) {
      const uint64_t x = a.old_offset - a.new_offset, y = b.old_offset - b.new_offset;
      return std::min(x - y, y - x) <= kResyncReach;
    };
    std::vector<Equivalence> kept;
    for (size_t i = 0; i < found.size(); ++i) {
      if (found[i].size >= kShort || (!kept.empty() && near(kept.back(), found[i])) ||
          (i + 1 < found.size() && near(found[i], found[i + 1]))) {
        kept.push_back(found[i]);
      }
    }
    found = std::move(kept);
  }

  void align_part(const Rest& part, uint64_t text_offset, const Gathered& old_text,
                  const std::vector<Equivalence>& found, size_t& next) {
    uint64_t at = part.offset;
    std::optional<uint64_t> old_before = place_before(part);
    const uint64_t text_end = text_offset + part.size;
    if (lies_unchanged(part)) {
      while (next < found.size() && found[next].new_offset + found[next].size <= text_end) ++next;
      out_.push_back({part.offset, part.size, OldPlace{*old_before, component_}, {}, 0});
      return;
    }
    while (next < found.size() && found[next].new_offset < text_end) {
      const Equivalence& whole = found[next];
      const uint64_t skipped = whole.new_offset < text_offset ? text_offset - whole.new_offset : 0;
      const Rest old = old_text.place(whole.old_offset + skipped);
      const uint64_t begin = whole.new_offset + skipped - text_offset + part.offset;
      const uint64_t size = std::min(
          {whole.size - skipped, old.size, text_end - text_offset - (begin - part.offset)});
      if (begin > at) {
        fill_gap(input_, component_, at, begin, old_before, old.offset, out_);
      }
      if (size > 0) out_.push_back({begin, size, OldPlace{old.offset, component_}, {}, 0});
      at = begin + size;
      old_before = old.offset + size;
      if (whole.new_offset + whole.size > text_end) break;  // goes on in the next part
      ++next;
    }
    const uint64_t end = part.offset + part.size;
    if (end > at) fill_gap(input_, component_, at, end, old_before, place_behind(end), out_);
  }

  // Whether the part's neighbours have the same bytes between them in old.
  bool lies_unchanged(const Rest& part) const {
    const auto before = place_before(part), behind = place_behind(part.offset + part.size);
    return before.has_value() && behind.has_value() && *before <= *behind &&
           *behind - *before == part.size &&
           std::equal(
               input_.new_bytes.begin() + static_cast<std::ptrdiff_t>(part.offset),
               input_.new_bytes.begin() + static_cast<std::ptrdiff_t>(part.offset + part.size),
               input_.old_bytes.begin() + static_cast<std::ptrdiff_t>(*before));
  }

  // Where old goes on behind the tensor that ends where this part begins; the same offset for the
  // first.
  std::optional<uint64_t> place_before(const Rest& part) const {
    if (part.offset == 0) return 0;
    return find(ends_, part.offset);
  }
  std::optional<uint64_t> place_behind(uint64_t end) const {
    if (end == input_.new_bytes.size()) return input_.old_bytes.size();
    return find(begins_, end);
  }

  using Places = std::unordered_map<uint64_t, uint64_t>;
  static std::optional<uint64_t> find(const Places& places, uint64_t new_offset) {
    const auto found = places.find(new_offset);
    return found != places.end() ? std::optional(found->second) : std::nullopt;
  }

  uint32_t component_;
  const ComponentInput& input_;
  TensorMatcher matcher_;
  std::vector<const OldTensor*> matched_;
  Places begins_, ends_;  // of matched tensors: offset in new to offset in old
  std::vector<Rest> rest_;
  std::vector<Alignment> out_;
};

}  // namespace

std::optional<ValueType> value_type(model::ElementType type) {
  using model::ElementType;
  switch (type) {
    case ElementType::kUint8:
      return ValueType::kUint8;
    case ElementType::kInt8:
      return ValueType::kInt8;
    case ElementType::kUint16:
    case ElementType::kInt16:
      return ValueType::kInt16;
    case ElementType::kUint32:
    case ElementType::kInt32:
      return ValueType::kInt32;
    case ElementType::kFloat16:
      return ValueType::kFloat16;
    case ElementType::kBfloat16:
      return ValueType::kBfloat16;
    case ElementType::kFloat32:
      return ValueType::kFloat32;
    default:
      return std::nullopt;
  }
}

std::vector<const model::Segment*> match_tensors(const ComponentInput& input) {
  const std::vector<ComponentInput> components{input};
  TensorMatcher matcher(components, 0);
  std::vector<const model::Segment*> result;
  for (const OldTensor* old : matcher.match()) {
    result.push_back(old != nullptr ? old->segment : nullptr);
  }
  return result;
}

std::vector<Alignment> align(const std::vector<ComponentInput>& components, size_t index) {
  return Aligner(components, index).run();
}

}  // namespace tensorpatch::delta
