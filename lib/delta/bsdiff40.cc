// delta/bsdiff40.cc: BSDIFF40 from byte equivalences, and its application in constant memory.
// SPDX-License-Identifier: Apache-2.0
#include "delta/bsdiff40.h"

#include <bzlib.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <vector>

namespace tensorpatch::delta {
namespace {

using base::Bytes;

constexpr std::array<uint8_t, 8> kMagic = {'B', 'S', 'D', 'I', 'F', 'F', '4', '0'};
constexpr size_t kIntegerSize = 8;
constexpr size_t kTripleSize = 3 * kIntegerSize;
constexpr size_t kHeaderSize = kMagic.size() + 3 * kIntegerSize;
constexpr size_t kChunkSize = size_t{64} << 10;
constexpr uint64_t kSignBit = uint64_t{1} << 63;

tl::unexpected<Error> malformed(const char* what) {
  return fail(TENSORPATCH_E_FORMAT, std::string("bsdiff patch: ") + what);
}

void store_integer(int64_t value, uint8_t* data) {
  const auto bits = static_cast<uint64_t>(value);
  const uint64_t coded = value < 0 ? (uint64_t{0} - bits) | kSignBit : bits;
  for (size_t i = 0; i < kIntegerSize; ++i) data[i] = static_cast<uint8_t>(coded >> (8 * i));
}

int64_t load_integer(const uint8_t* data) {
  uint64_t coded = 0;
  for (size_t i = 0; i < kIntegerSize; ++i) coded |= uint64_t{data[i]} << (8 * i);
  const auto magnitude = static_cast<int64_t>(coded & ~kSignBit);
  return (coded & kSignBit) != 0 ? -magnitude : magnitude;
}

// bzlib takes sizes as unsigned int and inputs as char*.
unsigned piece_of(size_t size) {
  return static_cast<unsigned>(std::min<size_t>(size, std::numeric_limits<int>::max()));
}
char* as_input(const uint8_t* data) {
  return const_cast<char*>(reinterpret_cast<const char*>(data));  // bzlib only reads it
}

// One bzip2 stream, compressed into memory.
class Compressor {
 public:
  Compressor() {
    constexpr int kBlockSize = 9;
    if (BZ2_bzCompressInit(&stream_, kBlockSize, 0, 0) != BZ_OK) throw std::bad_alloc();
  }
  ~Compressor() { BZ2_bzCompressEnd(&stream_); }
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  void write(Bytes data) {
    while (!data.empty()) {
      stream_.next_in = as_input(data.data());
      stream_.avail_in = piece_of(data.size());
      data = data.subspan(stream_.avail_in);
      while (stream_.avail_in > 0) step(BZ_RUN);
    }
  }
  const std::vector<uint8_t>& finish() {
    while (step(BZ_FINISH) != BZ_STREAM_END) {
    }
    return compressed_;
  }

 private:
  int step(int action) {
    std::array<char, 4096> piece;
    stream_.next_out = piece.data();
    stream_.avail_out = piece.size();
    const int status = BZ2_bzCompress(&stream_, action);
    assert(status >= 0);
    compressed_.insert(compressed_.end(), piece.data(), stream_.next_out);
    return status;
  }

  bz_stream stream_{};
  std::vector<uint8_t> compressed_;
};

// One bzip2 stream that must fill its bytes exactly.
class Decompressor {
 public:
  explicit Decompressor(Bytes compressed) : rest_(compressed) {
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) throw std::bad_alloc();
  }
  ~Decompressor() { BZ2_bzDecompressEnd(&stream_); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  // Fills `data` to its end.
  Result<void> read(std::span<uint8_t> data) {
    auto size = fill(data);
    if (!size) return tl::unexpected(size.error());
    if (*size != data.size()) return malformed("a stream ends too early");
    return {};
  }
  // The stream ends here, and so do its compressed bytes.
  Result<void> expect_end() {
    std::array<uint8_t, 1> beyond;
    auto size = fill(beyond);
    if (!size) return tl::unexpected(size.error());
    if (*size != 0 || !rest_.empty())
      return malformed("bytes are left over after the new file's end");
    return {};
  }

 private:
  // Decompresses up to data.size() bytes; fewer only at the end of the stream.
  Result<size_t> fill(std::span<uint8_t> data) {
    size_t filled = 0;
    while (filled < data.size() && !ended_) {
      stream_.next_in = as_input(rest_.data());
      stream_.avail_in = piece_of(rest_.size());
      stream_.next_out = reinterpret_cast<char*>(data.data() + filled);
      stream_.avail_out = piece_of(data.size() - filled);
      const unsigned offered_in = stream_.avail_in;
      const unsigned offered_out = stream_.avail_out;
      const int status = BZ2_bzDecompress(&stream_);
      if (status == BZ_MEM_ERROR) throw std::bad_alloc();
      if (status != BZ_OK && status != BZ_STREAM_END) return malformed("a bzip2 stream is damaged");
      ended_ = status == BZ_STREAM_END;
      const unsigned consumed = offered_in - stream_.avail_in;
      const unsigned produced = offered_out - stream_.avail_out;
      if (!ended_ && consumed == 0 && produced == 0)
        return malformed("a bzip2 stream ends too early");
      rest_ = rest_.subspan(consumed);
      filled += produced;
    }
    return filled;
  }

  bz_stream stream_{};
  Bytes rest_;
  bool ended_ = false;
};

// The three streams of a patch, written from equivalences.
class PatchWriter {
 public:
  PatchWriter(Bytes old_bytes, Bytes new_bytes) : old_(old_bytes), new_(new_bytes) {}

