// fuzz_bsdiff40.cc: any bytes as a patch: refused, or a new file of the declared size.
//
// Checksums would keep damage away from what lies behind bzip2, so in a second mode the input is
// the content of the three streams. Two more go from an old to a new file and back.
// SPDX-License-Identifier: Apache-2.0
#include <bzlib.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "delta/bsdiff40.h"

namespace {

using tensorpatch::Result;
using tensorpatch::base::Bytes;

// Fails when it is full, so that a patch that declares terabytes is given up.
class BoundedSink : public tensorpatch::base::Sink {
 public:
  Result<void> write(Bytes bytes) override {
    constexpr size_t kFull = size_t{4} << 20;
    if (data.size() + bytes.size() > kFull) return tensorpatch::fail(TENSORPATCH_E_IO, "full");
    data.insert(data.end(), bytes.begin(), bytes.end());
    return {};
  }
  std::vector<uint8_t> data;
};

// Up to `limit` bytes, taken off `rest`.
Bytes take(Bytes& rest, size_t limit) {
  const size_t size = std::min(limit, rest.size());
  const Bytes taken = rest.first(size);
  rest = rest.subspan(size);
  return taken;
}

uint64_t declared_size(Bytes patch) {
  uint64_t size = 0;
  for (size_t i = 0; i < 8; ++i) size |= uint64_t{patch[24 + i]} << (8 * i);
  return size;
}

void apply_patch(Bytes old_bytes, Bytes patch) {
  BoundedSink out;
  const auto done = tensorpatch::delta::apply_bsdiff40(old_bytes, patch, out);
  if (patch.size() < 32 && (done || !out.data.empty())) std::abort();
  if (patch.size() < 32) return;
  if (done && out.data.size() != declared_size(patch)) std::abort();
  if (!done && out.data.size() > declared_size(patch)) std::abort();
}

void append_integer(std::vector<uint8_t>& data, uint64_t value) {
  for (size_t i = 0; i < 8; ++i) data.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

std::vector<uint8_t> bzip2(Bytes data) {
  std::vector<uint8_t> input(data.begin(), data.end());
  input.push_back(0);
  std::vector<uint8_t> out(data.size() * 2 + 1000);
  auto size = static_cast<unsigned>(out.size());
  const int status = BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(out.data()), &size,
                                              reinterpret_cast<char*>(input.data()),
                                              static_cast<unsigned>(data.size()), 1, 0, 0);
  if (status != BZ_OK) std::abort();
  out.resize(size);
  return out;
}

// The triples are made from four bytes each, so that most of them fit.
void apply_streams(Bytes old_bytes, Bytes rest) {
  if (rest.size() < 3) return;
  const size_t triples = rest[0];
  const uint64_t new_size = rest[1];
  const size_t difference_size = rest[2];
  rest = rest.subspan(3);
  std::vector<uint8_t> control;
  for (size_t i = 0; i < triples && rest.size() >= 4; ++i) {
    const Bytes triple = take(rest, 4);
    append_integer(control, triple[0] == 0xff ? ~uint64_t{0} >> (triple[3] & 7) : triple[0]);
    append_integer(control, triple[1] == 0xff ? ~uint64_t{0} >> (triple[3] & 7) : triple[1]);
    const uint64_t sign = uint64_t{triple[3] & 0x80u} << 56;
    append_integer(control, sign | (uint64_t{triple[2]} << (triple[3] & 63)));
  }
  const auto control_stream = bzip2(control);
  const auto difference_stream = bzip2(take(rest, difference_size));
  const auto extra_stream = bzip2(rest);
  std::vector<uint8_t> patch = {'B', 'S', 'D', 'I', 'F', 'F', '4', '0'};
  append_integer(patch, control_stream.size());
  append_integer(patch, difference_stream.size());
  append_integer(patch, new_size);
  for (const auto* stream : {&control_stream, &difference_stream, &extra_stream}) {
    patch.insert(patch.end(), stream->begin(), stream->end());
  }
  apply_patch(old_bytes, patch);
}

void there_and_back(Bytes old_bytes, Bytes new_bytes) {
  BoundedSink patch;
  BoundedSink out;
  if (!tensorpatch::delta::write_bsdiff40(old_bytes, new_bytes, patch, {.window = 0})) std::abort();
  if (!tensorpatch::delta::apply_bsdiff40(old_bytes, patch.data, out)) std::abort();
  if (!std::equal(out.data.begin(), out.data.end(), new_bytes.begin(), new_bytes.end())) {
    std::abort();
  }
}

// Repeated with small changes, to be larger than the smallest window.
std::vector<uint8_t> grow(Bytes seed) {
  constexpr size_t kCopies = 20;
  std::vector<uint8_t> grown;
  for (size_t copy = 0; copy < kCopies; ++copy) {
    for (size_t i = 0; i < seed.size(); ++i) {
      grown.push_back(static_cast<uint8_t>(seed[i] + (i % 61 == copy ? 1 : 0)));
    }
  }
  return grown;
}

}  // namespace

// First byte: the mode; second and third: the size of old.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  Bytes rest(data + 3, size - 3);
  const Bytes old_bytes = take(rest, size_t{data[1]} * 256 + data[2]);
  switch (data[0] % 4) {
    case 0:
      apply_patch(old_bytes, rest);
      break;
    case 1:
      apply_streams(old_bytes, rest);
      break;
    case 2:
      there_and_back(grow(old_bytes), grow(rest));
      break;
    default:
      there_and_back(old_bytes, rest);
  }
  return 0;
}
