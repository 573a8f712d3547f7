// toolkit/diff.cc: two files compared tensor by tensor, with what the real encoder makes of them.
//
// The patch goes nowhere: its bytes are counted by the encoder. Both files are mapped.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/comparison.h"
#include "toolkit/old_files.h"
#include "toolkit/paths.h"
#include "toolkit/profile_choice.h"

namespace tensorpatch::toolkit {
namespace {

// Takes everything until the caller's progress callback has said stop.
class NoSink : public base::Sink {
 public:
  explicit NoSink(const bool& stopped) : stopped_(stopped) {}
  Result<void> write(base::Bytes) override {
    if (stopped_) return fail(TENSORPATCH_E_CANCELLED, "stopped before the end");
    return {};
  }

 private:
  const bool& stopped_;
};

std::string joined_warnings(const model::Model& old_model, const model::Model& new_model) {
  std::string text;
  if (!old_model.warning.empty()) text = "old: " + old_model.warning;
  if (!new_model.warning.empty()) {
    text += (text.empty() ? "new: " : "; new: ") + new_model.warning;
  }
  return text;
}

}  // namespace

Result<Comparison> diff(const DiffOptions& options) {
  auto old_file = open_old_file({options.old_file, options.old_region});
  if (!old_file) return tl::unexpected(old_file.error());
  auto new_file = base::MappedFile::open(options.new_file);
  if (!new_file) return tl::unexpected(new_file.error());
  auto profile = choose_profile({options.profile, std::nullopt, new_file->bytes().size()});
  if (!profile) return tl::unexpected(profile.error());
  const model::Model old_model = model::parse(old_file->bytes());
  const model::Model new_model = model::parse(new_file->bytes());
  const std::vector<delta::ComponentInput> components{
      {old_file->bytes(), new_file->bytes(), &old_model, &new_model}};

  bool stopped = false;
  delta::PatchOptions patch_options;
  patch_options.limits = profile->limits;
  patch_options.codecs = profile->codecs;
  patch_options.jobs = options.jobs;
  if (options.progress) {
    patch_options.progress = [&](uint64_t done, uint64_t total) {
      if (!options.progress({"comparing", done, total})) stopped = true;
    };
  }
  NoSink sink(stopped);
  delta::PatchReport report;
  if (!new_file->bytes().empty()) {
    auto made = delta::make_patch(components, 0, patch_options, sink);
    if (!made) return tl::unexpected(made.error());
    report = std::move(*made);
  }
  if (stopped) return fail(TENSORPATCH_E_CANCELLED, "stopped before the end");
  Comparison comparison = compare(components, 0, report, options.jobs);
  comparison.warning = joined_warnings(old_model, new_model);
  return comparison;
}

Result<void> check_report(const ReportFile& file) {
  if (auto distinct = check_distinct({file.inputs, {file.output}}); !distinct) return distinct;
  return check_free(file.output, file.existing);
}

Result<void> write_report(const ReportFile& file, std::string_view text) {
  if (auto checked = check_report(file); !checked) return checked;
  auto output =
      base::OutputFile::create(file.output, {.replace = file.existing == Existing::kReplace});
  if (!output) return tl::unexpected(output.error());
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  if (auto written = (*output)->write({bytes, text.size()}); !written) return written;
  return (*output)->commit();
}

}  // namespace tensorpatch::toolkit
