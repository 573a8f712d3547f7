// diff_test.cc: what diff() finds in safetensors files that were made for one kind of change each.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>

#include "support/temp_folder.h"
#include "tensorpatch/toolkit.h"

namespace tensorpatch::toolkit {
namespace {

struct Tensor {
  std::string name;
  std::string type;   // of safetensors
  std::string shape;  // "4, 5"
  std::string bytes;
};

// Bytes of numbers about zero, little related to those of another seed.
std::string numbers(size_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0, 30);
  std::string text(count, '\0');
  for (char& byte : text) byte = static_cast<char>(static_cast<int>(normal(engine)));
  return text;
}

std::string moved(std::string bytes) {
  for (size_t i = 0; i < bytes.size(); i += 2) bytes[i] = static_cast<char>(bytes[i] + 1);
  return bytes;
}

std::string file_of(const std::vector<Tensor>& tensors) {
  std::string header = "{", data;
  for (const Tensor& tensor : tensors) {
    header += (header.size() > 1 ? ",\"" : "\"") + tensor.name + "\":{\"dtype\":\"" + tensor.type +
              "\",\"shape\":[" + tensor.shape + "],\"data_offsets\":[" +
              std::to_string(data.size()) + "," +
              std::to_string(data.size() + tensor.bytes.size()) + "]}";
    data += tensor.bytes;
  }
  header += "}";
  std::string size(8, '\0');
  for (size_t i = 0; i < 8; ++i) size[i] = static_cast<char>(header.size() >> (8 * i));
  return size + header + data;
}

class Diff : public testing::Test {
 protected:
  Comparison compare(const std::string& old_file, const std::string& new_file) {
    test::write_file(folder_ / "old", old_file);
    test::write_file(folder_ / "new", new_file);
    DiffOptions options;
    options.old_file = folder_ / "old";
    options.new_file = folder_ / "new";
    auto comparison = diff(options);
    EXPECT_TRUE(comparison) << comparison.error().message;
    if (!comparison) return {};
    uint64_t size = 0;
    for (const TensorFacts& tensor : comparison->tensors) size += tensor.size;
    EXPECT_EQ(size, comparison->new_size);  // tensors and pieces tile the file
    return *comparison;
  }

  static const TensorFacts* find(const Comparison& comparison, const std::string& name) {
    for (const TensorFacts& tensor : comparison.tensors) {
      if (tensor.name == name) return &tensor;
    }
    ADD_FAILURE() << "no tensor " << name;
    return &comparison.tensors.front();
  }

  static std::string codes(const Comparison& comparison) {
    std::string text;
    for (const Advice& advice : comparison.advice) text += (text.empty() ? "" : " ") + advice.code;
    return text;
  }

