// delta/change.cc: values of every type as numbers and as ordered integers, counted in file order.
// SPDX-License-Identifier: Apache-2.0
#include "delta/change.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace tensorpatch::delta {
namespace {

using model::ElementType;

using ByteCounts = std::array<uint64_t, 256>;
constexpr unsigned kMaxPlanes = 8;      // bytes of the widest type
constexpr unsigned kUntypedPlanes = 4;  // plain bytes are often unnamed 32-bit values
constexpr int kSquareBins = 256;        // exponents of squared differences, from 2^-160
constexpr int kFirstSquare = -160;
constexpr uint64_t kEnoughToAgree = 16;  // values, for agreement to mean anything

uint64_t load(const uint8_t* bytes, unsigned size) {
  uint64_t bits = 0;
  for (unsigned i = 0; i < size; ++i) bits |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return bits;
}

double from_float16(uint64_t bits) {
  if ((bits >> 10 & 31) == 31) return std::numeric_limits<double>::quiet_NaN();
  // The exponent of a float32 is 112 more than that of the same float16.
  const auto magnitude = std::bit_cast<float>(static_cast<uint32_t>(bits & 0x7FFF) << 13);
  const double value = static_cast<double>(magnitude) * 0x1p112;
  return (bits & 0x8000) != 0 ? -value : value;
}

double to_number(ElementType type, uint64_t bits) {
  switch (type) {
    case ElementType::kInt8:
      return static_cast<int8_t>(bits);
    case ElementType::kInt16:
      return static_cast<int16_t>(bits);
    case ElementType::kInt32:
      return static_cast<int32_t>(bits);
    case ElementType::kInt64:
      return static_cast<double>(static_cast<int64_t>(bits));
    case ElementType::kFloat16:
      return from_float16(bits);
    case ElementType::kBfloat16:
      return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
    case ElementType::kFloat32:
      return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    case ElementType::kFloat64:
      return std::bit_cast<double>(bits);
    default:
      return static_cast<double>(bits);
  }
}

bool is_float(ElementType type) {
  return type >= ElementType::kFloat16;
}

// Neighbouring values become neighbouring integers, the sign-and-magnitude of floats, too.
uint64_t to_ordered(ElementType type, uint64_t bits) {
  const uint64_t sign = uint64_t{1} << (8 * model::element_size(type) - 1);
  if (!is_float(type) || (bits & sign) == 0) return bits;
  return 0 - (bits & ~sign);
}

// --- blocks of quantised numbers
// ------------------------------------------------------------------

using BlockNumbers = std::array<double, 256>;

void unpack_q8_0(const uint8_t* block, BlockNumbers& out) {
  const double scale = from_float16(load(block, 2));
  for (size_t i = 0; i < 32; ++i) out[i] = scale * static_cast<int8_t>(block[2 + i]);
}

void unpack_q4_0(const uint8_t* block, BlockNumbers& out) {
  const double scale = from_float16(load(block, 2));
  for (size_t i = 0; i < 16; ++i) {
    out[i] = scale * ((block[2 + i] & 15) - 8);
    out[i + 16] = scale * ((block[2 + i] >> 4) - 8);
  }
}

void unpack_q4_1(const uint8_t* block, BlockNumbers& out) {
  const double scale = from_float16(load(block, 2));
  const double least = from_float16(load(block + 2, 2));
  for (size_t i = 0; i < 16; ++i) {
    out[i] = scale * (block[4 + i] & 15) + least;
    out[i + 16] = scale * (block[4 + i] >> 4) + least;
  }
}

// Eight groups of 32 values; their 6-bit scales and minima lie in 12 bytes, of which the last four
// hold the low bits, and the others' top bits the high bits, of the groups from the fourth on.
void unpack_q4_k(const uint8_t* block, BlockNumbers& out) {
  const double scale = from_float16(load(block, 2));
  const double least = from_float16(load(block + 2, 2));
  const uint8_t* packed = block + 4;
  const uint8_t* codes = block + 16;
  for (size_t group = 0; group < 8; ++group) {
    const size_t low = group % 4;
    const bool is_first_half = group < 4;
    const int steps =
        is_first_half ? packed[low] & 63 : (packed[low + 8] & 15) | (packed[low] >> 6) << 4;
    const int minimum =
        is_first_half ? packed[low + 4] & 63 : packed[low + 8] >> 4 | (packed[low + 4] >> 6) << 4;
    for (size_t i = 0; i < 32; ++i) {
      const uint8_t pair = codes[group / 2 * 32 + i];
      const int code = group % 2 == 0 ? pair & 15 : pair >> 4;
      out[group * 32 + i] = scale * steps * code - least * minimum;
    }
  }
}

struct BlockKind {
  uint32_t size;
  uint32_t elements;
  void (*unpack)(const uint8_t* block, BlockNumbers& out);
};
constexpr BlockKind kBlockKinds[] = {
    {34, 32, unpack_q8_0}, {18, 32, unpack_q4_0}, {20, 32, unpack_q4_1}, {144, 256, unpack_q4_k}};

const BlockKind* find_block(const Stretch& stretch) {
  for (const BlockKind& kind : kBlockKinds) {
    if (kind.size == stretch.block.size && kind.elements == stretch.block.elements) return &kind;
  }
  return nullptr;
}

// --- entropy
// --------------------------------------------------------------------------------------

template <class Counts>
double entropy_bits(const Counts& counts) {
  double total = 0, sum = 0;
  for (const uint64_t count : counts) {
    if (count == 0) continue;
    total += static_cast<double>(count);
    sum += static_cast<double>(count) * std::log2(static_cast<double>(count));
  }
  return total > 0 ? total * std::log2(total) - sum : 0;
}

// Probability that values drawn from both are equal.
double agreement(const ByteCounts& a, const ByteCounts& b) {
  double total_a = 0, total_b = 0, sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    total_a += static_cast<double>(a[i]);
    total_b += static_cast<double>(b[i]);
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  return total_a > 0 && total_b > 0 ? sum / (total_a * total_b) : 0;
}

// Sums for Pearson's correlation and the norms. Numbers are taken relative to the first one, so
// that nothing cancels when values lie close together far from zero.
struct NumberSums {
  uint64_t count = 0;
  double origin = 0;
  double old_sum = 0, new_sum = 0, old_squares = 0, new_squares = 0, products = 0;
  double norm_squares = 0;        // of old
  double difference_squares = 0;  // of new - old
  std::array<uint64_t, kSquareBins> by_square{};

