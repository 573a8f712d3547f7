// tests/apply/entropy_test.cc: the range coder and the models above it, as pairs: what one half
// codes, the other decodes; and how many bytes one step can take from a hostile stream.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "apply/byte_model.h"
#include "apply/entropy_decoder.h"
#include "apply/format.h"
#include "apply/operation_model.h"
#include "apply/value_model.h"
#include "delta/entropy_encoder.h"

namespace tensorpatch {
namespace {

using delta::CostCounter;
using delta::RangeEncoder;

// A decoder over a copy that ends where its allocation does.
class Payload {
 public:
  explicit Payload(const std::vector<uint8_t>& bytes)
      : copy_(std::make_unique<uint8_t[]>(bytes.size())) {
    std::copy(bytes.begin(), bytes.end(), copy_.get());
    decoder.next = copy_.get();
    decoder.end = copy_.get() + bytes.size();
    decoder.begin();
  }
  RangeDecoder decoder{};
  bool used_up() const { return decoder.next == decoder.end; }

 private:
  std::unique_ptr<uint8_t[]> copy_;
};

// ---- The range coder

// One call of a coder: a bit of a probability, or raw bits.
struct Symbol {
  uint32_t probability = 0;  // 0: raw
  uint32_t value = 0;
  unsigned bits = 1;
};

std::vector<uint8_t> encoded(const std::vector<Symbol>& symbols) {
  RangeEncoder encoder;
  for (const Symbol& s : symbols) {
    if (s.probability != 0) {
      encoder.code(s.probability, s.value);
    } else {
      encoder.raw(s.value, s.bits);
    }
  }
  return encoder.finish();
}

// Encodes, decodes, compares; the payload.
std::vector<uint8_t> expect_pair(const std::vector<Symbol>& symbols) {
  const std::vector<uint8_t> bytes = encoded(symbols);
  EXPECT_TRUE(bytes.empty() || bytes.back() != 0) << "zeros at the end need not be written";
  Payload payload(bytes);
  for (size_t i = 0; i < symbols.size(); ++i) {
    const Symbol& s = symbols[i];
    const uint32_t got = s.probability != 0 ? payload.decoder.code(s.probability, 0)
                                            : payload.decoder.raw(0, s.bits);
    if (got != s.value) {
      ADD_FAILURE() << "symbol " << i << " of " << symbols.size();
      break;
    }
  }
  EXPECT_TRUE(payload.used_up());
  return bytes;
}

std::vector<Symbol> random_symbols(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Symbol> symbols(count);
  for (Symbol& s : symbols) {
    if (random() % 4 == 0) {
      s.bits = 1 + random() % 16;
      s.value = static_cast<uint32_t>(random()) & ((1u << s.bits) - 1);
      continue;
    }
    static constexpr uint32_t kExtremes[] = {1, 2, 32, 32767, 32768, 65504, 65534, 65535};
    s.probability =
        random() % 2 == 0 ? kExtremes[random() % 8] : 1 + static_cast<uint32_t>(random()) % 65535;
    // Mostly what was expected, so that the range shrinks in many ways.
    const bool likely = random() % 8 != 0;
    s.value = (s.probability >= 32768) == likely ? 1 : 0;
  }
  return symbols;
}

TEST(RangeCoder, NothingCodedIsNoByte) {
  EXPECT_TRUE(expect_pair({}).empty());
  EXPECT_EQ(Payload({}).decoder.code(40000, 0), 1U) << "zeros follow an empty payload";
}

TEST(RangeCoder, ShortSequencesOfEverything) {
  for (const uint32_t p : {1u, 2u, 255u, 32768u, 65534u, 65535u}) {
    for (const uint32_t q : {1u, 32768u, 65535u}) {
      for (uint32_t bits = 0; bits < 16; ++bits) {
        expect_pair({{p, bits & 1}, {q, bits >> 1 & 1}, {p, bits >> 2 & 1}, {q, bits >> 3 & 1}});
      }
    }
  }
  for (unsigned bits = 1; bits <= 16; ++bits) {
    expect_pair({{0, 0, bits}, {0, (1u << bits) - 1, bits}, {0, 1, bits}});
  }
}

TEST(RangeCoder, RandomSequences) {
  for (uint32_t seed = 0; seed < 400; ++seed) expect_pair(random_symbols(seed % 100, seed));
  expect_pair(random_symbols(20000, 7));
}

TEST(RangeCoder, UnlikelyBitsOnly) {
  expect_pair(std::vector<Symbol>(3000, {1, 1}));
  expect_pair(std::vector<Symbol>(3000, {65535, 0}));
}

TEST(RangeCoder, LikelyBitsCostNearlyNothing) {
  EXPECT_LE(expect_pair(std::vector<Symbol>(10000, {65535, 1})).size(), 1U);
  EXPECT_LE(expect_pair(std::vector<Symbol>(10000, {1, 0})).size(), 2U);
}

TEST(RangeCoder, RunsOfTheLargestByteWithAndWithoutCarry) {
  // The top of every interval is 0xFF..., until a symbol decides whether it carries over.
  for (const size_t run : {1u, 3u, 4u, 5u, 100u, 2000u}) {
    std::vector<Symbol> symbols(run, {0, 0xFF, 8});
    EXPECT_GE(expect_pair(symbols).size(), run - 1);
    for (const uint32_t last : {0u, 1u}) {
      for (const uint32_t p : {1u, 32768u, 65535u}) {
        std::vector<Symbol> more = symbols;
        for (int i = 0; i < 40; ++i) more.push_back({p, last});
        expect_pair(more);
      }
    }
  }
}

TEST(RangeCoder, ACarryRunsThroughARowOfTheLargestByte) {
  for (const uint32_t upper : {0u, 1u}) {
    // The interval is narrowed around 0x80000000, where every byte changes, and then decided.
    std::vector<Symbol> symbols = {{32768, 0}, {2, 1}};
    uint64_t range = 1u << 24, middle = 1u << 23;  // of the interval: its size, and that point
    for (int i = 0; i < 200; ++i) {
      const uint64_t unit = range >> 16;
      const auto lower = static_cast<uint32_t>((middle * 3 / 2 + unit - 1) / unit);
      symbols.push_back({lower, 1});
      range = unit * lower;
      while (range < 1u << 24) range <<= 8, middle <<= 8;
      const auto cut = static_cast<uint32_t>((2 * middle - range) / (range >> 16));
      symbols.push_back({cut, 0});
      middle -= (range >> 16) * cut;
      range -= (range >> 16) * cut;
      while (range < 1u << 24) range <<= 8, middle <<= 8;
    }
    symbols.resize(symbols.size() + 40, {32768, 1 - upper});
    const std::vector<uint8_t> bytes = expect_pair(symbols);
    const auto filler = static_cast<uint8_t>(upper != 0 ? 0x00 : 0xFF);
    ASSERT_GT(bytes.size(), 8U);
    EXPECT_EQ(bytes[0], upper != 0 ? 0x80 : 0x7F);
    EXPECT_TRUE(std::all_of(&bytes[1], &bytes[8], [&](uint8_t byte) { return byte == filler; }));
  }
}

TEST(RangeCoder, ZerosAtTheEndAreNotWritten) {
  // The lower end of every interval: the bit 1 takes the lower part.
  EXPECT_TRUE(expect_pair(std::vector<Symbol>(500, {32768, 1})).empty());
  EXPECT_TRUE(expect_pair(std::vector<Symbol>(500, {0, 0, 12})).empty());
  std::vector<Symbol> symbols = {{0, 0x1234, 16}};
  symbols.resize(300, {0, 0, 16});
  EXPECT_LE(expect_pair(symbols).size(), 4U);
}

TEST(RangeCoder, DamagedRawBitsStayInRange) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<uint8_t> bytes(200);
    for (uint8_t& byte : bytes) byte = random() % 3 == 0 ? 0xFF : static_cast<uint8_t>(random());
    Payload payload(bytes);
    while (!payload.used_up()) {
      const unsigned bits = 1 + random() % 16;
      ASSERT_LT(payload.decoder.raw(0, bits), 1u << bits);
      ASSERT_LE(payload.decoder.code(1 + static_cast<uint32_t>(random()) % 65535, 0), 1U);
    }
  }
}

