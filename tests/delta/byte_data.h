// delta/byte_data.h: byte strings of known structure, the same on every machine.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <vector>

namespace tensorpatch::test {

using ByteVector = std::vector<uint8_t>;

inline ByteVector random_bytes(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  ByteVector data(size);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random() >> 24);
  return data;
}

inline ByteVector slice(const ByteVector& data, size_t offset, size_t size) {
  const auto begin = data.begin() + static_cast<std::ptrdiff_t>(offset);
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

inline ByteVector concat(std::initializer_list<ByteVector> parts) {
  ByteVector all;
  for (const ByteVector& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// One is added to every `step`th byte.
inline ByteVector with_step_added(ByteVector data, size_t step) {
  for (size_t i = step / 2; i < data.size(); i += step) ++data[i];
  return data;
}

// a, ab, aba, abaab ...: as many repetitions as a string without a period can have.
inline ByteVector fibonacci_word(size_t size) {
  ByteVector last = {'a'};
  ByteVector word = {'a', 'b'};
  while (word.size() < size) {
    ByteVector next = concat({word, last});
    last = std::move(word);
    word = std::move(next);
  }
  word.resize(size);
  return word;
}

}  // namespace tensorpatch::test
