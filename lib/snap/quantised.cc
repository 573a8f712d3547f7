// snap/quantised.cc: which scales may stay, and integers in whole steps around their old values.
// SPDX-License-Identifier: Apache-2.0
#include "snap/quantised.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "delta/alignment.h"
#include "model/gguf_types.h"

namespace tensorpatch::snap {
namespace {

using model::Role;
using model::Segment;

constexpr double kBiasGrid = 1.0 / 16;
constexpr double kActivationDrift =
    0.03;                             // of its range, up to which an activation keeps its scale
constexpr double kLeastUse = 0.5;     // of a scale's range that the new weights must need
constexpr double kInt8Reach = 127.5;  // in scales: half a step is clipped, as by rounding
constexpr double kScaleBits = 16;  // what a scale that moves freely costs more than one that stays

std::optional<Grid> integer_grid(double step) {
  return nearest_grid(std::max(1.0, std::nearbyint(step)));
}

// A tensor whose bytes are decided beforehand.
class FixedTensor : public Tensor {
 public:
  FixedTensor(std::vector<uint8_t> bytes, TensorBytes pair)
      : bytes_(std::move(bytes)), pair_(pair) {}
  uint64_t count() const override { return bytes_.size(); }
  unsigned value_bytes() const override { return 1; }
  Sums study(Stretch) const override { return {}; }
  std::optional<Grid> choose(const Sums&, const Wanted&) const override { return Grid{1, 0}; }
  Sums write(Stretch stretch, const Wanted&, const Grid&, uint8_t* out) const override {
    Sums sums;
    std::memcpy(out, bytes_.data() + stretch.first, stretch.count);
    for (uint64_t i = stretch.first; i < stretch.first + stretch.count; ++i) {
      sums.moved += bytes_[i] != pair_.old_bytes[i] ? 1U : 0U;
    }
    return sums;
  }

 private:
  std::vector<uint8_t> bytes_;
  TensorBytes pair_;
};

// Values whose new meaning in the old scale is new * ratio + shift, by channel.
struct Rescaling {
  std::vector<double> ratios{1.0};  // one, or one a channel
  double new_zero = 0;              // of new, in front of the ratio
  double old_zero = 0;              // behind it
  uint64_t inner = 1;               // values of one channel in a row
  bool symmetric = false;           // the lowest value of the type is not used

  double at(uint64_t index, double value) const {
    if (ratios.size() == 1) return (value - new_zero) * ratios[0] + old_zero;
    return (value - new_zero) * ratios[index / inner % ratios.size()] + old_zero;
  }
};

class IntegerTensor : public Tensor {
 public:
  IntegerTensor(ValueType type, TensorBytes bytes, Rescaling rescaling)
      : type_(type), size_(value_size(type)), bytes_(bytes), rescaling_(std::move(rescaling)) {}

  uint64_t count() const override { return bytes_.new_bytes.size() / size_; }
  unsigned value_bytes() const override { return size_; }

  Sums study(Stretch stretch) const override {
    Sums sums;
    each(stretch, [&](uint64_t, uint32_t old_bits, double wanted) {
      const double update = wanted - static_cast<double>(number(old_bits));
      sums.squares += update * update;
      sums.largest = std::max(sums.largest, std::abs(update));
    });
    return sums;
  }

  std::optional<Grid> choose(const Sums& sums, const Wanted& wanted) const override {
    const double update = std::sqrt(sums.squares / static_cast<double>(count()));
    return integer_grid(update * (type_ == ValueType::kInt32 ? kBiasGrid : wanted.grid));
  }

  Sums write(Stretch stretch, const Wanted&, const Grid& grid, uint8_t* out) const override {
    Sums sums;
    const double unit = step_of(grid);
    each(stretch, [&](uint64_t i, uint32_t old_bits, double wanted) {
      const double steps = std::nearbyint((wanted - static_cast<double>(number(old_bits))) / unit);
      auto k = static_cast<int32_t>(std::clamp(steps, -1e6, 1e6));
      uint32_t bits = grid_value(type_, old_bits, grid, k);
      if (rescaling_.symmetric && centered(type_, bits) == integer_range(type_).low && k < 0) {
        bits = grid_value(type_, old_bits, grid, ++k);
      }
      std::memcpy(out + i * size_, &bits, size_);
      const double error = static_cast<double>(number(bits)) - wanted;
      sums.errors += error * error;
      sums.moved += bits != old_bits ? 1 : 0;
    });
    return sums;
  }

