// toolkit/comparison.cc: pairs tensors as the encoder did, then by name, and measures each pair.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <ranges>

#include "base/parallel.h"
#include "delta/change.h"

namespace tensorpatch::toolkit {
namespace {

using model::Segment;

constexpr std::string_view kStateNames[] = {"unchanged", "changed", "reshaped", "retyped",
                                            "renamed",   "added",   "removed"};

bool is_tensor(const Segment& segment) {
  return segment.role != model::Role::kOther;
}

// An old tensor that one of new goes with.
struct Pair {
  uint32_t component = 0;
  const Segment* segment = nullptr;
};

class Comparer {
 public:
  Comparer(const std::vector<delta::ComponentInput>& components, size_t index,
           const delta::PatchReport& report)
      : components_(components),
        component_(static_cast<uint32_t>(index)),
        input_(components[index]),
        segments_(input_.new_model->segments),
        report_(report) {}

  Comparison run(unsigned jobs) {
    pair_as_encoded();
    pair_by_name();
    std::vector<delta::ChangeHistogram> histograms(segments_.size());
    comparison_.tensors.resize(segments_.size());
    base::parallel_for(segments_.size(), jobs, [&](size_t i) {
      describe(segments_[i], comparison_.tensors[i]);
      histograms[i] = measure(i, comparison_.tensors[i]);
    });
    mark_moved();
    comparison_.histogram.assign(delta::kChangeBins, 0);
    for (const delta::ChangeHistogram& histogram : histograms) {
      for (size_t i = 0; i < histogram.size(); ++i) comparison_.histogram[i] += histogram[i];
    }
    add_removed();
    add_file_facts();
    return std::move(comparison_);
  }

 private:
  const std::vector<Segment>* old_segments(uint32_t component) const {
    const model::Model* model = components_[component].old_model;
    return model != nullptr ? &model->segments : nullptr;
  }

  // The tensor of old that begins at a place.
  const Segment* old_tensor_at(const OldPlace& place) const {
    const auto* segments = old_segments(place.component);
    if (segments == nullptr) return nullptr;
    const auto found = std::ranges::lower_bound(*segments, place.offset, {}, &Segment::offset);
    const bool fits =
        found != segments->end() && found->offset == place.offset && is_tensor(*found);
    return fits ? &*found : nullptr;
  }

  auto related_from(uint64_t offset) const {
    return std::ranges::lower_bound(report_.related, offset, {},
                                    &delta::RelatedStretch::new_offset);
  }

  void pair_as_encoded() {
    pairs_.resize(segments_.size());
    for (size_t i = 0; i < segments_.size(); ++i) {
      const Segment& segment = segments_[i];
      const auto related = related_from(segment.offset);
      if (!is_tensor(segment) || related == report_.related.end() ||
          related->new_offset != segment.offset) {
        continue;
      }
      const Segment* old = old_tensor_at(related->old);
      if (old == nullptr || old->type != segment.type) continue;
      pairs_[i] = {related->old.component, old};
      if (related->old.component == component_) taken_.insert({old->offset, i});
    }
  }

  // A tensor of another type is nothing that the encoder could use, yet it has the name.
  void pair_by_name() {
    const auto* segments = old_segments(component_);
    if (segments == nullptr) return;
    std::multimap<std::string_view, const Segment*> by_name;
    for (const Segment& old : *segments) {
      if (is_tensor(old) && !taken_.contains(old.offset)) by_name.insert({old.name, &old});
    }
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (!is_tensor(segments_[i]) || pairs_[i].segment != nullptr) continue;
      const auto found = by_name.find(segments_[i].name);
      if (found == by_name.end()) continue;
      pairs_[i] = {component_, found->second};
      taken_.insert({found->second->offset, i});
      by_name.erase(found);
    }
  }

  static void describe(const Segment& segment, TensorFacts& facts) {
    facts.name = segment.name;
    facts.role = role_name(segment.role);
    facts.type = model::element_type_name(segment.type);
    facts.shape = segment.shape;
    facts.offset = segment.offset;
    facts.size = segment.size;
  }

  delta::Stretch new_stretch(const Segment& segment) const {
    return {input_.new_bytes.subspan(segment.offset, segment.size), segment.type, segment.block};
  }

