// model/model.cc: names and sizes of types, the tiling of a file, and the choice of the parser.
// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include <algorithm>
#include <array>
#include <utility>

#include "model/parsers.h"

namespace tensorpatch::model {
namespace {

struct TypeFacts {
  std::string_view name;
  unsigned size;
};
// In the order of ElementType.
constexpr std::array<TypeFacts, 13> kTypes{{{"bytes", 1},
                                            {"uint8", 1},
                                            {"int8", 1},
                                            {"uint16", 2},
                                            {"int16", 2},
                                            {"uint32", 4},
                                            {"int32", 4},
                                            {"uint64", 8},
                                            {"int64", 8},
                                            {"float16", 2},
                                            {"bfloat16", 2},
                                            {"float32", 4},
                                            {"float64", 8}}};
static_assert(kTypes.size() == static_cast<size_t>(ElementType::kFloat64) + 1);

// In the order of Format.
constexpr std::array<std::string_view, 9> kFormatNames{
    "raw", "tflite", "safetensors", "onnx", "gguf", "zip", "npy", "torch", "onnx-data"};
static_assert(kFormatNames.size() == static_cast<size_t>(Format::kOnnxData) + 1);

struct Container {
  Format format;
  bool (*looks_like)(base::Bytes file);
  Result<Segments> (*find)(base::Bytes file);
};
constexpr Container kContainers[] = {
    {Format::kTflite, looks_like_tflite, find_tflite},
    {Format::kGguf, looks_like_gguf, find_gguf},
    {Format::kOnnx, looks_like_onnx, find_onnx},
    {Format::kZip, looks_like_zip, find_zip},
    {Format::kNpy, looks_like_npy, find_npy},
    {Format::kTorch, looks_like_torch, find_torch},
    {Format::kSafetensors, looks_like_safetensors, find_safetensors},
};

Segment other(uint64_t offset, uint64_t size) {
  Segment segment;
  segment.offset = offset;
  segment.size = size;
  return segment;
}

Model raw_model(uint64_t file_size) {
  Model model;
  model.file_size = file_size;
  if (file_size > 0) model.segments.push_back(other(0, file_size));
  return model;
}

// A model of segments that a parser found.
Result<Model> complete(Format format, Result<Segments> found, uint64_t file_size) {
  if (!found) return tl::unexpected(std::move(found.error()));
  auto segments = tile(std::move(*found), file_size);
  if (!segments) return tl::unexpected(std::move(segments.error()));
  Model model{format, file_size, std::move(*segments), {}};
  if (auto checked = check_tiling(model); !checked) {
    return tl::unexpected(std::move(checked.error()));
  }
  return model;
}

// A message may hold names from the file: not for a terminal as they are, and of any size.
std::string printable(const std::string& message) {
  constexpr size_t kMaxSize = 200;
  std::string text = message.substr(0, kMaxSize);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

std::string describe(const Segment& segment) {
  std::string text = "segment at offset " + std::to_string(segment.offset);
  if (!segment.name.empty()) text += " (" + segment.name + ")";
  return text;
}

// What is wrong with a segment by itself, or null.
const char* segment_fault(const Segment& segment) {
  if (segment.size == 0) return "is empty";
  const uint64_t unit = segment.block.size != 0 ? segment.block.size : element_size(segment.type);
  if (segment.size % unit != 0) return "is not a whole number of elements";
  if ((segment.block.size == 0) != (segment.block.elements == 0)) return "has half a block size";
  if (segment.block.size != 0 && segment.type != ElementType::kBytes) return "has typed blocks";
  if (segment.role == Role::kOther) {
    return segment.name.empty() && segment.shape.empty() ? nullptr : "has a name but no role";
  }
  // The elements of plain kBytes may be smaller than a byte.
  if (segment.type == ElementType::kBytes && segment.block.size == 0) return nullptr;
  const std::optional<uint64_t> count = element_count(segment.shape);
  const uint64_t per_unit = segment.block.size != 0 ? segment.block.elements : 1;
  if (!count || *count % per_unit != 0 || *count / per_unit != segment.size / unit) {
    return "does not have the size of its shape";
  }
  return nullptr;
}

bool is_unknown(const Model& model) {
  return model.format == Format::kRaw && model.warning.empty() && model.file_size > 0;
}

// The file that a model names as the place of its tensors; their count where there is none.
size_t find_location(std::span<const NamedFile> files, const std::vector<Model>& models,
                     std::string_view location) {
  const std::string_view name = location.substr(location.find_last_of('/') + 1);
  size_t only = files.size();
  size_t unknown = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    if (!is_unknown(models[i])) continue;
    if (files[i].name == name) return i;
    only = i;
    ++unknown;
  }
  return unknown == 1 ? only : files.size();
}

// Tensors that share a place are one.
void drop_repeated(Segments& segments) {
  const auto place = [](const Segment& s) { return std::pair(s.offset, s.size); };
  std::stable_sort(segments.begin(), segments.end(),
                   [&](const Segment& a, const Segment& b) { return place(a) < place(b); });
  const auto end =
      std::unique(segments.begin(), segments.end(),
                  [&](const Segment& a, const Segment& b) { return place(a) == place(b); });
  segments.erase(end, segments.end());
}

}  // namespace

unsigned element_size(ElementType type) {
  return kTypes[static_cast<size_t>(type)].size;
}

std::string_view element_type_name(ElementType type) {
  return kTypes[static_cast<size_t>(type)].name;
}

std::string_view format_name(Format format) {
  return kFormatNames[static_cast<size_t>(format)];
}

Model parse(base::Bytes file) {
  for (const Container& container : kContainers) {
    if (!container.looks_like(file)) continue;
    auto model = complete(container.format, container.find(file), file.size());
    if (model) return std::move(*model);
    Model raw = raw_model(file.size());
    raw.warning = "damaged " + std::string(format_name(container.format)) +
                  " file is taken as raw bytes: " + printable(model.error().message);
    return raw;
  }
  return raw_model(file.size());
}

std::vector<Model> parse_all(std::span<const NamedFile> files) {
  std::vector<Model> models;
  for (const NamedFile& file : files) models.push_back(parse(file.bytes));
  std::vector<Segments> found(files.size() + 1);  // the last: of files that are not there
  for (size_t i = 0; i < files.size(); ++i) {
    if (models[i].format != Format::kOnnx) continue;
    for (ExternalTensor& tensor : find_onnx_external(files[i].bytes)) {
      found[find_location(files, models, tensor.location)].push_back(std::move(tensor.segment));
    }
  }
  for (size_t i = 0; i < files.size(); ++i) {
    if (found[i].empty()) continue;
    drop_repeated(found[i]);
    auto model = complete(Format::kOnnxData, std::move(found[i]), models[i].file_size);
    if (model) {
      models[i] = std::move(*model);
    } else {
      models[i].warning =
          "tensors of an onnx file do not fit this one, which is taken as raw "
          "bytes: " +
          printable(model.error().message);
    }
  }
  return models;
}

Segments find_in_member(base::Bytes member) {
  for (const Container& container : kContainers) {
    if (container.format == Format::kZip || !container.looks_like(member)) continue;
    auto model = complete(container.format, container.find(member), member.size());
    if (!model) return {};
    std::erase_if(model->segments, [](const Segment& s) { return s.role == Role::kOther; });
    return std::move(model->segments);
  }
  return {};
}

Result<void> check_tiling(const Model& model) {
  uint64_t end = 0;
  for (const Segment& segment : model.segments) {
    if (segment.offset != end) {
      return fail(TENSORPATCH_E_FORMAT,
                  describe(segment) + " does not begin where the one before ends");
    }
    if (segment.size > model.file_size - end) {
      return fail(TENSORPATCH_E_FORMAT, describe(segment) + " ends behind the file");
    }
    if (const char* fault = segment_fault(segment)) {
      return fail(TENSORPATCH_E_FORMAT, describe(segment) + " " + fault);
    }
    end += segment.size;
  }
  if (end != model.file_size) {
    return fail(TENSORPATCH_E_FORMAT, "segments end before the file does");
  }
  return {};
}

Result<Segments> tile(Segments found, uint64_t file_size) {
  std::erase_if(found, [](const Segment& segment) { return segment.size == 0; });
  std::stable_sort(found.begin(), found.end(),
                   [](const Segment& a, const Segment& b) { return a.offset < b.offset; });
  Segments tiled;
  tiled.reserve(2 * found.size() + 1);
  uint64_t end = 0;
  for (Segment& segment : found) {
    if (segment.offset < end) {
      return fail(TENSORPATCH_E_FORMAT, describe(segment) + " overlaps the one before");
    }
    if (segment.offset > file_size || segment.size > file_size - segment.offset) {
      return fail(TENSORPATCH_E_FORMAT, describe(segment) + " ends behind the file");
    }
    if (segment.offset > end) tiled.push_back(other(end, segment.offset - end));
    end = segment.offset + segment.size;
    tiled.push_back(std::move(segment));
  }
  if (end < file_size) tiled.push_back(other(end, file_size - end));
  return tiled;
}

std::optional<uint64_t> element_count(const std::vector<uint64_t>& shape) {
  uint64_t count = 1;
  for (const uint64_t dimension : shape) {
    if (__builtin_mul_overflow(count, dimension, &count)) return std::nullopt;
  }
  return count;
}

uint64_t row_elements(const std::vector<uint64_t>& shape) {
  if (shape.size() < 2 || shape[0] == 0) return 0;
  if (shape[0] == 1) return shape.back();
  return element_count(shape).value_or(0) / shape[0];
}

void describe_values(Segment& segment, ElementType type, std::vector<uint64_t> shape) {
  segment.type = segment.size % element_size(type) == 0 ? type : ElementType::kBytes;
  const uint64_t count = segment.size / element_size(segment.type);
  const bool is_plausible = shape.size() <= kMaxRank &&
                            (segment.type == ElementType::kBytes || element_count(shape) == count);
  segment.shape = is_plausible ? std::move(shape) : std::vector<uint64_t>{count};
  if (segment.type == ElementType::kBytes) return;
  segment.row_elements = row_elements(segment.shape);
}

}  // namespace tensorpatch::model