  void add(double old_number, double new_number) {
    const double difference = new_number - old_number;
    if (!std::isfinite(old_number) || !std::isfinite(difference)) return;
    if (count++ == 0) origin = old_number;
    const double x = old_number - origin, y = new_number - origin;
    old_sum += x;
    new_sum += y;
    old_squares += x * x;
    new_squares += y * y;
    products += x * y;
    norm_squares += old_number * old_number;
    if (difference == 0) return;
    const double square = difference * difference;
    difference_squares += square;
    const auto exponent = static_cast<int>(std::bit_cast<uint64_t>(square) >> 52 & 2047) - 1023;
    ++by_square[static_cast<size_t>(std::clamp(exponent - kFirstSquare, 0, kSquareBins - 1))];
  }

  std::optional<double> relative_norm() const {
    if (difference_squares == 0) return 0.0;
    if (norm_squares == 0) return std::nullopt;
    return std::sqrt(difference_squares / norm_squares);
  }

  std::optional<double> correlation() const {
    const auto n = static_cast<double>(count);
    const double old_spread = old_squares - old_sum * old_sum / n;
    const double new_spread = new_squares - new_sum * new_sum / n;
    // What rounding leaves of values that do not vary.
    const auto varies = [](double spread, double squares) { return spread > squares * 1e-13; };
    if (count < 3 || !varies(old_spread, old_squares) || !varies(new_spread, new_squares)) {
      return std::nullopt;
    }
    const double together = products - old_sum * new_sum / n;
    const double r = together / std::sqrt(old_spread) / std::sqrt(new_spread);
    return std::isfinite(r) ? std::optional(std::clamp(r, -1.0, 1.0)) : std::nullopt;
  }

  ChangeHistogram histogram() const {
    ChangeHistogram bins{};
    if (norm_squares <= 0) return bins;
    const auto unit =
        static_cast<int>(std::lround(std::log2(norm_squares / static_cast<double>(count))));
    for (int i = 0; i < kSquareBins; ++i) {
      const int bin = i + kFirstSquare - unit + 32;  // the first bin begins at 2^-16, squared
      const int last = static_cast<int>(kChangeBins) - 1;
      bins[static_cast<size_t>(std::clamp(bin, 0, last))] += by_square[static_cast<size_t>(i)];
    }
    return bins;
  }
};

}  // namespace

struct ChangeMeter::Sums {
  uint64_t count = 0;
  uint64_t equal = 0;
  uint64_t both_zero_old = 0;  // values that are all zero bits
  uint64_t both_zero_new = 0;
  bool has_numbers = false;
  bool is_untyped = true;  // all so far; then agreement is that of bytes
  NumberSums numbers;
  ByteCounts small_differences{};                // of one-byte values
  std::array<uint64_t, 131> wide_differences{};  // by sign and bit length
  double raw_bits = 0;                           // below the leading bit of wide differences
  std::array<ByteCounts, kMaxPlanes> old_planes{}, new_planes{}, unrelated{};