TEST(CostCounter, AgreesWithTheRangeCoder) {
  for (const double share : {0.5, 0.2, 0.05, 0.01}) {
    std::mt19937 random(11);
    RangeEncoder encoder;
    CostCounter counter;
    Cell cell = kCellStart, same = kCellStart;
    for (int i = 0; i < 200000; ++i) {
      const unsigned bit = static_cast<double>(random()) < share * 4294967296.0 ? 1 : 0;
      code_bit(encoder, cell, bit);
      code_bit(counter, same, bit);
      if (i % 8 == 0) {
        const uint32_t raw = static_cast<uint32_t>(random()) & 31;
        encoder.raw(raw, 5);
        counter.raw(raw, 5);
      }
    }
    const auto real = static_cast<double>(encoder.finish().size());
    EXPECT_NEAR(static_cast<double>(counter.bytes()), real, real * 0.01) << share;
  }
}

// ---- Adaptive probabilities

TEST(Stretch, AscendsAndSquashIsItsInverse) {
  int32_t before = stretch(1);
  for (uint32_t p = 2; p < 65536; ++p) {
    const int32_t x = stretch(p);
    ASSERT_GE(x, before) << p;
    before = x;
    ASSERT_NEAR(x / 256.0, std::log2(p / (65536.0 - p)), 0.02) << p;
    if (p < 32 || p > 65504) continue;
    const double tail = std::min(p, 65536 - p);
    ASSERT_NEAR(squash(x), p, tail * 0.02 + 2) << p;
  }
  EXPECT_EQ(stretch(32768), 0);
}

TEST(Squash, AscendsWithinItsBounds) {
  uint32_t before = squash(-100000);
  for (int32_t x = -5000; x <= 5000; ++x) {
    const uint32_t p = squash(x);
    ASSERT_GE(p, before) << x;
    ASSERT_GE(p, 16U);
    ASSERT_LE(p, 65520U);
    ASSERT_EQ(squash(-x), 65536 - p) << x;
    before = p;
  }
  EXPECT_EQ(squash(0), 32768U);
  EXPECT_EQ(squash(INT32_MIN / 2), 16U);
}

TEST(Cell, MovesTowardsTheBitAndNeverBeyond) {
  // Long runs to both ends, then noise: a probability that wrapped around would jump.
  std::mt19937 random(5);
  const auto check = [](Cell& cell, unsigned bit) {
    const uint32_t p = cell >> 10, n = cell & 1023;
    cell_update(cell, bit, kPlainCell);
    const uint32_t moved = cell >> 10, count = cell & 1023;
    ASSERT_TRUE(bit != 0 ? moved >= p : moved <= p) << p << " " << n << " " << bit;
    ASSERT_EQ(count, std::min(n + 1, kCellLimit));
    ASSERT_GE(cell_probability(cell), 32U);
    ASSERT_LE(cell_probability(cell), 65504U);
  };
  for (unsigned first = 0; first < 2; ++first) {
    Cell cell = kCellStart;
    for (int i = 0; i < 20000; ++i) check(cell, first);
    EXPECT_EQ(cell_probability(cell), first != 0 ? 65504U : 32U) << "learned to the end";
    for (int i = 0; i < 20000; ++i) check(cell, 1 - first);
    for (int i = 0; i < 20000; ++i) check(cell, random() % 3 == 0 ? 1 : 0);
    EXPECT_NEAR(cell_probability(cell) / 65536.0, 1.0 / 3, 0.1);
  }
}

