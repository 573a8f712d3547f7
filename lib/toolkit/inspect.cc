// toolkit/inspect.cc: what a bundle says about itself.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "bundle/bundle_reader.h"
#include "bundle/details.h"
#include "bundle/digest.h"
#include "delta/operation_reader.h"
#include "toolkit/applier_run.h"
#include "toolkit/comparison.h"
#include "toolkit/links.h"
#include "toolkit/old_files.h"
#include "toolkit/paths.h"
#include "toolkit/scratch_file.h"
#include "toolkit/signing.h"

namespace tensorpatch::toolkit {
namespace {

std::vector<std::string> codec_names(uint32_t codecs) {
  constexpr std::pair<uint8_t, std::string_view> kNames[] = {
      {format::kCodecOperations, "operations"},
      {format::kCodecValues, "values"},
      {format::kCodecBytes, "bytes"},
      {format::kCodecZstd, "zstd"},
      {format::kCodecValuesFull, "values-full"},
      {format::kCodecBytesFull, "bytes-full"}};
  std::vector<std::string> names;
  for (const auto& [codec, name] : kNames) {
    if ((codecs >> codec & 1) != 0) names.emplace_back(name);
  }
  return names;
}

SignatureFacts signature_facts(const keys::Signature& signature,
                               const std::vector<keys::PublicKey>& ring, base::Bytes message) {
  SignatureFacts facts{signature.algorithm,
                       {signature.key.begin(), signature.key.end()},
                       SignatureFacts::Check::kNotChecked};
  if (ring.empty()) return facts;
  const auto known = std::find_if(ring.begin(), ring.end(),
                                  [&](const auto& key) { return hint_of(key) == signature.key; });
  if (known == ring.end()) {
    facts.check = SignatureFacts::Check::kUnknownKey;
  } else {
    facts.key_id.assign(known->id.begin(), known->id.end());
    facts.check = keys::verify(*known, message, signature) ? SignatureFacts::Check::kValid
                                                           : SignatureFacts::Check::kWrong;
  }
  return facts;
}

// How much of the new file came about by each method.
std::vector<MethodFacts> methods_of(const Comparison& comparison) {
  std::vector<MethodFacts> methods;
  for (const TensorFacts& tensor : comparison.tensors) {
    if (tensor.state == TensorState::kRemoved) continue;
    auto method = std::ranges::find(methods, tensor.method, &MethodFacts::method);
    if (method == methods.end()) method = methods.insert(method, {tensor.method, 0, 0, 0});
    ++method->count;
    method->new_bytes += tensor.size;
    method->patch_bytes += tensor.patch_bytes;
  }
  return methods;
}

Result<void> read_details(const Path& path, const bundle::Manifest& manifest,
                          InspectReport& report) {
  if (!manifest.details_digest) {
    return fail(TENSORPATCH_E_USAGE, "the bundle was made without details",
                "`tensorpatch pack --details FILE` writes them");
  }
  auto file = base::MappedFile::open(path);
  if (!file) return tl::unexpected(file.error());
  auto details = bundle::read_details(file->bytes(), *manifest.details_digest);
  if (!details) return tl::unexpected(details.error());
  auto comparisons = comparisons_of(*details, report.components);
  if (!comparisons) return tl::unexpected(comparisons.error());
  for (size_t i = 0; i < comparisons->size(); ++i) {
    report.components[i].methods = methods_of((*comparisons)[i]);
    report.components[i].comparison = std::move((*comparisons)[i]);
  }
  return {};
}

// The operations of one component's patch, by replaying it.
Result<std::vector<MethodFacts>> operations_of(const bundle::BundleReader& reader,
                                               const std::vector<base::Bytes>& old_files,
                                               const Path& scratch_beside, uint32_t index) {
  auto scratch = ScratchFile::create_beside(scratch_beside);
  if (!scratch) return tl::unexpected(scratch.error());
  if (auto read = reader.read_patch(index, **scratch); !read) return tl::unexpected(read.error());
  auto patch = (*scratch)->map();
  if (!patch) return tl::unexpected(patch.error());
  const bundle::Statement& statement = reader.statement();
  const HostCodecs codecs(statement.limits.zstd_window_log2);
  const auto counts =
      delta::read_operations({patch->bytes(), statement.limits, old_files, index,
                              statement.components[index].new_size, codecs.table()});
  if (!counts) return tl::unexpected(counts.error());
  std::vector<MethodFacts> facts;
  for (const delta::OperationCount& count : *counts) {
    facts.push_back({count.method, count.count, count.new_bytes, count.patch_bytes});
  }
  return facts;
}

// Nothing is decoded that is not signed by a key of the ring.
Result<void> add_operations(const InspectOptions& options, const std::vector<keys::PublicKey>& ring,
                            const bundle::BundleReader& reader, InspectReport& report) {
  auto count = check_old_count(options.old_files.size(), reader);
  if (!count) return count;
  auto signatures = reader.verify_signatures(ring, 1);
  if (!signatures) return tl::unexpected(signatures.error());
  auto files = open_old_files(options.old_files);
  if (!files) return tl::unexpected(files.error());
  std::vector<base::Bytes> old_files;
  for (size_t i = 0; i < files->size(); ++i) {
    const bundle::Component& component = reader.statement().components[i];
    const base::Bytes bytes = (*files)[i].bytes();
    old_files.push_back(bytes.first(std::min<uint64_t>(component.old_size, bytes.size())));
    if (bundle::sha256(old_files[i]) != component.old_digest) {
      return fail(TENSORPATCH_E_OLD, "wrong old file: " + quoted(options.old_files[i].path) +
                                         " is not the one that the bundle was made from");
    }
  }
  for (uint32_t i = 0; i < report.components.size(); ++i) {
    auto facts = operations_of(reader, old_files, options.bundle, i);
    if (!facts) return tl::unexpected(facts.error());
    report.components[i].operations = std::move(*facts);
  }
  return {};
}

void add_manifest(const bundle::BundleReader& reader, InspectReport& report) {
  const bundle::Manifest& manifest = reader.manifest();
  report.version = manifest.version;
  report.tool = manifest.tool;
  report.metadata.assign(manifest.meta.begin(), manifest.meta.end());
  report.compatibility = manifest.compatibility;
  report.details_digest = manifest.details_digest;
  const bundle::ResourceContract contract = bundle::contract(reader.statement(), manifest);
  if (contract.margin != 0) {
    report.contract.in_place = {contract.margin, contract.region_size, contract.journal_records};
  }
  report.contract = {
      report.contract.in_place, contract.workspace, contract.flash_written,
      contract.flash_erased,    contract.old_reads, contract.new_reads,
      contract.time_ms,         contract.energy_mj, link_facts(reader.bytes().size(), contract)};
}

// Of what a bundle says of a file, which may be newer than this program.
std::string format_text(uint8_t number) {
  const auto format = static_cast<model::Format>(number);
  return format <= model::Format::kOnnxData ? std::string(model::format_name(format)) : "unknown";
}

void add_statement(const bundle::BundleReader& reader, InspectReport& report) {
  const bundle::Statement& statement = reader.statement();
  report.bundle_size = reader.bytes().size();
  report.major = format::kMajor;
  report.minor = statement.minor;
  report.statement_digest = reader.identity();
  report.sequence = statement.sequence;
  report.security_version = statement.security_version;
  if (statement.device_class != bundle::Uuid{}) report.device_class = statement.device_class;
  report.codecs = codec_names(statement.required_codecs);
  report.block_size = statement.limits.block_size;
  report.restart_interval = statement.limits.restart_interval;
  report.undo = (statement.required_flags & format::kFlagUndo) != 0;
  report.erase_size = statement.limits.erase_size;
  report.write_size = statement.limits.write_size;
  for (size_t i = 0; i < statement.components.size(); ++i) {
    const bundle::Component& component = statement.components[i];
    const bundle::ManifestComponent& described = reader.manifest().components[i];
    ComponentFacts facts;
    facts.name = described.name;
    facts.format = format_text(component.format);
    facts.whole = (component.flags & format::kComponentWhole) != 0;
    facts.old_size = component.old_size;
    facts.new_size = component.new_size;
    facts.patch_size = component.patch_size;
    facts.old_digest = component.old_digest;
    facts.new_digest = component.new_digest;
    report.components.push_back(std::move(facts));
  }
}

}  // namespace

Result<DeviceClass> parse_device_class(std::string_view text) {
  return bundle::parse_uuid(text);
}

std::string device_class_text(const DeviceClass& device_class) {
  return bundle::format_uuid(device_class);
}

Result<InspectReport> inspect(const InspectOptions& options) {
  auto file = base::MappedFile::open(options.bundle);
  if (!file) return tl::unexpected(file.error());
  auto reader = bundle::BundleReader::open(file->bytes());
  if (!reader) return tl::unexpected(reader.error());
  auto ring = parse_ring(options.public_keys);
  if (!ring) return tl::unexpected(ring.error());
  InspectReport report;
  if (reader->manifest().components.size() != reader->statement().components.size()) {
    return fail(TENSORPATCH_E_FORMAT, "the manifest lists another number of components");
  }
  add_statement(*reader, report);
  add_manifest(*reader, report);
  const std::vector<uint8_t> message = bundle::dsse_message(reader->statement_bytes());
  for (const keys::Signature& signature : reader->signatures()) {
    report.signatures.push_back(signature_facts(signature, *ring, message));
  }
  if (!options.old_files.empty()) {
    if (auto added = add_operations(options, *ring, *reader, report); !added) {
      return tl::unexpected(added.error());
    }
  }
  if (!options.details.empty()) {
    if (auto added = read_details(options.details, reader->manifest(), report); !added) {
      return tl::unexpected(added.error());
    }
  }
  return report;
}

}  // namespace tensorpatch::toolkit
