// delta/byte_match.cc: the suffix index of old, the scan of new, and the cleaning of its result.
//
// An alignment is a difference old_offset - new_offset; it is the scan's only state besides its
// place in new. Positions outside old count as mismatches of an alignment.
// SPDX-License-Identifier: Apache-2.0
#include "delta/byte_match.h"

#include <divsufsort.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <new>
#include <optional>

namespace tensorpatch::delta {
namespace {

using base::Bytes;

// A new alignment must get more than this many bytes right that the present one gets wrong: about
// what one more entry of a patch costs.
constexpr uint64_t kEntryCost = 8;
constexpr size_t kLookahead = kEntryCost + 1;
constexpr uint64_t kGramSize = 8;
constexpr uint64_t kMinWindow = uint64_t{4} << 10;
constexpr uint64_t kMaxWindow = uint64_t{1} << 30;  // suffix arrays of 32-bit integers
// Neighbours of one alignment are joined across gaps up to this size.
constexpr uint64_t kMaxJoinedGap = 32;

uint64_t load_gram(const uint8_t* data) {
  uint64_t gram = 0;
  std::memcpy(&gram, data, sizeof(gram));
  return gram;
}

// Length of the common prefix of two stretches of `limit` bytes.
uint64_t common_prefix(const uint8_t* a, const uint8_t* b, uint64_t limit) {
  uint64_t i = 0;
  if constexpr (std::endian::native == std::endian::little) {
    for (; i + kGramSize <= limit; i += kGramSize) {
      const uint64_t difference = load_gram(a + i) ^ load_gram(b + i);
      if (difference != 0) return i + static_cast<uint64_t>(std::countr_zero(difference)) / 8;
    }
  }
  while (i < limit && a[i] == b[i]) ++i;
  return i;
}

uint64_t common_suffix(Bytes a, Bytes b) {
  const uint64_t limit = std::min(a.size(), b.size());
  uint64_t i = 0;
  while (i + kGramSize <= limit && load_gram(a.data() + (a.size() - i - kGramSize)) ==
                                       load_gram(b.data() + (b.size() - i - kGramSize))) {
    i += kGramSize;
  }
  while (i < limit && a[a.size() - i - 1] == b[b.size() - i - 1]) ++i;
  return i;
}

struct Match {
  uint64_t old_offset = 0;
  uint64_t size = 0;
};

// What is looked up: the longest prefix of `pattern` (at least two bytes) that is in old. It is of
// use only from `needed` bytes on; then, of several such places, the one that `rank` puts highest
// is asked for.
template <class Rank>
struct Query {
  Bytes pattern;
  uint64_t needed = 0;
  Rank rank;
};

// Says of an eight-byte string that it is certainly not in a window of old, or that it may be.
class GramFilter {
 public:
  explicit GramFilter(Bytes window) {
    const uint64_t wanted = std::max<uint64_t>(window.size(), 64) * 8;
    const int log2_bits =
        static_cast<int>(std::bit_width(wanted - 1)) - (window.size() > (1u << 20) ? 1 : 0);
    shift_ = 64 - log2_bits;
    bits_.resize(size_t{1} << (log2_bits - 6));
    for (uint64_t i = 0; i + kGramSize <= window.size(); ++i) {
      const uint64_t hash = hash_of(window.data() + i);
      bits_[hash >> 6] |= uint64_t{1} << (hash & 63);
    }
  }
  bool may_contain(const uint8_t* gram) const {
    const uint64_t hash = hash_of(gram);
    return ((bits_[hash >> 6] >> (hash & 63)) & 1) != 0;
  }