TEST(Mix, LearnsWhichCellKnows) {
  // The first cell's context tells the bit, the second's does not: near zero bits each.
  std::mt19937 random(9);
  CostCounter counter;
  Cell good[2] = {kCellStart, kCellStart}, bad[2] = {kCellStart, kCellStart};
  MixWeight weights[2] = {mix_start(2), mix_start(2)};
  for (int i = 0; i < 20000; ++i) {
    const auto bit = static_cast<unsigned>(random() >> 31);
    Cell* const cells[2] = {&good[bit], &bad[random() >> 31]};
    code_mixed(&counter, {cells, 2, weights, nullptr}, bit);
  }
  EXPECT_LT(counter.bytes(), 20000U / 8 / 20);
  EXPECT_GT(weights[0], weights[1]);
}

TEST(Tree, EveryValueOfEveryWidth) {
  for (unsigned bits = 1; bits <= 8; ++bits) {
    RangeEncoder encoder;
    std::vector<Cell> cells(size_t{1} << bits, kCellStart);
    for (uint32_t v = 0; v < 1u << bits; ++v) code_tree(encoder, cells.data(), bits, v);
    Payload payload(encoder.finish());
    cells.assign(cells.size(), kCellStart);
    for (uint32_t v = 0; v < 1u << bits; ++v) {
      ASSERT_EQ(code_tree(payload.decoder, cells.data(), bits, 0), v);
    }
  }
}

// ---- Values

constexpr ValueType kAllTypes[] = {ValueType::kInt8,   ValueType::kUint8,   ValueType::kInt16,
                                   ValueType::kInt32,  ValueType::kFloat16, ValueType::kBfloat16,
                                   ValueType::kFloat32};

uint32_t width_mask(ValueType type) {
  return 0xFFFFFFFFu >> (32 - 8 * value_size(type));
}

class Slot {
 public:
  explicit Slot(unsigned level) : words_(value_state_size(level) / 4) {
    value_state_reset(state(), level);
  }
  ValueState& state() { return *reinterpret_cast<ValueState*>(words_.data()); }

 private:
  std::vector<uint32_t> words_;  // exactly, so that a sanitizer sees a cell beyond the level's
};

// The values of old (residual) or of the row above (intra), and of new.
struct Values {
  ValueType type;
  bool intra;
  std::vector<uint32_t> context;
  std::vector<uint32_t> values;
};

// Codes all values in tiles, each with a flag first; what the coder returned.
template <unsigned Level, class Coder>
std::vector<uint32_t> run_values(Coder& coder, ValueState& state, const Values& v) {
  ValueModel<Coder, Level> model(coder, state);
  std::vector<uint32_t> result;
  for (size_t i = 0; i < v.values.size(); ++i) {
    if (v.intra) {
      result.push_back(model.code_intra({v.type, 0, v.context[i]}, v.values[i]));
      continue;
    }
    if (i % kTile == 0) model.code_tile_unchanged(0);
    result.push_back(model.code_residual({v.type, v.context[i], 0}, v.values[i]));
  }
  return result;
}

template <unsigned Level>
size_t expect_values_pair(const Values& v, const std::string& what) {
  Slot there(Level), back(Level);
  RangeEncoder encoder;
  run_values<Level>(encoder, there.state(), v);
  const std::vector<uint8_t> bytes = encoder.finish();
  Payload payload(bytes);
  Values unknown = v;
  std::fill(unknown.values.begin(), unknown.values.end(), 0xA5A5A5A5u & width_mask(v.type));
  const auto got = run_values<Level>(payload.decoder, back.state(), unknown);
  EXPECT_TRUE(got == v.values) << what << ", type " << static_cast<int>(v.type) << ", level "
                               << Level << (v.intra ? ", intra" : ", residual");
  EXPECT_TRUE(payload.used_up());
  return bytes.size();
}

// All of a 16-bit float's special values have their like in every type's bits.
std::vector<uint32_t> extremes(ValueType type) {
  const unsigned bits = 8 * value_size(type);
  const uint32_t sign = 1u << (bits - 1);
  const FloatShape shape = float_shape(type);
  const uint32_t infinity = static_cast<uint32_t>(shape.exponent_mask) << shape.mantissa_bits;
  std::vector<uint32_t> all = {0,
                               1,
                               2,
                               sign,               // INT_MIN, -0
                               sign - 1,           // INT_MAX, NaN
                               sign + 1,           // the smallest negative denormal
                               sign | (sign - 1),  // -1, a NaN
                               infinity,
                               infinity | sign,
                               infinity | 1,
                               infinity | sign | 1,
                               infinity - 1,
                               (1u << shape.mantissa_bits) - 1,  // the largest denormal
                               1u << shape.mantissa_bits,
                               sign >> 1};
  for (uint32_t& value : all) value &= width_mask(type);
  return all;
}

