// advice_test.cc: each sentence of advice, from the figures that call for it, and not without them.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "toolkit/comparison.h"

namespace tensorpatch::toolkit {
namespace {

TensorFacts tensor(const std::string& name, const std::string& role, TensorState state) {
  TensorFacts facts;
  facts.name = name;
  facts.role = role;
  facts.type = role == "bias" ? "int32" : role == "weights" ? "int8" : "float32";
  facts.size = 1000;
  facts.state = state;
  facts.patch_bytes = state == TensorState::kUnchanged ? 0 : 100;
  facts.bound_bytes = facts.patch_bytes;
  facts.lineage = 1.0;
  facts.share_equal = state == TensorState::kUnchanged ? 1.0 : 0.5;
  facts.old = OldTensorFacts{name, facts.type, {}, 0, 1000};
  return facts;
}

// Ten tensors of weights, each with a bias and a scale; nothing changed but a piece between them.
Comparison unchanged() {
  Comparison comparison;
  comparison.old_format = comparison.new_format = "tflite";
  comparison.old_size = comparison.new_size = 30000;
  comparison.patch_size = 1000;
  comparison.old_entropy = comparison.new_entropy = 7;
  comparison.lineage = 1.0;
  TensorFacts piece = tensor("", "other", TensorState::kChanged);
  comparison.tensors.push_back(piece);
  for (int i = 0; i < 10; ++i) {
    const std::string name = "w" + std::to_string(i);
    comparison.tensors.push_back(tensor(name, "weights", TensorState::kUnchanged));
    comparison.tensors.push_back(tensor(name + "/bias", "bias", TensorState::kUnchanged));
    comparison.tensors.push_back(tensor(name + "/scale", "scale", TensorState::kUnchanged));
  }
  comparison.counts.all = comparison.counts.unchanged = 30;
  return comparison;
}

// Marks the tensor with this index (weights, bias and scale in turn) as changed.
TensorFacts& change(Comparison& comparison, size_t index) {
  TensorFacts& facts = comparison.tensors[1 + index];
  facts = tensor(facts.name, facts.role, TensorState::kChanged);
  ++comparison.counts.changed;
  --comparison.counts.unchanged;
  return facts;
}

void change_all(Comparison& comparison, double lineage) {
  for (size_t i = 0; i < 30; ++i) change(comparison, i).lineage = lineage;
  comparison.lineage = lineage;
}

std::string codes(const Comparison& comparison) {
  std::string text;
  for (const Advice& advice : advise(comparison)) text += (text.empty() ? "" : " ") + advice.code;
  return text;
}

TEST(Advice, IdenticalFiles) {
  Comparison comparison = unchanged();
  comparison.identical = true;
  EXPECT_EQ(codes(comparison), "identical");
}

TEST(Advice, NoOldFile) {
  Comparison comparison = unchanged();
  comparison.old_format.clear();
  EXPECT_EQ(codes(comparison), "no-old");
}

TEST(Advice, OnlyMetadata) {
  EXPECT_EQ(codes(unchanged()), "metadata");
  EXPECT_EQ(advise(unchanged())[0].text, "only metadata changed: all 30 tensors are identical");
}

TEST(Advice, ReExported) {
  Comparison moved = unchanged();
  moved.counts.moved = 1;
  moved.tensors[1].moved = true;
  EXPECT_EQ(codes(moved), "re-exported");
  Comparison renamed = unchanged();
  renamed.counts.renamed = 1;
  renamed.tensors[1].state = TensorState::kRenamed;
  EXPECT_EQ(codes(renamed), "re-exported");
  renamed.tensors[1].share_equal = 0.0;  // all of it another single value: no bits, yet new
  renamed.tensors[1].bound_bytes = 0;
  renamed.counts.changed = 1;
  EXPECT_EQ(codes(renamed), "part");
  Comparison converted = unchanged();
  converted.old_format = "onnx";
  EXPECT_EQ(codes(converted), "re-exported");
}

TEST(Advice, OnlyScales) {
  Comparison comparison = unchanged();
  change(comparison, 2);
  change(comparison, 5);
  EXPECT_EQ(codes(comparison), "scales");
  EXPECT_EQ(advise(comparison)[0].text,
            "only quantisation scales moved: all weights are identical");
  change(comparison, 4);
  EXPECT_EQ(advise(comparison)[0].text,
            "only quantisation scales and biases moved: all weights are identical");
  change(comparison, 0);  // weights, too
  EXPECT_EQ(codes(comparison), "part");
}

TEST(Advice, BiasesAloneAreNoScales) {
  Comparison comparison = unchanged();
  change(comparison, 1);
  EXPECT_EQ(codes(comparison), "part");
}

TEST(Advice, Noise) {
  Comparison comparison;
  comparison.old_format = comparison.new_format = "raw";
  comparison.old_size = comparison.new_size = 50000;
  comparison.patch_size = 50010;
  comparison.old_entropy = comparison.new_entropy = 7.996;
  comparison.lineage = 0.01;
  EXPECT_EQ(codes(comparison), "noise");
  comparison.new_entropy = 7.2;  // as weights have
  EXPECT_EQ(codes(comparison), "scratch");
  comparison.new_entropy = 7.996;
  comparison.patch_size = 20000;  // the patch found something
  comparison.lineage = 0.6;
  EXPECT_EQ(codes(comparison), "");
}

TEST(Advice, RetrainedFromScratch) {
  Comparison comparison = unchanged();
  change_all(comparison, 0.02);
  EXPECT_EQ(codes(comparison), "scratch");
  EXPECT_EQ(advise(comparison)[0].text,
            "retrained from scratch: no delta can help; start the next training from the released "
            "weights");
  // Also when most tensors are small ones that no training changes: lineage goes by size.
  Comparison graph = unchanged();
  change(graph, 0).lineage = 0.02;
  graph.lineage = 0.1;
  EXPECT_EQ(codes(graph), "scratch");
  comparison.lineage = 0.4;
  EXPECT_NE(codes(comparison).substr(0, 7), "scratch");
}

TEST(Advice, PartOfTheTensors) {
  Comparison comparison = unchanged();
  change(comparison, 12);
  change(comparison, 13);
  EXPECT_EQ(advise(comparison)[0].text, "only 2 of 30 tensors changed; of the weights only w4");
  Comparison last = unchanged();
  change(last, 24);
  change(last, 27);
  EXPECT_EQ(advise(last)[0].text, "only 2 of 30 tensors changed (the last in the file)");
}

TEST(Advice, Descendant) {
  Comparison comparison = unchanged();
  change_all(comparison, 0.97);
  EXPECT_EQ(codes(comparison), "descendant");
}

TEST(Advice, AnotherType) {
  Comparison comparison = unchanged();
  TensorFacts& facts = change(comparison, 0);
  facts.state = TensorState::kRetyped;
  facts.old->type = "float32";
  comparison.counts.retyped = 1;
  EXPECT_EQ(codes(comparison), "part retyped");
  EXPECT_NE(advise(comparison)[1].text.find("(float32 to int8)"), std::string::npos);
}

TEST(Advice, Structure) {
  Comparison comparison = unchanged();
  change(comparison, 0).state = TensorState::kReshaped;
  comparison.tensors.push_back(tensor("gone", "weights", TensorState::kRemoved));
  comparison.counts.reshaped = 1;
  comparison.counts.removed = 1;
  EXPECT_EQ(codes(comparison), "part structure");
  EXPECT_EQ(advise(comparison)[1].text, "the architecture changed: 1 removed, 1 reshaped");
}

TEST(Advice, OnePartTrainedFromScratch) {
  Comparison comparison = unchanged();
  change(comparison, 12).lineage = 0.01;
  EXPECT_EQ(codes(comparison), "part partly-scratch");
  EXPECT_NE(advise(comparison)[1].text.find("1 tensor has no relation to old and takes 10 %"),
            std::string::npos);
  comparison.patch_size = 10000;  // now it hardly matters
  EXPECT_EQ(codes(comparison), "part");
}

TEST(Advice, Float32Noise) {
  Comparison comparison = unchanged();
  change_all(comparison, 0.99);
  comparison.patch_size = 1200;
  for (TensorFacts& facts : comparison.tensors) {
    if (facts.role != "weights") continue;
    facts.type = "float32";
    facts.share_equal = 0.01;
  }
  EXPECT_EQ(codes(comparison), "descendant float32");
  for (TensorFacts& facts : comparison.tensors) facts.share_equal = 0.6;
  EXPECT_EQ(codes(comparison), "descendant");
}

}  // namespace
}  // namespace tensorpatch::toolkit