 private:
  uint64_t hash_of(const uint8_t* gram) const {
    return (load_gram(gram) * 0x9e3779b97f4a7c15u) >> shift_;
  }
  int shift_ = 0;
  std::vector<uint64_t> bits_;
};

// Suffix array of a window of old, its search narrowed by a table over the first two bytes.
class SuffixIndex {
 public:
  SuffixIndex(Bytes window, ByteMatchStats& stats)
      : window_(window),
        suffixes_(std::make_unique_for_overwrite<int32_t[]>(window.size())),
        buckets_(kBucketCount + 1) {
    assert(window.size() >= kGramSize && window.size() <= kMaxWindow);
    if (divsufsort(window.data(), suffixes_.get(), static_cast<int32_t>(window.size())) != 0) {
      throw std::bad_alloc();
    }
    stats.indexed += window.size();
    for (size_t i = 0; i + 1 < window.size(); ++i) ++buckets_[bucket_of(window.data() + i) + 1];
    // The suffix of one byte sorts before the longer ones that begin with it.
    ++buckets_[size_t{window.back()} * 256 + 1];
    for (size_t i = 0; i < kBucketCount; ++i) buckets_[i + 1] += buckets_[i];
  }

  // The answer, as an offset in the window. Only places that are near each other in the array are
  // ranked.
  template <class Rank>
  Match longest(const Query<Rank>& query, ByteMatchStats& stats) const {
    ++stats.searches;
    const Bytes pattern = query.pattern;
    const size_t bucket = bucket_of(pattern.data());
    const int32_t first = buckets_[bucket];
    const int32_t last = buckets_[bucket + 1];
    if (first == last) return {};
    // Invariant: suffixes before `low` are smaller than the pattern, those from `high` on larger.
    int32_t low = first;
    int32_t high = last;
    uint64_t low_common = 0;
    uint64_t high_common = 0;
    while (low < high) {
      const int32_t middle = low + (high - low) / 2;
      const uint64_t common = extend(middle, pattern, std::min(low_common, high_common), stats);
      const uint64_t at = offset(middle) + common;
      if (common == pattern.size() || (at < window_.size() && window_[at] > pattern[common])) {
        high = middle;
        high_common = common;
      } else {
        low = middle + 1;
        low_common = common;
      }
    }
    const Match either = low_common > high_common
                             ? Match{offset(low - 1), low_common}
                             : Match{offset(high < last ? high : last - 1), high_common};
    if (either.size < query.needed) return either;
    return best_of_equals(low, {first, last}, pattern.first(either.size), query.rank, stats);
  }

 private:
  static constexpr size_t kBucketCount = 65536;
  // Candidates looked at on each side of the place of the pattern, and the bytes compared for that.
  static constexpr uint64_t kMaxEquals = 32;
  static constexpr uint64_t kMaxEqualBytes = 2048;

  struct Range {
    int32_t first = 0;
    int32_t last = 0;
  };

  static size_t bucket_of(const uint8_t* data) { return size_t{data[0]} * 256 + data[1]; }
  uint64_t offset(int32_t rank) const {
    return static_cast<uint64_t>(suffixes_[static_cast<size_t>(rank)]);
  }
  uint64_t extend(int32_t rank, Bytes pattern, uint64_t known, ByteMatchStats& stats) const {
    const uint64_t at = offset(rank);
    const uint64_t limit = std::min<uint64_t>(pattern.size(), window_.size() - at);
    if (known >= limit) return limit;
    const uint64_t more =
        common_prefix(window_.data() + at + known, pattern.data() + known, limit - known);
    stats.compared += more + 1;
    return known + more;
  }

  template <class Rank>
  Match best_of_equals(int32_t place, Range range, Bytes matched, const Rank& rank,
                       ByteMatchStats& stats) const {
    const auto count =
        static_cast<int32_t>(std::clamp<uint64_t>(kMaxEqualBytes / matched.size(), 1, kMaxEquals));
    std::optional<Match> best;
    const auto consider = [&](int32_t candidate) {
      if (extend(candidate, matched, 0, stats) != matched.size()) return false;
      const Match match{offset(candidate), matched.size()};
      if (!best || rank(match) > rank(*best)) best = match;
      return true;
    };
    for (int32_t i = place; i < range.last && i - place < count; ++i) {
      if (!consider(i)) break;
    }
    for (int32_t i = place - 1; i >= range.first && place - i <= count; --i) {
      if (!consider(i)) break;
    }
    assert(best);
    return *best;
  }