Values make_values(const std::string& what, ValueType type, bool intra) {
  std::mt19937 random(17);
  Values v{type, intra, {}, {}};
  const uint32_t mask = width_mask(type);
  const auto add = [&](uint32_t context, uint32_t value) {
    v.context.push_back(context & mask);
    v.values.push_back(value & mask);
  };
  const auto any = [&] { return static_cast<uint32_t>(random()); };
  if (what == "random") {
    for (int i = 0; i < 3000; ++i) add(any(), any());
  } else if (what == "equal") {
    for (int i = 0; i < 3000; ++i) add(0x3C5A3C5Au, 0x3C5A3C5Au);
  } else if (what == "small changes") {
    for (int i = 0; i < 3000; ++i) {
      const uint32_t context = any();
      add(context, context + any() % 7 - 3);
    }
  } else if (what == "growing changes") {
    for (unsigned i = 0; i < 3000; ++i) {
      const uint32_t context = any();
      add(context, context + (any() >> (31 - i % 32)));
    }
  } else {
    // Every special value after every other, in context of every third.
    for (const uint32_t a : extremes(type)) {
      for (const uint32_t b : extremes(type)) add(a, b);
    }
    for (const uint32_t a : extremes(type)) add(any(), a);
  }
  return v;
}

TEST(Values, EveryTypeAndLevelBothWays) {
  for (const ValueType type : kAllTypes) {
    for (const bool intra : {false, true}) {
      for (const char* what : {"random", "equal", "small changes", "growing changes", "extremes"}) {
        const Values v = make_values(what, type, intra);
        const size_t small = expect_values_pair<0>(v, what);
        const size_t large = expect_values_pair<1>(v, what);
        const size_t plain = v.values.size() * value_size(type);
        const bool is_integer = float_shape(type).exponent_mask == 0;
        if (std::string(what) == "equal" && (is_integer || !intra)) {
          EXPECT_LT(small, plain / 10) << static_cast<int>(type);
          EXPECT_LT(large, plain / 10) << static_cast<int>(type);
        }
        if (std::string(what) == "random") {  // costs little more than it is
          EXPECT_LT(small, plain + plain / 4) << static_cast<int>(type);
          EXPECT_LT(large, plain + plain / 4) << static_cast<int>(type);
        }
        if (std::string(what) == "small changes" && !intra && is_integer) {
          EXPECT_LT(small, v.values.size() * 2 / 3) << static_cast<int>(type);
          EXPECT_LT(large, v.values.size() * 2 / 3) << static_cast<int>(type);
        }
      }
    }
  }
}

TEST(Values, ASlotGoesFromOneTypeToAnother) {
  // Nothing forbids a stream to use one slot for all types without a reset.
  for (const bool intra : {false, true}) {
    Slot there(1), back(1);
    RangeEncoder encoder;
    for (const ValueType type : kAllTypes) {
      run_values<1>(encoder, there.state(), make_values("growing changes", type, intra));
    }
    Payload payload(encoder.finish());
    for (const ValueType type : kAllTypes) {
      const Values v = make_values("growing changes", type, intra);
      EXPECT_TRUE(run_values<1>(payload.decoder, back.state(), v) == v.values);
    }
  }
}

TEST(Values, TileFlags) {
  Slot there(0), back(0);
  RangeEncoder encoder;
  ValueModel<RangeEncoder, 0> coder(encoder, there.state());
  for (unsigned i = 0; i < 1000; ++i) coder.code_tile_unchanged(i % 5 == 0 ? 0 : 1);
  Payload payload(encoder.finish());
  ValueModel<RangeDecoder, 0> decoder(payload.decoder, back.state());
  for (unsigned i = 0; i < 1000; ++i) {
    ASSERT_EQ(decoder.code_tile_unchanged(0), i % 5 == 0 ? 0U : 1U) << i;
  }
}

// ---- Input of one step

// Takes hostile payloads: random, all of one byte, and what keeps the decoder at its unlikely bits.
std::vector<std::vector<uint8_t>> hostile_payloads(size_t size) {
  std::vector<std::vector<uint8_t>> all;
  for (const int byte : {0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF}) {
    all.emplace_back(size, static_cast<uint8_t>(byte));
  }
  std::mt19937 random(23);
  for (unsigned kind = 0; kind < 24; ++kind) {
    std::vector<uint8_t> bytes(size);
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(random());
      if (kind % 4 == 1 && random() % 4 != 0) byte = 0xFF;
      if (kind % 4 == 2 && random() % 4 != 0) byte = 0x00;
      if (kind % 4 == 3 && random() % 16 != 0) byte = random() % 2 == 0 ? 0xFF : 0x00;
    }
    all.push_back(std::move(bytes));
  }
  return all;
}

// A decoder of decisions alone that always meets the less likely bit: the most that any stream can
// make a step take, whatever its bytes.
struct Adversary {
  uint32_t range = 0xFFFFFFFFu;
  size_t taken = 0;
  std::mt19937 random{29};
  unsigned surprise = 8;  // of 8 bits, how many are the unlikely ones

  void normalize() {
    while (range < 1u << 24) range <<= 8, ++taken;
  }
  unsigned code(uint32_t probability, unsigned /*bit*/) {
    const bool unlikely = random() % 8 < surprise;
    const unsigned bit = (probability < 32768) == unlikely ? 1 : 0;
    const uint32_t bound = (range >> 16) * probability;
    range = bit != 0 ? bound : range - bound;
    normalize();
    return bit;
  }
  uint32_t raw(uint32_t /*value*/, unsigned bits) {
    range >>= bits;
    normalize();
    return static_cast<uint32_t>(random()) & ((1u << bits) - 1);
  }
};

constexpr size_t kStepInput = format::kMaxStepInput;
// Some payloads are of likely bits only, and would last for millions of steps.
constexpr int kHostileSteps = 5000;

