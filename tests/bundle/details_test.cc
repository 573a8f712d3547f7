// details_test.cc: the list of tensors comes back, and only with its own digest.
// SPDX-License-Identifier: Apache-2.0
#include "bundle/details.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bundle/sample.h"
#include "bundle_generated.h"

namespace tensorpatch::bundle {
namespace {

Details sample_details() {
  TensorDetail weight;
  weight.name = "conv1/weight";
  weight.role = "weight";
  weight.type = "f32";
  weight.method = "values";
  weight.shape = {64, 3, 3, 3};
  weight.offset = 4096;
  weight.size = 6912;
  weight.patch_bytes = 2100;
  weight.relative_norm = 0.015625;
  weight.equal_share = 0.0;
  weight.new_digest.fill(0x11);
  weight.state = "renamed";
  weight.moved = true;
  weight.correlation = -0.25;
  weight.lineage = 0.5;
  weight.bound_bytes = 2048;
  weight.old = {"old name", "f16", std::vector<uint64_t>{}, 1024, 3456};
  TensorDetail rest;
  rest.component = 5;
  rest.name = std::string("\xff raw name\0", 11);  // names are what the model has
  rest.method = "bytes";
  rest.offset = uint64_t{1} << 40;
  rest.old.emplace().size = 7;  // named and shaped as new
  const ComponentDetail component{"tflite", 6.5, 7.25, {0, 3, uint64_t{1} << 50}};
  return Details{{weight, rest}, {component, ComponentDetail{}}};
}

Result<Details> read_with_own_digest(base::Bytes bytes) {
  return read_details(bytes, sha256(bytes));
}

TEST(Details, EverythingComesBack) {
  for (const Details& details : {Details{}, sample_details()}) {
    const auto bytes = write_details(details);
    ASSERT_TRUE(bytes) << bytes.error().message;
    const auto read = read_with_own_digest(*bytes);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, details);
    EXPECT_EQ(write_details(details).value(), *bytes);
  }
}

TEST(Details, ReadsWhereverItStarts) {
  const auto bytes = write_details(sample_details()).value();
  for (size_t shift = 1; shift < 8; ++shift) {
    std::vector<uint8_t> shifted(shift);
    shifted.insert(shifted.end(), bytes.begin(), bytes.end());
    EXPECT_EQ(read_with_own_digest(base::Bytes(shifted).subspan(shift)).value(), sample_details());
  }
}

TEST(Details, WordsThatRecurAreStoredOnce) {
  Details one = sample_details();
  Details two = one;
  two.tensors[1].role = "weight";
  two.tensors[1].type = "f32";
  // Offsets to the words, and a vtable of another shape at most.
  EXPECT_LE(write_details(two).value().size(), write_details(one).value().size() + 16);
}

TEST(Details, NumbersThatAreNoneAreLeftOut) {
  Details details = sample_details();
  details.tensors[0].relative_norm = std::numeric_limits<double>::infinity();
  details.tensors[0].equal_share = std::nan("");
  const auto read = read_with_own_digest(write_details(details).value());
  EXPECT_FALSE(read.value().tensors[0].relative_norm);
  EXPECT_FALSE(read.value().tensors[0].equal_share);
  EXPECT_FALSE(read.value().tensors[1].lineage);
}

TEST(Details, OneHistogramUsedManyTimesIsRefused) {
  flatbuffers::FlatBufferBuilder builder;
  const auto histogram = builder.CreateVector(std::vector<uint64_t>(1000, 1));
  const auto component = fbs::CreateComponentDetail(builder, 0, 0, 0, histogram);
  const std::vector<flatbuffers::Offset<fbs::ComponentDetail>> components(100, component);
  const auto all = builder.CreateVector(components);
  const auto tensors = builder.CreateVector(std::vector<flatbuffers::Offset<fbs::Tensor>>());
  builder.Finish(fbs::CreateDetails(builder, tensors, all));
  const auto read =
      read_with_own_digest(base::Bytes(builder.GetBufferPointer(), builder.GetSize()));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, TENSORPATCH_E_FORMAT);
}

TEST(Details, AnotherDigestIsRefused) {
  const auto bytes = write_details(sample_details()).value();
  const auto read = read_details(bytes, Digest{});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, TENSORPATCH_E_DIGEST);
}

TEST(Details, LongWordsAreRefused) {
  Details details = sample_details();
  details.tensors[0].method = std::string(65, 'x');
  EXPECT_EQ(write_details(details).error().code, TENSORPATCH_E_LIMIT);
}

TEST(Details, OneStringUsedManyTimesIsRefused) {
  flatbuffers::FlatBufferBuilder builder;
  const auto name = builder.CreateString(std::string(10000, 'x'));
  const fbs::Digest digest;
  const std::vector<flatbuffers::Offset<fbs::Tensor>> tensors(
      100, fbs::CreateTensor(builder, name, 0, 0, 0, 0, 0, 0, 0, 0, flatbuffers::nullopt,
                             flatbuffers::nullopt, &digest));
  builder.Finish(fbs::CreateDetails(builder, builder.CreateVector(tensors)));
  const auto read =
      read_with_own_digest(base::Bytes(builder.GetBufferPointer(), builder.GetSize()));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, TENSORPATCH_E_FORMAT);
}

TEST(Details, DamagedBytesNeverCrash) {
  const auto bytes = write_details(sample_details()).value();
  size_t refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    refused += read_with_own_digest(base::Bytes(bytes).first(size)) ? 0u : 1u;
  }
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::vector<uint8_t> damaged = bytes;
    damaged[bit / 8] = static_cast<uint8_t>(damaged[bit / 8] ^ 1u << bit % 8);
    refused += read_with_own_digest(damaged) ? 0u : 1u;
  }
  EXPECT_GT(refused, bytes.size());
}

}  // namespace
}  // namespace tensorpatch::bundle