  void add_value(ElementType type, uint64_t old_bits, uint64_t new_bits);
  void add_bytes(base::Bytes old_bytes, base::Bytes new_bytes);
  void add_blocks(const BlockKind& kind, base::Bytes old_bytes, base::Bytes new_bytes);
  void add_retyped(const Stretch& old_stretch, const Stretch& new_stretch, size_t values);
  double chance() const;
  std::optional<double> lineage() const;
  double bound_bits() const;
};

// Counts one value of a typed stretch.
void ChangeMeter::Sums::add_value(ElementType type, uint64_t old_bits, uint64_t new_bits) {
  const unsigned size = model::element_size(type);
  ++count;
  equal += old_bits == new_bits ? 1 : 0;
  both_zero_old += old_bits == 0 ? 1 : 0;
  both_zero_new += new_bits == 0 ? 1 : 0;
  for (unsigned plane = 0; plane < size; ++plane) {
    ++old_planes[plane][old_bits >> (8 * plane) & 255];
    ++new_planes[plane][new_bits >> (8 * plane) & 255];
  }
  if (size == 1) {
    ++small_differences[(new_bits - old_bits) & 255];
  } else {
    const unsigned unused = 64 - 8 * size;  // the difference wraps in the type's width
    const uint64_t wrapped = (to_ordered(type, new_bits) - to_ordered(type, old_bits)) << unused;
    const int64_t difference = static_cast<int64_t>(wrapped) >> unused;
    const auto magnitude =
        difference < 0 ? 0 - static_cast<uint64_t>(difference) : static_cast<uint64_t>(difference);
    const auto length = static_cast<unsigned>(std::bit_width(magnitude));
    ++wide_differences[2 * length + (difference < 0 ? 1 : 0)];
    if (length > 1) raw_bits += length - 1;
  }
  numbers.add(to_number(type, old_bits), to_number(type, new_bits));
}

void ChangeMeter::Sums::add_bytes(base::Bytes old_bytes, base::Bytes new_bytes) {
  for (size_t i = 0; i < new_bytes.size(); ++i) {
    ++old_planes[i % kUntypedPlanes][old_bytes[i]];
    ++new_planes[i % kUntypedPlanes][new_bytes[i]];
    ++small_differences[(new_bytes[i] - old_bytes[i]) & 255];
  }
}

void ChangeMeter::Sums::add_blocks(const BlockKind& kind, base::Bytes old_bytes,
                                   base::Bytes new_bytes) {
  BlockNumbers old_numbers{}, new_numbers{};
  for (size_t at = 0; at + kind.size <= new_bytes.size(); at += kind.size) {
    kind.unpack(old_bytes.data() + at, old_numbers);
    kind.unpack(new_bytes.data() + at, new_numbers);
    for (size_t i = 0; i < kind.elements; ++i) {
      numbers.add(old_numbers[i], new_numbers[i]);
      equal += old_numbers[i] == new_numbers[i] ? 1u : 0u;
    }
    count += kind.elements;
  }
  add_bytes(old_bytes, new_bytes);
}

// Two types of numbers: what is new must be said anew.
void ChangeMeter::Sums::add_retyped(const Stretch& old_stretch, const Stretch& new_stretch,
                                    size_t values) {
  const unsigned old_size = model::element_size(old_stretch.type);
  const unsigned new_size = model::element_size(new_stretch.type);
  for (size_t i = 0; i < values; ++i) {
    const double old_number =
        to_number(old_stretch.type, load(old_stretch.bytes.data() + i * old_size, old_size));
    const double new_number =
        to_number(new_stretch.type, load(new_stretch.bytes.data() + i * new_size, new_size));
    numbers.add(old_number, new_number);
    ++count;
    equal += old_number == new_number ? 1 : 0;
  }
}

// How many of the values would be equal if there were no relation.
double ChangeMeter::Sums::chance() const {
  if (is_untyped) {
    double sum = 0;
    for (unsigned i = 0; i < kUntypedPlanes; ++i) sum += agreement(old_planes[i], new_planes[i]);
    return sum / kUntypedPlanes;
  }
  double all_bytes = 1;
  for (unsigned i = 0; i < kMaxPlanes; ++i) {
    const bool is_used = std::ranges::any_of(new_planes[i], [](uint64_t c) { return c != 0; });
    if (is_used) all_bytes *= agreement(old_planes[i], new_planes[i]);
  }
  const auto n = static_cast<double>(count);
  const double zeros =
      static_cast<double>(both_zero_old) / n * (static_cast<double>(both_zero_new) / n);
  return std::max(all_bytes, zeros);
}