template <unsigned Level>
void expect_bounded_values(ValueType type, bool intra) {
  const auto step = [&](auto& model, uint32_t context) {
    if (intra) {
      model.code_intra({type, 0, context}, 0);
    } else {
      model.code_tile_unchanged(0);
      model.code_residual({type, context, 0}, 0);
    }
  };
  std::mt19937 random(31);
  for (const auto& bytes : hostile_payloads(6000)) {
    Payload payload(bytes);
    Slot slot(Level);
    ValueModel<RangeDecoder, Level> model(payload.decoder, slot.state());
    for (int i = 0; i < kHostileSteps && !payload.used_up(); ++i) {
      const uint8_t* before = payload.decoder.next;
      step(model, static_cast<uint32_t>(random()) & width_mask(type));
      ASSERT_LE(payload.decoder.next - before, static_cast<ptrdiff_t>(kStepInput));
    }
  }
  size_t most = 0;
  for (unsigned surprise = 0; surprise <= 8; ++surprise) {
    Slot slot(Level);
    Adversary adversary;
    // Taught to expect something first, so that surprises are as dear as they can be.
    adversary.surprise = 0;
    ValueModel<Adversary, Level> model(adversary, slot.state());
    for (unsigned i = 0; i < 3000; ++i) {
      if (i == 2000) adversary.surprise = surprise;
      const size_t before = adversary.taken;
      step(model, (i < 2000 ? 0 : static_cast<uint32_t>(random())) & width_mask(type));
      most = std::max(most, adversary.taken - before);
    }
  }
  EXPECT_LE(most, kStepInput) << static_cast<int>(type) << (intra ? " intra" : " residual");
  EXPECT_GE(most, 2U) << "the adversary is none";
}

TEST(StepInput, OfValuesIsBounded) {
  for (const ValueType type : kAllTypes) {
    for (const bool intra : {false, true}) {
      expect_bounded_values<0>(type, intra);
      expect_bounded_values<1>(type, intra);
    }
  }
}

// What stands in front of one put() of the decoder beside residuals: a zero map with the steps of a
// grid, two halves of a byte, a number of a row.
template <class Step>
void expect_bounded(const Step& step) {
  for (unsigned surprise = 0; surprise <= 8; ++surprise) {
    Slot slot(1);
    Adversary adversary;
    RowState rows;
    row_state_reset(rows, {});
    for (unsigned i = 0; i < 3000; ++i) {
      adversary.surprise = i < 2000 ? 0 : surprise;
      const size_t before = adversary.taken;
      step(adversary, slot.state(), rows);
      ASSERT_LE(adversary.taken - before, kStepInput);
    }
  }
}

TEST(StepInput, OfSpecialOperationsIsBounded) {
  using Model = ValueModel<Adversary, 1>;
  expect_bounded([](Adversary& coder, ValueState& state, RowState&) {
    Model model(coder, state);
    uint32_t value = 0;
    model.code_zero(ValueType::kFloat32, 0x3F800000u, value);
    model.code_steps(0);
  });
  expect_bounded([](Adversary& coder, ValueState& state, RowState&) {
    Model model(coder, state);
    for (unsigned i = 0; i < 2; ++i) model.code_residual({ValueType::kUint4, 7, 0, 128}, 0);
  });
  expect_bounded([](Adversary& coder, ValueState&, RowState& rows) {
    const RowsShape shape = {4, 0, GainAxis::kRow, 0, 1, 0};
    RowModel<Adversary> model(coder, rows, shape);
    model.code_of_row(0, 0);
  });
}

// Zeros of both signs, and every number of steps that a grid can have.
TEST(Values, ZeroMapAndSteps) {
  Slot there(1), back(1);
  RangeEncoder encoder;
  ValueModel<RangeEncoder, 1> coder(encoder, there.state());
  const auto each = [](auto visit) {
    std::mt19937 random(43);
    for (unsigned i = 0; i < 3000; ++i) {
      const auto type = kAllTypes[random() % 7];
      const uint32_t old_bits = static_cast<uint32_t>(random()) & width_mask(type);
      const uint32_t zeros[] = {zero_of(type), zero_of(type) | sign_of(type), 0x55};
      visit(type, old_bits, zeros[random() % 3],
            static_cast<int32_t>(random() % (2u << random() % 21)) * (random() % 2 == 0 ? 1 : -1));
    }
  };
  each([&](ValueType type, uint32_t old_bits, uint32_t new_bits, int32_t steps) {
    coder.code_zero(type, old_bits, new_bits);
    coder.code_steps(steps);
  });
  Payload payload(encoder.finish());
  ValueModel<RangeDecoder, 1> decoder(payload.decoder, back.state());
  each([&](ValueType type, uint32_t old_bits, uint32_t new_bits, int32_t steps) {
    uint32_t value = 0;
    if (decoder.code_zero(type, old_bits, value) != 0) {
      ASSERT_EQ(value, new_bits);
    } else {
      ASSERT_EQ(new_bits, 0x55u);
    }
    ASSERT_EQ(decoder.code_steps(0), steps);
  });
  EXPECT_TRUE(payload.used_up());
}

// ---- Bytes

struct ByteTables {
  ByteTables(unsigned of_cells, unsigned of_matches)
      : cells(size_t{1} << of_cells, kCellStart),
        matches(of_matches != 0 ? size_t{1} << of_matches : 0),
        cells_log2(of_cells),
        matches_log2(of_matches) {
    byte_state_reset(state, of_cells);
  }
  template <class Coder>
  typename ByteModel<Coder>::Tables tables() {
    return {cells.data(), cells_log2, matches.data(), matches_log2};
  }
  std::vector<Cell> cells;
  std::vector<uint32_t> matches;
  unsigned cells_log2, matches_log2;
  ByteState state{};
};

