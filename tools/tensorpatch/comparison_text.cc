// comparison_text.cc: see comparison_text.h.
// SPDX-License-Identifier: Apache-2.0
#include "comparison_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "command.h"

namespace tensorpatch::cli {
namespace {

using toolkit::TensorFacts;
using toolkit::TensorState;

constexpr size_t kWidth = 80;
constexpr size_t kNameWidth = 23;
constexpr size_t kMostRows = 40;  // a screen or so; --json and --html have all
constexpr double kFirstBin = -16;
constexpr double kBinStep = 0.5;

// Names are what files say: control characters and other bytes must not reach a terminal.
std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

std::string padded(std::string text, int width) {  // negative: to the right
  const size_t size = static_cast<size_t>(width < 0 ? -width : width);
  if (text.size() >= size) return text;
  return width < 0 ? std::string(size - text.size(), ' ') + text
                   : text + std::string(size - text.size(), ' ');
}

struct Decimals {
  double value;
  int count;  // behind the point
};
std::string decimal_text(const Decimals& number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", number.count, number.value);
  return text;
}

// A share or a ratio in at most five characters: "0%" only for nothing.
std::string ratio_text(std::optional<double> ratio) {
  if (!ratio) return "-";
  const double percent = *ratio * 100;
  if (percent == 0) return "0%";
  if (percent < 0.01) return "<.01%";
  if (percent >= 1000) return ">10x";
  if (percent < 0.995) return decimal_text({percent, 2}).substr(1) + "%";
  return decimal_text({percent, percent < 9.95 ? 1 : 0}) + "%";
}

// How many times a tensor is larger than its part of the patch, in at most five characters.
std::string gain_text(uint64_t size, uint64_t patch_bytes) {
  if (size == 0) return "-";
  const double gain =
      static_cast<double>(size) / static_cast<double>(std::max<uint64_t>(patch_bytes, 1));
  if (gain > 999) return ">999x";
  return decimal_text({gain, gain < 9.95 ? 1 : 0}) + "x";
}

// Equal shares never round up to all.
std::string share_text(std::optional<double> share) {
  if (share && *share < 1 && *share > 0.99) return ">99%";
  return ratio_text(share);
}

std::string lineage_text(std::optional<double> lineage) {
  if (!lineage) return "-";
  return *lineage < 1 && *lineage >= 0.995 ? ">.99" : decimal_text({*lineage, 2});
}

std::string short_type(const std::string& type) {
  static constexpr std::pair<std::string_view, const char*> kShort[] = {
      {"float64", "f64"}, {"float32", "f32"}, {"float16", "f16"}, {"bfloat16", "bf16"},
      {"int64", "i64"},   {"uint64", "u64"},  {"int32", "i32"},   {"uint32", "u32"},
      {"int16", "i16"},   {"uint16", "u16"},  {"int8", "i8"},     {"uint8", "u8"}};
  for (const auto& [name, text] : kShort) {
    if (type == name) return text;
  }
  return shortened(type, 5);
}

char mark_of(const TensorFacts& tensor) {
  switch (tensor.state) {
    case TensorState::kAdded:
      return '+';
    case TensorState::kRemoved:
      return '-';
    case TensorState::kReshaped:
    case TensorState::kRetyped:
      return '~';
    case TensorState::kRenamed:
      return '>';
    default:
      return tensor.moved ? '>' : ' ';
  }
}

std::string row(const std::vector<std::string>& cells) {
  static constexpr int kWidths[] = {static_cast<int>(kNameWidth), 5, 8, -5, -5, -5, -5, -5, -5, -4};
  std::string text;
  for (size_t i = 0; i < cells.size(); ++i) {
    text += (i == 0 ? "" : " ") + padded(cells[i], kWidths[i]);
  }
  return text + "\n";
}

std::string tensor_row(const TensorFacts& tensor) {
  const bool is_removed = tensor.state == TensorState::kRemoved;
  return row({std::string(1, mark_of(tensor)) + " " + shortened(tensor.name, kNameWidth - 2),
              short_type(tensor.type), is_removed ? "removed" : shortened(tensor.method, 8),
              short_size(is_removed && tensor.old ? tensor.old->size : tensor.size),
              is_removed ? "-" : short_size(tensor.patch_bytes),
              is_removed ? "-" : gain_text(tensor.size, tensor.patch_bytes),
              tensor.bound_bytes ? short_size(*tensor.bound_bytes) : "-",
              ratio_text(tensor.relative_change), share_text(tensor.share_equal),
              lineage_text(tensor.lineage)});
}

bool is_piece(const TensorFacts& tensor) {
  return tensor.role == "other";
}

// All pieces between tensors in one row.
TensorFacts sum_of_pieces(const toolkit::Comparison& comparison) {
  TensorFacts sum;
  sum.type = "bytes";
  sum.bound_bytes = 0;
  uint64_t count = 0;
  const TensorFacts* last = nullptr;
  for (const TensorFacts& piece : comparison.tensors) {
    if (!is_piece(piece)) continue;
    ++count;
    last = &piece;
    sum.size += piece.size;
    sum.patch_bytes += piece.patch_bytes;
    *sum.bound_bytes += piece.bound_bytes.value_or(0);
    if (piece.state != TensorState::kUnchanged) sum.state = TensorState::kChanged;
  }
  if (count == 1) sum = *last;
  const bool is_all = count == 1 && last->size == comparison.new_size;
  sum.name = is_all ? "(all bytes)" : "(" + plural_text(count, "piece") + " between)";
  return sum;
}

bool has_row(const TensorFacts& tensor) {
  return tensor.state != TensorState::kUnchanged || tensor.moved;
}

// What is not as it was, the most expensive first.
std::vector<const TensorFacts*> rows_of(const toolkit::Comparison& comparison,
                                        const TensorFacts& pieces) {
  std::vector<const TensorFacts*> rows;
  if (has_row(pieces)) rows.push_back(&pieces);
  for (const TensorFacts& tensor : comparison.tensors) {
    if (!is_piece(tensor) && has_row(tensor)) rows.push_back(&tensor);
  }
  std::ranges::stable_sort(rows, std::ranges::greater(), &TensorFacts::patch_bytes);
  return rows;
}

// Words in lines of kWidth columns, further lines indented.
std::string wrapped(const std::string& text) {
  std::string out, line;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = shortened(text.substr(at, end - at), kWidth - 2);
    if (!line.empty() && line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line = "  " + word;
    } else {
      line += (at == 0 ? "" : " ") + word;
    }
    at = end + 1;
  }
  return out + line + "\n";
}

std::string head_text(const toolkit::Comparison& comparison) {
  std::string text = comparison.new_format + ", " + bytes_text(comparison.old_size) + " to " +
                     bytes_text(comparison.new_size) + ": patch " +
                     bytes_text(comparison.patch_size) + ", " +
                     percent_text(comparison.patch_size, comparison.new_size) + " of new";
  if (comparison.old_format != comparison.new_format && !comparison.old_format.empty()) {
    text = comparison.old_format + " to " + text;
  }
  return wrapped(printable(text));
}

// How the tensors that have no row of their own fared, and what the marks mean.
std::string rest_text(const toolkit::Comparison& comparison,
                      const std::vector<const TensorFacts*>& rows) {
  std::string text;
  if (rows.size() > kMostRows) {
    uint64_t patch_bytes = 0;
    for (size_t i = kMostRows; i < rows.size(); ++i) patch_bytes += rows[i]->patch_bytes;
    text += "and " + std::to_string(rows.size() - kMostRows) + " more that changed, " +
            bytes_text(patch_bytes) + " of the patch (--json and --html list all)\n";
  }
  uint64_t unchanged = 0;
  for (const TensorFacts& tensor : comparison.tensors) {
    unchanged += !has_row(tensor) && !is_piece(tensor) ? 1u : 0u;
  }
  if (unchanged != 0) text += "and " + plural_text(unchanged, "more tensor") + " unchanged\n";
  const auto& counts = comparison.counts;
  std::string legend;
  const auto explain = [&](uint64_t count, std::string_view words) {
    if (count != 0) legend += (legend.empty() ? "" : ", ") + std::string(words);
  };
  explain(counts.added, "+ added");
  explain(counts.removed, "- removed");
  explain(counts.reshaped + counts.retyped, "~ other shape or type");
  explain(counts.renamed + counts.moved, "> renamed or moved");
  return legend.empty() ? text : text + "(" + legend + ")\n";
}

Json optional_json(std::optional<double> value) {
  return value ? Json(*value) : Json(nullptr);
}

Json tensor_json(const TensorFacts& tensor) {
  Json json = {{"name", tensor.name},
               {"role", tensor.role},
               {"type", tensor.type},
               {"shape", tensor.shape},
               {"state", toolkit::tensor_state_name(tensor.state)},
               {"moved", tensor.moved},
               {"method", tensor.method},
               {"offset", tensor.offset},
               {"size", tensor.size},
               {"patch_bytes", tensor.patch_bytes},
               {"bound_bytes", nullptr},
               {"relative_change", optional_json(tensor.relative_change)},
               {"share_equal", optional_json(tensor.share_equal)},
               {"correlation", optional_json(tensor.correlation)},
               {"lineage", optional_json(tensor.lineage)},
               {"old", nullptr}};
  if (tensor.bound_bytes) json["bound_bytes"] = *tensor.bound_bytes;
  if (tensor.old) {
    json["old"] = {{"name", tensor.old->name},
                   {"type", tensor.old->type},
                   {"shape", tensor.old->shape},
                   {"offset", tensor.old->offset},
                   {"size", tensor.old->size}};
  }
  return json;
}

}  // namespace