  delta::ChangeHistogram measure(size_t i, TensorFacts& facts) const {
    const Segment& segment = segments_[i];
    facts.method = report_.segments[i].method;
    facts.patch_bytes = report_.segments[i].patch_bytes;
    delta::ChangeMeter meter;
    if (!is_tensor(segment)) {
      facts.state = measure_piece(segment, meter) ? TensorState::kUnchanged : TensorState::kChanged;
    } else if (const Pair& pair = pairs_[i]; pair.segment != nullptr) {
      const Segment& old = *pair.segment;
      const base::Bytes old_bytes =
          components_[pair.component].old_bytes.subspan(old.offset, old.size);
      const delta::Stretch stretch = new_stretch(segment);
      meter.add({old_bytes, old.type, old.block}, stretch);
      const bool equal = std::ranges::equal(old_bytes, stretch.bytes);
      facts.state = state_of(segment, old, equal);
      facts.old = {old.name, std::string(model::element_type_name(old.type)), old.shape, old.offset,
                   old.size};
    } else {
      meter.add_unrelated(new_stretch(segment));
      facts.state = TensorState::kAdded;
    }
    const delta::Change change = meter.change();
    facts.relative_change = change.relative_norm;
    facts.share_equal = change.share_equal();
    facts.correlation = change.correlation;
    facts.lineage = change.lineage;
    const bool is_same = facts.state == TensorState::kUnchanged ||
                         (facts.state == TensorState::kRenamed && change.equal == change.count &&
                          facts.size == facts.old->size);
    facts.bound_bytes = is_same ? 0 : change.bound_bytes;
    return change.histogram;
  }

  static TensorState state_of(const Segment& segment, const Segment& old, bool equal) {
    if (segment.name != old.name) return TensorState::kRenamed;
    if (segment.type != old.type || segment.block.size != old.block.size) {
      return TensorState::kRetyped;
    }
    if (segment.shape != old.shape) return TensorState::kReshaped;
    return equal ? TensorState::kUnchanged : TensorState::kChanged;
  }

  // Bytes between tensors, with what they were compared with. True when all of them are in old.
  bool measure_piece(const Segment& segment, delta::ChangeMeter& meter) const {
    const uint64_t end = segment.offset + segment.size;
    uint64_t at = segment.offset;
    bool is_same = true;
    const auto add_unrelated = [&](uint64_t until) {
      if (until <= at) return;
      meter.add_unrelated({input_.new_bytes.subspan(at, until - at)});
      is_same = false;
    };
    auto related = related_from(segment.offset);
    if (related != report_.related.begin()) --related;  // may reach into the piece
    for (; related != report_.related.end() && related->new_offset < end; ++related) {
      const uint64_t from = std::max(at, related->new_offset);
      const uint64_t to = std::min(end, related->new_offset + related->size);
      if (from >= to) continue;
      add_unrelated(from);
      const uint64_t old_offset = related->old.offset + (from - related->new_offset);
      const base::Bytes old_bytes =
          components_[related->old.component].old_bytes.subspan(old_offset, to - from);
      const base::Bytes new_bytes = input_.new_bytes.subspan(from, to - from);
      meter.add({old_bytes}, {new_bytes});
      is_same = is_same && std::ranges::equal(old_bytes, new_bytes);
      at = to;
    }
    add_unrelated(end);
    return is_same;
  }

  // The fewest tensors whose moving explains the new order: all that are not of a longest
  // ascending row of old offsets.
  void mark_moved() {
    std::vector<size_t> order;  // tensors that have an old place in this file
    for (size_t i = 0; i < pairs_.size(); ++i) {
      if (pairs_[i].segment != nullptr && pairs_[i].component == component_) order.push_back(i);
    }
    const auto old_offset = [&](size_t i) { return pairs_[i].segment->offset; };
    std::vector<size_t>
        ends;  // the tensor with the least old offset that ends a row of each length
    std::map<size_t, size_t> before;
    for (const size_t i : order) {
      const auto place = std::ranges::upper_bound(ends, old_offset(i), {}, old_offset);
      if (place != ends.begin()) before[i] = *(place - 1);
      if (place == ends.end()) {
        ends.push_back(i);
      } else {
        *place = i;
      }
      comparison_.tensors[i].moved = true;
    }
    if (ends.empty()) return;
    for (size_t i = ends.back();; i = before[i]) {
      comparison_.tensors[i].moved = false;
      if (!before.contains(i)) break;
    }
  }