 private:
  // As the file counts: unsigned values from 0.
  int64_t number(uint32_t bits) const {
    return centered(type_, bits) + (type_ == ValueType::kUint8 ? 128 : 0);
  }

  template <class Visit>
  void each(Stretch stretch, Visit visit) const {
    for (uint64_t i = 0; i < stretch.count; ++i) {
      const uint64_t index = stretch.first + i;
      const uint32_t new_bits = load_value(bytes_.new_bytes.data() + index * size_, size_);
      visit(i, load_value(bytes_.old_bytes.data() + index * size_, size_),
            rescaling_.at(index, static_cast<double>(number(new_bits))));
    }
  }

  ValueType type_;
  unsigned size_;
  TensorBytes bytes_;
  Rescaling rescaling_;
};

// What a name has: values (weights or a bias), scales, zero points; indices of segments.
struct Group {
  std::optional<size_t> values, scale, zero_point;
  std::vector<double> old_scales, new_scales, scales;  // the last: those of the snapped file
  double old_zero = 0, new_zero = 0, zero = 0;
  bool comparable = false;  // scales are known of old and new, one zero point each
  bool is_worth = true;     // on a grid
};

class Quantised {
 public:
  Quantised(const delta::ComponentInput& pair, const std::vector<const Segment*>& matched,
            double grid)
      : pair_(pair), segments_(pair.new_model->segments), matched_(matched), grid_(grid) {}

  std::map<size_t, std::unique_ptr<Tensor>> run() {
    find_groups();
    for (auto& [name, group] : groups_) read(group);
    keep_activations();
    for (auto& [name, group] : groups_) keep_weights(group);
    if (!biases_follow()) {
      for (auto& [name, group] : groups_)
        group.scales = group.new_scales, group.zero = group.new_zero;
    }
    for (auto& [name, group] : groups_) add_tensors(group);
    return std::move(tensors_);
  }

 private:
  static constexpr std::string_view kScale = "/scale", kZeroPoint = "/zero_point";

  void find_groups() {
    for (size_t i = 0; i < segments_.size(); ++i) {
      const std::string& name = segments_[i].name;
      const auto stem = [&](std::string_view suffix) {
        return name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : name;
      };
      const Role role = segments_[i].role;
      if (role == Role::kScale) groups_[stem(kScale)].scale = i;
      if (role == Role::kZeroPoint) groups_[stem(kZeroPoint)].zero_point = i;
      const bool is_integer = segments_[i].type == model::ElementType::kInt8 ||
                              segments_[i].type == model::ElementType::kUint8;
      if (role == Role::kBias || (role == Role::kWeights && is_integer)) groups_[name].values = i;
    }
  }

  base::Bytes new_of(size_t i) const {
    return pair_.new_bytes.subspan(segments_[i].offset, segments_[i].size);
  }
  base::Bytes old_of(size_t i) const {
    return pair_.old_bytes.subspan(matched_[i]->offset, matched_[i]->size);
  }

  static std::vector<double> floats(base::Bytes bytes) {
    std::vector<double> values(bytes.size() / 4);
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = double{std::bit_cast<float>(load_value(bytes.data() + 4 * i, 4))};
    }
    return values;
  }

  // The zero point that all channels have; none when they differ.
  static std::optional<double> zero_of(base::Bytes bytes, model::ElementType type) {
    const unsigned size = model::element_size(type);
    std::optional<double> zero;
    for (size_t i = 0; i + size <= bytes.size(); i += size) {
      uint64_t bits = 0;
      std::memcpy(&bits, bytes.data() + i, size);
      const unsigned unused = 64 - 8 * size;
      const bool is_unsigned = type == model::ElementType::kUint8;
      const auto value = is_unsigned
                             ? static_cast<double>(bits)
                             : static_cast<double>(static_cast<int64_t>(bits << unused) >> unused);
      if (zero && *zero != value) return std::nullopt;
      zero = value;
    }
    return zero.value_or(0);
  }