// The modules of a long name shrink to their first letters, from the left, and keep their numbers:
// "m.l.12.self_attn.q_proj.weight". If that does not suffice the middle goes.
std::string shortened(const std::string& name, size_t width) {
  std::string text = printable(name);
  size_t begin = 0;
  for (;;) {
    const size_t end = text.find_first_of("./", begin);
    if (text.size() <= width || end == std::string::npos) break;
    const bool is_number = std::all_of(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                       text.begin() + static_cast<std::ptrdiff_t>(end),
                                       [](char c) { return c >= '0' && c <= '9'; });
    if (!is_number && end > begin + 1) text.erase(begin + 1, end - begin - 1);
    begin = text.find_first_of("./", begin) + 1;
  }
  if (text.size() <= width) return text;
  const size_t tail = (width - 2) * 2 / 3;
  return text.substr(0, width - 2 - tail) + ".." + text.substr(text.size() - tail);
}

std::string short_size(uint64_t size) {
  if (size < 1000) return std::to_string(size);
  auto value = static_cast<double>(size);
  const char* unit = "";
  for (const char* next : {"K", "M", "G", "T"}) {
    if (value < 999.5 && *unit != '\0') break;
    value /= 1024;
    unit = next;
  }
  return decimal_text({value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0}) + unit;
}

