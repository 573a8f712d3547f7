// benchmarks/micro/hashing.cc: SHA-256 on the host, by size of what is hashed.
// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include "bundle/digest.h"
#include "inputs.h"

namespace tensorpatch::micro {
namespace {

void sha256(benchmark::State& state) {
  const std::vector<uint8_t> bytes = weights(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(bundle::sha256(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sha256)->Range(1 << 10, 1 << 24);

}  // namespace
}  // namespace tensorpatch::micro