  void add_removed() {
    const auto* segments = old_segments(component_);
    if (segments == nullptr) return;
    for (const Segment& old : *segments) {
      if (!is_tensor(old) || taken_.contains(old.offset)) continue;
      TensorFacts facts;
      describe(old, facts);
      facts.offset = facts.size = 0;
      facts.state = TensorState::kRemoved;
      facts.old = {facts.name, facts.type, facts.shape, old.offset, old.size};
      comparison_.tensors.push_back(std::move(facts));
    }
  }

  void add_file_facts() {
    const bool has_old = input_.old_model != nullptr && !input_.old_bytes.empty();
    if (has_old) comparison_.old_format = model::format_name(input_.old_model->format);
    comparison_.new_format = model::format_name(input_.new_model->format);
    comparison_.old_size = input_.old_bytes.size();
    comparison_.new_size = input_.new_bytes.size();
    comparison_.patch_size = report_.patch_size;
    comparison_.identical = std::ranges::equal(input_.old_bytes, input_.new_bytes);
    comparison_.old_entropy = delta::byte_entropy(input_.old_bytes);
    comparison_.new_entropy = delta::byte_entropy(input_.new_bytes);
  }

  const std::vector<delta::ComponentInput>& components_;
  uint32_t component_;
  const delta::ComponentInput& input_;
  const std::vector<Segment>& segments_;
  const delta::PatchReport& report_;
  std::vector<Pair> pairs_;           // of each segment
  std::map<uint64_t, size_t> taken_;  // offsets of old tensors that have a partner
  Comparison comparison_;
};

void count(const TensorFacts& tensor, TensorCounts& counts) {
  if (tensor.state == TensorState::kRemoved) {
    ++counts.removed;
    return;
  }
  ++counts.all;
  ++(has_new_content(tensor) ? counts.changed : counts.unchanged);
  counts.moved += tensor.moved ? 1 : 0;
  counts.reshaped += tensor.state == TensorState::kReshaped ? 1 : 0;
  counts.retyped += tensor.state == TensorState::kRetyped ? 1 : 0;
  counts.renamed += tensor.state == TensorState::kRenamed ? 1 : 0;
  counts.added += tensor.state == TensorState::kAdded ? 1 : 0;
}

// What follows from the list of tensors.
void summarise(Comparison& comparison) {
  const bool has_weights = std::ranges::any_of(
      comparison.tensors, [](const auto& tensor) { return tensor.role == "weights"; });
  double related = 0, size = 0;
  for (const TensorFacts& tensor : comparison.tensors) {
    comparison.bound_bytes += tensor.bound_bytes.value_or(0);
    if (tensor.role != "other") count(tensor, comparison.counts);
    if (tensor.role != (has_weights ? "weights" : "other")) continue;
    if (!tensor.lineage && tensor.state != TensorState::kAdded) continue;
    related += tensor.lineage.value_or(0) * static_cast<double>(tensor.size);
    size += static_cast<double>(tensor.size);
  }
  if (size > 0 && !comparison.old_format.empty()) comparison.lineage = related / size;
  comparison.advice = advise(comparison);
}

bundle::TensorDetail detail_of(const TensorFacts& tensor) {
  bundle::TensorDetail detail;
  detail.name = tensor.name;
  detail.role = tensor.role;
  detail.type = tensor.type;
  detail.method = tensor.method;
  detail.shape = tensor.shape;
  detail.offset = tensor.offset;
  detail.size = tensor.size;
  detail.patch_bytes = tensor.patch_bytes;
  detail.state = tensor_state_name(tensor.state);
  detail.moved = tensor.moved;
  detail.relative_norm = tensor.relative_change;
  detail.equal_share = tensor.share_equal;
  detail.correlation = tensor.correlation;
  detail.lineage = tensor.lineage;
  detail.bound_bytes = tensor.bound_bytes;
  if (!tensor.old) return detail;
  bundle::OldTensorDetail& old = detail.old.emplace();
  if (tensor.old->name != tensor.name) old.name = tensor.old->name;
  if (tensor.old->type != tensor.type) old.type = tensor.old->type;
  if (tensor.old->shape != tensor.shape) old.shape = tensor.old->shape;
  old.offset = tensor.old->offset;
  old.size = tensor.old->size;
  return detail;
}

TensorFacts facts_of(const bundle::TensorDetail& detail) {
  TensorFacts tensor;
  tensor.name = detail.name;
  tensor.role = detail.role;
  tensor.type = detail.type;
  tensor.method = detail.method;
  tensor.shape = detail.shape;
  tensor.offset = detail.offset;
  tensor.size = detail.size;
  tensor.patch_bytes = detail.patch_bytes;
  const auto* name = std::ranges::find(kStateNames, detail.state);
  tensor.state = name != std::end(kStateNames)
                     ? static_cast<TensorState>(name - std::begin(kStateNames))
                     : TensorState::kChanged;
  tensor.moved = detail.moved;
  tensor.relative_change = detail.relative_norm;
  tensor.share_equal = detail.equal_share;
  tensor.correlation = detail.correlation;
  tensor.lineage = detail.lineage;
  tensor.bound_bytes = detail.bound_bytes;
  if (!detail.old) return tensor;
  const bundle::OldTensorDetail& old = *detail.old;
  tensor.old = {old.name.empty() ? tensor.name : old.name,
                old.type.empty() ? tensor.type : old.type, old.shape.value_or(tensor.shape),
                old.offset, old.size};
  return tensor;
}

}  // namespace