struct OldText {
  const std::vector<uint8_t>* bytes;
  int at(uint64_t offset) const { return offset < bytes->size() ? (*bytes)[offset] : -1; }
};

struct NoOld {
  int at(uint64_t /*offset*/) const { return -1; }
};

struct ByteCase {
  unsigned cells_log2 = 12;
  unsigned matches_log2 = 8;
  ByteShape shape{0, 0, 0};
  uint64_t old_offset = 0;
  uint32_t ring_size = 4096;  // of the decoder
};

// Encodes `text` from a file and decodes it into a ring; the payload's size.
template <class Old>
size_t expect_bytes_pair(const ByteCase& c, const std::vector<uint8_t>& text, Old old) {
  ByteTables there(c.cells_log2, c.matches_log2), back(c.cells_log2, c.matches_log2);
  RangeEncoder encoder;
  {
    const auto tables = there.tables<RangeEncoder>();
    byte_state_begin(there.state, c.old_offset);
    ByteModel<RangeEncoder> model(encoder, there.state, tables);
    for (uint32_t i = 0; i < text.size(); ++i) {
      model.code_byte({text.data(), 0xFFFFFFFFu, c.ring_size - 1, i}, c.shape, old, text[i]);
    }
  }
  const std::vector<uint8_t> bytes = encoder.finish();
  Payload payload(bytes);
  const auto tables = back.tables<RangeDecoder>();
  byte_state_begin(back.state, c.old_offset);
  ByteModel<RangeDecoder> model(payload.decoder, back.state, tables);
  std::vector<uint8_t> ring(c.ring_size);
  for (uint32_t i = 0; i < text.size(); ++i) {
    const History history{ring.data(), c.ring_size - 1, c.ring_size - 1, i};
    const uint8_t got = model.code_byte(history, c.shape, old, 0);
    if (got != text[i]) {
      ADD_FAILURE() << "byte " << i << " of " << text.size();
      break;
    }
    ring[i & (c.ring_size - 1)] = got;
  }
  EXPECT_EQ(back.state.old_at, there.state.old_at);
  EXPECT_TRUE(payload.used_up());
  return bytes.size();
}

std::vector<uint8_t> noise(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() >> 13);
  return bytes;
}

std::vector<uint8_t> words(size_t size) {
  static constexpr const char* kWords[] = {"conv", "dense", "/", "kernel",
                                           "bias", "relu6", "_", "1"};
  std::mt19937 random(2);
  std::string text;
  while (text.size() < size) text += kWords[random() % 8];
  return {text.begin(), text.begin() + static_cast<ptrdiff_t>(size)};
}

std::vector<ByteCase> byte_cases() {
  std::vector<ByteCase> cases;
  for (const unsigned cells : {8u, 9u, 10u, 16u}) {
    for (const unsigned matches : {0u, 6u, 12u}) {
      const auto width = static_cast<uint8_t>(cases.size() % 4);
      constexpr uint32_t kStrides[] = {0, 1, 12, 5000, 3};
      cases.push_back(
          {cells, matches, {width, 0, kStrides[cases.size() % 5]}, 0, 256u << width * 2});
    }
  }
  return cases;
}

TEST(Bytes, LiteralsWithTablesOfEverySize) {
  const std::vector<uint8_t> zeros(700), text = words(1500), random = noise(500, 1);
  for (const ByteCase& c : byte_cases()) {
    EXPECT_LT(expect_bytes_pair(c, zeros, NoOld{}), 40U);
    EXPECT_LT(expect_bytes_pair(c, text, NoOld{}), text.size());
    EXPECT_LT(expect_bytes_pair(c, random, NoOld{}), random.size() * 5 / 4);
  }
}

TEST(Bytes, WithOldThatMovedAndChanged) {
  const std::vector<uint8_t> old = noise(3000, 4);
  const auto at = [&](size_t offset) { return old.begin() + static_cast<ptrdiff_t>(offset); };
  std::vector<uint8_t> edited(at(0), at(300));
  edited.insert(edited.end(), {1, 2, 3});  // an insertion
  edited.insert(edited.end(), at(300), at(600));
  edited.insert(edited.end(), at(617), at(900));    // a deletion
  edited.insert(edited.end(), at(2000), at(2400));  // a jump beyond the pointer's reach
  edited.insert(edited.end(), at(100), at(200));    // and back
  edited.insert(edited.end(), at(2900), at(3000));  // to the end of old
  edited.insert(edited.end(), 300, uint8_t{7});     // where nothing is expected
  for (size_t i = 0; i < 300; i += 17) edited[i] ^= 0x10;
  for (ByteCase c : byte_cases()) {
    expect_bytes_pair(c, edited, OldText{&old});
    EXPECT_LT(expect_bytes_pair(c, old, OldText{&old}), 60U) << "equal to old";
    for (const uint64_t offset : {uint64_t{2990}, uint64_t{3000}, uint64_t{1} << 40}) {
      c.old_offset = offset;
      expect_bytes_pair(c, edited, OldText{&old});
    }
  }
}

