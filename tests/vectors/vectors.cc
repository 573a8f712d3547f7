// tests/vectors/vectors.cc: makes every test vector; see vectors.h.
// SPDX-License-Identifier: Apache-2.0
#include "vectors/vectors.h"

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <sstream>

#include "apply/format.h"
#include "apply/operation_model.h"
#include "apply/wire.h"
#include "delta/chunk_encoder.h"
#include "delta/delta.h"
#include "delta/entropy_encoder.h"
#include "support/operation_cases.h"
#include "support/p256_key.h"

namespace tensorpatch::test {
namespace {

namespace header = format::header;
namespace component = format::component;

constexpr size_t kComponentAt = header::kSize;

constexpr char kWithZstd[] = "codecs=values,bytes,zstd";

std::string hex(const uint8_t* data, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", data[i]);
    text += digits;
  }
  return text;
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ",") + name;
  return text.empty() ? "-" : text;
}

Bytes to_bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

Bytes operator+(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// One small component: two copies.
BundleSpec tiny_spec() {
  const CopyPatch patch = {0, 1, {{8, 24, true, 0}, {0, 16, true, 0}}};
  BundleSpec spec;
  ComponentSpec made;
  made.old_file = noise(48, 7);
  made.new_file = apply_copies(patch, {made.old_file});
  made.patch = encode_copies(patch);
  spec.components.push_back(made);
  return spec;
}

// Collects vectors; files with the same content as one before are shared.
class Maker {
 public:
  struct Expectation {
    std::string status;
    std::string options = "-";
  };

  void add(const std::string& name, const BundleSpec& spec, const Expectation& expectation) {
    add_bytes(name, build_bundle(spec).bytes, spec, expectation);
  }

  void add_bytes(const std::string& name, const Bytes& bundle, const BundleSpec& spec,
                 const Expectation& expectation) {
    Vector vector;
    vector.name = name;
    vector.bundle = share(name + ".tpb", bundle);
    for (size_t i = 0; i < spec.components.size(); ++i) {
      const std::string stem = name + "-" + std::to_string(i);
      vector.old_names.push_back(share(stem + ".old", spec.components[i].old_file));
      vector.new_names.push_back(share(stem + ".new", spec.components[i].new_file));
    }
    vector.status = expectation.status;
    vector.options = expectation.options;
    set_.vectors.push_back(vector);
  }

  // The tiny bundle with other bytes in the statement, signed.
  void add_statement(const std::string& name, const std::string& status,
                     const std::function<void(Bytes&)>& edit) {
    BundleSpec spec = tiny_spec();
    spec.edit_statement = edit;
    add(name, spec, {status});
  }

  void add_signatures(const std::string& name, const std::string& status,
                      const std::function<void(std::vector<SignatureSpec>&)>& edit) {
    BundleSpec spec = tiny_spec();
    spec.edit_signatures = edit;
    add(name, spec, {status});
  }

  void add_flip(const std::string& name, const BundleSpec& spec, size_t offset) {
    Bytes bundle = build_bundle(spec).bytes;
    bundle.at(offset) ^= 1;
    add_bytes(name, bundle, spec, {"E_DIGEST"});
  }

  // The vector added last is applied to these files instead.
  void replace_old(const std::vector<Bytes>& files) {
    Vector& vector = set_.vectors.back();
    for (size_t i = 0; i < files.size(); ++i) {
      vector.old_names[i] = share(vector.name + "-" + std::to_string(i) + ".old", files[i]);
    }
  }

  VectorSet finish();

 private:
  std::string share(const std::string& name, const Bytes& content) {
    for (const auto& [known, bytes] : set_.files) {
      if (bytes == content && known.substr(known.rfind('.')) == name.substr(name.rfind('.'))) {
        return known;
      }
    }
    set_.files[name] = content;
    return name;
  }

  VectorSet set_;
};

std::string key_line(uint8_t number, const Digest& id, std::span<const uint8_t> public_key) {
  return std::to_string(number) + "\t" + hex(id.data(), id.size()) + "\t" +
         hex(public_key.data(), public_key.size()) + "\n";
}

VectorSet Maker::finish() {
  std::map<std::string, std::string> indexes;
  for (const Vector& each : set_.vectors) {
    const bool needs_zstd = each.options.find("zstd") != std::string::npos;
    const bool needs_p256 = each.name.find("p256") != std::string::npos;
    indexes[needs_zstd   ? "index-zstd.tsv"
            : needs_p256 ? "index-p256.tsv"
                         : "index.tsv"] += each.name + "\t" + each.bundle + "\t" +
                                           join(each.old_names) + "\t" + join(each.new_names) +
                                           "\t" + each.status + "\t" + each.options + "\n";
  }
  std::string keys;
  for (uint8_t number = 1; number <= 3; ++number) {
    const TestKey key(number);
    keys += key_line(number, key.id, key.public_key);
  }
  const P256Key p256(kP256KeyNumber);
  set_.files["keys.tsv"] = to_bytes(keys);
  set_.files["keys-p256.tsv"] = to_bytes(key_line(kP256KeyNumber, p256.id, p256.point));
  for (const auto& [name, text] : indexes) set_.files[name] = to_bytes(text);
  return std::move(set_);
}

void set_u32(Bytes& bytes, size_t offset, uint32_t value) {
  wire::write_u32(bytes.data() + offset, value);
}
void set_u64(Bytes& bytes, size_t offset, uint64_t value) {
  wire::write_u64(bytes.data() + offset, value);
}

// --- Patches of the real encoder: one vector for each way that new can come from old ------------

class MemorySink : public base::Sink {
 public:
  Result<void> write(base::Bytes data) override {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }
  Bytes bytes;
};

struct Pair {
  Bytes old_file;
  Bytes new_file;
  model::ElementType type = model::ElementType::kBytes;  // of all bytes but the first four
};

model::Model model_of(const Bytes& file, model::ElementType type) {
  model::Model model;
  model.file_size = file.size();
  if (file.empty()) return model;
  if (type == model::ElementType::kBytes) {
    model.segments.push_back({0, file.size(), type, model::Role::kOther, "", {}, 0, {}});
    return model;
  }
  const uint64_t count = (file.size() - 4) / model::element_size(type);
  model.segments.push_back({0, 4, model::ElementType::kBytes, model::Role::kOther, "", {}, 0, {}});
  model.segments.push_back(
      {4, file.size() - 4, type, model::Role::kWeights, "weights", {count}, count, {}});
  return model;
}

// The bundle of what the encoder makes of the pairs; aborts when it refuses.
BundleSpec encoded_spec(const std::vector<Pair>& pairs, const PatchLimits& limits) {
  std::vector<model::Model> models;
  models.reserve(2 * pairs.size());
  std::vector<delta::ComponentInput> inputs;
  for (const Pair& pair : pairs) {
    models.push_back(model_of(pair.old_file, pair.type));
    models.push_back(model_of(pair.new_file, pair.type));
    inputs.push_back(
        {pair.old_file, pair.new_file, &models[models.size() - 2], &models[models.size() - 1]});
  }
  BundleSpec spec;
  spec.limits = limits;
  delta::PatchOptions options;
  options.limits = limits;
  options.codecs = format::kAllOfValues | format::kAllOfBytes;
  if (limits.zstd_window_log2 != 0) options.codecs |= 1u << format::kCodecZstd;
  options.jobs = 1;
  for (size_t i = 0; i < pairs.size(); ++i) {
    MemorySink sink;
    const auto report = delta::make_patch(inputs, i, options, sink);
    if (!report) {
      std::fprintf(stderr, "no patch for component %zu: %s\n", i, report.error().message.c_str());
      std::abort();
    }
    spec.required_codecs |= report->required_codecs;
    ComponentSpec made;
    made.old_file = pairs[i].old_file;
    made.new_file = pairs[i].new_file;
    made.patch = sink.bytes;
    if (made.old_file.empty()) made.flags = format::kComponentWhole;
    spec.components.push_back(made);
  }
  return spec;
}

// Elements that are all moved a little, as training does.
Pair moved_values(model::ElementType type, size_t count) {
  const size_t size = model::element_size(type);
  Pair pair;
  pair.type = type;
  pair.old_file = noise(4 + count * size, static_cast<uint32_t>(type) + 50);
  pair.new_file = pair.old_file;
  const Bytes steps = noise(count, 8);
  for (size_t i = 0; i < count; ++i) {
    const size_t at = 4 + i * size;
    const bool is_float = type == model::ElementType::kFloat16 ||
                          type == model::ElementType::kBfloat16 ||
                          type == model::ElementType::kFloat32;
    if (is_float) pair.old_file[at + size - 1] = static_cast<uint8_t>(0x3C | (steps[i] & 0x80));
    if (is_float) pair.new_file[at + size - 1] = pair.old_file[at + size - 1];
    pair.new_file[at] = static_cast<uint8_t>(pair.old_file[at] + steps[i] % 5);
  }
  return pair;
}

Bytes text(size_t size) {
  const std::string words = "a device writes new only after every old file has been checked. ";
  Bytes made;
  while (made.size() < size) made.push_back(static_cast<uint8_t>(words[made.size() % 64]));
  return made;
}

void add_encoded(Maker& make) {
  using model::ElementType;
  const PatchLimits small = {256, 256, 1, 1, 8, 2, 0, 8, 6, 0, 6};
  const PatchLimits large = {256, 256, 1, 1, 8, 2, 1, 8, 6, 0, 7};
  const struct {
    const char* name;
    ElementType type;
  } kTypes[] = {{"int8", ElementType::kInt8},       {"uint8", ElementType::kUint8},
                {"int16", ElementType::kInt16},     {"int32", ElementType::kInt32},
                {"float16", ElementType::kFloat16}, {"bfloat16", ElementType::kBfloat16},
                {"float32", ElementType::kFloat32}};
  for (const auto& each : kTypes) {
    const std::string name = std::string("good-values-") + each.name;
    const Pair pair = moved_values(each.type, 100);
    make.add(name, encoded_spec({pair}, small), {"DONE"});
    make.add(name + "-large", encoded_spec({pair}, large), {"DONE"});
  }
  make.add("good-bytes", encoded_spec({{noise(100, 1), text(300)}}, small), {"DONE"});
  make.add("good-whole", encoded_spec({{Bytes{}, text(300)}}, small), {"DONE"});
  make.add("good-one-byte", encoded_spec({{{'x'}, {'y'}}}, small), {"DONE"});

  Pair intra = moved_values(ElementType::kFloat32, 60);
  intra.old_file.clear();
  make.add("good-intra", encoded_spec({intra}, small), {"DONE"});

  const PatchLimits paged = {256, 64, 32, 8, 8, 1, 0, 8, 0, 0, 0};
  make.add("good-restarts", encoded_spec({moved_values(ElementType::kInt16, 150)}, paged),
           {"DONE"});
  const PatchLimits flash = {256, 256, 256, 4, 8, 1, 0, 8, 0, 0, 0};
  make.add("good-pages", encoded_spec({moved_values(ElementType::kInt16, 480)}, flash), {"DONE"});
  make.add(
      "good-encoded-components",
      encoded_spec({moved_values(ElementType::kInt8, 80), {text(90), text(120)}, {{}, {}}}, small),
      {"DONE"});
  make.add("good-old-is-new", encoded_spec({{text(90), text(90)}}, small), {"DONE"});

  // Noise that returns after more bytes than the history has.
  const PatchLimits windowed = {256, 1024, 1, 1, 8, 1, 0, 8, 6, 10, 0};
  const BundleSpec zstd = encoded_spec({{Bytes{}, noise(300, 2) + noise(300, 2)}}, windowed);
  make.add("good-zstd", zstd, {"DONE", kWithZstd});
  make.add("codec-zstd", zstd, {"E_CODEC"});
}

void add_good(Maker& make) {
  make.add("good-tiny", tiny_spec(), {"DONE"});
  make.add("good-blocks", small_spec(), {"DONE"});
  make.add("good-components", two_component_spec(), {"DONE"});

  BundleSpec signers = tiny_spec();
  signers.signers = {1, 2, 9};
  make.add("good-threshold", signers, {"DONE", "ring=1,2,3 threshold=2"});

  BundleSpec empty = tiny_spec();
  empty.components[0].new_file.clear();
  empty.components[0].patch.clear();
  make.add("good-empty", empty, {"DONE"});

  BundleSpec device = tiny_spec();
  for (uint8_t i = 0; i < 16; ++i) device.device_class[i] = static_cast<uint8_t>(0x10 + i);
  make.add("good-device-class", device,
           {"DONE",
            "device-class=101112131415161718191a1b1c1d1e1f sequence-floor=7 "
            "security-version-floor=3 capacity=40"});
  make.add("device-class", device, {"E_DEVICE_CLASS"});

  BundleSpec plain = tiny_spec();
  plain.manifest.clear();
  make.add("good-no-manifest", plain, {"DONE"});

  BundleSpec minor = tiny_spec();
  minor.edit_statement = [](Bytes& statement) { statement[header::kMinor] = 77; };
  minor.edit_prefix = [](Bytes& prefix) { prefix[format::kPrefixMinor] = 77; };
  make.add("good-minor-version", minor, {"DONE"});

  make.add("already-new", tiny_spec(), {"ALREADY_NEW"});
  make.replace_old(new_files(tiny_spec()));
}

// Section 1 and 1.1.
void add_prefix(Maker& make) {
  const Bytes good = build_bundle(small_spec()).bytes;
  Bytes bytes = good;
  bytes.push_back(0);
  make.add_bytes("trailing-byte", bytes, small_spec(), {"E_TRAILING"});
  bytes = good;
  bytes.pop_back();
  make.add_bytes("truncated", bytes, small_spec(), {"E_TRUNCATED"});

  const auto edit = [&make](const char* name, const char* status, size_t offset, uint8_t value) {
    BundleSpec spec = tiny_spec();
    spec.edit_prefix = [=](Bytes& prefix) { prefix[offset] = value; };
    make.add(name, spec, {status});
  };
  edit("bad-magic", "E_FORMAT", 3, 'b');
  edit("major-version", "E_VERSION", format::kPrefixMajor, 255);
  edit("statement-size", "E_FORMAT", format::kPrefixStatementSize, 64);

  const auto stored = [&make](const char* name, const Bytes& more) {
    BundleSpec spec = tiny_spec();
    spec.edit_stored = [=](Bytes& packed) { packed = packed + more; };
    make.add(name, spec, {"E_FORMAT"});
  };
  stored("statement-part", {0x80});
  stored("statement-run", {0x00});
  stored("statement-long", {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF});
}

// Section 1.2.
void add_statement_header(Maker& make) {
  const auto byte = [&make](const char* name, const char* status, size_t offset, uint8_t value) {
    make.add_statement(name, status, [=](Bytes& statement) { statement[offset] = value; });
  };
  const auto word = [&make](const char* name, const char* status, size_t offset, uint32_t value) {
    make.add_statement(name, status, [=](Bytes& statement) { set_u32(statement, offset, value); });
  };
  byte("version-mismatch", "E_FORMAT", header::kMinor, 99);
  byte("kind", "E_VERSION", header::kKind, 2);
  word("in-place-no-reach", "E_FORMAT", header::kRequiredFlags, format::kFlagInPlace);
  word("reach-beside", "E_FORMAT", header::kReach, 1);
  word("undo", "E_UNDO", header::kRequiredFlags, format::kFlagUndo);
  word("flag-encrypted", "E_VERSION", header::kRequiredFlags, format::kFlagEncrypted);
  word("flag-unknown", "E_VERSION", header::kRequiredFlags, 1u << 31);
  byte("component-count", "E_FORMAT", header::kComponentCount, 2);
  byte("codec-unknown", "E_CODEC", header::kRequiredCodecs + 1, 1u << 1);
  byte("codec-operations", "E_FORMAT", header::kRequiredCodecs, 0);
  word("block-size", "E_FORMAT", header::kBlockSize, 250);
  word("restart-interval", "E_FORMAT", header::kRestartInterval, 0);
  byte("erase-size", "E_FORMAT", header::kEraseLog2, 21);
  byte("write-size", "E_FORMAT", header::kWriteLog2, 1);
  byte("history", "E_FORMAT", header::kHistoryLog2, 23);
  byte("value-slots", "E_FORMAT", header::kValueSlots, 17);
  byte("value-level", "E_FORMAT", header::kValueLevel, 2);
  byte("byte-cells", "E_FORMAT", header::kByteCellsLog2, 21);
  byte("match-table", "E_FORMAT", header::kMatchLog2, 19);
  byte("zstd-window", "E_FORMAT", header::kZstdWindowLog2, 9);
  make.add_statement("columns", "E_FORMAT", [](Bytes& statement) {
    statement[header::kColumnLog2] = 5;
    const auto rows = static_cast<uint32_t>(sizeof(RowState)) + (4u << 5);
    set_u32(statement, header::kWorkspaceSize,
            wire::read_u32(statement.data() + header::kWorkspaceSize) + rows);
  });
  word("manifest-size", "E_FORMAT", header::kManifestSize, format::kMaxManifestSize + 1);
  word("workspace-size", "E_FORMAT", header::kWorkspaceSize, 5000);
  byte("header-zero-13", "E_FORMAT", header::kZero13, 1);
  byte("header-zero", "E_FORMAT", header::kZero24 + 23, 1);
  word("manifest-none", "E_FORMAT", header::kManifestSize, 0);
}

// Bundles whose flags are known: in place, undo. Applied beside old here, like any other.
void add_flags(Maker& make) {
  BundleSpec spec = tiny_spec();
  spec.required_flags = format::kFlagUndo;
  make.add("good-undo", spec, {"DONE", "accept=undo"});
  make.add("undo-security-version", spec,
           {"E_SECURITY_VERSION", "accept=undo security-version-floor=4"});
  spec.required_flags = format::kFlagInPlace;
  spec.limits.reach = 24;
  make.add("good-in-place", spec, {"DONE"});
  spec = two_component_spec();
  spec.required_flags = format::kFlagInPlace;
  spec.limits.reach = 1000;
  make.add("in-place-components", spec, {"E_FORMAT"});

  // Half of what moved is further behind than the reach.
  PatchLimits limits = {256, 64, 32, 8, 8, 1, 0, 8, 6, 0, 0};
  limits.reach = 48;
  const Bytes old_file = noise(300, 3) + text(200);
  const Bytes moved = noise(40, 4) + Bytes(old_file.begin(), old_file.begin() + 100) +
                      noise(20, 5) + Bytes(old_file.begin() + 100, old_file.end());
  spec = encoded_spec({{old_file, moved}}, limits);
  spec.required_flags = format::kFlagInPlace;
  make.add("good-in-place-moved", spec, {"DONE"});
}

void add_statement_components(Maker& make) {
  make.add_statement("component-id", "E_FORMAT",
                     [](Bytes& statement) { statement[kComponentAt + component::kId] = 1; });
  make.add_statement("component-zero", "E_FORMAT",
                     [](Bytes& statement) { statement[kComponentAt + component::kZero2 + 1] = 1; });
  make.add_statement("component-keep", "E_VERSION", [](Bytes& statement) {
    set_u32(statement, kComponentAt + component::kFlags, format::kComponentKeep);
  });
  make.add_statement("component-flag", "E_VERSION", [](Bytes& statement) {
    set_u32(statement, kComponentAt + component::kFlags, 1u << 16);
  });
  make.add_statement("whole-with-old", "E_FORMAT", [](Bytes& statement) {
    set_u32(statement, kComponentAt + component::kFlags, format::kComponentWhole);
  });
  make.add_statement("patch-empty", "E_FORMAT", [](Bytes& statement) {
    set_u64(statement, kComponentAt + component::kPatchSize, 0);
  });
  make.add_statement("patch-not-empty", "E_FORMAT", [](Bytes& statement) {
    set_u64(statement, kComponentAt + component::kNewSize, 0);
  });
  make.add_statement("patch-empty-block", "E_FORMAT", [](Bytes& statement) {
    set_u64(statement, kComponentAt + component::kPatchSize, 0);
    set_u64(statement, kComponentAt + component::kNewSize, 0);
  });
  make.add_statement("whole-old-digest", "E_FORMAT", [](Bytes& statement) {
    set_u64(statement, kComponentAt + component::kOldSize, 0);
    set_u32(statement, kComponentAt + component::kFlags, format::kComponentWhole);
  });
}

// By a P-256 key as well, behind what else signs.
BundleSpec p256_spec(std::vector<uint8_t> signers, uint8_t flip) {
  BundleSpec spec = tiny_spec();
  spec.signers = std::move(signers);
  const auto statement = std::make_shared<Bytes>();
  spec.edit_statement = [statement](Bytes& made) { *statement = made; };
  spec.edit_signatures = [statement, flip](std::vector<SignatureSpec>& all) {
    all.push_back(P256Key(kP256KeyNumber).sign(*statement));
    all.back().signature[40] ^= flip;
  };
  return spec;
}

void add_p256(Maker& make) {
  make.add("good-p256", p256_spec({}, 0), {"DONE", "ring=4"});
  make.add("good-p256-and-ed25519", p256_spec({1}, 0), {"DONE", "ring=1,4 threshold=2"});
  make.add("signature-p256-wrong", p256_spec({}, 1), {"E_SIGNATURE", "ring=4"});
}

// Section 1.3.
void add_signatures(Maker& make) {
  using Signatures = std::vector<SignatureSpec>;
  make.add_signatures("signature-wrong", "E_SIGNATURE",
                      [](Signatures& all) { all[0].signature[10] ^= 1; });
  make.add_signatures("signature-algorithm", "E_SIGNATURE",
                      [](Signatures& all) { all[0].algorithm = TENSORPATCH_ECDSA_P256_SHA256; });
  make.add_signatures("signature-count", "E_FORMAT", [](Signatures& all) {
    for (uint8_t i = 1; i <= 8; ++i) {
      SignatureSpec unknown;
      unknown.key.fill(i);
      all.push_back(unknown);
    }
  });
  make.add_signatures("signature-twice", "E_FORMAT",
                      [](Signatures& all) { all.push_back(all[0]); });

  BundleSpec longer = tiny_spec();
  longer.edit_prefix = [](Bytes& prefix) { ++prefix[format::kPrefixSignaturesSize]; };
  make.add("signature-size", longer, {"E_FORMAT"});

  BundleSpec spec = tiny_spec();
  spec.signers = {};
  make.add("unsigned", spec, {"E_UNTRUSTED"});
  spec.signers = {9};
  make.add("signature-unknown-key", spec, {"E_UNTRUSTED"});
  spec.signers = {1, 9};
  make.add("threshold", spec, {"E_UNTRUSTED", "ring=1,2 threshold=2"});
  spec.signers = {1};
  make.add("role", spec, {"E_UNTRUSTED", "ring=1!"});
  add_p256(make);
}

// Sections 1.4 to 1.6.
void add_blocks(Maker& make) {
  const BundleSpec spec = small_spec();
  const BuiltBundle built = build_bundle(spec);
  make.add_flip("manifest-flip", spec, built.manifest_offset);
  make.add_flip("block-flip-first", spec, built.blocks_offset + 50);
  make.add_flip("block-flip-middle", spec, built.blocks_offset + 256 + 50);
  make.add_flip("block-flip-last", spec, built.bytes.size() - 1);

  make.add("sequence", tiny_spec(), {"E_SEQUENCE", "sequence-floor=8"});
  make.add("security-version", tiny_spec(), {"E_SECURITY_VERSION", "security-version-floor=4"});
  make.add("capacity", tiny_spec(), {"E_CAPACITY", "capacity=39"});

  std::vector<Bytes> olds = old_files(tiny_spec());
  olds[0].back() ^= 1;
  make.add("wrong-old", tiny_spec(), {"E_OLD"});
  make.replace_old(olds);

  BundleSpec with_whole = tiny_spec();
  with_whole.components.push_back({{}, {}, {}, format::kComponentWhole});
  make.add("wrong-old-whole", with_whole, {"E_OLD"});
  make.replace_old({with_whole.components[0].new_file, {}});
}

// --- Patch streams that no encoder makes: digests and signature are right, the stream is not
// ------

constexpr uint8_t kRestart = format::kChunkRestart | format::kCodecOperations;

struct Chunk {
  uint8_t first = kRestart;
  uint32_t new_size = 0;
  std::vector<Operation> operations;
  uint64_t new_offset = 0;  // of the restart point
  uint32_t component_count = 1;
};

// Sizes below 128.
Bytes chunk_of(uint8_t first, size_t new_size, const Bytes& payload) {
  return Bytes{first, static_cast<uint8_t>(new_size), static_cast<uint8_t>(payload.size())} +
         payload;
}

Bytes encode_chunk(const Chunk& chunk, OperationModel& model) {
  delta::RangeEncoder coder;
  OperationCoder<delta::RangeEncoder> operations(coder, model, chunk.component_count);
  for (const Operation& operation : chunk.operations) operations.code(operation);
  return chunk_of(chunk.first, chunk.new_size, coder.finish());
}

Bytes encode_chunk(const Chunk& chunk) {
  OperationModel model;
  operation_model_reset(model, {chunk.new_offset, 0});
  return encode_chunk(chunk, model);
}

Operation copy_of(uint64_t old_offset, uint32_t size) {
  Operation operation;
  operation.size = size;
  operation.old.offset = old_offset;
  return operation;
}

Operation values_of(uint32_t size) {
  Operation operation = copy_of(0, size);
  operation.kind = OperationKind::kValues;
  operation.fresh = 1;
  return operation;
}

class StreamMaker {
 public:
  explicit StreamMaker(Maker& make) : make_(make), spec_(tiny_spec()) {}

  void add(const std::string& name, const Bytes& stream, const Maker::Expectation& expectation) {
    BundleSpec spec = spec_;
    spec.components[0].patch = stream;
    make_.add(name, spec, expectation);
  }
  void refuse(const std::string& name, const Bytes& stream) {
    add("stream-" + name, stream, {"E_FORMAT"});
  }
  void refuse(const std::string& name, const Operation& operation) {
    refuse(name, encode_chunk({kRestart, 40, {operation}}));
  }
  BundleSpec& spec() { return spec_; }

 private:
  Maker& make_;
  BundleSpec spec_;
};

// New of the tiny bundle: 24 bytes of old from 8 on, then 16 from 0 on.
const Operation kFirst = copy_of(8, 24);
const Operation kSecond = copy_of(0, 16);

void add_chunks(Maker& make) {
  StreamMaker streams(make);
  const Bytes first = encode_chunk({kRestart, 24, {kFirst}});
  const Bytes second = encode_chunk({kRestart, 16, {kSecond}, 24});
  const Bytes both = encode_chunk({kRestart, 40, {kFirst, kSecond}});
  streams.add("good-one-chunk", both, {"DONE"});
  streams.add("good-two-chunks", first + second, {"DONE"});
  OperationModel model;
  operation_model_reset(model, {0, 0});
  const Bytes begun = encode_chunk({kRestart, 24, {kFirst}}, model);
  const Bytes gone_on = encode_chunk({format::kCodecOperations, 16, {kSecond}}, model);
  streams.add("good-chunk-goes-on", begun + gone_on, {"DONE"});

  const auto changed = [](Bytes bytes, size_t at, uint8_t value) {
    bytes.at(at) = value;
    return bytes;
  };
  streams.refuse("chunk-flag", changed(both, 0, kRestart | 0x40));
  streams.add("stream-chunk-codec", changed(both, 0, kRestart | 9), {"E_CODEC"});
  streams.refuse("chunk-empty", changed(both, 1, 0));
  streams.refuse("chunk-beyond-new", changed(both, 1, 41));
  streams.refuse("chunk-payload", changed(both, 2, static_cast<uint8_t>(both.size())));
  streams.refuse("varint", Bytes{kRestart, 0xA8, 0x00} + Bytes(both.begin() + 2, both.end()));
  streams.refuse("varint-size", Bytes{kRestart, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F} +
                                    Bytes(both.begin() + 2, both.end()));
  streams.refuse("first-chunk", changed(both, 0, format::kCodecOperations));
  streams.refuse("ends-early", first);
  streams.refuse("ends-in-header", first + Bytes{kRestart});
  streams.refuse("goes-on", both + second);
  streams.refuse("payload-left", changed(both, 2, static_cast<uint8_t>(both[2] + 9)) + noise(9, 1));

  streams.spec().limits.erase_size = 16;
  streams.refuse("restart-unaligned", first + second);
  streams.spec().limits.erase_size = 1;
  streams.spec().limits.restart_interval = 32;
  streams.refuse("interval", both);
  const Bytes no_restart =
      changed(encode_chunk({kRestart, 16, {kSecond}, 24}), 0, format::kCodecOperations);
  streams.refuse("interval-of-chunks", first + no_restart);
}

void add_old_component(Maker& make) {
  BundleSpec two = two_component_spec();
  const auto new_size = static_cast<uint32_t>(two.components[0].new_file.size());
  Operation odd = copy_of(0, new_size);
  odd.old.component = 5;
  two.components[0].patch = encode_chunk({kRestart, new_size, {odd}, 0, 2});
  make.add("stream-old-component", two, {"E_FORMAT"});
}

void add_operations(Maker& make) {
  StreamMaker streams(make);
  streams.refuse("operation-empty", copy_of(8, 0));
  streams.refuse("operation-size", copy_of(0, 41));
  streams.refuse("old-beyond", copy_of(9, 40));
  streams.refuse("old-far", copy_of(uint64_t{1} << 40, 40));
  add_old_component(make);

  Operation odd = values_of(40);
  odd.slot = 1;
  streams.refuse("values-slot", odd);
  odd = values_of(40);
  odd.fresh = 0;
  streams.refuse("values-stale", odd);
  odd = values_of(40);
  odd.type = ValueType::kUint4;
  streams.refuse("values-type", odd);
  odd = values_of(39);
  odd.type = ValueType::kInt16;
  streams.refuse("values-size", odd);
  streams.add("stream-values-codec", encode_chunk({kRestart, 40, {values_of(40)}}),
              {"E_CODEC", "codecs=none"});
  odd = copy_of(49, 40);
  odd.kind = OperationKind::kBytes;
  streams.refuse("bytes-old", odd);
  odd.intra = 1;
  streams.add("stream-bytes-codec", encode_chunk({kRestart, 40, {odd}}),
              {"E_CODEC", "codecs=none"});
  Operation learns = odd;
  learns.learn_size = 40;
  learns.learn_offset = 9;
  streams.refuse("bytes-learn", learns);
  streams.spec().limits.byte_cells_log2 = 0;
  streams.refuse("bytes-cells", odd);
}

Operation rows_of(const RowsShape& shape) {
  Operation operation = values_of(40);
  operation.predictor = Predictor::kRows;
  operation.rows = shape;
  return operation;
}

Operation records_of(const RecordShape& shape) {
  Operation operation = values_of(40);
  operation.kind = OperationKind::kRecords;
  operation.record = shape;
  return operation;
}

// Rows, grids and records that break one rule each.
void add_special_operations(Maker& make) {
  StreamMaker streams(make);
  streams.spec().limits.column_log2 = 6;
  const auto rows = [&](const char* name, const RowsShape& shape) {
    streams.refuse(name, rows_of(shape));
  };
  rows("rows-empty", {0, 0, GainAxis::kRow, 0, 1, 0});
  rows("rows-column", {4, 4, GainAxis::kRow, 0, 1, 0});
  rows("rows-gain", {4, 0, static_cast<GainAxis>(3), 0, 1, 0});
  rows("rows-gain-shift", {4, 0, GainAxis::kRow, 31, 1, 0});
  rows("rows-rank", {3, 0, GainAxis::kNone, 0, 17, 0});
  rows("rows-table", {13, 0, GainAxis::kColumn, 0, 4, 0});
  rows("rows-table-far", {0x7FFFFFFF, 0, GainAxis::kNone, 0, 2, 0});
  streams.spec().limits.column_log2 = 0;
  rows("rows-no-table", {4, 0, GainAxis::kRow, 0, 0, 0});

  Operation odd = values_of(40);
  odd.predictor = Predictor::kLattice;
  streams.refuse("lattice-type", odd);
  odd.intra = 1;
  odd.row_bytes = 4;
  odd.factor = 0x3F800000;
  streams.refuse("product-type", odd);
  odd.intra = 0;
  odd.predictor = Predictor::kGrid;
  odd.grid.multiplier = 0;
  streams.refuse("grid-multiplier", odd);

  streams.spec().limits.value_slots = 2;
  const RecordShape good = {2, {{2, ValueType::kUint4, 0}, {3, ValueType::kUint8, 0}}};
  streams.refuse("records-empty", records_of({}));
  streams.refuse("records-field-empty", records_of({2, {{8, ValueType::kUint8, 0}, {}}}));
  streams.refuse("records-halves", records_of({1, {{3, ValueType::kUint4, 0}}}));
  const RecordField one = {1, ValueType::kUint8, 0};
  streams.refuse("records-slots", records_of({3, {one, one, {2, ValueType::kUint8, 0}}}));
  streams.refuse("records-size", records_of({1, {{7, ValueType::kUint8, 0}}}));
  odd = records_of(good);
  odd.fresh = 0;
  streams.refuse("records-stale", odd);
  streams.add("stream-records-codec", encode_chunk({kRestart, 40, {records_of(good)}}),
              {"E_CODEC", "codecs=none"});
}

// A frame of one block, stored or damaged (RFC 8878); its size is not in its header.
struct Frame {
  uint8_t window_log2 = 10;
  uint8_t block_type = 0;
};
Bytes zstd_frame(const Bytes& content, const Frame& frame) {
  Bytes made = {0x28, 0xB5, 0x2F, 0xFD, 0, static_cast<uint8_t>((frame.window_log2 - 10) << 3)};
  const size_t block = content.size() << 3 | size_t{frame.block_type} << 1 | 1;
  for (unsigned i = 0; i < 3; ++i) made.push_back(static_cast<uint8_t>(block >> (8 * i)));
  return made + content;
}

// In place: new and old of 200 bytes, a restart point at 100 from which old is read from 80 on.
struct ReachStream {
  Operation second;       // makes the bytes from 100 on
  size_t old_offset = 0;  // what they are like
};
BundleSpec reach_spec(const ReachStream& stream) {
  BundleSpec spec;
  spec.required_flags = format::kFlagInPlace;
  spec.limits = {256, 128, 1, 1, 8, 1, 0, 8, 6, 0, 0};
  spec.limits.reach = 20;
  spec.required_codecs |= 1u << format::kCodecValues | 1u << format::kCodecBytes;
  ComponentSpec made;
  made.old_file = noise(200, 11);
  const auto from = made.old_file.begin() + static_cast<std::ptrdiff_t>(stream.old_offset);
  const Bytes like(from, from + stream.second.size);
  made.new_file = Bytes(made.old_file.begin(), made.old_file.begin() + 100) + like;
  const model::Model no_model;
  const std::vector<delta::ComponentInput> inputs = {
      {made.old_file, made.new_file, &no_model, &no_model}};
  delta::ChunkEncoder first(inputs, 0, spec.limits, 0), second(inputs, 0, spec.limits, 100);
  first.encode(copy_of(0, 100), 0, nullptr);
  second.encode(stream.second, 100, nullptr);
  made.patch = chunk_of(kRestart, 100, first.finish()) +
               chunk_of(kRestart, stream.second.size, second.finish());
  spec.components.push_back(made);
  return spec;
}

void add_reach(Maker& make) {
  make.add("good-reach-copy", reach_spec({copy_of(80, 60), 80}), {"DONE"});
  make.add("stream-reach-copy", reach_spec({copy_of(79, 60), 79}), {"E_FORMAT"});
  Operation odd = values_of(60);
  odd.old.offset = 79;
  make.add("stream-reach-values", reach_spec({odd, 79}), {"E_FORMAT"});
  odd = copy_of(60, 60);
  odd.kind = OperationKind::kBytes;
  make.add("good-reach-bytes", reach_spec({odd, 60}), {"DONE"});
  odd.learn_size = 40;
  odd.learn_offset = 80;
  make.add("good-reach-learn", reach_spec({odd, 60}), {"DONE"});
  odd.learn_offset = 79;
  make.add("stream-reach-learn", reach_spec({odd, 60}), {"E_FORMAT"});
}

void add_zstd(Maker& make) {
  StreamMaker streams(make);
  streams.spec().required_codecs |= 1u << format::kCodecZstd;
  streams.spec().limits.zstd_window_log2 = 10;
  const Bytes content = streams.spec().components[0].new_file;
  const auto add = [&](const char* name, const char* status, const Bytes& frame) {
    const uint8_t first = format::kChunkRestart | format::kCodecZstd;
    streams.add(name, chunk_of(first, content.size(), frame), {status, kWithZstd});
  };
  add("good-zstd-stored", "DONE", zstd_frame(content, {}));
  add("stream-zstd-window", "E_FORMAT", zstd_frame(content, {11, 0}));
  add("stream-zstd-damaged", "E_FORMAT", zstd_frame(content, {10, 3}));
  add("stream-zstd-short", "E_FORMAT", zstd_frame({content.begin(), content.end() - 1}, {}));
  add("stream-zstd-long", "E_FORMAT", zstd_frame(content + Bytes{1}, {}));
  add("stream-zstd-left", "E_FORMAT", zstd_frame(content, {}) + Bytes(5, 0));
  streams.spec().limits.zstd_window_log2 = 0;
  add("stream-zstd-no-window", "E_FORMAT", zstd_frame(content, {}));
}

// Operations of every kind, one after another, with no regard to size: types that the bytes do not
// have, rows and old places anywhere, differences of any length. One chunk, one restart point.
struct MixedSpec {
  PatchLimits limits;
  uint32_t seed;
};

class OperationDice {
 public:
  explicit OperationDice(uint32_t seed) : bytes_(noise(1000, seed)) {}
  uint32_t below(uint32_t limit) {
    const uint32_t value = bytes_.at(at_) | static_cast<uint32_t>(bytes_.at(at_ + 1)) << 8;
    at_ += 2;
    return value % limit;
  }

  Operation operation(uint32_t old_size) {
    Operation made;
    made.kind = static_cast<OperationKind>(below(3));
    made.size = 4 * (1 + below(18));
    made.old.offset = below(old_size - made.size + 1);
    if (made.kind == OperationKind::kCopy) return made;
    made.intra = static_cast<uint8_t>(below(2));
    if (made.kind == OperationKind::kBytes) {
      made.width_log2 = static_cast<uint8_t>(below(4));
      made.row_bytes = below(40);
      if (below(3) == 0) {
        made.learn_size = 1 + below(old_size);
        made.learn_offset = below(old_size - made.learn_size + 1);
      }
    } else {
      made.type = static_cast<ValueType>(below(kValueTypeCount));
      if (made.intra != 0) made.row_bytes = below(40);
    }
    return made;
  }

 private:
  Bytes bytes_;
  size_t at_ = 0;
};

// New resembles old, with changes of every size: so copies give back what new has by copying it.
BundleSpec mixed_spec(const MixedSpec& mixed) {
  constexpr uint32_t kOldSize = 400;
  BundleSpec spec;
  spec.limits = mixed.limits;
  spec.required_codecs |= 1u << format::kCodecValues | 1u << format::kCodecBytes;
  OperationDice dice(mixed.seed);
  ComponentSpec made;
  made.old_file = noise(200, mixed.seed + 1) + text(kOldSize - 200);
  std::vector<Operation> operations;
  while (made.new_file.size() < 800) {
    const Operation each = dice.operation(kOldSize);
    const auto from = made.old_file.begin() + static_cast<std::ptrdiff_t>(each.old.offset);
    Bytes piece(from, from + each.size);
    const bool changes = each.kind != OperationKind::kCopy;
    if (changes) {
      for (uint32_t i = dice.below(6); i > 0; --i) {
        piece[dice.below(each.size)] = static_cast<uint8_t>(dice.below(256));
      }
    }
    // The bytes codec finds its way over what is missing.
    if (each.kind == OperationKind::kBytes && each.size > 8) piece.erase(piece.begin() + 5);
    if (each.kind == OperationKind::kBytes && each.width_log2 == 0) {
      for (auto at = static_cast<std::ptrdiff_t>(10); at < std::ssize(piece); at += 13) {
        piece.insert(piece.begin() + at, 3, uint8_t{9});
      }
    }
    operations.push_back(each);
    operations.back().size = static_cast<uint32_t>(piece.size());
    made.new_file = std::move(made.new_file) + piece;
  }
  const model::Model no_model;
  const std::vector<delta::ComponentInput> inputs = {
      {made.old_file, made.new_file, &no_model, &no_model}};
  delta::ChunkEncoder encoder(inputs, 0, mixed.limits, 0);
  uint64_t offset = 0;
  for (const Operation& each : operations) {
    encoder.encode(each, offset, nullptr);
    offset += each.size;
  }
  const Bytes payload = encoder.finish();
  const auto varint = [](size_t value) {
    return Bytes{static_cast<uint8_t>(value | 128), static_cast<uint8_t>(value >> 7)};
  };
  made.patch = Bytes{kRestart} + varint(made.new_file.size()) + varint(payload.size()) + payload;
  spec.components.push_back(made);
  return spec;
}

void add_mixed(Maker& make) {
  const struct {
    const char* name;
    PatchLimits limits;
  } kLimits[] = {{"good-mixed-small", {256, 1024, 1, 1, 8, 2, 0, 8, 0, 0, 0}},
                 {"good-mixed-large", {512, 1024, 1, 1, 10, 1, 1, 10, 6, 0, 0}},
                 {"good-mixed-slots", {1024, 1024, 1, 1, 8, 8, 0, 11, 7, 0, 0}},
                 {"good-mixed-strong", {1024, 2048, 1, 1, 11, 2, 1, 14, 8, 0, 0}}};
  uint32_t seed = 20;
  for (const auto& each : kLimits) {
    make.add(each.name, mixed_spec({each.limits, seed}), {"DONE"});
    seed += 10;
  }
}

// What only the values codec's special operations make.
void add_cases(Maker& make) {
  for (const OperationCase& each : operation_cases()) {
    BundleSpec spec;
    spec.limits = {512, 1024, 1, 1, 8, 0, 0, 8, 0, 0, 6};
    spec.required_codecs |= 1u << format::kCodecValues;
    for (const uint8_t level : {uint8_t{0}, uint8_t{1}}) {
      const uint8_t slots = slots_needed(each);
      if (level == 1 && slots > 2) continue;  // too large for the smallest test devices
      spec.limits.value_slots = static_cast<uint8_t>(level == 0 ? slots + 1 : slots);
      spec.limits.value_level = level;
      spec.components = {{each.old_file, each.new_file, encode_case(each, spec.limits)}};
      make.add("good-" + each.name + (level == 0 ? "" : "-large"), spec, {"DONE"});
    }
  }
}

}  // namespace

VectorSet make_vectors() {
  Maker make;
  add_good(make);
  add_encoded(make);
  add_prefix(make);
  add_statement_header(make);
  add_flags(make);
  add_statement_components(make);
  add_signatures(make);
  add_blocks(make);
  add_chunks(make);
  add_operations(make);
  add_special_operations(make);
  add_reach(make);
  add_zstd(make);
  add_mixed(make);
  add_cases(make);
  return make.finish();
}

std::vector<Vector> parse_index(const std::string& text) {
  std::vector<Vector> vectors;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto split = [](const std::string& from, char separator) {
      std::vector<std::string> parts;
      std::istringstream stream(from);
      for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
      return parts;
    };
    const std::vector<std::string> columns = split(line, '\t');
    if (columns.size() != 6) {
      std::fprintf(stderr, "index.tsv: not six columns: %s\n", line.c_str());
      std::abort();
    }
    vectors.push_back({columns[0], columns[1], split(columns[2], ','), split(columns[3], ','),
                       columns[4], columns[5]});
  }
  return vectors;
}

}  // namespace tensorpatch::test
