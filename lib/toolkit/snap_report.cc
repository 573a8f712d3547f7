// toolkit/snap_report.cc: one place for the names of the report's fields.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/snap_report.h"

#include <nlohmann/json.hpp>

#include "bundle/digest.h"
#include "toolkit/paths.h"

namespace tensorpatch::toolkit {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kReportLimit = size_t{1} << 30;

template <class Value>
void put(Json& json, const char* key, const std::optional<Value>& value) {
  if (value) json[key] = *value;
}

Json score_json(const Score& score) {
  Json json = {{"passed", score.failure.empty()}};
  if (!score.failure.empty()) json["failure"] = score.failure;
  put(json, "metric", score.metric);
  put(json, "regression", score.regression);
  put(json, "churn", score.churn);
  return json;
}

Json model_json(const Digest& digest, const std::optional<Score>& score) {
  Json json = {{"digest", bundle::to_hex(digest)}};
  if (score) json["evaluation"] = score_json(*score);
  return json;
}

Json tensor_json(const SnapTensor& tensor) {
  Json json = {{"name", tensor.name},   {"role", tensor.role}, {"type", tensor.type},
               {"shape", tensor.shape}, {"size", tensor.size}, {"fate", tensor.fate}};
  if (tensor.step > 0) json["step"] = tensor.step;
  if (tensor.fate == "snapped") {
    json["share_moved"] = tensor.share_moved;
    json["update"] = tensor.update;
    json["error"] = tensor.error;
  }
  put(json, "patch_before", tensor.patch_before);
  put(json, "patch_after", tensor.patch_after);
  return json;
}

bool read_digest(const Json& json, const char* place, Digest& digest) {
  const Json::json_pointer pointer(place);
  if (!json.contains(pointer) || !json.at(pointer).is_string()) return false;
  const auto* text = json.at(pointer).get_ptr<const std::string*>();
  if (text->size() != 2 * digest.size()) return false;
  for (size_t i = 0; i < digest.size(); ++i) {
    const auto nibble = [&](size_t at) {
      const size_t value = std::string_view("0123456789abcdef").find((*text)[at]);
      return value == std::string_view::npos ? 16U : static_cast<unsigned>(value);
    };
    const unsigned high = nibble(2 * i), low = nibble(2 * i + 1);
    if (high > 15 || low > 15) return false;
    digest[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

// What a bundle says of a component that was snapped.
struct Marks {
  Digest old_digest{};
  Digest new_digest{};  // of the model before it was snapped
  Digest snapped_digest{};
  std::vector<std::pair<std::string, double>> numbers;
};

// Keys of the manifest and where their numbers are in a report.
constexpr std::pair<const char*, const char*> kNumbers[] = {
    {"grid", "/grid"},
    {"metric-old", "/old/evaluation/metric"},
    {"metric-new", "/new/evaluation/metric"},
    {"metric-snapped", "/snapped/evaluation/metric"},
    {"regression-old", "/old/evaluation/regression"},
    {"regression-new", "/new/evaluation/regression"},
    {"regression-snapped", "/snapped/evaluation/regression"},
    {"churn", "/snapped/evaluation/churn"},
};

Result<Marks> read_report(const Path& path) {
  auto text = base::read_small_file(path, kReportLimit);
  if (!text) return tl::unexpected(text.error());
  const Json json = Json::parse(*text, nullptr, false);
  Marks marks;
  for (const auto& [key, place] : kNumbers) {
    const Json::json_pointer pointer(place);
    if (json.contains(pointer) && json.at(pointer).is_number()) {
      marks.numbers.emplace_back(key, json.at(pointer).get<double>());
    }
  }
  const bool has_grid = !marks.numbers.empty() && marks.numbers.front().first == "grid";
  if (has_grid && read_digest(json, "/old/digest", marks.old_digest) &&
      read_digest(json, "/new/digest", marks.new_digest) &&
      read_digest(json, "/snapped/digest", marks.snapped_digest)) {
    return marks;
  }
  return fail(TENSORPATCH_E_FORMAT, quoted(path) + " is not the report of a snapped model",
              "it is what `tensorpatch snap --report FILE.json` writes");
}

}  // namespace

std::string snap_report_json(const SnapReport& report) {
  Json json = {{"result", report.grid ? "snapped" : "no grid passed"}};
  put(json, "grid", report.grid);
  json["format"] = report.format;
  json["warning"] = report.warning;
  json["new_size"] = report.new_size;
  put(json, "new_patch_size", report.new_patch_size);
  put(json, "snapped_patch_size", report.snapped_patch_size);
  json["old"] = model_json(report.old_digest, report.old_score);
  json["new"] = model_json(report.new_digest, report.new_score);
  if (report.grid) json["snapped"] = model_json(report.snapped_digest, report.snapped_score);
  if (report.new_score) {
    json["old_will_do"] = report.old_will_do;
    json["evaluations"] = report.evaluations;
    json["cached"] = report.cached;
  }
  json["candidates"] = Json::array();
  for (const SnapCandidate& candidate : report.candidates) {
    Json entry = {{"grid", candidate.grid}};
    entry.update(model_json(candidate.digest, candidate.score));
    put(entry, "patch_size", candidate.patch_size);
    json["candidates"].push_back(std::move(entry));
  }
  json["tensors"] = Json::array();
  for (const SnapTensor& tensor : report.tensors) json["tensors"].push_back(tensor_json(tensor));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool is_snap_key(std::string_view key) {
  if (!key.starts_with("snap")) return false;
  const size_t end = key.find_first_not_of("0123456789", 4);
  return end != std::string_view::npos && key[end] == '.';
}

Result<Metadata> snap_metadata(const std::vector<Path>& reports, const UpdateDigests& digests) {
  Metadata metadata;
  for (const Path& path : reports) {
    auto marks = read_report(path);
    if (!marks) return tl::unexpected(marks.error());
    size_t component = 0;
    while (component < digests.new_files.size() &&
           (digests.new_files[component] != marks->snapped_digest ||
            digests.old_files[component] != marks->old_digest)) {
      ++component;
    }
    if (component == digests.new_files.size()) {
      return fail(TENSORPATCH_E_USAGE, quoted(path) + " is the report of other files",
                  "pack the files that snap read as OLD and wrote as NEW2");
    }
    const std::string prefix =
        component == 0 ? "snap." : "snap" + std::to_string(component + 1) + ".";
    metadata.emplace_back(prefix + "new-sha256", bundle::to_hex(marks->new_digest));
    for (const auto& [key, value] : marks->numbers) {
      metadata.emplace_back(prefix + key, Json(value).dump());
    }
  }
  return metadata;
}

}  // namespace tensorpatch::toolkit