// New is old in another order: far beyond the pointer's reach, but found in what was learnt.
TEST(Bytes, WhatWasLearntOfOldIsFoundAgain) {
  std::vector<uint8_t> old = noise(6000, 7);
  std::vector<uint8_t> edited(old.begin() + 3000, old.end());
  edited.insert(edited.end(), old.begin(), old.begin() + 3000);
  const auto coded_size = [&](uint8_t intra, bool learns) {
    ByteTables memory(16, 12);
    OldText text{&old};
    CostCounter counter;
    const auto tables = memory.tables<CostCounter>();
    ByteModel<CostCounter> model(counter, memory.state, tables);
    const ByteShape shape{0, intra, 0};
    byte_state_begin(memory.state, 0);
    for (uint64_t i = 0; learns && i < old.size(); ++i) model.learn(shape, text, i);
    EXPECT_EQ(counter.cost(), 0U) << "nothing is coded while learning";
    for (uint32_t i = 0; i < edited.size(); ++i) {
      model.code_byte({edited.data(), 0xFFFFFFFFu, 0xFFFFu, i}, shape, text, edited[i]);
    }
    return counter.bytes();
  };
  for (const uint8_t intra : {uint8_t{0}, uint8_t{1}}) {
    EXPECT_GT(coded_size(intra, false), 5500U);
    EXPECT_LT(coded_size(intra, true), 200U);
  }
}

TEST(Bytes, ThePointerFindsItsWayOverSmallInsertions) {
  const std::vector<uint8_t> old = noise(8000, 5);
  for (const size_t inserted : {1u, 4u, 60u}) {
    std::vector<uint8_t> edited;
    for (size_t i = 0; i < old.size(); ++i) {
      if (i % 800 == 400) edited.insert(edited.end(), inserted, uint8_t{0});
      edited.push_back(old[i]);
    }
    const size_t size = expect_bytes_pair({}, edited, OldText{&old});
    EXPECT_LT(size, 10 * (inserted + 40)) << inserted;
  }
}

TEST(StepInput, OfBytesIsBounded) {
  const std::vector<uint8_t> old = noise(500, 6);
  for (const unsigned cells : {8u, 12u}) {
    for (const auto& bytes : hostile_payloads(4000)) {
      Payload payload(bytes);
      ByteTables memory(cells, 6);
      const auto tables = memory.tables<RangeDecoder>();
      byte_state_begin(memory.state, 0);
      ByteModel<RangeDecoder> model(payload.decoder, memory.state, tables);
      std::vector<uint8_t> ring(256);
      OldText text{&old};
      for (uint32_t i = 0; i < kHostileSteps && !payload.used_up(); ++i) {
        const uint8_t* before = payload.decoder.next;
        ring[i & 255] = model.code_byte({ring.data(), 255, 255, i}, {1, 0, 12}, text, 0);
        ASSERT_LE(payload.decoder.next - before, static_cast<ptrdiff_t>(kStepInput));
      }
    }
    for (unsigned surprise = 0; surprise <= 8; ++surprise) {
      Adversary adversary;
      ByteTables memory(cells, 6);
      const auto tables = memory.tables<Adversary>();
      byte_state_begin(memory.state, 0);
      ByteModel<Adversary> model(adversary, memory.state, tables);
      std::vector<uint8_t> ring(256);
      OldText text{&old};
      for (uint32_t i = 0; i < 4000; ++i) {
        adversary.surprise = i < 450 ? 0 : surprise;
        const size_t before = adversary.taken;
        ring[i & 255] = model.code_byte({ring.data(), 255, 255, i}, {1, 0, 12}, text, 0);
        ASSERT_LE(adversary.taken - before, kStepInput);
      }
    }
  }
}

// ---- Operations

Operation copy_of(OldPlace old, uint32_t size) {
  Operation op;
  op.old = old;
  op.size = size;
  return op;
}

void set_predictor(Operation& op, std::mt19937& random) {
  op.zero_map = static_cast<uint8_t>(random() % 2);
  op.predictor = static_cast<Predictor>(random() % 4);
  if (op.predictor == Predictor::kGrid) {
    op.grid = {static_cast<uint8_t>(random() % 64),
               static_cast<int16_t>(static_cast<int>(random() % 512) - 256)};
  }
  if (op.predictor == Predictor::kLattice) {
    op.lattice = {static_cast<uint32_t>(random()), static_cast<uint32_t>(random())};
  }
  if (op.predictor != Predictor::kRows) return;
  op.rows.row_values = static_cast<uint32_t>(random()) >> (1 + random() % 31);
  op.rows.column = static_cast<uint32_t>(random()) >> (1 + random() % 31);
  op.rows.gain = static_cast<GainAxis>(random() % 4);
  if (op.rows.gain != GainAxis::kNone) op.rows.gain_shift = static_cast<uint8_t>(random() % 32);
  op.rows.rank = static_cast<uint8_t>(random() % 32);
  if (op.rows.rank != 0) op.rows.factor_shift = static_cast<uint8_t>(random() % 128);
}

Operation random_operation(std::mt19937& random, uint32_t component_count) {
  Operation op;
  op.kind = static_cast<OperationKind>(random() % 4);
  op.size = 1 + static_cast<uint32_t>(random()) % (2u << random() % 30);
  if (op.kind == OperationKind::kValues) {
    op.type = static_cast<ValueType>(random() % kValueTypeCount);
    op.slot = static_cast<uint8_t>(random() % 16);
    op.fresh = static_cast<uint8_t>(random() % 2);
  }
  if (op.kind == OperationKind::kBytes) op.width_log2 = static_cast<uint8_t>(random() % 4);
  if (op.kind == OperationKind::kRecords) {
    op.fresh = static_cast<uint8_t>(random() % 2);
    op.record.count = static_cast<uint8_t>(random() % (kMaxFields + 1));
    for (unsigned i = 0; i < op.record.count; ++i) {
      op.record.fields[i] = {static_cast<uint16_t>(random() % 512),
                             static_cast<ValueType>(random() % 8),
                             static_cast<uint8_t>(random() % 2)};
    }
  } else if (op.kind != OperationKind::kCopy) {
    op.intra = static_cast<uint8_t>(random() % 2);
    if (op.intra != 0 || op.kind == OperationKind::kBytes) {
      op.row_bytes = static_cast<uint32_t>(random()) >> (1 + random() % 31);
    }
  }
  if (op.kind == OperationKind::kValues && op.intra == 0) set_predictor(op, random);
  if (op.kind == OperationKind::kValues && op.intra != 0 && op.row_bytes != 0) {
    op.factor = static_cast<uint32_t>(random()) * (random() % 2);
  }
  if (operation_reads_old(op)) {
    op.old.offset = (uint64_t{random()} << 32 | random()) >> (2 + random() % 62);
    op.old.component = static_cast<uint32_t>(random()) % component_count;
  }
  return op;
}

