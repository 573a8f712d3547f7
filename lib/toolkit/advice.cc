// toolkit/advice.cc: sentences for people, each from figures that were measured.
//
// The rules are tried in the order of their functions; those that explain the whole file end it.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <iterator>

#include "toolkit/comparison.h"

namespace tensorpatch::toolkit {
namespace {

constexpr double kUnrelated = 0.2;          // lineage below it is no relation
constexpr double kRelated = 0.5;            // above it, a descendant
constexpr double kNoiseEntropy = 7.9;       // bits a byte that only ciphers and packers reach
constexpr uint64_t kEnoughForNoise = 4096;  // bytes, for the entropy to mean that
constexpr double kWorthSaying = 0.05;       // share of the patch

using Tensors = std::vector<const TensorFacts*>;

std::string number(uint64_t count, std::string_view word) {
  return std::to_string(count) + " " + std::string(word) + (count == 1 ? "" : "s");
}

std::string percent(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * share);
  return text;
}

class Adviser {
 public:
  explicit Adviser(const Comparison& comparison) : c_(comparison) {
    for (const TensorFacts& tensor : c_.tensors) {
      if (tensor.role == "other") continue;
      if (has_new_content(tensor) || tensor.state == TensorState::kRemoved) {
        changed_.push_back(&tensor);
      }
    }
  }

  std::vector<Advice> run() {
    if (c_.old_format.empty()) {
      add("no-old", "there is no old file: the whole new one is sent");
    } else if (!explains_all()) {
      part_of_the_tensors();
      retyped();
      structure();
      unrelated_part();
      float32_noise();
    }
    return std::move(advice_);
  }

 private:
  void add(std::string code, std::string text) {
    advice_.push_back({std::move(code), std::move(text)});
  }

  bool explains_all() {
    return identical() || same_tensors() || noise() || only_scales() || from_scratch();
  }

  bool identical() {
    if (!c_.identical) return false;
    add("identical", "identical files: there is nothing to update");
    return true;
  }

  // Every tensor of new is one of old, and the other way round.
  bool same_tensors() {
    if (c_.counts.all == 0 || !changed_.empty()) return false;
    const bool is_other_container =
        c_.counts.renamed != 0 || c_.counts.moved != 0 || c_.old_format != c_.new_format;
    if (is_other_container) {
      add("re-exported",
          "container re-exported: the weights are identical, under other names or "
          "in another order");
    } else {
      add("metadata", "only metadata changed: all " + number(c_.counts.all, "tensor") +
                          (c_.counts.all == 1 ? " is" : " are") + " identical");
    }
    return true;
  }

  bool noise() {
    const bool is_noise =
        c_.new_size >= kEnoughForNoise && c_.new_entropy >= kNoiseEntropy &&
        c_.lineage.value_or(1)<kUnrelated&& static_cast<double>(c_.patch_size)> 0.97 *
            static_cast<double>(c_.new_size);
    if (!is_noise) return false;
    add("noise",
        "encrypted or compressed: cannot be delta-coded; update the content before it is "
        "encrypted or compressed");
    return true;
  }

  // Biases of quantised layers are in units of their scales, and move with them.
  bool only_scales() {
    uint64_t scales = 0, biases = 0;
    for (const TensorFacts* tensor : changed_) {
      const bool is_scale = tensor->role == "scale" || tensor->role == "zero-point";
      const bool is_bias = tensor->role == "bias" && tensor->type == "int32";
      if (tensor->state != TensorState::kChanged || (!is_scale && !is_bias)) return false;
      ++(is_scale ? scales : biases);
    }
    if (scales == 0) return false;
    add("scales", std::string("only quantisation scales ") + (biases != 0 ? "and biases " : "") +
                      "moved: all weights are identical");
    return true;
  }

  bool from_scratch() {
    if (!c_.lineage || *c_.lineage >= kUnrelated || c_.identical) return false;
    add("scratch",
        "retrained from scratch: no delta can help; start the next training from the "
        "released weights");
    return true;
  }

