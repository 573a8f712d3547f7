// tests/vectors/vectors_test.cc: every vector through the applier in bites of any size; the files
// are those that make_vectors makes; the vectors are those that docs/FORMAT.md names.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <sstream>
#include <string>

#include "keys/p256.h"
#include "support/p256_key.h"
#include "support/temp_folder.h"
#include "tensorpatch/ports/zstd.h"
#include "vectors/vectors.h"

namespace tensorpatch::test {
namespace {

const std::filesystem::path kFolder = TENSORPATCH_VECTORS;

Bytes load(const std::string& name) {
  const std::string content = read_file(kFolder / name);
  return {content.begin(), content.end()};
}

std::vector<Vector> all_vectors() {
  return parse_index(read_file(kFolder / "index.tsv") + read_file(kFolder / "index-zstd.tsv") +
                     read_file(kFolder / "index-p256.tsv"));
}

const std::map<std::string, tensorpatch_status>& statuses() {
  static const std::map<std::string, tensorpatch_status> all = {
      {"DONE", TENSORPATCH_DONE},
      {"ALREADY_NEW", TENSORPATCH_ALREADY_NEW},
      {"E_FORMAT", TENSORPATCH_E_FORMAT},
      {"E_VERSION", TENSORPATCH_E_VERSION},
      {"E_CODEC", TENSORPATCH_E_CODEC},
      {"E_TRUNCATED", TENSORPATCH_E_TRUNCATED},
      {"E_TRAILING", TENSORPATCH_E_TRAILING},
      {"E_SIGNATURE", TENSORPATCH_E_SIGNATURE},
      {"E_UNTRUSTED", TENSORPATCH_E_UNTRUSTED},
      {"E_DIGEST", TENSORPATCH_E_DIGEST},
      {"E_SEQUENCE", TENSORPATCH_E_SEQUENCE},
      {"E_SECURITY_VERSION", TENSORPATCH_E_SECURITY_VERSION},
      {"E_DEVICE_CLASS", TENSORPATCH_E_DEVICE_CLASS},
      {"E_UNDO", TENSORPATCH_E_UNDO},
      {"E_OLD", TENSORPATCH_E_OLD},
      {"E_CAPACITY", TENSORPATCH_E_CAPACITY},
  };
  return all;
}

// A device as a vector's options describe it.
struct VectorSetup {
  ApplySetup apply;
  std::vector<std::unique_ptr<TestKey>> keys;
  P256Key p256{kP256KeyNumber};
  std::unique_ptr<tensorpatch_zstd> zstd = std::make_unique<tensorpatch_zstd>();
  std::vector<uint64_t> zstd_memory;
};

std::array<uint8_t, 16> parse_class(const std::string& hex) {
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

void set_ring(VectorSetup& setup, const std::string& numbers) {
  setup.apply.ring.clear();
  std::istringstream list(numbers);
  for (std::string number; std::getline(list, number, ',');) {
    if (number == std::to_string(kP256KeyNumber)) {
      setup.apply.ring.push_back(setup.p256.entry());
      continue;
    }
    setup.keys.push_back(std::make_unique<TestKey>(static_cast<uint8_t>(std::stoul(number))));
    const uint16_t role = number.back() == '!' ? 99 : TENSORPATCH_ROLE_RELEASE;
    setup.apply.ring.push_back(setup.keys.back()->entry(role));
  }
}

void add_zstd(VectorSetup& setup) {
  constexpr uint32_t kWindowLog2 = 10;
  setup.zstd_memory.resize(tensorpatch_zstd_memory_size(kWindowLog2) / sizeof(uint64_t));
  setup.apply.codecs.push_back(tensorpatch_zstd_init(setup.zstd.get(), setup.zstd_memory.data(),
                                                     setup.zstd_memory.size() * sizeof(uint64_t),
                                                     kWindowLog2));
}

std::vector<Bytes> load_all(const std::vector<std::string>& names) {
  std::vector<Bytes> files;
  for (const std::string& name : names) files.push_back(load(name));
  return files;
}

// Storage of a device that verifies signatures of both algorithms.
MemoryDevice device_of(const Vector& vector) {
  MemoryDevice device(load_all(vector.old_names), 1024);
  device.verify = [](void* context, const tensorpatch_key* key, const uint8_t* message,
                     size_t message_size, const uint8_t* signature, size_t signature_size) {
    if (key->algorithm != TENSORPATCH_ECDSA_P256_SHA256) {
      return tensorpatch_libsodium_verify(context, key, message, message_size, signature,
                                          signature_size);
    }
    const std::span<const uint8_t> point(key->public_key, key->public_key_size);
    return keys::p256::verify(point, {message, message_size}, {signature, signature_size}) ? 0 : -1;
  };
  return device;
}

VectorSetup parse_options(const std::string& options) {
  VectorSetup setup;
  setup.apply.workspace_size = 131072;
  set_ring(setup, "1");
  std::istringstream list(options == "-" ? "" : options);
  for (std::string option; std::getline(list, option, ' ');) {
    const std::string key = option.substr(0, option.find('='));
    const std::string value = option.substr(option.find('=') + 1);
    if (key == "threshold") {
      setup.apply.threshold = static_cast<uint32_t>(std::stoul(value));
    } else if (key == "sequence-floor") {
      setup.apply.sequence_floor = std::stoull(value);
    } else if (key == "security-version-floor") {
      setup.apply.security_version_floor = static_cast<uint32_t>(std::stoul(value));
    } else if (key == "capacity") {
      setup.apply.capacity = std::stoull(value);
    } else if (key == "device-class") {
      setup.apply.device_class = parse_class(value);
    } else if (key == "accept" && value == "undo") {
      setup.apply.accept = TENSORPATCH_ACCEPT_UNDO;
    } else if (key == "ring") {
      set_ring(setup, value);
    } else if (key == "codecs" && value == "none") {
      setup.apply.codecs.clear();
    } else if (key == "codecs" && value == "values,bytes,zstd") {
      add_zstd(setup);
    } else {
      ADD_FAILURE() << "unknown option " << option;
    }
  }
  return setup;
}

void run_vector(const Vector& vector, size_t bite) {
  const VectorSetup setup = parse_options(vector.options);
  const std::vector<Bytes> news = load_all(vector.new_names);
  MemoryDevice device = device_of(vector);
  const tensorpatch_status status =
      TestApplier(device, setup.apply).apply(load(vector.bundle), bite);
  EXPECT_EQ(status, statuses().at(vector.status)) << tensorpatch_status_text(status);
  EXPECT_EQ(device.misuse, "");
  for (size_t i = 0; i < news.size(); ++i) {
    EXPECT_TRUE(device.holds_only_prefix_of(i, news[i])) << "wrong bytes were written";
    if (status == TENSORPATCH_DONE) {
      Bytes made = device.places[i];
      made.resize(news[i].size());
      EXPECT_EQ(made, news[i]);
    }
  }
  // What is refused before the blocks leaves storage as it was.
  const bool may_write = status == TENSORPATCH_DONE || status == TENSORPATCH_E_DIGEST ||
                         status == TENSORPATCH_E_TRUNCATED || status == TENSORPATCH_E_TRAILING ||
                         vector.name.rfind("stream-", 0) == 0;
  EXPECT_TRUE(may_write || device.untouched());
  EXPECT_TRUE((vector.name != "manifest-flip" && vector.name != "block-flip-first") ||
              device.untouched());
}

TEST(Vectors, EveryOneGivesItsResultInAnyBite) {
  const std::vector<Vector> vectors = all_vectors();
  ASSERT_GT(vectors.size(), 50u);
  for (const Vector& vector : vectors) {
    for (const size_t bite : std::initializer_list<size_t>{0, 1, 2, 3, 7, 64, 1000}) {
      SCOPED_TRACE(vector.name + " in bites of " + std::to_string(bite));
      run_vector(vector, bite);
    }
  }
}

std::vector<Vector> good_vectors() {
  std::vector<Vector> good = all_vectors();
  std::erase_if(good, [](const Vector& each) { return each.status != "DONE"; });
  return good;
}

TEST(Vectors, GoodOnesNeedExactlyTheWorkspaceTheyDeclare) {
  for (const Vector& vector : good_vectors()) {
    SCOPED_TRACE(vector.name);
    const Bytes bundle = load(vector.bundle);
    tensorpatch_summary summary{};
    ASSERT_EQ(tensorpatch_peek(bundle.data(), bundle.size(), &summary), TENSORPATCH_OK);
    VectorSetup setup = parse_options(vector.options);
    setup.apply.workspace_size = summary.workspace_size;
    MemoryDevice device = device_of(vector);
    EXPECT_EQ(TestApplier(device, setup.apply).apply(bundle, 5), TENSORPATCH_DONE);
    setup.apply.workspace_size -= 1;
    MemoryDevice smaller = device_of(vector);
    EXPECT_EQ(TestApplier(smaller, setup.apply).apply(bundle), TENSORPATCH_E_WORKSPACE);
    EXPECT_TRUE(smaller.untouched());
  }
}

TEST(Vectors, GoodOnesGoOnAfterACutAtAnyByte) {
  size_t resumed = 0;
  for (const Vector& vector : good_vectors()) {
    SCOPED_TRACE(vector.name);
    const Bytes bundle = load(vector.bundle);
    const VectorSetup setup = parse_options(vector.options);
    for (size_t size = 0; size < bundle.size(); ++size) {
      MemoryDevice device = device_of(vector);
      device.any_signature = true;
      const Bytes cut(bundle.begin(), bundle.begin() + static_cast<std::ptrdiff_t>(size));
      ASSERT_EQ(TestApplier(device, setup.apply).apply(cut), TENSORPATCH_E_TRUNCATED);
      if (!device.checkpoint) continue;
      ++resumed;
      ASSERT_EQ(TestApplier(device, setup.apply).resume(bundle, *device.checkpoint, 11),
                TENSORPATCH_DONE)
          << "cut at " << size;
      const Bytes wanted = load(vector.new_names[0]);
      ASSERT_TRUE(device.holds_only_prefix_of(0, wanted)) << "cut at " << size;
    }
  }
  EXPECT_GT(resumed, 100u);
}

TEST(Vectors, FilesAreWhatTheGeneratorMakes) {
  const VectorSet made = make_vectors();
  std::set<std::string> present;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    present.insert(entry.path().filename());
  }
  for (const auto& [name, content] : made.files) {
    EXPECT_EQ(present.erase(name), 1u) << name << " is missing: run make_vectors";
    EXPECT_TRUE(std::filesystem::exists(kFolder / name) && load(name) == content)
        << name << " differs: run make_vectors";
  }
  EXPECT_TRUE(present.empty()) << *present.begin() << " is no vector's";
}

TEST(Vectors, FilesAreSmall) {
  for (const Vector& vector : all_vectors()) {
    EXPECT_LE(load(vector.bundle).size(), 2048u) << vector.name;
  }
}

// Names in brackets and backquotes: [`one`, `two`].
std::set<std::string> names_in_format() {
  const std::string page = read_file(TENSORPATCH_FORMAT_PAGE);
  std::set<std::string> names;
  for (size_t at = page.find("[`"); at != std::string::npos; at = page.find("[`", at + 1)) {
    std::istringstream list(page.substr(at + 1, page.find(']', at) - at - 1));
    for (std::string part; std::getline(list, part, ',');) {
      const size_t begin = part.find('`') + 1;
      const size_t end = part.find('`', begin);
      EXPECT_NE(end, std::string::npos) << "not a name: " << part;
      names.insert(part.substr(begin, end - begin));
    }
  }
  return names;
}

TEST(Vectors, AreThoseThatTheSpecificationNames) {
  std::set<std::string> named = names_in_format();
  ASSERT_GT(named.size(), 40u);
  for (const Vector& vector : all_vectors()) {
    const bool is_good = vector.name.rfind("good-", 0) == 0;
    const size_t found = named.erase(vector.name);
    EXPECT_TRUE(is_good || found == 1) << vector.name << " is not in docs/FORMAT.md";
  }
  for (const std::string& name : named) ADD_FAILURE() << "no vector has the name " << name;
}

}  // namespace
}  // namespace tensorpatch::test
