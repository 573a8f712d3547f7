// benchmarks/micro/coder.cc: the range coder and its adaptive cells, both halves.
// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "apply/entropy_decoder.h"
#include "apply/entropy_model.h"
#include "delta/entropy_encoder.h"

namespace tensorpatch::micro {
namespace {

constexpr size_t kBitCount = 1 << 20;
constexpr size_t kCellCount = 256;  // contexts, as many as a small model has

std::vector<uint8_t> skewed_bits() {
  std::mt19937 generator(3);
  std::vector<uint8_t> bits(kBitCount);
  for (size_t i = 0; i < bits.size(); ++i) {
    bits[i] = generator() % 1000 < 20 + 3 * (i % kCellCount) ? 1 : 0;
  }
  return bits;
}

template <class Coder>
unsigned code_all(Coder& coder, const std::vector<uint8_t>& bits) {
  std::vector<Cell> cells(kCellCount, kCellStart);
  unsigned ones = 0;
  for (size_t i = 0; i < bits.size(); ++i) {
    Cell& cell = cells[i % kCellCount];
    const unsigned bit = coder.code(cell_probability(cell), bits[i]);
    cell_update(cell, bit, kPlainCell);
    ones += bit;
  }
  return ones;
}

void encode(benchmark::State& state) {
  const std::vector<uint8_t> bits = skewed_bits();
  for (auto _ : state) {
    delta::RangeEncoder encoder;
    code_all(encoder, bits);
    benchmark::DoNotOptimize(encoder.finish());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBitCount));
}
BENCHMARK(encode);

void decode(benchmark::State& state) {
  const std::vector<uint8_t> bits = skewed_bits();
  delta::RangeEncoder encoder;
  const unsigned ones = code_all(encoder, bits);
  const std::vector<uint8_t> payload = encoder.finish();
  const std::vector<uint8_t> unknown(kBitCount);
  for (auto _ : state) {
    RangeDecoder decoder{};
    decoder.next = payload.data();
    decoder.end = payload.data() + payload.size();
    decoder.begin();
    if (code_all(decoder, unknown) != ones) state.SkipWithError("decoded something else");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBitCount));
}
BENCHMARK(decode);

}  // namespace
}  // namespace tensorpatch::micro