std::string comparison_text(const toolkit::Comparison& comparison) {
  std::string text = head_text(comparison);
  const TensorFacts pieces = sum_of_pieces(comparison);
  const std::vector<const TensorFacts*> rows = rows_of(comparison, pieces);
  if (!rows.empty()) {
    text += "\n" + row({"  TENSOR", "TYPE", "METHOD", "SIZE", "PATCH", "GAIN", "BOUND", "MOVED",
                        "EQUAL", "KIN"});
    for (size_t i = 0; i < std::min(rows.size(), kMostRows); ++i) text += tensor_row(*rows[i]);
    text +=
        row({"  total", "", "", short_size(comparison.new_size), short_size(comparison.patch_size),
             gain_text(comparison.new_size, comparison.patch_size),
             short_size(comparison.bound_bytes), "", "", lineage_text(comparison.lineage)});
  }
  text += rest_text(comparison, rows);
  if (!comparison.advice.empty()) text += "\n";
  for (const toolkit::Advice& advice : comparison.advice)
    text += wrapped("* " + printable(advice.text));
  return text;
}

Json comparison_json(const toolkit::Comparison& comparison) {
  const auto& counts = comparison.counts;
  Json advice = Json::array();
  for (const toolkit::Advice& line : comparison.advice) {
    advice.push_back({{"code", line.code}, {"text", line.text}});
  }
  Json tensors = Json::array();
  for (const TensorFacts& tensor : comparison.tensors) tensors.push_back(tensor_json(tensor));
  return {{"old_format", comparison.old_format},
          {"format", comparison.new_format},
          {"warning", comparison.warning},
          {"old_size", comparison.old_size},
          {"new_size", comparison.new_size},
          {"patch_size", comparison.patch_size},
          {"bound_bytes", comparison.bound_bytes},
          {"identical", comparison.identical},
          {"old_entropy", comparison.old_entropy},
          {"new_entropy", comparison.new_entropy},
          {"lineage", optional_json(comparison.lineage)},
          {"counts",
           {{"tensors", counts.all},
            {"unchanged", counts.unchanged},
            {"changed", counts.changed},
            {"reshaped", counts.reshaped},
            {"retyped", counts.retyped},
            {"renamed", counts.renamed},
            {"added", counts.added},
            {"removed", counts.removed},
            {"moved", counts.moved}}},
          {"histogram",
           {{"first_log2", kFirstBin}, {"step_log2", kBinStep}, {"counts", comparison.histogram}}},
          {"advice", advice},
          {"tensors", tensors}};
}

}  // namespace tensorpatch::cli