  // Equivalences tile new with the literals between them; one triple says an equivalence, the
  // literal after it and the move to the next one.
  void write(const std::vector<Equivalence>& equivalences) {
    Equivalence current;  // empty: new may begin with a literal
    for (const Equivalence& next : equivalences) {
      if (next != Equivalence{0, 0, next.size}) write_triple(current, next);
      current = next;
    }
    const uint64_t old_end = current.old_offset + current.size;
    if (!new_.empty()) write_triple(current, {old_end, new_.size(), 0});
  }

  Result<void> finish(base::Sink& patch) {
    const std::array<const std::vector<uint8_t>*, 3> streams = {
        &control_.finish(), &difference_.finish(), &extra_.finish()};
    std::array<uint8_t, kHeaderSize> header;
    std::copy(kMagic.begin(), kMagic.end(), header.begin());
    store_integer(static_cast<int64_t>(streams[0]->size()), &header[8]);
    store_integer(static_cast<int64_t>(streams[1]->size()), &header[16]);
    store_integer(static_cast<int64_t>(new_.size()), &header[24]);
    if (auto written = patch.write(header); !written) return written;
    for (const auto* stream : streams) {
      if (auto written = patch.write(*stream); !written) return written;
    }
    return {};
  }

 private:
  void write_triple(const Equivalence& current, const Equivalence& next) {
    const uint64_t new_end = current.new_offset + current.size;
    const uint64_t old_end = current.old_offset + current.size;
    const uint64_t literal = next.new_offset - new_end;
    std::array<uint8_t, kTripleSize> triple;
    store_integer(static_cast<int64_t>(current.size), &triple[0]);
    store_integer(static_cast<int64_t>(literal), &triple[8]);
    store_integer(static_cast<int64_t>(next.old_offset - old_end), &triple[16]);
    control_.write(triple);
    write_difference(current);
    extra_.write(new_.subspan(new_end, literal));
  }

  void write_difference(const Equivalence& at) {
    std::vector<uint8_t> chunk(std::min<uint64_t>(at.size, kChunkSize));
    for (uint64_t done = 0; done < at.size; done += chunk.size()) {
      chunk.resize(std::min<uint64_t>(at.size - done, kChunkSize));
      for (size_t i = 0; i < chunk.size(); ++i) {
        chunk[i] =
            static_cast<uint8_t>(new_[at.new_offset + done + i] - old_[at.old_offset + done + i]);
      }
      difference_.write(chunk);
    }
  }

  Bytes old_;
  Bytes new_;
  Compressor control_;
  Compressor difference_;
  Compressor extra_;
};

struct Header {
  Bytes control;
  Bytes difference;
  Bytes extra;
  uint64_t new_size = 0;
};

Result<Header> read_header(Bytes patch) {
  if (patch.size() < kHeaderSize || !std::equal(kMagic.begin(), kMagic.end(), patch.begin())) {
    return malformed("not in BSDIFF40 format");
  }
  const int64_t control = load_integer(&patch[8]);
  const int64_t difference = load_integer(&patch[16]);
  const int64_t new_size = load_integer(&patch[24]);
  const Bytes streams = patch.subspan(kHeaderSize);
  if (control < 0 || difference < 0 || new_size < 0) return malformed("a size is negative");
  const auto control_size = static_cast<uint64_t>(control);
  const auto difference_size = static_cast<uint64_t>(difference);
  if (control_size > streams.size() || difference_size > streams.size() - control_size) {
    return malformed("a stream is larger than the patch");
  }
  return Header{streams.first(control_size), streams.subspan(control_size, difference_size),
                streams.subspan(control_size + difference_size), static_cast<uint64_t>(new_size)};
}

struct Triple {
  uint64_t difference = 0;  // difference + extra fit in what remains of new
  uint64_t extra = 0;
  int64_t move = 0;
};

// Replays the triples of a patch.
class PatchReader {
 public:
  PatchReader(Bytes old_bytes, const Header& header, base::Sink& out)
      : old_(old_bytes),
        out_(out),
        remaining_(header.new_size),
        control_(header.control),
        difference_(header.difference),
        extra_(header.extra) {}