  Bytes window_;
  std::unique_ptr<int32_t[]> suffixes_;
  std::vector<int32_t> buckets_;
};

// The window of old that serves a place in new. Filter and suffix array are made when first needed.
class WindowedIndex {
 public:
  WindowedIndex(Bytes old_bytes, uint64_t new_size, uint64_t window)
      : old_(old_bytes),
        new_size_(new_size),
        size_(std::min<uint64_t>(old_bytes.size(), std::clamp(window, kMinWindow, kMaxWindow))) {}

  uint64_t window_size() const { return size_; }
  bool is_partial() const { return size_ < old_.size(); }

  // Moves the window to where `new_offset` would be if all had grown evenly, in steps of half a
  // window.
  void move_to(uint64_t new_offset) {
    if (!is_partial()) return;
    const uint64_t step = size_ / 2;
    const uint64_t middle = new_offset - new_offset % step + step / 2;
    const double growth = static_cast<double>(old_.size()) / static_cast<double>(new_size_);
    const uint64_t last_begin = old_.size() - size_;
    const double begin = static_cast<double>(middle) * growth - static_cast<double>(size_) / 2;
    const uint64_t wanted = begin <= 0 ? 0
                            : begin >= static_cast<double>(last_begin)
                                ? last_begin
                                : static_cast<uint64_t>(begin);
    if (wanted == begin_) return;
    begin_ = wanted;
    filter_.reset();
    suffixes_.reset();
  }

  bool may_contain(const uint8_t* gram) {
    if (!filter_) filter_.emplace(window());
    return filter_->may_contain(gram);
  }

  template <class Rank>
  Match longest(const Query<Rank>& query, ByteMatchStats& stats) {
    if (size_ < kGramSize) return {};
    if (!suffixes_) suffixes_.emplace(window(), stats);
    const auto rank = [&](Match found) {
      return query.rank(Match{begin_ + found.old_offset, found.size});
    };
    const Bytes pattern = query.pattern;
    Match match = suffixes_->longest(Query<decltype(rank)>{pattern, query.needed, rank}, stats);
    match.old_offset += begin_;
    // The window's end is not the end of old.
    const uint64_t limit = std::min<uint64_t>(old_.size() - match.old_offset, pattern.size());
    const uint64_t beyond = common_prefix(old_.data() + match.old_offset + match.size,
                                          pattern.data() + match.size, limit - match.size);
    stats.compared += beyond;
    match.size += beyond;
    return match;
  }

 private:
  Bytes window() const { return old_.subspan(begin_, size_); }

  Bytes old_;
  uint64_t new_size_;
  uint64_t size_;
  uint64_t begin_ = 0;
  std::optional<GramFilter> filter_;
  std::optional<SuffixIndex> suffixes_;
};

// Strings at regular places of the whole of an old that is larger than the window, found in new
// with a rolling hash: content that moved far is found again if it is longer than about two steps.
class Landmarks {
 public:
  Landmarks(Bytes old_bytes, Bytes new_bytes, uint64_t window) : new_(new_bytes) {
    const uint64_t count = std::max<uint64_t>(window / 32, 1);
    step_ = std::max(kSize, (old_bytes.size() + count - 1) / count);
    const int log2_slots = static_cast<int>(std::bit_width(2 * count - 1));
    shift_ = 64 - log2_slots;
    slots_.resize(size_t{1} << log2_slots);
    for (uint64_t i = 1; i < kSize; ++i) leaving_ *= kBase;
    // Backwards, so that of equal strings the first stays.
    for (uint64_t i = old_bytes.size() / step_; i-- > 0;) {
      const uint64_t hash = hash_of(old_bytes.data() + i * step_);
      slots_[slot_of(hash)] = tag_of(hash) | (i + 1);
    }
  }

  // The alignment of a string that begins in new at or shortly before `new_offset` and was not
  // looked at yet; hashes are equal, the bytes need not be.
  std::optional<int64_t> find(uint64_t new_offset, ByteMatchStats& stats) {
    std::optional<int64_t> found;
    const uint64_t recent = new_offset - std::min(new_offset, kReach);
    for (uint64_t i = std::max(next_, recent); i <= new_offset && i + kSize <= new_.size(); ++i) {
      hash_ = i == next_ && i > 0 ? (hash_ - new_[i - 1] * leaving_) * kBase + new_[i + kSize - 1]
                                  : hash_of(new_.data() + i);
      next_ = i + 1;
      ++stats.compared;
      const uint64_t slot = slots_[slot_of(hash_)];
      if (slot == 0 || (slot & ~kIndexMask) != tag_of(hash_)) continue;
      const uint64_t old_offset = ((slot & kIndexMask) - 1) * step_;
      found = static_cast<int64_t>(old_offset) - static_cast<int64_t>(i);
    }
    return found;
  }

