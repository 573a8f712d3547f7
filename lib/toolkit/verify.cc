// toolkit/verify.cc: all doubts about a bundle, without writing anything.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/bundle_reader.h"
#include "toolkit/applier_run.h"
#include "toolkit/old_files.h"
#include "toolkit/paths.h"
#include "toolkit/signing.h"

namespace tensorpatch::toolkit {
namespace {

Result<bool> decode(base::Bytes bundle, ApplierRun& run) {
  if (auto written = run.write(bundle); !written) return tl::unexpected(written.error());
  return run.finish();
}

}  // namespace

Result<VerifyReport> verify(const VerifyOptions& options) {
  auto file = base::MappedFile::open(options.bundle);
  if (!file) return tl::unexpected(file.error());
  auto ring = parse_ring(options.device.public_keys);
  if (!ring) return tl::unexpected(ring.error());
  auto old_files = open_old_files(options.old_files);
  if (!old_files) return tl::unexpected(old_files.error());

  // The device's own judgement comes first, so that nothing else looks at a bundle that it refuses.
  std::vector<base::Bytes> old_bytes;
  for (const base::MappedFile& old_file : *old_files) old_bytes.push_back(old_file.bytes());
  OldStorage storage(old_bytes);
  RunOptions run_options;
  run_options.storage = &storage;
  run_options.device = options.device;
  run_options.device.accepts_undo = true;  // when it may be applied is the device's business
  run_options.ring = *ring;
  run_options.stage = "verifying";
  run_options.progress = options.progress;
  ApplierRun run(run_options);
  const Result<bool> done = decode(file->bytes(), run);
  // Without old files the applier gets as far as their digests: everything before them held.
  const bool stopped_at_old = !done && done.error().code == TENSORPATCH_E_OLD;
  if (!done && !stopped_at_old) return tl::unexpected(done.error());

  auto reader = bundle::BundleReader::open(file->bytes());
  if (!reader) return tl::unexpected(reader.error());
  if (auto count = check_old_count(options.old_files.size(), *reader); !count) {
    return tl::unexpected(count.error());
  }
  if (!done && !options.old_files.empty()) return tl::unexpected(done.error());
  auto signatures = reader->verify_signatures(*ring, options.device.threshold);
  if (!signatures) return tl::unexpected(signatures.error());
  if (auto chain = reader->verify_blocks(); !chain) return tl::unexpected(chain.error());
  VerifyReport report;
  report.statement_digest = reader->identity();
  report.signed_by = signatures->valid;
  report.unknown_signatures = signatures->unknown.size();
  report.old_checked = done.has_value();
  report.already_new = done && !*done;
  return report;
}

}  // namespace tensorpatch::toolkit