  void read(Group& group) const {
    const auto is_matched = [&](std::optional<size_t> i) { return !i || matched_[*i] != nullptr; };
    if (!group.scale || !is_matched(group.scale) || !is_matched(group.zero_point) ||
        segments_[*group.scale].type != model::ElementType::kFloat32) {
      return;
    }
    group.old_scales = floats(old_of(*group.scale));
    group.scales = group.new_scales = floats(new_of(*group.scale));
    group.comparable = true;
    for (const auto* scales : {&group.old_scales, &group.new_scales}) {
      for (const double scale : *scales) {
        group.comparable = group.comparable && std::isnormal(scale) && scale > 0;
      }
    }
    if (!group.zero_point) return;
    const auto type = segments_[*group.zero_point].type;
    const auto old_zero = zero_of(old_of(*group.zero_point), type);
    const auto new_zero = zero_of(new_of(*group.zero_point), type);
    group.comparable = group.comparable && old_zero && new_zero;
    group.old_zero = old_zero.value_or(0);
    group.zero = group.new_zero = new_zero.value_or(0);
  }

  static bool is_activation(const Group& group) {
    return !group.values && group.comparable && group.new_scales.size() == 1;
  }

  // Whether the old range will do for what new has measured.
  static bool hardly_moved(const Group& group) {
    const double from = group.old_scales[0], to = group.new_scales[0];
    for (const double end : {-128.0, 127.0, 0.0, 255.0}) {  // of int8 and of uint8
      const double moved = from * (end - group.old_zero) - to * (end - group.new_zero);
      if (std::abs(moved) > kActivationDrift * 255 * to) return false;
    }
    return true;
  }

  // Activations of one scale in new, which operators may want to have the same, move together.
  void keep_activations() {
    std::map<double, std::vector<Group*>> by_scale;
    for (auto& [name, group] : groups_) {
      if (is_activation(group)) by_scale[group.new_scales[0]].push_back(&group);
    }
    for (const auto& of_one_scale : by_scale) {
      const std::vector<Group*>& groups = of_one_scale.second;
      const bool stays = std::ranges::all_of(groups, [&](const Group* group) {
        return group->old_scales == groups[0]->old_scales && hardly_moved(*group);
      });
      if (!stays) continue;
      for (Group* group : groups) group->scales = group->old_scales, group->zero = group->old_zero;
    }
  }

  // Some weights by channel: as they are, and the new ones said in the old scales.
  struct Samples {
    Sample plain, rescaled;
  };
  Samples samples_of(const Group& group, uint64_t inner) const {
    const base::Bytes old_bytes = old_of(*group.values), new_bytes = new_of(*group.values);
    const std::vector<uint64_t>& shape = segments_[*group.values].shape;
    const uint64_t channels = group.new_scales.size();
    const uint64_t rows = channels != 1 ? channels : shape.empty() ? 1 : shape.front();
    const uint64_t width = old_bytes.size() / rows;
    const bool is_last = channels != 1 && inner == 1;
    Samples samples;
    const std::vector<uint64_t> indices = sample_indices({rows, width}, samples.plain);
    samples.rescaled = samples.plain;
    for (const uint64_t index : indices) {
      const uint64_t row = index / width, channel = channels != 1 ? row : 0;
      const uint64_t at = is_last ? index % width * rows + row : index;
      const double old_value = static_cast<int8_t>(old_bytes[at]);
      const double new_value = static_cast<int8_t>(new_bytes[at]);
      const double ratio = group.new_scales[channel] / group.old_scales[channel];
      samples.plain.add({old_value, new_value - old_value, 1});
      samples.rescaled.add({old_value, new_value * ratio - old_value, ratio});
    }
    return samples;
  }

  // The step of the grid, in units of the old scales, if that makes the update smaller.
  std::optional<double> worthy_step(const Group& group, uint64_t inner) const {
    const auto [plain, rescaled] = samples_of(group, inner);
    double squares = 0;
    for (const double update : rescaled.updates) squares += update * update;
    const double size = std::sqrt(squares / static_cast<double>(rescaled.updates.size()));
    const double step = std::max(1.0, std::nearbyint(grid_ * size));
    const double scale_bits = kScaleBits * static_cast<double>(group.new_scales.size()) /
                              static_cast<double>(new_of(*group.values).size());
    const double bits = std::min(bits_as_it_is(plain), bits_as_it_is(rescaled)) + scale_bits;
    if (is_pruned(plain) || bits_in_steps(rescaled.updates, step) >= bits) return std::nullopt;
    return step;
  }

