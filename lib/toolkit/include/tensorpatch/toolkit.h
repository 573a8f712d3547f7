// tensorpatch/toolkit.h: the host side of tensorpatch: make, sign, verify, apply and look at
// bundles.
//
// Works on files, prints nothing, keeps no state between calls. Outputs appear whole or not at all;
// an existing file is replaced only on request, and an output that is also an input, under whatever
// path, is refused. Failures are results (tensorpatch/result.h), never exceptions of our own.
// Every function may be called from any thread; two calls must not write one file.
//
// Units: sizes and offsets are bytes. Applying is the work of the device library
// (tensorpatch/apply.h), here with ports for files: there is one decoder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensorpatch/result.h"

namespace tensorpatch::toolkit {

using Path = std::filesystem::path;
using Digest = std::array<uint8_t, TENSORPATCH_DIGEST_SIZE>;
using DeviceClass = std::array<uint8_t, 16>;  // a UUID's bytes in the order they are printed

// "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", digits of either case. E_USAGE otherwise.
Result<DeviceClass> parse_device_class(std::string_view text);
std::string device_class_text(const DeviceClass& device_class);

enum class Existing : uint8_t { kKeep, kReplace };  // what happens to a file that is in the way

// Told now and then how far a call is; `stage` is one or two words such as "encoding". Answering
// false stops the call with E_CANCELLED (apply with a resume file: with Outcome::kInterrupted).
// Called from the calling thread or from one worker at a time.
struct Progress {
  std::string_view stage;
  uint64_t done = 0;
  uint64_t total = 0;  // 0: not known
};
using ProgressCallback = std::function<bool(const Progress&)>;

// --- keys ---------------------------------------------------------------------------------------

// The content of a small text file, such as a key.
Result<std::string> read_key_file(const Path& path);

struct KeyFiles {
  Path private_key;  // PKCS#8 PEM, readable by its owner only
  Path public_key;   // "<private_key>.pub", SubjectPublicKeyInfo PEM
  Digest id{};
};
// Makes an Ed25519 key pair and writes both files.
Result<KeyFiles> generate_key_files(const Path& private_key, Existing existing);

enum class PublicKeyFormat : uint8_t { kPem, kMinisign, kSignify, kHex, kC };
struct PublicKeyText {
  std::string text;  // ends in a newline
  Digest id{};
};
// Asked once, only for a key that is protected; an error gives up.
using PasswordCallback = std::function<Result<std::string>()>;
// The public key of a key file's content, private or public, of any supported kind.
Result<PublicKeyText> public_key_of(std::string_view key_text, PublicKeyFormat format,
                                    const PasswordCallback& password);

// Where a signature comes from: a private key file's content, or a program that is given the bytes
// to sign and whose signature is checked with `public_key` (a public key file's content).
struct Signer {
  std::string private_key;
  PasswordCallback password;
  std::string command;
  std::string public_key;
};

// --- pack ---------------------------------------------------------------------------------------

// The part of a file or block device in which a model is: a partition, a firmware image. What
// reaches beyond the end is refused with E_OLD.
struct FileRegion {
  uint64_t offset = 0;
  std::optional<uint64_t> size;  // none: up to the end
};

// One file of an update. For pack: `old_file` empty means a whole file. For apply: all are set.
// To pack, the whole region is the old file; to apply, the old file is where the region begins and
// as large as the bundle says, and what follows it does not matter.
struct ComponentFiles {
  std::string name;  // [a-z0-9][a-z0-9._-]{0,31}; empty for a single component: see pack, apply
  Path old_file;
  Path new_file;
  FileRegion old_region{};
};

// An old file for a bundle, as for apply; an empty path for a component that is a whole file.
struct OldFile {
  OldFile(Path file, FileRegion part = {}) : path(std::move(file)), region(part) {}
  Path path;
  FileRegion region;
};

// For devices without room for two models: new is written over old. Only one component.
struct InPlace {
  uint64_t region_size = 0;  // bytes that old and new share; 0: as the profile says
};

struct PackOptions {
  std::vector<ComponentFiles> components;  // 1..6; a single one may be unnamed
  Path output;
  Existing existing = Existing::kKeep;
  std::string profile = "linux";   // a built-in name, or the path of a profile file
  std::optional<uint64_t> memory;  // the workspace must not be larger
  uint64_t sequence = 0;
  uint32_t security_version = 0;
  std::optional<DeviceClass> device_class;
  std::string version;  // of the new model, for people
  std::vector<std::pair<std::string, std::string>> metadata;
  Path details;  // empty: no sidecar
  std::optional<InPlace> in_place;
  Path undo;  // empty: none. Else a bundle that leads back from new to old
  // Of what undo leads back to; must be given when security_version is not 0.
  std::optional<uint32_t> undo_security_version;
  // Reports of components that were snapped; what they say is in the manifest.
  std::vector<Path> snap_reports;
  std::optional<Signer> signer;
  unsigned level = 6;  // 1: quick, 9: small. Low ones use less of the profile's memory, too
  unsigned jobs = 0;   // threads; 0: one a processor. The bytes do not depend on it
  ProgressCallback progress;
};

struct PackedComponent {
  std::string name;
  std::string format;   // of the new file: "tflite", "raw", ...
  std::string warning;  // a container that was taken as raw and why; else empty
  uint64_t old_size = 0;
  uint64_t new_size = 0;
  uint64_t patch_size = 0;
};

// What the device must have to apply in place.
struct InPlaceFacts {
  uint64_t margin = 0;       // bytes before old while new is written
  uint64_t region_size = 0;  // the least that will do
  uint64_t journal_records = 0;
};

// What the update costs when it comes over a link; docs/BENCHMARKS.md names the figures.
struct LinkFacts {
  std::string name;        // "nb-iot"
  std::string title;       // "NB-IoT Cat NB1"
  uint64_t air_ms = 0;     // the receiver is on
  uint64_t time_ms = 0;    // receiving, decoding, erasing and writing
  uint64_t energy_mj = 0;  // of all three
};

struct PackReport {
  bool nothing_to_do = false;  // every old equals its new: no file was made
  uint64_t bundle_size = 0;
  uint32_t workspace_size = 0;
  std::string profile;
  Digest statement_digest{};  // the update's identity
  std::vector<Digest> signed_by;
  std::vector<PackedComponent> components;
  std::optional<InPlaceFacts> in_place;
  uint64_t undo_size = 0;        // of the undo bundle; 0: none
  std::vector<LinkFacts> links;  // estimates for a microcontroller, one a link
};

// Makes a bundle. Before it is signed, the device library rebuilds every new file from it in a
// workspace of exactly the declared size; E_SELF_CHECK when that fails.
Result<PackReport> pack(const PackOptions& options);

// --- what changed -------------------------------------------------------------------------------

enum class TensorState : uint8_t {
  kUnchanged,  // the same bytes under the same name
  kChanged,
  kReshaped,  // the same name and type, another shape
  kRetyped,   // the same name, another element type
  kRenamed,   // compared with an old tensor of another name, which has its content or its shape
  kAdded,     // new only
  kRemoved,   // old only
};
std::string_view tensor_state_name(TensorState state);  // "unchanged", "changed", ...

struct OldTensorFacts {
  std::string name;
  std::string type;
  std::vector<uint64_t> shape;
  uint64_t offset = 0;  // in the old file
  uint64_t size = 0;
};

// A tensor, an array of scales or zero points, or, without a name and of the role "other", a piece
// between them. What docs/man/tensorpatch-diff.1 says of the figures holds here.
struct TensorFacts {
  std::string name;
  std::string role;
  std::string type;
  std::string method;  // how it travels: "copy", "residual", ...; empty when it was removed
  std::vector<uint64_t> shape;
  uint64_t offset = 0;  // in the new file; 0 when it was removed, as is the size
  uint64_t size = 0;
  uint64_t patch_bytes = 0;
  TensorState state = TensorState::kUnchanged;
  bool moved = false;                     // its order among the tensors is another one
  std::optional<OldTensorFacts> old;      // what it was compared with
  std::optional<double> relative_change;  // |new - old| / |old|: how far the weights moved
  std::optional<double> share_equal;      // of the elements, 0..1
  std::optional<double> correlation;      // -1..1
  std::optional<double> lineage;          // 0: no relation, near 1: the same weights moved a little
  std::optional<uint64_t> bound_bytes;    // what an ideal order-0 coder would need
};

// A sentence that follows from the figures; `code` is stable, for scripts.
struct Advice {
  std::string code;
  std::string text;
};

struct TensorCounts {  // without the pieces between tensors
  uint64_t all = 0;    // of new
  uint64_t unchanged = 0;
  uint64_t changed = 0;  // other content: changed, reshaped, retyped, renamed, added
  uint64_t reshaped = 0;
  uint64_t retyped = 0;
  uint64_t renamed = 0;
  uint64_t added = 0;
  uint64_t removed = 0;
  uint64_t moved = 0;
};

// What became of one file.
struct Comparison {
  std::string old_format;  // "tflite", "raw", ...; empty when there is no old file
  std::string new_format;
  std::string warning;  // a container that was taken as raw and why; else empty
  uint64_t old_size = 0;
  uint64_t new_size = 0;
  uint64_t patch_size = 0;   // of the patch stream, without the bundle around it
  uint64_t bound_bytes = 0;  // sum over the tensors and pieces
  bool identical = false;    // the files are equal
  double old_entropy = 0;    // of single bytes, in bits, 0..8
  double new_entropy = 0;
  std::optional<double> lineage;  // of the weights, by size
  TensorCounts counts;
  // Values that differ, by |new - old| in units of the root mean square of the old tensor: count i
  // is of those from 2^(i/2 - 16) to 2^(i/2 - 15.5); the ends hold what lies beyond.
  std::vector<uint64_t> histogram;
  std::vector<TensorFacts> tensors;  // of new by ascending offset, then those that were removed
  std::vector<Advice> advice;
};

struct DiffOptions {
  Path old_file;
  Path new_file;
  FileRegion old_region{};        // as for pack: all of it is the old file
  std::string profile = "linux";  // as for pack: what the patch may use
  unsigned jobs = 0;
  ProgressCallback progress;
};
// Compares two files tensor by tensor and encodes the patch, which is counted, not kept.
Result<Comparison> diff(const DiffOptions& options);

// --- snap: a new model on a coarse grid around the old one ---------------------------------------

enum class Better : uint8_t { kHigher, kLower };

// Programs that judge a model, each given as words; no shell runs them. "{model}" stands for the
// file to judge, "{predictions}" for a file that the program may write, one prediction a line. Exit
// code 0 means that the model will do; a number that is printed is its metric as well: what
// `metric_regex` matches last (its first group, if it has one), else the last line if that is a
// number. The new model sets the mark, for each program by itself.
struct Evaluation {
  std::string command;
  std::string regression;    // judges what the old model could do; empty: none
  std::string metric_regex;  // ECMAScript, sought line by line
  Better better = Better::kHigher;
  double max_drop = 0;                 // >= 0; how much worse than the new model's a metric may be
  unsigned max_evaluations = 10;       // models that are judged, old and new among them; >= 4
  unsigned parallel = 1;               // evaluations at a time
  std::chrono::seconds timeout{3600};  // for each program
  // Folder for results by program and model digest, so that a run that was stopped goes on;
  // empty: none are kept.
  Path cache;
};

struct Score {
  std::string failure;  // why the model will not do, in one line; empty: it will
  std::optional<double> metric;
  std::optional<double> regression;
  std::optional<double> churn;  // share of the predictions that are not the new model's
};

struct SnapOptions {
  Path old_file;
  Path new_file;
  Path output;  // a model like new_file
  Existing existing = Existing::kKeep;
  // 1/1024..3. None: 0.25 without an evaluation, with one the largest that passes and whose next
  // finer passes too.
  std::optional<double> grid;
  std::optional<Evaluation> evaluation;
  enum class Sizes : uint8_t { kNotMeasured, kMeasured } sizes = Sizes::kNotMeasured;
  // Of the files, for the report: as much work as all the rest. Always taken with an evaluation.
  enum class Digests : uint8_t { kTaken, kNotTaken } digests = Digests::kTaken;
  std::string profile = "linux";  // for which sizes are measured
  unsigned jobs = 0;
  ProgressCallback progress;
};

// A grid that was tried, or of which the size was measured.
struct SnapCandidate {
  double grid = 0;
  Digest digest{};
  std::optional<uint64_t> patch_size;
  std::optional<Score> score;  // of an evaluation
};

struct SnapTensor {
  std::string name;
  std::string role;
  std::string type;
  std::vector<uint64_t> shape;
  uint64_t size = 0;
  std::string fate;                      // "snapped", "equal", or why it stays: "no gain", ...
  double step = 0;                       // of its grid; 0: none
  double share_moved = 0;                // of the values
  double update = 0;                     // root mean square of new - old
  double error = 0;                      // and of snapped - new
  std::optional<uint64_t> patch_before;  // bytes of the patch to new, and to the snapped file
  std::optional<uint64_t> patch_after;
};

struct SnapReport {
  std::optional<double> grid;  // none: no grid passed the evaluation, and nothing was written
  std::string format;
  std::string warning;  // a container that was taken as raw and why; else empty
  uint64_t new_size = 0;
  Digest old_digest{};
  Digest new_digest{};
  Digest snapped_digest{};
  std::optional<uint64_t> new_patch_size;      // to new as it was
  std::optional<uint64_t> snapped_patch_size;  // to the file that was written
  std::optional<Score> old_score;
  std::optional<Score> new_score;
  std::optional<Score> snapped_score;
  bool old_will_do = false;  // the old model passes: nothing need be shipped
  unsigned evaluations = 0;  // models judged; `cached` of them by an earlier run
  unsigned cached = 0;
  std::vector<SnapCandidate> candidates;  // ascending grids
  std::vector<SnapTensor> tensors;        // of the file that was written
};
// Writes the new model with its weights on a grid around the old one's, which is a new model to be
// tested, signed and shipped in its place.
Result<SnapReport> snap(const SnapOptions& options);
// As docs/SNAP.md says; pack takes it.
std::string snap_report_json(const SnapReport& report);

// A text for people, such as a page about a comparison, and what it was made from.
struct ReportFile {
  Path output;
  Existing existing = Existing::kKeep;
  std::vector<Path> inputs;
};
// Whether it could be written: E_EXISTS, or E_USAGE when it is one of the inputs.
Result<void> check_report(const ReportFile& file);
Result<void> write_report(const ReportFile& file, std::string_view text);

// --- sign ---------------------------------------------------------------------------------------

struct SignReport {
  Digest key_id{};
  Digest statement_digest{};
  size_t signature_count = 0;  // in the bundle, the new one included
};
// Adds a signature to a bundle, which is replaced as a whole.
Result<SignReport> sign(const Path& bundle, const Signer& signer);
// Adds a raw signature made elsewhere, after checking it with the public key file's content.
Result<SignReport> attach_signature(const Path& bundle, const Path& signature,
                                    std::string_view public_key);
// Writes the bytes that a signer elsewhere must sign.
Result<void> export_to_be_signed(const Path& bundle, const Path& output, Existing existing);

// --- verify and apply ---------------------------------------------------------------------------

// What the caller, in the place of a device, trusts and can hold.
struct Device {
  std::vector<std::string> public_keys;  // contents of public key files
  uint32_t threshold = 1;                // valid signatures by different keys
  std::optional<DeviceClass> device_class;
  uint64_t sequence_floor = 0;
  uint32_t security_version_floor = 0;
  std::optional<uint64_t> memory;  // most bytes of workspace
  bool accepts_undo = false;       // bundles that lead back from an update
};

struct VerifyOptions {
  Path bundle;
  Device device;
  std::vector<OldFile> old_files;  // none, or one a component in the bundle's order
  ProgressCallback progress;
};

struct VerifyReport {
  Digest statement_digest{};
  std::vector<Digest> signed_by;  // valid signatures by given keys
  size_t unknown_signatures = 0;  // by keys that were not given
  bool old_checked = false;       // the old files are right and the whole update was decoded
  bool already_new = false;       // the old files already equal the new ones
};
// Without old files: statement, signatures, manifest and the whole chain of blocks. With them also
// that they are right, and the update is decoded without writing it.
Result<VerifyReport> verify(const VerifyOptions& options);

// Fills `data` with the next bytes of a bundle; 0: its end.
using InputCallback = std::function<Result<size_t>(std::span<uint8_t> data)>;

struct ApplyOptions {
  Path bundle;                             // or
  InputCallback input;                     // a stream; it is not stored
  std::vector<ComponentFiles> components;  // a single one may be unnamed
  Device device;
  Existing existing = Existing::kKeep;
  // Where to keep what is needed to go on after an interruption; empty: nothing is kept. When the
  // file exists the update goes on: `input` must begin at the offset that was told, a file is
  // sought.
  Path resume;
  ProgressCallback progress;
};

enum class Outcome : uint8_t {
  kDone,
  kAlreadyNew,   // the old files already equal the new ones, which were made as copies
  kInterrupted,  // with a resume file: feed the bundle from next_offset and go on
};

struct ApplyReport {
  Outcome outcome = Outcome::kDone;
  uint64_t next_offset = 0;  // of the bundle, when interrupted
  uint64_t new_size = 0;     // bytes of all new files
  uint32_t workspace_size = 0;
  std::vector<Digest> signed_by;
};
Result<ApplyReport> apply(const ApplyOptions& options);

// --- inspect ------------------------------------------------------------------------------------

struct SignatureFacts {
  uint16_t algorithm = 0;
  std::vector<uint8_t> key_id;  // of an unknown key only its first 8 bytes
  enum class Check : uint8_t {
    kNotChecked,
    kValid,
    kWrong,
    kUnknownKey
  } check = Check::kNotChecked;
};

// What made a part of a new file: by method, or a single tensor.
struct MethodFacts {
  std::string method;
  uint64_t count = 0;        // of operations, or of tensors and pieces between them
  uint64_t new_bytes = 0;    // that they have in the new file
  uint64_t patch_bytes = 0;  // that they take in the patch
};

struct ComponentFacts {
  std::string name;
  std::string format;
  bool whole = false;
  uint64_t old_size = 0;
  uint64_t new_size = 0;
  uint64_t patch_size = 0;
  Digest old_digest{};
  Digest new_digest{};
  std::vector<MethodFacts> operations;   // of the patch; empty when no old files were given
  std::vector<MethodFacts> methods;      // empty when no details were given
  std::optional<Comparison> comparison;  // by the details
};

// What the update costs the device, in bytes.
struct ContractFacts {
  std::optional<InPlaceFacts> in_place;
  uint64_t workspace = 0;
  uint64_t flash_written = 0;
  uint64_t flash_erased = 0;
  uint64_t old_reads = 0;
  uint64_t new_reads = 0;
  std::optional<uint32_t> time_ms;  // as the packer states them for its device; pack does not
  std::optional<uint32_t> energy_mj;
  std::vector<LinkFacts> links;  // estimates for a microcontroller, one a link
};

struct InspectOptions {
  Path bundle;
  Path details;                          // the sidecar; empty: none
  std::vector<std::string> public_keys;  // empty: signatures are not checked
  // One a component, or none. With them the patch is replayed, to tell its operations: only what a
  // given key has signed is decoded (E_UNTRUSTED, E_SIGNATURE), and only with the right files
  // (E_OLD).
  std::vector<OldFile> old_files;
};

// Facts of a bundle as it says them. Without old files nothing but the form, and signatures by
// given keys, is checked.
struct InspectReport {
  uint64_t bundle_size = 0;
  uint8_t major = 0;
  uint8_t minor = 0;
  Digest statement_digest{};
  uint64_t sequence = 0;
  uint32_t security_version = 0;
  std::optional<DeviceClass> device_class;
  bool undo = false;  // leads back from an update
  ContractFacts contract;
  std::vector<std::string> codecs;  // that the device must have
  uint32_t block_size = 0;
  uint32_t restart_interval = 0;
  uint32_t erase_size = 0;
  uint32_t write_size = 0;
  std::string version;  // of the new content
  std::string tool;     // that made the bundle
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<std::string> compatibility;
  std::optional<Digest> details_digest;
  std::vector<SignatureFacts> signatures;
  std::vector<ComponentFacts> components;
};
Result<InspectReport> inspect(const InspectOptions& options);

// --- simulate -----------------------------------------------------------------------------------

struct SimulateOptions {
  Path bundle;
  std::vector<OldFile> old_files;  // one a component, in the bundle's order
  Device device;
  std::string profile = "mcu-64k";  // as for pack; of a microcontroller
  double clock_mhz = 64;
  std::string link;  // a name of bundle/radio.tsv, such as "nb-iot"; empty: none
  ProgressCallback progress;
};

struct SimulatedStep {
  double ms = 0;
  double mj = 0;
};

// Counts are those of the device library's own run; instructions, times and energy are estimates.
struct SimulateReport {
  bool already_new = false;
  std::vector<Digest> signed_by;
  uint64_t workspace = 0;  // bytes of RAM, and
  uint64_t applier = 0;    // of the applier object
  std::optional<InPlaceFacts> in_place;
  uint64_t erased = 0;   // bytes of flash
  uint64_t written = 0;  // without the records
  uint64_t records = 0;  // checkpoints, TENSORPATCH_CHECKPOINT_SIZE bytes each
  uint64_t old_read = 0;
  uint64_t new_read = 0;  // in place: of the region, old and new
  uint64_t decode_instructions = 0;
  uint64_t check_instructions = 0;  // hash and signature
  SimulatedStep cpu;
  SimulatedStep flash;
  std::optional<SimulatedStep> link;
};
// Applies to nothing, as a device with this profile would, and says what that costs it.
Result<SimulateReport> simulate(const SimulateOptions& options);

// --- classic bsdiff patches (BSDIFF40)
// ------------------------------------------------------------

struct BsdiffFiles {
  Path old_file;
  Path new_file;  // read by bsdiff, written by bspatch
  Path patch;     // written by bsdiff, read by bspatch
  Existing existing = Existing::kKeep;
};
Result<void> bsdiff(const BsdiffFiles& files);
Result<void> bspatch(const BsdiffFiles& files);

}  // namespace tensorpatch::toolkit