bool same(const Operation& a, const Operation& b) {
  return a.kind == b.kind && a.size == b.size && a.type == b.type && a.slot == b.slot &&
         a.fresh == b.fresh && a.intra == b.intra && a.row_bytes == b.row_bytes &&
         a.width_log2 == b.width_log2 && a.old.component == b.old.component &&
         a.old.offset == b.old.offset && a.zero_map == b.zero_map && a.predictor == b.predictor &&
         a.rows.row_values == b.rows.row_values && a.rows.column == b.rows.column &&
         a.rows.gain == b.rows.gain && a.rows.gain_shift == b.rows.gain_shift &&
         a.rows.rank == b.rows.rank && a.rows.factor_shift == b.rows.factor_shift &&
         a.factor == b.factor && a.lattice.old_step == b.lattice.old_step &&
         a.lattice.new_step == b.lattice.new_step && a.grid.multiplier == b.grid.multiplier &&
         a.grid.exponent == b.grid.exponent && a.record == b.record;
}

size_t expect_operations_pair(const std::vector<Operation>& operations, OldPlace start,
                              uint32_t component_count) {
  OperationModel there, back;
  operation_model_reset(there, start);
  operation_model_reset(back, start);
  RangeEncoder encoder;
  OperationCoder<RangeEncoder> coder(encoder, there, component_count);
  for (const Operation& op : operations) coder.code(op);
  const std::vector<uint8_t> bytes = encoder.finish();
  Payload payload(bytes);
  OperationCoder<RangeDecoder> decoder(payload.decoder, back, component_count);
  for (size_t i = 0; i < operations.size(); ++i) {
    if (!same(decoder.code({}), operations[i])) {
      ADD_FAILURE() << "operation " << i << " of " << operations.size();
      break;
    }
  }
  EXPECT_TRUE(payload.used_up());
  return bytes.size();
}

TEST(Operations, RandomLists) {
  std::mt19937 random(41);
  for (int round = 0; round < 200; ++round) {
    const uint32_t components = 1 + static_cast<uint32_t>(round) % 6;
    std::vector<Operation> operations;
    for (int i = 0; i < round; ++i) operations.push_back(random_operation(random, components));
    expect_operations_pair(operations, {random(), 0}, components);
  }
}

TEST(Operations, WhatFollowsOnIsCheap) {
  std::vector<Operation> operations;
  uint64_t old = 1u << 20, at = 0;
  for (int i = 0; i < 400; ++i) {
    operations.push_back(copy_of({old + at, 0}, 4096));
    Operation bytes;  // replaces as many bytes of old: the next copy is on the same diagonal
    bytes.kind = OperationKind::kBytes;
    bytes.intra = 1;
    bytes.size = 16;
    operations.push_back(bytes);
    at += 4096 + 16;
  }
  EXPECT_LT(expect_operations_pair(operations, {1u << 20, 0}, 1), operations.size());
}

TEST(Operations, TheFarthestPlacesAndSizes) {
  const uint64_t far = (uint64_t{1} << 62) - 1;
  std::vector<Operation> operations;
  for (const uint64_t offset : {far, uint64_t{0}, far, far / 2, uint64_t{1}}) {
    for (const uint32_t size : {1u, 2u, 0x3FFFFFFFu, 0xFFFFFFFFu}) {
      operations.push_back(copy_of({offset, static_cast<uint32_t>(offset % 6)}, size));
    }
  }
  expect_operations_pair(operations, {0, 5}, 6);
}

TEST(StepInput, OfOperationsIsBounded) {
  for (const uint32_t components : {1u, 6u}) {
    for (const auto& bytes : hostile_payloads(6000)) {
      Payload payload(bytes);
      OperationModel model;
      operation_model_reset(model, {0, 0});
      OperationCoder<RangeDecoder> coder(payload.decoder, model, components);
      for (int i = 0; i < kHostileSteps && !payload.used_up(); ++i) {
        const uint8_t* before = payload.decoder.next;
        coder.code({});
        // The first header of a chunk comes with the four bytes that fill the code word.
        ASSERT_LE(payload.decoder.next - before, static_cast<ptrdiff_t>(kStepInput) - 4);
      }
    }
    for (unsigned surprise = 0; surprise <= 8; ++surprise) {
      Adversary adversary;
      OperationModel model;
      operation_model_reset(model, {0, 0});
      OperationCoder<Adversary> coder(adversary, model, components);
      for (int i = 0; i < 4000; ++i) {
        adversary.surprise = i % 400 < 390 ? 0 : surprise;
        const size_t before = adversary.taken;
        coder.code({});
        ASSERT_LE(adversary.taken - before, kStepInput - 4);
      }
    }
  }
}

}  // namespace
}  // namespace tensorpatch
