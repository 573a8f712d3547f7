// toolkit/pack.cc: model files to a signed bundle that has proved that it can be applied.
//
// Memory: the inputs and the patches are mapped; the bundle is written twice from them, once into
// the device library, once to the output.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>
#include <chrono>

#include "base/parallel.h"
#include "bundle/bundle_writer.h"
#include "bundle/details.h"
#include "delta/delta.h"
#include "model/model.h"
#include "toolkit/comparison.h"
#include "toolkit/links.h"
#include "toolkit/old_files.h"
#include "toolkit/paths.h"
#include "toolkit/profile_choice.h"
#include "toolkit/scratch_file.h"
#include "toolkit/self_check.h"
#include "toolkit/signing.h"
#include "toolkit/snap_report.h"

namespace tensorpatch::toolkit {
namespace {

constexpr uint64_t kFillWorthWarning = 64;
constexpr char kTool[] = "tensorpatch " TENSORPATCH_VERSION;

// Everything that is known of the files before encoding.
struct Inputs {
  std::vector<std::string> names;
  std::vector<base::MappedFile> old_files;
  std::vector<base::MappedFile> new_files;
  std::vector<Digest> old_digests;
  std::vector<Digest> new_digests;
  std::vector<model::Model> old_models;
  std::vector<model::Model> new_models;
};

// Which way a bundle leads, and from what security version on it is accepted.
struct Way {
  uint32_t flags = 0;  // format::RequiredFlag
  uint32_t security_version = 0;
};

// A patch stream, mapped, and what the encoder says of it.
struct Patch {
  base::MappedFile stream;
  delta::PatchReport report;
};

// Passes bytes on until the caller's progress callback has said stop.
class StoppableSink : public base::Sink {
 public:
  StoppableSink(base::Sink& sink, const bool& stopped) : sink_(sink), stopped_(stopped) {}
  Result<void> write(base::Bytes data) override {
    if (stopped_) return fail(TENSORPATCH_E_CANCELLED, "stopped before the end");
    return sink_.write(data);
  }