 private:
  static constexpr uint64_t kSize = 32;
  static constexpr uint64_t kReach = 64;
  static constexpr uint64_t kBase = 0x9e3779b97f4a7c15u;
  static constexpr uint64_t kIndexMask = 0xffffffffu;

  static uint64_t hash_of(const uint8_t* data) {
    uint64_t hash = 0;
    for (uint64_t i = 0; i < kSize; ++i) hash = hash * kBase + data[i];
    return hash;
  }
  // Low bits of the rolling hash depend on few bits of the data; this makes every bit depend on
  // all.
  static uint64_t mix(uint64_t hash) {
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    return hash ^ (hash >> 32);
  }
  size_t slot_of(uint64_t hash) const { return mix(hash) >> shift_; }
  static uint64_t tag_of(uint64_t hash) { return mix(hash) << 32; }

  Bytes new_;
  uint64_t step_ = 0;
  int shift_ = 0;
  uint64_t leaving_ = 1;  // weight of the string's first byte
  uint64_t next_ = 0;     // the next place in new to look at
  uint64_t hash_ = 0;     // of the string before it
  std::vector<uint64_t> slots_;
};

// One pass over new: keeps an alignment until another one is better by more than kEntryCost bytes.
class Scan {
 public:
  Scan(Bytes old_bytes, Bytes new_bytes, const ByteMatchOptions& options, ByteMatchStats& stats)
      : old_(old_bytes),
        new_(new_bytes),
        index_(old_bytes, new_bytes.size(), options.window),
        stats_(stats),
        common_suffix_(common_suffix(old_bytes, new_bytes)) {
    stats_.compared += common_suffix_;
    remembered_.fill(static_cast<int64_t>(old_.size()) - static_cast<int64_t>(new_.size()));
    if (index_.is_partial()) landmarks_.emplace(old_, new_, index_.window_size());
  }

  std::vector<Equivalence> run() {
    while (fill_mismatches()) {
      const uint64_t first = mismatches_.front();
      const uint64_t needed = mismatches_.back() + 1 - first;
      index_.move_to(first);
      Match match = cheap_match(first);
      uint64_t ruled_out = first;
      if (first + match.size < new_.size()) {
        if (const std::optional<uint64_t> absent = absent_gram()) {
          ruled_out = *absent;
        } else {
          const Match indexed = search(first, needed);
          if (indexed.size > match.size) match = indexed;
        }
      }
      if (match.size >= needed) {
        realign(first, match);
      } else {
        drop_mismatches(ruled_out);
      }
    }
    close(new_.size(), std::nullopt);
    return std::move(found_);
  }

 private:
  int64_t alignment() const {
    return static_cast<int64_t>(old_begin_) - static_cast<int64_t>(new_begin_);
  }

  // Bytes from `new_offset` on that are equal under `alignment`.
  uint64_t equal_run(uint64_t new_offset, int64_t alignment) {
    const int64_t old_offset = static_cast<int64_t>(new_offset) + alignment;
    if (old_offset < 0 || static_cast<uint64_t>(old_offset) >= old_.size()) return 0;
    const auto at = static_cast<uint64_t>(old_offset);
    const uint64_t run =
        common_prefix(old_.data() + at, new_.data() + new_offset,
                      std::min<uint64_t>(old_.size() - at, new_.size() - new_offset));
    stats_.compared += run + 1;
    return run;
  }

  // Completes the next kLookahead mismatches of the present alignment; false at the end of new.
  bool fill_mismatches() {
    while (mismatches_.size() < kLookahead) {
      const uint64_t next = scanned_ + equal_run(scanned_, alignment());
      if (next >= new_.size()) return false;
      mismatches_.push_back(next);
      scanned_ = next + 1;
    }
    return true;
  }