  // Values of one channel that lie in a row; none where the channels' axis is not certain.
  std::optional<uint64_t> inner_of(const Group& group) const {
    const Segment& segment = segments_[*group.values];
    const std::vector<uint64_t>& shape = segment.shape;
    const uint64_t channels = group.new_scales.size();
    const uint64_t count = segment.size / model::element_size(segment.type);
    if (channels == 1) return count;
    if (shape.empty() || count % channels != 0) return std::nullopt;
    const bool first = shape.front() == channels, last = shape.back() == channels;
    if (pair_.new_model->format != model::Format::kTflite &&
        std::ranges::count(shape, channels) != 1) {
      return std::nullopt;
    }
    if (first) return count / channels;
    return last ? std::optional<uint64_t>(1) : std::nullopt;
  }

  // The largest |value| of each channel, in its new scale.
  std::vector<double> reach_of(const Group& group, uint64_t inner) const {
    std::vector<double> reach(group.new_scales.size(), 0);
    const base::Bytes bytes = new_of(*group.values);
    for (size_t i = 0; i < bytes.size(); ++i) {
      double& most = reach[i / inner % reach.size()];
      most = std::max(most, std::abs(static_cast<double>(static_cast<int8_t>(bytes[i]))));
    }
    return reach;
  }

  // Old scales where they span the new weights, else whole coarse steps away from them.
  void keep_weights(Group& group) const {
    if (!group.values || !group.comparable || matched_[*group.values] == nullptr ||
        segments_[*group.values].type != model::ElementType::kInt8 || group.new_zero != 0 ||
        group.old_zero != 0) {
      return;
    }
    const auto inner = inner_of(group);
    if (!inner) return;
    const std::optional<double> step = worthy_step(group, *inner);
    group.is_worth = step.has_value();
    if (!step) return;
    const double reach_of_type = kInt8Reach + (*step - 1) / 2;
    const std::vector<double> reach = reach_of(group, *inner);
    const double least = *std::ranges::min_element(group.old_scales);
    const Grid grid{1, static_cast<int16_t>(std::ilogb(least / 16))};
    for (size_t c = 0; c < reach.size(); ++c) {
      const double needed = reach[c] * group.new_scales[c] / reach_of_type;
      const double old_scale = group.old_scales[c];
      group.scales[c] = old_scale;
      if (needed <= old_scale && needed >= kLeastUse * old_scale) continue;
      const double steps = std::ceil((needed - old_scale) / step_of(grid));
      const auto bits = std::bit_cast<uint32_t>(static_cast<float>(old_scale));
      const uint32_t moved = std::abs(steps) < 1000 ? grid_value(ValueType::kFloat32, bits, grid,
                                                                 static_cast<int32_t>(steps))
                                                    : 0;
      const double scale = double{std::bit_cast<float>(moved)};
      group.scales[c] = scale >= needed && scale > 0 ? scale : group.new_scales[c];
    }
  }

  // Gives every bias the product of its activation's and its weights' scale; false when one has no
  // such pair in new, or more than one.
  bool biases_follow() {
    for (auto& [name, bias] : groups_) {
      if (!bias.values || segments_[*bias.values].role != Role::kBias) continue;
      if (!bias.comparable || !follow(bias)) return false;
    }
    return true;
  }

  bool follow(Group& bias) {
    std::vector<std::vector<double>> found;
    for (const auto& [name, weights] : groups_) {
      if (!weights.values || segments_[*weights.values].role != Role::kWeights ||
          weights.new_scales.size() != bias.new_scales.size()) {
        continue;
      }
      for (const auto& [other, input] : groups_) {
        if (!is_activation(input)) continue;
        bool fits = true;
        std::vector<double> products;
        for (size_t c = 0; c < bias.new_scales.size() && fits; ++c) {
          const double product = input.new_scales[0] * weights.new_scales[c];
          fits = std::abs(product - bias.new_scales[c]) <= 1e-5 * product;
          products.push_back(double{static_cast<float>(input.scales[0] * weights.scales[c])});
        }
        // The product as the old file rounded it, where both factors are the old ones.
        if (fits) found.push_back(products);
      }
    }
    if (found.empty()) return false;
    for (const auto& products : found) {
      if (products != found[0]) return false;
    }
    bias.scales = found[0];
    for (size_t c = 0; c < bias.scales.size() && c < bias.old_scales.size(); ++c) {
      const double old_scale = bias.old_scales[c];
      if (std::abs(bias.scales[c] - old_scale) <= 1e-5 * old_scale) bias.scales[c] = old_scale;
    }
    return true;
  }