std::optional<double> ChangeMeter::Sums::lineage() const {
  if (count == 0) return std::nullopt;
  if (equal == count) return 1.0;
  std::optional<double> best;
  if (const auto r = numbers.correlation(); has_numbers && r.has_value()) {
    const auto n = static_cast<double>(numbers.count);
    const double unexplained = (1 - *r * *r) * (n - 1) / (n - 2);
    best = *r > 0 && unexplained < 1 ? std::sqrt(1 - unexplained) : 0.0;
  }
  if (const double by_chance = chance(); count >= kEnoughToAgree && by_chance < 1) {
    const double share = static_cast<double>(equal) / static_cast<double>(count);
    const double kappa = std::clamp((share - by_chance) / (1 - by_chance), 0.0, 1.0);
    best = std::max(best.value_or(0), kappa);
  }
  return best;
}

double ChangeMeter::Sums::bound_bits() const {
  double alone = 0, intra = 0;
  for (const ByteCounts& plane : unrelated) alone += entropy_bits(plane);
  for (const ByteCounts& plane : new_planes) intra += entropy_bits(plane);
  const double differences =
      entropy_bits(small_differences) + entropy_bits(wide_differences) + raw_bits;
  return alone + std::min(differences, intra);
}

ChangeMeter::ChangeMeter() : sums_(std::make_unique<Sums>()) {}
ChangeMeter::~ChangeMeter() = default;

void ChangeMeter::add(const Stretch& old_stretch, const Stretch& new_stretch) {
  const unsigned size = model::element_size(new_stretch.type);
  const bool same_type = old_stretch.type == new_stretch.type &&
                         old_stretch.block.size == new_stretch.block.size &&
                         old_stretch.block.elements == new_stretch.block.elements;
  const bool typed = new_stretch.type != ElementType::kBytes;
  const size_t values = std::min(old_stretch.bytes.size() / model::element_size(old_stretch.type),
                                 new_stretch.bytes.size() / size);
  const base::Bytes compared = new_stretch.bytes.first(values * size);
  Stretch rest = new_stretch;
  rest.bytes = new_stretch.bytes.subspan(compared.size());
  if (!same_type) {
    if (!typed || old_stretch.type == ElementType::kBytes) return add_unrelated(new_stretch);
    sums_->has_numbers = true;
    sums_->is_untyped = false;
    sums_->add_retyped(old_stretch, new_stretch, values);
    return add_unrelated(new_stretch);
  }
  add_unrelated(rest);
  const base::Bytes old_bytes = old_stretch.bytes.first(compared.size());
  if (const BlockKind* kind = find_block(new_stretch); kind != nullptr && !typed) {
    sums_->has_numbers = true;
    sums_->is_untyped = false;
    sums_->add_blocks(*kind, old_bytes, compared);
  } else if (typed) {
    sums_->has_numbers = true;
    sums_->is_untyped = false;
    for (size_t at = 0; at < compared.size(); at += size) {
      sums_->add_value(new_stretch.type, load(old_bytes.data() + at, size),
                       load(compared.data() + at, size));
    }
  } else {
    sums_->count += compared.size();
    for (size_t i = 0; i < compared.size(); ++i) {
      sums_->equal += old_bytes[i] == compared[i] ? 1u : 0u;
    }
    sums_->add_bytes(old_bytes, compared);
  }
}

void ChangeMeter::add_unrelated(const Stretch& new_stretch) {
  const bool typed = new_stretch.type != ElementType::kBytes;
  const unsigned planes = typed ? model::element_size(new_stretch.type) : kUntypedPlanes;
  for (size_t i = 0; i < new_stretch.bytes.size(); ++i) {
    ++sums_->unrelated[i % planes][new_stretch.bytes[i]];
  }
}

Change ChangeMeter::change() const {
  Change change;
  change.count = sums_->count;
  change.equal = sums_->equal;
  change.has_numbers = sums_->has_numbers;
  change.lineage = sums_->lineage();
  change.bound_bytes = static_cast<uint64_t>(std::ceil(sums_->bound_bits() / 8));
  if (!change.has_numbers) return change;
  change.relative_norm = sums_->numbers.relative_norm();
  change.correlation = sums_->numbers.correlation();
  change.histogram = sums_->numbers.histogram();
  return change;
}

std::optional<double> Change::share_equal() const {
  if (count == 0) return std::nullopt;
  return static_cast<double>(equal) / static_cast<double>(count);
}

double byte_entropy(base::Bytes bytes) {
  if (bytes.empty()) return 0;
  ByteCounts counts{};
  for (const uint8_t byte : bytes) ++counts[byte];
  const auto kinds =
      static_cast<double>(std::ranges::count_if(counts, [](uint64_t count) { return count != 0; }));
  const auto n = static_cast<double>(bytes.size());
  // Few samples look more ordered than they are (Miller and Madow's correction).
  const double correction = (kinds - 1) / (2 * n * std::log(2.0));
  return std::min(8.0, entropy_bits(counts) / n + correction);
}

}  // namespace tensorpatch::delta