  void part_of_the_tensors() {
    const TensorCounts& counts = c_.counts;
    if (counts.changed == 0) return;
    if (counts.changed * 2 > counts.all) {
      if (c_.lineage.value_or(0) < kRelated) return;
      add("descendant", "the weights descend from old: " + std::to_string(counts.changed) + " of " +
                            number(counts.all, "tensor") + " moved a little");
      return;
    }
    std::string text = "only " + std::to_string(counts.changed) + " of " +
                       number(counts.all, "tensor") + " changed";
    const Tensors weights = changed_weights();
    if (are_last()) text += " (the last in the file)";
    if (weights.size() == 1) text += "; of the weights only " + weights.front()->name;
    add("part", text);
  }

  Tensors changed_weights() const {
    Tensors weights;
    std::ranges::copy_if(changed_, std::back_inserter(weights),
                         [](const TensorFacts* tensor) { return tensor->role == "weights"; });
    return weights;
  }

  // Whether nothing after the first tensor that changed is unchanged, scales and biases aside.
  bool are_last() const {
    bool has_begun = false;
    for (const TensorFacts& tensor : c_.tensors) {
      if (tensor.role != "weights" || tensor.state == TensorState::kRemoved) continue;
      const bool is_changed = std::ranges::find(changed_, &tensor) != changed_.end();
      if (has_begun && !is_changed) return false;
      has_begun = has_begun || is_changed;
    }
    return has_begun;
  }

  void retyped() {
    const auto found = std::ranges::find(changed_, TensorState::kRetyped, &TensorFacts::state);
    if (found == changed_.end()) return;
    add("retyped", number(c_.counts.retyped, "tensor") + " changed " +
                       (c_.counts.retyped == 1 ? "its" : "their") + " element type (" +
                       (*found)->old->type + " to " + (*found)->type +
                       "): sent as new; keep the type from release to release");
  }

  void structure() {
    const TensorCounts& counts = c_.counts;
    std::string text;
    const auto part = [&](uint64_t count, std::string_view what) {
      if (count != 0)
        text += (text.empty() ? "" : ", ") + std::to_string(count) + std::string(what);
    };
    part(counts.added, " added");
    part(counts.removed, " removed");
    part(counts.reshaped, " reshaped");
    if (!text.empty()) add("structure", "the architecture changed: " + text);
  }

  void unrelated_part() {
    uint64_t count = 0, patch_bytes = 0;
    for (const TensorFacts* tensor : changed_) {
      if (tensor->role != "weights" || !tensor->lineage || *tensor->lineage >= kUnrelated) continue;
      ++count;
      patch_bytes += tensor->patch_bytes;
    }
    const double share = share_of_patch(patch_bytes);
    if (share < kWorthSaying) return;
    add("partly-scratch", number(count, "tensor") + (count == 1 ? " has" : " have") +
                              " no relation to old and take" + (count == 1 ? "s " : " ") +
                              percent(share) + " of the patch: trained from scratch?");
  }

  void float32_noise() {
    uint64_t patch_bytes = 0;
    for (const TensorFacts* tensor : changed_) {
      const bool is_noisy = tensor->role == "weights" && tensor->type == "float32" &&
                            tensor->lineage.value_or(0) >= kRelated &&
                            tensor->share_equal.value_or(1) < 0.1;
      if (is_noisy) patch_bytes += tensor->patch_bytes;
    }
    const double share = share_of_patch(patch_bytes);
    if (share < 0.5) return;
    add("float32", percent(share) +
                       " of the patch is for float32 values that nearly all moved a "
                       "little: most of it is their low bits; bfloat16, float16 or int8 "
                       "releases have smaller updates");
  }

  double share_of_patch(uint64_t bytes) const {
    return c_.patch_size != 0 ? static_cast<double>(bytes) / static_cast<double>(c_.patch_size) : 0;
  }

  const Comparison& c_;
  Tensors changed_;  // with new content, or removed
  std::vector<Advice> advice_;
};

}  // namespace

std::vector<Advice> advise(const Comparison& comparison) {
  return Adviser(comparison).run();
}

}  // namespace tensorpatch::toolkit