  void drop_mismatches(uint64_t up_to) {
    while (!mismatches_.empty() && mismatches_.front() <= up_to) mismatches_.pop_front();
  }

  // A string within the looked-up stretch that the index does not hold, the last that is found: no
  // match that begins at or before it is long enough.
  std::optional<uint64_t> absent_gram() {
    const uint64_t first = mismatches_.front();
    const uint64_t last = mismatches_.back() + 1 - kGramSize;
    uint64_t previous = std::numeric_limits<uint64_t>::max();
    for (size_t i = kLookahead; i-- > 0;) {
      const uint64_t centred = mismatches_[i] - std::min<uint64_t>(mismatches_[i], kGramSize / 2);
      const uint64_t gram = std::clamp(centred, first, last);
      if (gram == previous) continue;
      previous = gram;
      ++stats_.compared;
      if (!index_.may_contain(new_.data() + gram)) return gram;
    }
    return std::nullopt;
  }

  // What needs no index: the common suffix, and when old is larger than the window the alignments
  // used before or suggested by a landmark, which may lie outside it.
  Match cheap_match(uint64_t first) {
    if (first >= new_.size() - common_suffix_) {
      return {old_.size() - (new_.size() - first), new_.size() - first};
    }
    Match best;
    if (!landmarks_) return best;
    if (const auto suggested = landmarks_->find(first, stats_)) remember(*suggested);
    for (const int64_t candidate : remembered_) {
      const uint64_t run = equal_run(first, candidate);
      if (run > best.size) {
        best = {static_cast<uint64_t>(static_cast<int64_t>(first) + candidate), run};
      }
    }
    return best;
  }

  // Forgets the oldest but the first, which is the common suffix's.
  void remember(int64_t alignment) {
    if (std::find(remembered_.begin(), remembered_.end(), alignment) != remembered_.end()) return;
    std::rotate(remembered_.begin() + 1, remembered_.end() - 1, remembered_.end());
    remembered_[1] = alignment;
  }

  Match search(uint64_t first, uint64_t needed) {
    const auto rank = [&](Match match) { return rank_of(match, first); };
    return index_.longest(Query<decltype(rank)>{new_.subspan(first), needed, rank}, stats_);
  }

  // Of equally long matches: those that go on furthest before `first`, then the nearest to the
  // present alignment, then the lowest.
  std::array<int64_t, 3> rank_of(Match match, uint64_t first) const {
    constexpr uint64_t kMaxBack = 32;
    const uint64_t limit = std::min({kMaxBack, match.old_offset, first - new_begin_});
    uint64_t back = 0;
    while (back < limit && old_[match.old_offset - back - 1] == new_[first - back - 1]) ++back;
    const int64_t moved =
        static_cast<int64_t>(match.old_offset) - static_cast<int64_t>(first) - alignment();
    return {static_cast<int64_t>(back), moved < 0 ? moved : -moved,
            -static_cast<int64_t>(match.old_offset)};
  }

  void realign(uint64_t first, Match match) {
    remember(alignment());
    close(first, match.old_offset);
    mismatches_.clear();
    scanned_ = first + match.size;
  }

  // Ends the present equivalence at or before new_end and begins the next one, whose exact match is
  // at new_end and old_next; without old_next, new ends there.
  void close(uint64_t new_end, std::optional<uint64_t> old_next) {
    uint64_t forward = extend_forward(new_end);
    uint64_t backward = old_next ? extend_backward(new_end, *old_next) : 0;
    const uint64_t span = new_end - new_begin_;
    if (forward + backward > span) {
      const uint64_t overlap = forward + backward - span;
      const uint64_t kept = best_split(forward - overlap, overlap, new_end, *old_next);
      forward = forward - overlap + kept;
      backward -= kept;
    }
    if (forward > 0) found_.push_back({old_begin_, new_begin_, forward});
    if (old_next) {
      new_begin_ = new_end - backward;
      old_begin_ = *old_next - backward;
    }
  }