  TensorBytes bytes_of(size_t i) const { return {old_of(i), new_of(i)}; }

  void add_tensors(const Group& group) {
    if (group.values && matched_[*group.values] != nullptr) add_values(group);
    add_scales(group);
    if (!group.comparable) return;
    if (group.zero_point && group.zero != group.new_zero) {  // then it is the old one
      const base::Bytes bytes = old_of(*group.zero_point);
      tensors_[*group.zero_point] = std::make_unique<FixedTensor>(
          std::vector<uint8_t>(bytes.begin(), bytes.end()), bytes_of(*group.zero_point));
    }
  }

  // Scales that are not decided here stay as in new: their values were said in them.
  void add_scales(const Group& group) {
    if (!group.scale || matched_[*group.scale] == nullptr) return;
    const TensorBytes pair = bytes_of(*group.scale);
    if (!group.comparable || group.scales == group.new_scales) {
      if (!std::ranges::equal(pair.old_bytes, pair.new_bytes)) tensors_[*group.scale] = nullptr;
      return;
    }
    std::vector<uint8_t> bytes(4 * group.scales.size());
    for (size_t c = 0; c < group.scales.size(); ++c) {
      const auto bits = std::bit_cast<uint32_t>(static_cast<float>(group.scales[c]));
      std::memcpy(bytes.data() + 4 * c, &bits, 4);
    }
    tensors_[*group.scale] = std::make_unique<FixedTensor>(bytes, pair);
  }

  void add_values(const Group& group) {
    const Segment& segment = segments_[*group.values];
    const auto type = delta::value_type(segment.type);
    if (!type || (group.scales.empty() && segment.role != Role::kBias)) return;
    Rescaling rescaling;
    rescaling.new_zero = group.new_zero;
    rescaling.old_zero = group.zero;
    rescaling.symmetric = *type == ValueType::kInt8 && group.zero == 0;
    if (group.comparable && group.scales != group.new_scales) {
      rescaling.ratios.clear();
      for (size_t c = 0; c < group.scales.size(); ++c) {
        rescaling.ratios.push_back(group.new_scales[c] / group.scales[c]);
      }
      rescaling.inner = segment.role == Role::kBias ? 1 : inner_of(group).value_or(1);
    }
    const TensorBytes bytes = bytes_of(*group.values);
    if (!group.is_worth) {
      tensors_[*group.values] = nullptr;
      return;
    }
    const bool in_place = rescaling.ratios == std::vector{1.0} && group.zero == group.new_zero;
    if (in_place && std::ranges::equal(bytes.old_bytes, bytes.new_bytes)) return;
    tensors_[*group.values] = std::make_unique<IntegerTensor>(*type, bytes, std::move(rescaling));
  }

  const delta::ComponentInput& pair_;
  const std::vector<Segment>& segments_;
  const std::vector<const Segment*>& matched_;
  double grid_;
  std::map<std::string, Group> groups_;
  std::map<size_t, std::unique_ptr<Tensor>> tensors_;
};

// Blocks of 32 codes behind a scale in float16.
class BlockTensor : public Tensor {
 public:
  BlockTensor(bool nibbles, TensorBytes bytes) : nibbles_(nibbles), bytes_(bytes) {}
  uint64_t count() const override { return bytes_.new_bytes.size() / value_bytes(); }
  unsigned value_bytes() const override { return nibbles_ ? 18 : 34; }

  Sums study(Stretch stretch) const override {
    Sums sums;
    each(stretch, [&](uint64_t, const Block& block) {
      for (unsigned j = 0; j < kCodes && block.stays; ++j) {
        const double update = block.wanted[j] - block.old_codes[j];
        sums.squares += update * update / kCodes;
      }
    });
    return sums;
  }

  std::optional<Grid> choose(const Sums& sums, const Wanted& wanted) const override {
    if (nibbles_) return Grid{1, 0};
    return integer_grid(wanted.grid * std::sqrt(sums.squares / static_cast<double>(count())));
  }

