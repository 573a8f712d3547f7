// benchmarks/micro/inputs.h: bytes to measure on, the same in every run.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace tensorpatch::micro {

// Like the weights of an int8 model: bytes around zero, bell-shaped.
inline std::vector<uint8_t> weights(size_t count) {
  std::mt19937 generator(1);
  std::binomial_distribution<int> bell(64, 0.5);
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(bell(generator) - 32);
  return bytes;
}

// A fine-tuned copy: about `percent` of the bytes move by one.
inline std::vector<uint8_t> moved(std::vector<uint8_t> bytes, unsigned percent) {
  std::mt19937 generator(2);
  for (uint8_t& byte : bytes) {
    if (generator() % 100 < percent) byte = static_cast<uint8_t>(byte + 1);
  }
  return bytes;
}

}  // namespace tensorpatch::micro