  // The size that gets most right minus wrong, up to new_end.
  uint64_t extend_forward(uint64_t new_end) {
    const uint64_t limit = std::min(new_end - new_begin_, old_.size() - old_begin_);
    stats_.compared += limit;
    uint64_t best = 0;
    int64_t best_score = 0;
    int64_t score = 0;
    for (uint64_t i = 0; i < limit; ++i) {
      score += old_[old_begin_ + i] == new_[new_begin_ + i] ? 1 : -1;
      if (score > best_score) {
        best_score = score;
        best = i + 1;
      }
    }
    return best;
  }

  uint64_t extend_backward(uint64_t new_end, uint64_t old_end) {
    const uint64_t limit = std::min(new_end - new_begin_, old_end);
    stats_.compared += limit;
    uint64_t best = 0;
    int64_t best_score = 0;
    int64_t score = 0;
    for (uint64_t i = 1; i <= limit; ++i) {
      score += old_[old_end - i] == new_[new_end - i] ? 1 : -1;
      if (score > best_score) {
        best_score = score;
        best = i;
      }
    }
    return best;
  }

  // How many of the `overlap` bytes, from `begin` bytes after new_begin_, the ending equivalence
  // keeps.
  uint64_t best_split(uint64_t begin, uint64_t overlap, uint64_t new_end, uint64_t old_end) {
    stats_.compared += 2 * overlap;
    uint64_t best = 0;
    int64_t best_score = 0;
    int64_t score = 0;
    const uint64_t next_begin = old_end - (new_end - (new_begin_ + begin));
    for (uint64_t i = 0; i < overlap; ++i) {
      const uint8_t wanted = new_[new_begin_ + begin + i];
      score += old_[old_begin_ + begin + i] == wanted ? 1 : 0;
      score -= old_[next_begin + i] == wanted ? 1 : 0;
      if (score > best_score) {
        best_score = score;
        best = i + 1;
      }
    }
    return best;
  }

  Bytes old_;
  Bytes new_;
  WindowedIndex index_;
  ByteMatchStats& stats_;
  uint64_t common_suffix_;
  std::optional<Landmarks> landmarks_;   // when old is larger than the window
  std::array<int64_t, 5> remembered_{};  // alignments worth trying outside the window
  std::vector<Equivalence> found_;
  // Where the present equivalence begins.
  uint64_t old_begin_ = 0;
  uint64_t new_begin_ = 0;
  // The next mismatches of the present alignment, all before scanned_.
  std::deque<uint64_t> mismatches_;
  uint64_t scanned_ = 0;
};

uint64_t alignment_of(const Equivalence& equivalence) {
  return equivalence.old_offset - equivalence.new_offset;  // modulo 2^64
}

uint64_t count_equal(Bytes old_bytes, Bytes new_bytes, const Equivalence& at) {
  uint64_t count = 0;
  for (uint64_t i = 0; i < at.size; ++i) {
    if (old_bytes[at.old_offset + i] == new_bytes[at.new_offset + i]) ++count;
  }
  return count;
}

// Drops what costs more than it saves and joins neighbours of one alignment.
std::vector<Equivalence> clean(Bytes old_bytes, Bytes new_bytes,
                               const std::vector<Equivalence>& found) {
  std::vector<Equivalence> kept;
  for (const Equivalence& next : found) {
    if (count_equal(old_bytes, new_bytes, next) < kEntryCost) continue;
    if (!kept.empty() && alignment_of(kept.back()) == alignment_of(next)) {
      Equivalence& last = kept.back();
      if (next.new_offset - (last.new_offset + last.size) <= kMaxJoinedGap) {
        last.size = next.new_offset + next.size - last.new_offset;
        continue;
      }
    }
    kept.push_back(next);
  }
  return kept;
}

}  // namespace

std::vector<Equivalence> match_bytes(Bytes old_bytes, Bytes new_bytes,
                                     const ByteMatchOptions& options) {
  ByteMatchStats stats;
  Scan scan(old_bytes, new_bytes, options, stats);
  std::vector<Equivalence> result = clean(old_bytes, new_bytes, scan.run());
  if (options.stats != nullptr) *options.stats = stats;
  return result;
}

}  // namespace tensorpatch::delta