  Sums write(Stretch stretch, const Wanted&, const Grid& grid, uint8_t* out) const override {
    Sums sums;
    const double unit = step_of(grid);
    each(stretch, [&](uint64_t i, const Block& block) {
      uint8_t* to = out + i * value_bytes();
      if (!block.stays) {
        std::memcpy(to, block.new_bytes, value_bytes());
        ++sums.moved;
        return;
      }
      std::memcpy(to, block.old_bytes, value_bytes());
      bool moved = false;
      for (unsigned j = 0; j < kCodes; ++j) {
        const double steps = std::nearbyint((block.wanted[j] - block.old_codes[j]) / unit);
        const double code = std::clamp(block.old_codes[j] + steps * unit, low(), high());
        put(to, j, static_cast<int>(code));
        const double error = code - block.wanted[j];
        sums.errors += error * error / kCodes;
        moved = moved || code != block.old_codes[j];
      }
      sums.moved += moved ? 1 : 0;
    });
    return sums;
  }

 private:
  static constexpr unsigned kCodes = 32;
  struct Block {
    const uint8_t* old_bytes;
    const uint8_t* new_bytes;
    bool stays;  // its old scale spans the new values
    double old_codes[kCodes];
    double wanted[kCodes];  // new values in the old scale
  };

  double low() const { return nibbles_ ? -8 : -127; }
  double high() const { return nibbles_ ? 7 : 127; }

  int code(const uint8_t* block, unsigned j) const {
    if (!nibbles_) return static_cast<int8_t>(block[2 + j]);
    return (j < 16 ? block[2 + j] & 15 : block[2 + j - 16] >> 4) - 8;
  }
  void put(uint8_t* block, unsigned j, int value) const {
    if (!nibbles_) {
      block[2 + j] = static_cast<uint8_t>(value);
      return;
    }
    uint8_t& byte = block[2 + j % 16];
    const int nibble = value + 8;
    byte = static_cast<uint8_t>(j < 16 ? (byte & 0xF0) | nibble : (byte & 15) | nibble << 4);
  }

  static double scale_of(const uint8_t* block) {
    Scaled scaled{};
    if (!scaled_of(float_shape(ValueType::kFloat16), load_value(block, 2), &scaled)) return 0;
    return std::ldexp(static_cast<double>(scaled.value), scaled.exponent);
  }

  template <class Visit>
  void each(Stretch stretch, Visit visit) const {
    for (uint64_t i = 0; i < stretch.count; ++i) {
      const uint64_t at = (stretch.first + i) * value_bytes();
      Block block{};
      block.old_bytes = bytes_.old_bytes.data() + at;
      block.new_bytes = bytes_.new_bytes.data() + at;
      const double old_scale = scale_of(block.old_bytes), new_scale = scale_of(block.new_bytes);
      const double ratio = old_scale != 0 ? new_scale / old_scale : 0;
      double most = 0;
      block.stays = ratio != 0;
      for (unsigned j = 0; j < kCodes; ++j) {
        block.old_codes[j] = code(block.old_bytes, j);
        block.wanted[j] = code(block.new_bytes, j) * ratio;
        most = std::max(most, std::abs(block.wanted[j]));
        block.stays =
            block.stays && block.wanted[j] >= low() - 0.5 && block.wanted[j] <= high() + 0.5;
      }
      block.stays = block.stays && most >= kLeastUse * high();
      visit(i, block);
    }
  }

  bool nibbles_;
  TensorBytes bytes_;
};

}  // namespace

std::map<size_t, std::unique_ptr<Tensor>> quantised_tensors(
    const delta::ComponentInput& pair, const std::vector<const Segment*>& matched, double grid) {
  return Quantised(pair, matched, grid).run();
}

std::unique_ptr<Tensor> block_tensor(const model::BlockLayout& block, TensorBytes bytes) {
  const auto is = [&](uint32_t ggml_type) {  // others have fields of the same sizes
    const model::GgufType* type = model::find_gguf_type(ggml_type);
    return type != nullptr && type->block.fields.data() == block.fields.data();
  };
  const bool is_q4_0 = is(2);
  if (!is_q4_0 && !is(8)) return nullptr;  // nor Q8_0
  return std::make_unique<BlockTensor>(is_q4_0, bytes);
}

}  // namespace tensorpatch::snap
