// snap/snap.h: moves the weights of a new model onto a coarse grid around the old one, so that the
// update is small: the low bits of a dense update are noise that no coder can shorten.
//
// Every value becomes old + k * m * 2^e by the decoder's own function (apply/prediction.h), k being
// the update divided by a step and rounded. The step of all matrices is `grid` times the root mean
// square of their updates; each matrix then gets the multiple m * 2^e nearest to the step that
// leaves its update unbiased (k * step against the update, least squares). No matrix gets more than
// twice the step that its own update would give. Vectors get a step of
// their own, 1/16 of their update's root mean square. Container, shapes, names and sizes stay as in
// new, and so do tensors without a match of equal shape in old, with infinities or NaN, of a type
// that has no grid, or whose update would not get smaller (worth.h). The bytes depend on nothing
// but old, new and the options.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "apply/prediction.h"
#include "base/file.h"
#include "delta/delta.h"

namespace tensorpatch::snap {

inline constexpr double kDefaultGrid = 0.25;
inline constexpr double kLeastGrid = 1.0 / 1024;
inline constexpr double kLargestGrid = 3;

struct Options {
  double grid = kDefaultGrid;                                   // kLeastGrid..kLargestGrid
  unsigned jobs = 0;                                            // threads; 0: one a processor
  std::function<bool(uint64_t done, uint64_t total)> progress;  // of bytes; false: stop
};

// What becomes of a tensor.
enum class Fate : uint8_t {
  kEqual,      // new is old already
  kSnapped,    // on a grid
  kNoMatch,    // no tensor of old has its name, type and shape
  kNotFinite,  // holds infinities or NaN
  kNoGrid,     // its type has no grid, or its update is too large for one
  kNoGain,     // its update is as small as it is: the coder finds its structure
};
// "equal", "snapped", "no match", "not finite", "no grid", "no gain"
std::string_view fate_name(Fate fate);

struct TensorReport {
  size_t segment = 0;  // index into the new model's segments
  Fate fate = Fate::kEqual;
  double step = 0;     // of the grid of snapped ones
  uint64_t count = 0;  // of values
  uint64_t moved = 0;  // values that differ from old's
  double update = 0;   // root mean square of new - old, in the values' own unit
  double error = 0;    // root mean square of what was written - new
};

struct Report {
  double step = 0;                    // of the matrices of floats, before each got its multiple
  std::vector<TensorReport> tensors;  // all of new that have a role, ascending
};

class Tensor;

// A pair of models, studied once, then written with as many grids as are tried.
class Snapper {
 public:
  // Both files and models must outlive the snapper. E_USAGE when the new model's container holds
  // checksums of its weights or is not known.
  static Result<Snapper> study(const delta::ComponentInput& pair, unsigned jobs);
  Snapper(Snapper&& other) noexcept;
  Snapper& operator=(Snapper&& other) noexcept;
  ~Snapper();

  // Writes all of the snapped file, ascending. E_CANCELLED when progress says stop.
  Result<Report> write(const Options& options, base::Sink& out);

 private:
  struct State;
  explicit Snapper(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tensorpatch::snap