std::string_view role_name(model::Role role) {
  switch (role) {
    case model::Role::kWeights:
      return "weights";
    case model::Role::kBias:
      return "bias";
    case model::Role::kScale:
      return "scale";
    case model::Role::kZeroPoint:
      return "zero-point";
    case model::Role::kOther:
      break;
  }
  return "other";
}

std::string_view tensor_state_name(TensorState state) {
  return kStateNames[static_cast<size_t>(state)];
}

bool has_new_content(const TensorFacts& tensor) {
  switch (tensor.state) {
    case TensorState::kUnchanged:
    case TensorState::kRemoved:
      return false;
    case TensorState::kRenamed:
      return tensor.share_equal != 1.0 || (tensor.old && tensor.old->size != tensor.size);
    default:
      return true;
  }
}

Comparison compare(const std::vector<delta::ComponentInput>& components, size_t index,
                   const delta::PatchReport& report, unsigned jobs) {
  Comparison comparison = Comparer(components, index, report).run(jobs);
  summarise(comparison);
  return comparison;
}

void add_details(const Comparison& comparison, base::Bytes new_bytes, bundle::Details& details) {
  const auto component = static_cast<uint32_t>(details.components.size());
  details.components.push_back({comparison.old_format, comparison.old_entropy,
                                comparison.new_entropy, comparison.histogram});
  for (const TensorFacts& tensor : comparison.tensors) {
    bundle::TensorDetail detail = detail_of(tensor);
    detail.component = component;
    if (tensor.state != TensorState::kRemoved) {
      detail.new_digest = bundle::sha256(new_bytes.subspan(tensor.offset, tensor.size));
    }
    details.tensors.push_back(std::move(detail));
  }
}

Result<std::vector<Comparison>> comparisons_of(const bundle::Details& details,
                                               const std::vector<ComponentFacts>& components) {
  std::vector<Comparison> comparisons(components.size());
  for (const bundle::TensorDetail& tensor : details.tensors) {
    if (tensor.component >= components.size()) {
      return fail(TENSORPATCH_E_FORMAT, "the details speak of a component that does not exist");
    }
    comparisons[tensor.component].tensors.push_back(facts_of(tensor));
  }
  for (size_t i = 0; i < components.size(); ++i) {
    Comparison& comparison = comparisons[i];
    const ComponentFacts& component = components[i];
    comparison.new_format = component.format;
    comparison.old_size = component.old_size;
    comparison.new_size = component.new_size;
    comparison.patch_size = component.patch_size;
    comparison.identical = !component.whole && component.old_digest == component.new_digest;
    if (i < details.components.size()) {
      const bundle::ComponentDetail& detail = details.components[i];
      comparison.old_format = detail.old_format;
      comparison.old_entropy = detail.old_entropy;
      comparison.new_entropy = detail.new_entropy;
      comparison.histogram = detail.histogram;
    }
    summarise(comparison);
  }
  return comparisons;
}

}  // namespace tensorpatch::toolkit
