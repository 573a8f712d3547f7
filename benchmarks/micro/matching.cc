// benchmarks/micro/matching.cc: the byte matcher, by share of bytes that moved, and the suffix
// sorting beneath it.
// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <divsufsort.h>

#include <vector>

#include "delta/byte_match.h"
#include "inputs.h"

namespace tensorpatch::micro {
namespace {

constexpr size_t kSize = 1 << 20;

void match(benchmark::State& state) {
  const std::vector<uint8_t> old_bytes = weights(kSize);
  const std::vector<uint8_t> new_bytes = moved(old_bytes, static_cast<unsigned>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(delta::match_bytes(old_bytes, new_bytes));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kSize));
}
BENCHMARK(match)
    ->ArgName("percent_moved")
    ->Arg(0)
    ->Arg(5)
    ->Arg(25)
    ->Arg(60)
    ->Unit(benchmark::kMillisecond);

void sort_suffixes(benchmark::State& state) {
  const std::vector<uint8_t> bytes = weights(static_cast<size_t>(state.range(0)));
  std::vector<saidx_t> suffixes(bytes.size());
  for (auto _ : state) {
    if (divsufsort(bytes.data(), suffixes.data(), static_cast<saidx_t>(bytes.size())) != 0) {
      state.SkipWithError("divsufsort failed");
    }
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sort_suffixes)->Range(1 << 16, 1 << 22)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tensorpatch::micro