  test::TempFolder folder_;
  const std::vector<Tensor> tensors_ = {{"a", "I8", "64, 64", numbers(4096, 1)},
                                        {"b", "I8", "32, 64", numbers(2048, 2)},
                                        {"c", "I8", "64, 32", numbers(2048, 3)},
                                        {"d", "I8", "64", numbers(64, 4)}};
};

TEST_F(Diff, IdenticalFiles) {
  const Comparison comparison = compare(file_of(tensors_), file_of(tensors_));
  EXPECT_TRUE(comparison.identical);
  EXPECT_EQ(comparison.counts.unchanged, 4u);
  EXPECT_EQ(comparison.bound_bytes, 0u);
  EXPECT_EQ(comparison.lineage, 1.0);
  EXPECT_EQ(codes(comparison), "identical");
}

TEST_F(Diff, OneTensorMoved) {
  std::vector<Tensor> changed = tensors_;
  changed[1].bytes = moved(changed[1].bytes);
  const Comparison comparison = compare(file_of(tensors_), file_of(changed));
  EXPECT_EQ(comparison.counts.changed, 1u);
  const TensorFacts* b = find(comparison, "b");
  EXPECT_EQ(b->state, TensorState::kChanged);
  EXPECT_EQ(b->method, "residual");
  EXPECT_EQ(b->share_equal, 0.5);
  EXPECT_GT(b->lineage.value(), 0.99);
  EXPECT_EQ(b->bound_bytes, 256u);  // one bit a value
  EXPECT_GT(b->patch_bytes, 0u);
  EXPECT_LE(b->patch_bytes, comparison.patch_size);
  EXPECT_EQ(codes(comparison), "part");
  uint64_t different = 0;
  for (const uint64_t count : comparison.histogram) different += count;
  EXPECT_EQ(different, 1024u);
}

TEST_F(Diff, AddedRemovedReshapedRetyped) {
  std::vector<Tensor> changed = tensors_;
  changed[0].shape = "32, 128";
  changed[1] = {"b", "F16", "16, 64", numbers(2048, 9)};
  changed[2].name = "new one";
  changed[2].bytes = numbers(512, 10);
  changed[2].shape = "512";
  const Comparison comparison = compare(file_of(tensors_), file_of(changed));
  EXPECT_EQ(find(comparison, "a")->state, TensorState::kReshaped);
  EXPECT_EQ(find(comparison, "a")->share_equal, 1.0);
  EXPECT_EQ(find(comparison, "b")->state, TensorState::kRetyped);
  EXPECT_EQ(find(comparison, "b")->old->type, "int8");
  EXPECT_EQ(find(comparison, "new one")->state, TensorState::kAdded);
  EXPECT_FALSE(find(comparison, "new one")->old);
  EXPECT_FALSE(find(comparison, "new one")->relative_change);
  const TensorFacts* c = find(comparison, "c");
  EXPECT_EQ(c->state, TensorState::kRemoved);
  EXPECT_EQ(c->size, 0u);
  EXPECT_EQ(c->old->size, 2048u);
  EXPECT_EQ(comparison.counts.removed, 1u);
  EXPECT_EQ(comparison.counts.all, 4u);
}

TEST_F(Diff, RenamedAndReordered) {
  std::vector<Tensor> changed = tensors_;
  changed[0].name = "encoder.a";
  std::swap(changed[1], changed[3]);
  const Comparison comparison = compare(file_of(tensors_), file_of(changed));
  EXPECT_EQ(find(comparison, "encoder.a")->state, TensorState::kRenamed);
  EXPECT_EQ(find(comparison, "encoder.a")->old->name, "a");
  EXPECT_EQ(comparison.counts.renamed, 1u);
  EXPECT_EQ(comparison.counts.moved, 2u);  // of b, c, d in the order d, c, b one can stay
  EXPECT_EQ(comparison.counts.changed, 0u);
  EXPECT_EQ(codes(comparison), "re-exported");
}

TEST_F(Diff, TrainedFromScratch) {
  std::vector<Tensor> changed = tensors_;
  for (size_t i = 0; i < changed.size(); ++i) {
    changed[i].bytes = numbers(changed[i].bytes.size(), static_cast<uint32_t>(100 + i));
  }
  const Comparison comparison = compare(file_of(tensors_), file_of(changed));
  EXPECT_LT(comparison.lineage.value(), 0.1);
  EXPECT_EQ(codes(comparison), "scratch");
}

TEST_F(Diff, NoiseIsNotAModel) {
  std::mt19937 engine(3);
  const auto noise = [&] {
    std::string text(40000, '\0');
    for (char& byte : text) byte = static_cast<char>(engine());
    return text;
  };
  const Comparison comparison = compare(noise(), noise());
  EXPECT_EQ(comparison.new_format, "raw");
  EXPECT_EQ(codes(comparison), "noise");
  EXPECT_EQ(comparison.counts.all, 0u);
}

TEST_F(Diff, FilesWithoutABeginning) {
  EXPECT_EQ(codes(compare("", file_of(tensors_))), "no-old");
  const Comparison to_nothing = compare(file_of(tensors_), "");
  EXPECT_EQ(to_nothing.patch_size, 0u);
  EXPECT_EQ(to_nothing.counts.removed, 4u);
}

TEST_F(Diff, PackKeepsAllOfItInTheDetails) {
  std::vector<Tensor> changed = tensors_;
  changed[0].bytes = moved(changed[0].bytes);
  changed[2].name = "new one";
  changed[3] = {"e", "F32", "16", numbers(64, 12)};
  const Comparison measured = compare(file_of(tensors_), file_of(changed));
  PackOptions options;
  options.components = {{"model", folder_ / "old", folder_ / "new"}};
  options.output = folder_ / "u.tpb";
  options.details = folder_ / "u.details";
  ASSERT_TRUE(pack(options));
  InspectOptions inspecting;
  inspecting.bundle = folder_ / "u.tpb";
  inspecting.details = folder_ / "u.details";
  const auto report = inspect(inspecting);
  ASSERT_TRUE(report) << report.error().message;
  const Comparison& read = report->components[0].comparison.value();
  EXPECT_EQ(read.old_format, measured.old_format);
  EXPECT_EQ(read.lineage, measured.lineage);
  EXPECT_EQ(read.histogram, measured.histogram);
  EXPECT_EQ(read.bound_bytes, measured.bound_bytes);
  EXPECT_EQ(read.new_entropy, measured.new_entropy);
  EXPECT_EQ(codes(read), codes(measured));
  ASSERT_EQ(read.tensors.size(), measured.tensors.size());
  for (size_t i = 0; i < read.tensors.size(); ++i) {
    const TensorFacts& a = read.tensors[i];
    const TensorFacts& b = measured.tensors[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.state, b.state) << a.name;
    EXPECT_EQ(a.patch_bytes, b.patch_bytes) << a.name;
    EXPECT_EQ(a.relative_change, b.relative_change) << a.name;
    EXPECT_EQ(a.correlation, b.correlation) << a.name;
    EXPECT_EQ(a.lineage, b.lineage) << a.name;
    ASSERT_EQ(a.old.has_value(), b.old.has_value()) << a.name;
    if (!a.old) continue;
    EXPECT_EQ(a.old->name, b.old->name);
    EXPECT_EQ(a.old->type, b.old->type);
    EXPECT_EQ(a.old->shape, b.old->shape);
    EXPECT_EQ(a.old->offset, b.old->offset);
  }
}

TEST_F(Diff, CancellingEndsIt) {
  test::write_file(folder_ / "old", file_of(tensors_));
  std::vector<Tensor> changed = tensors_;
  changed[0].bytes = moved(changed[0].bytes);
  test::write_file(folder_ / "new", file_of(changed));
  DiffOptions options;
  options.old_file = folder_ / "old";
  options.new_file = folder_ / "new";
  options.progress = [](const Progress&) { return false; };
  const auto comparison = diff(options);
  ASSERT_FALSE(comparison);
  EXPECT_EQ(comparison.error().code, TENSORPATCH_E_CANCELLED);
}

TEST_F(Diff, AReportNeverReplacesAnInput) {
  test::write_file(folder_ / "old", "old");
  ReportFile file{folder_ / "old", Existing::kReplace, {folder_ / "old"}};
  EXPECT_EQ(write_report(file, "page").error().code, TENSORPATCH_E_USAGE);
  file.inputs.clear();
  file.existing = Existing::kKeep;
  EXPECT_EQ(write_report(file, "page").error().code, TENSORPATCH_E_EXISTS);
  EXPECT_EQ(test::read_file(folder_ / "old"), "old");
  file.existing = Existing::kReplace;
  ASSERT_TRUE(write_report(file, "page"));
  EXPECT_EQ(test::read_file(folder_ / "old"), "page");
}

}  // namespace
}  // namespace tensorpatch::toolkit