  Result<void> run() {
    while (remaining_ > 0) {
      auto triple = next_triple();
      if (!triple) return tl::unexpected(triple.error());
      if (auto done = copy_difference(triple->difference); !done) return done;
      if (auto done = copy_extra(triple->extra); !done) return done;
      if (__builtin_add_overflow(old_offset_, triple->move, &old_offset_)) {
        return malformed("a move in the old file overflows");
      }
    }
    for (Decompressor* stream : {&control_, &difference_, &extra_}) {
      if (auto done = stream->expect_end(); !done) return done;
    }
    return {};
  }

 private:
  // Triples that add nothing in a row; writers make at most a few of them, a bzip2 bomb millions.
  static constexpr int kMaxIdle = 1000;

  Result<Triple> next_triple() {
    std::array<uint8_t, kTripleSize> data;
    if (auto done = control_.read(data); !done) return tl::unexpected(done.error());
    const int64_t difference = load_integer(&data[0]);
    const int64_t extra = load_integer(&data[8]);
    if (difference < 0 || extra < 0) return malformed("a size in the control stream is negative");
    const Triple triple{static_cast<uint64_t>(difference), static_cast<uint64_t>(extra),
                        load_integer(&data[16])};
    if (triple.difference > remaining_ || triple.extra > remaining_ - triple.difference) {
      return malformed("the control stream writes beyond the new file's size");
    }
    idle_ = triple.difference + triple.extra == 0 ? idle_ + 1 : 0;
    if (idle_ > kMaxIdle) return malformed("the control stream makes no progress");
    return triple;
  }

  Result<void> copy_difference(uint64_t size) {
    while (size > 0) {
      const std::span<uint8_t> piece =
          std::span(chunk_).first(std::min<uint64_t>(size, kChunkSize));
      if (auto done = difference_.read(piece); !done) return done;
      add_old(piece);
      if (__builtin_add_overflow(old_offset_, static_cast<int64_t>(piece.size()), &old_offset_)) {
        return malformed("a move in the old file overflows");
      }
      if (auto done = emit(piece); !done) return done;
      size -= piece.size();
    }
    return {};
  }

  Result<void> copy_extra(uint64_t size) {
    while (size > 0) {
      const std::span<uint8_t> piece =
          std::span(chunk_).first(std::min<uint64_t>(size, kChunkSize));
      if (auto done = extra_.read(piece); !done) return done;
      if (auto done = emit(piece); !done) return done;
      size -= piece.size();
    }
    return {};
  }

  void add_old(std::span<uint8_t> piece) const {
    const auto size = static_cast<int64_t>(piece.size());
    const auto old_size = static_cast<int64_t>(old_.size());
    if (old_offset_ >= old_size || old_offset_ <= -size) return;
    const int64_t begin = std::max<int64_t>(0, -old_offset_);
    const int64_t end = std::min(size, old_size - old_offset_);
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t old_byte = old_[static_cast<size_t>(old_offset_ + i)];
      uint8_t& byte = piece[static_cast<size_t>(i)];
      byte = static_cast<uint8_t>(byte + old_byte);
    }
  }

  Result<void> emit(Bytes piece) {
    assert(piece.size() <= remaining_);
    remaining_ -= piece.size();
    return out_.write(piece);
  }

  Bytes old_;
  base::Sink& out_;
  uint64_t remaining_;
  Decompressor control_;
  Decompressor difference_;
  Decompressor extra_;
  int64_t old_offset_ = 0;
  int idle_ = 0;
  std::vector<uint8_t> chunk_ = std::vector<uint8_t>(kChunkSize);
};

}  // namespace

Result<void> write_bsdiff40(Bytes old_bytes, Bytes new_bytes, base::Sink& patch,
                            const ByteMatchOptions& options) {
  PatchWriter writer(old_bytes, new_bytes);
  writer.write(match_bytes(old_bytes, new_bytes, options));
  return writer.finish(patch);
}

Result<void> apply_bsdiff40(Bytes old_bytes, Bytes patch, base::Sink& out) {
  auto header = read_header(patch);
  if (!header) return tl::unexpected(header.error());
  return PatchReader(old_bytes, *header, out).run();
}

}  // namespace tensorpatch::delta
