// tests/vectors/vectors.h: the test vectors: small bundles that state their expected result.
//
// Every "must refuse" sentence of docs/FORMAT.md names one. The files are checked in, so that other
// readers can use them; this program only says how they were made. index.tsv, one vector a line:
//   name, bundle, old files, new files (each list with commas, "-": none), status, options
// Options are KEY=VALUE with spaces between, or "-": threshold, sequence-floor,
// security-version-floor, accept, capacity (of every place), device-class (32 hex digits), ring
// (key numbers with commas; "2!" is a key of another role), codecs (names with commas, or none).
// index-zstd.tsv: the same for devices that have the zstd codec, which all of its vectors name;
// index-p256.tsv: for those that verify ECDSA P-256, too. Defaults: ring=1, threshold=1, no floors,
// no class, capacity=1024, codecs=values,bytes. The workspace has 32,768 bytes. keys.tsv: number,
// key id, Ed25519 public key in hex; keys-p256.tsv: the same with points (0x04, x, y).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "support/bundle_builder.h"
#include "support/memory_device.h"

namespace tensorpatch::test {

struct Vector {
  std::string name;
  std::string bundle;
  std::vector<std::string> old_names;
  std::vector<std::string> new_names;
  std::string status;  // as in apply.h, without TENSORPATCH_
  std::string options = "-";
};

inline constexpr uint8_t kP256KeyNumber = 4;

// All vectors and the content of all files by name, index*.tsv and keys*.tsv among them.
struct VectorSet {
  std::vector<Vector> vectors;
  std::map<std::string, Bytes> files;
};
VectorSet make_vectors();

// Reads an index; aborts when a line has not six columns.
std::vector<Vector> parse_index(const std::string& text);

}  // namespace tensorpatch::test