 private:
  base::Sink& sink_;
  const bool& stopped_;
};

bool is_whole(const ComponentFiles& files) {
  return files.old_file.empty();
}

// What only some updates can have.
Result<void> check_ways(const PackOptions& options) {
  const bool any_whole = std::ranges::any_of(options.components, is_whole);
  if (options.in_place && (options.components.size() != 1 || any_whole)) {
    return fail(TENSORPATCH_E_USAGE, "in place needs one component with an old file");
  }
  if (options.undo.empty()) return {};
  if (any_whole) {
    return fail(TENSORPATCH_E_USAGE, "a whole file leads back to nothing: no undo bundle");
  }
  if (options.security_version != 0 && !options.undo_security_version) {
    return fail(TENSORPATCH_E_USAGE,
                "an undo bundle needs the security version of what it leads back to",
                "give --undo-security-version; devices refuse it when their floor is higher");
  }
  return check_free(options.undo, options.existing);
}

Result<void> check_options(const PackOptions& options) {
  if (options.components.empty() || options.components.size() > TENSORPATCH_MAX_COMPONENTS) {
    return fail(TENSORPATCH_E_USAGE, "an update has 1 to 6 components");
  }
  Paths paths;
  for (size_t i = 0; i < options.components.size(); ++i) {
    const ComponentFiles& files = options.components[i];
    if (files.name.empty() ? options.components.size() > 1
                           : !bundle::valid_component_name(files.name)) {
      return fail(TENSORPATCH_E_USAGE, "'" + files.name + "' cannot be the name of a component",
                  "1 to 32 of a-z, 0-9, dot, underscore and hyphen; a letter or digit first");
    }
    for (size_t j = 0; j < i; ++j) {
      if (options.components[j].name == files.name) {
        return fail(TENSORPATCH_E_USAGE, "component '" + files.name + "' is given twice");
      }
    }
    paths.inputs.push_back(files.old_file);
    paths.inputs.push_back(files.new_file);
  }
  paths.outputs = {options.output, options.details, options.undo};
  if (auto distinct = check_distinct(paths); !distinct) return distinct;
  if (auto ways = check_ways(options); !ways) return ways;
  if (auto is_free = check_free(options.output, options.existing); !is_free) return is_free;
  if (options.level < delta::kLeastLevel || options.level > delta::kMostLevel) {
    return fail(TENSORPATCH_E_USAGE, "a level is one of 1 (quick) to 9 (small)");
  }
  return options.details.empty() ? Result<void>() : check_free(options.details, options.existing);
}

Result<Inputs> open_inputs(const PackOptions& options) {
  Inputs inputs;
  for (const ComponentFiles& files : options.components) {
    inputs.names.push_back(files.name.empty() ? bundle::kDefaultName : files.name);
    auto old_file = open_old_file({files.old_file, files.old_region});
    if (!old_file) return tl::unexpected(old_file.error());
    auto new_file = base::MappedFile::open(files.new_file);
    if (!new_file) return tl::unexpected(new_file.error());
    inputs.old_files.push_back(std::move(*old_file));
    inputs.new_files.push_back(std::move(*new_file));
  }
  return inputs;
}

bool has_nothing_to_do(const PackOptions& options, const Inputs& inputs) {
  for (size_t i = 0; i < options.components.size(); ++i) {
    if (is_whole(options.components[i]) ||
        !std::ranges::equal(inputs.old_files[i].bytes(), inputs.new_files[i].bytes())) {
      return false;
    }
  }
  return true;
}

std::vector<model::Model> parse_files(const PackOptions& options,
                                      const std::vector<base::MappedFile>& files,
                                      Path ComponentFiles::*path) {
  std::vector<model::NamedFile> named;
  for (size_t i = 0; i < files.size(); ++i) {
    const Path& file = options.components[i].*path;
    named.push_back({file.filename().string(), files[i].bytes()});
  }
  return model::parse_all(named);
}

// Digests of the files, each by itself, and their structure, all of one side together.
void study(const PackOptions& options, Inputs& inputs) {
  const size_t count = inputs.names.size();
  inputs.old_digests.resize(count);
  inputs.new_digests.resize(count);
  base::parallel_for(2 + 2 * count, options.jobs, [&](size_t work) {
    const bool is_new = work % 2 != 0;
    const auto& files = is_new ? inputs.new_files : inputs.old_files;
    if (work < 2) {
      (is_new ? inputs.new_models : inputs.old_models) = parse_files(
          options, files, is_new ? &ComponentFiles::new_file : &ComponentFiles::old_file);
      return;
    }
    const size_t i = work / 2 - 1;
    (is_new ? inputs.new_digests : inputs.old_digests)[i] = bundle::sha256(files[i].bytes());
  });
}

std::vector<delta::ComponentInput> delta_inputs(const Inputs& inputs) {
  std::vector<delta::ComponentInput> components;
  for (size_t i = 0; i < inputs.names.size(); ++i) {
    components.push_back({inputs.old_files[i].bytes(), inputs.new_files[i].bytes(),
                          &inputs.old_models[i], &inputs.new_models[i]});
  }
  return components;
}

// The patch stream of each component.
Result<std::vector<Patch>> encode(const PackOptions& options, const Inputs& inputs,
                                  const ChosenProfile& profile) {
  const std::vector<delta::ComponentInput> components = delta_inputs(inputs);
  uint64_t total = 0;
  for (const auto& file : inputs.new_files) total += file.bytes().size();
  std::vector<Patch> patches(components.size());
  uint64_t before = 0;
  bool stopped = false;
  delta::PatchOptions patch_options;
  patch_options.limits = profile.limits;
  patch_options.codecs = profile.codecs;
  patch_options.level = options.level;
  patch_options.jobs = options.jobs;
  if (options.progress) {
    patch_options.progress = [&](uint64_t done, uint64_t) {
      if (!options.progress({"encoding", before + done, total})) stopped = true;
    };
  }
  for (size_t i = 0; i < components.size(); ++i) {
    if (components[i].new_bytes.empty()) continue;  // an empty file has an empty patch
    auto scratch = ScratchFile::create_beside(options.output);
    if (!scratch) return tl::unexpected(scratch.error());
    StoppableSink sink(**scratch, stopped);
    auto report = delta::make_patch(components, i, patch_options, sink);
    if (!report) return tl::unexpected(report.error());
    auto stream = (*scratch)->map();
    if (!stream) return tl::unexpected(stream.error());
    before += components[i].new_bytes.size();
    patches[i] = {std::move(*stream), std::move(*report)};
  }
  if (stopped) return fail(TENSORPATCH_E_CANCELLED, "stopped before the end");
  return patches;
}

bundle::Details make_details(const PackOptions& options, const Inputs& inputs,
                             const std::vector<Patch>& patches) {
  bundle::Details details;
  const std::vector<delta::ComponentInput> components = delta_inputs(inputs);
  for (size_t i = 0; i < patches.size(); ++i) {
    add_details(compare(components, i, patches[i].report, options.jobs),
                inputs.new_files[i].bytes(), details);
  }
  return details;
}

// In place: no larger than what the operations need.
PatchLimits with_needed_reach(PatchLimits limits, const std::vector<Patch>& patches) {
  if (limits.reach == 0) return limits;
  const uint64_t page = limits.erase_size;
  const uint64_t needed = (patches[0].report.reach + page - 1) / page * page;
  limits.reach = static_cast<uint32_t>(std::clamp<uint64_t>(needed, 1, limits.reach));
  return limits;
}

bundle::Statement make_statement(const PackOptions& options, const Inputs& inputs, const Way& way,
                                 const PatchLimits& limits, const std::vector<Patch>& patches) {
  bundle::Statement statement;
  statement.required_flags = way.flags;
  statement.security_version = way.security_version;
  statement.sequence = options.sequence;
  statement.device_class = options.device_class.value_or(DeviceClass{});
  statement.limits = with_needed_reach(limits, patches);
  for (size_t i = 0; i < patches.size(); ++i) {
    bundle::Component component;
    component.old_size = inputs.old_files[i].bytes().size();
    component.new_size = inputs.new_files[i].bytes().size();
    component.flags = is_whole(options.components[i]) ? uint32_t{format::kComponentWhole} : 0;
    component.old_digest = inputs.old_digests[i];
    component.new_digest = inputs.new_digests[i];
    component.format = static_cast<uint8_t>(inputs.new_models[i].format);
    statement.components.push_back(component);
    statement.required_codecs |= patches[i].report.required_codecs;
  }
  return statement;
}

bundle::Manifest make_manifest(const PackOptions& options, const Inputs& inputs) {
  bundle::Manifest manifest;
  manifest.version = options.version;
  manifest.meta.insert(options.metadata.begin(), options.metadata.end());
  for (size_t i = 0; i < inputs.names.size(); ++i) {
    bundle::ManifestComponent component;
    component.name = inputs.names[i];
    manifest.components.push_back(component);
  }
  return manifest;
}

CheckJob check_job(const PackOptions& options, const Inputs& inputs,
                   const std::vector<Patch>& patches, const bundle::BundleWriter& writer) {
  CheckJob job;
  job.writer = &writer;
  for (size_t i = 0; i < patches.size(); ++i) {
    job.files.push_back(
        {inputs.old_files[i].bytes(), inputs.new_files[i].bytes(), patches[i].report.restarts});
  }
  job.device_class = options.device_class;
  job.jobs = options.jobs;
  job.progress = options.progress;
  return job;
}

Result<std::unique_ptr<base::OutputFile>> write_whole(const Path& path, Existing existing,
                                                      base::Bytes bytes) {
  auto file = base::OutputFile::create(path, {.replace = existing == Existing::kReplace});
  if (!file) return file;
  if (auto written = (*file)->write(bytes); !written) return tl::unexpected(written.error());
  return file;
}

// Fill after a model that is taken out of an image makes the old file one that few devices have.
std::string fill_warning(const FileRegion& region, base::Bytes old_bytes) {
  if (region.offset == 0 || region.size || old_bytes.empty()) return {};
  const uint8_t fill = old_bytes.back();
  const auto end = std::find_if(old_bytes.rbegin(), old_bytes.rend(),
                                [&](uint8_t byte) { return byte != fill; });
  const auto size = static_cast<uint64_t>(end - old_bytes.rbegin());
  if ((fill != 0xff && fill != 0) || size < kFillWorthWarning) return {};
  return "the last " + std::to_string(size) + " bytes are fill and must be the same on every " +
         "device; a size of the old region leaves them out";
}

PackReport make_report(const PackOptions& options, const Inputs& inputs,
                       const bundle::BundleWriter& writer) {
  PackReport report;
  report.profile = options.profile;
  report.workspace_size = workspace_size(writer.statement().limits);
  report.statement_digest = bundle::identity(writer.statement_bytes());
  const bundle::ResourceContract contract = bundle::contract(writer.statement(), {});
  if (contract.margin != 0) {
    report.in_place = {contract.margin, contract.region_size, contract.journal_records};
  }
  for (size_t i = 0; i < inputs.names.size(); ++i) {
    const bundle::Component& component = writer.statement().components[i];
    const model::Model& old_model = inputs.old_models[i];
    const model::Model& new_model = inputs.new_models[i];
    std::string warning;
    const auto add = [&](std::string_view file, const std::string& words) {
      if (words.empty()) return;
      warning += (warning.empty() ? "" : "; ") + std::string(file) + ": " + words;
    };
    add("old", fill_warning(options.components[i].old_region, inputs.old_files[i].bytes()));
    add("old", old_model.warning);
    add("new", new_model.warning);
    report.components.push_back({inputs.names[i], std::string(model::format_name(new_model.format)),
                                 warning, component.old_size, component.new_size,
                                 component.patch_size});
  }
  return report;
}

// A bundle that has proved itself and is not signed yet.
struct Made {
  std::vector<Patch> patches;
  std::vector<uint8_t> details;
  bundle::BundleWriter writer;
};

Result<Made> make_bundle(const PackOptions& options, const Inputs& inputs,
                         const ChosenProfile& chosen, Way way) {
  ChosenProfile profile = chosen;
  if (options.in_place) {
    const uint64_t given = options.in_place->region_size;
    auto limits = bundle::fit_in_place(
        profile.limits, {inputs.old_files[0].bytes().size(), inputs.new_files[0].bytes().size(),
                         given != 0 ? given : profile.region_size});
    if (!limits) return tl::unexpected(limits.error());
    profile.limits = *limits;
    way.flags |= format::kFlagInPlace;
  }
  for (const auto& fact : options.metadata) {
    if (!is_snap_key(fact.first)) continue;
    return fail(TENSORPATCH_E_USAGE, "only a report of snap may tell " + fact.first,
                "facts that begin with snap. are those of docs/FORMAT.md; use another name");
  }
  auto marks = snap_metadata(options.snap_reports, {inputs.old_digests, inputs.new_digests});
  if (!marks) return tl::unexpected(marks.error());
  auto patches = encode(options, inputs, profile);
  if (!patches) return tl::unexpected(patches.error());
  bundle::Manifest manifest = make_manifest(options, inputs);
  manifest.meta.insert(marks->begin(), marks->end());
  std::vector<uint8_t> details;
  if (!options.details.empty()) {
    auto bytes = bundle::write_details(make_details(options, inputs, *patches));
    if (!bytes) return tl::unexpected(bytes.error());
    details = std::move(*bytes);
    manifest.details_digest = bundle::sha256(details);
  }
  // Worth its bytes only where there is more to say than what the statement tells.
  if (!bundle::says_nothing(manifest)) manifest.tool = kTool;
  std::vector<base::Bytes> streams;
  for (const Patch& patch : *patches) streams.push_back(patch.stream.bytes());
  auto writer = bundle::BundleWriter::prepare(
      make_statement(options, inputs, way, profile.limits, *patches), manifest, streams);
  if (!writer) return tl::unexpected(writer.error());
  if (auto checked = self_check(check_job(options, inputs, *patches, *writer)); !checked) {
    return tl::unexpected(checked.error());
  }
  return Made{std::move(*patches), std::move(details), std::move(*writer)};
}

// The same the other way round. What is told of new is not said of old.
Result<Made> make_undo(const PackOptions& options, Inputs& inputs, const ChosenProfile& profile) {
  PackOptions back = options;
  back.output = options.undo;
  back.details.clear();
  back.version.clear();
  back.metadata.clear();
  back.snap_reports.clear();
  const auto turn = [&inputs] {
    std::swap(inputs.old_files, inputs.new_files);
    std::swap(inputs.old_digests, inputs.new_digests);
    std::swap(inputs.old_models, inputs.new_models);
  };
  turn();
  auto made = make_bundle(back, inputs, profile,
                          {format::kFlagUndo, options.undo_security_version.value_or(0)});
  turn();
  return made;
}

// Signs and lets the files appear.
Result<void> finish(const PackOptions& options, const std::optional<OpenSigner>& signer,
                    const bundle::BundleWriter& writer, base::Bytes details, PackReport& report) {
  std::vector<keys::Signature> signatures;
  if (signer) {
    auto signature = signer->sign(bundle::dsse_message(writer.statement_bytes()));
    if (!signature) return tl::unexpected(signature.error());
    report.signed_by.push_back(signer->public_key().id);
    signatures.push_back(std::move(*signature));
  }
  auto file =
      base::OutputFile::create(options.output, {.replace = options.existing == Existing::kReplace});
  if (!file) return tl::unexpected(file.error());
  if (auto written = writer.write(signatures, **file); !written) return written;
  report.bundle_size = writer.bundle_size(signatures);
  report.links = link_facts(report.bundle_size, bundle::contract(writer.statement(), {}));
  if (!options.details.empty()) {
    auto sidecar = write_whole(options.details, options.existing, details);
    if (!sidecar) return tl::unexpected(sidecar.error());
    if (auto done = (*sidecar)->commit(); !done) return done;
  }
  return (*file)->commit();
}

}  // namespace

Result<PackReport> pack(const PackOptions& options) {
  if (auto checked = check_options(options); !checked) return tl::unexpected(checked.error());
  auto inputs = open_inputs(options);
  if (!inputs) return tl::unexpected(inputs.error());
  uint64_t largest = 0;
  for (const auto& file : inputs->new_files) {
    largest = std::max<uint64_t>(largest, file.bytes().size());
  }
  auto profile = choose_profile({options.profile, options.memory, largest});
  if (!profile) return tl::unexpected(profile.error());
  profile->limits = delta::limits_at_level(profile->limits, options.level);
  std::optional<OpenSigner> signer;  // before the long work: it may ask for a password
  if (options.signer) {
    auto opened = OpenSigner::open(*options.signer);
    if (!opened) return tl::unexpected(opened.error());
    signer = std::move(*opened);
  }
  if (has_nothing_to_do(options, *inputs)) {
    PackReport report;
    report.nothing_to_do = true;
    return report;
  }
  study(options, *inputs);
  auto made = make_bundle(options, *inputs, *profile, {0, options.security_version});
  if (!made) return tl::unexpected(made.error());
  PackReport report = make_report(options, *inputs, made->writer);
  if (!options.undo.empty()) {  // first, so that who sees the update has its undo
    auto undo = make_undo(options, *inputs, *profile);
    if (!undo) return tl::unexpected(undo.error());
    PackOptions back = options;
    back.output = options.undo;
    back.details.clear();
    PackReport undo_report;
    if (auto done = finish(back, signer, undo->writer, {}, undo_report); !done) {
      return tl::unexpected(done.error());
    }
    report.undo_size = undo_report.bundle_size;
  }
  if (auto done = finish(options, signer, made->writer, made->details, report); !done) {
    return tl::unexpected(done.error());
  }
  return report;
}

}  // namespace tensorpatch::toolkit
