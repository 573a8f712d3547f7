// keys/key_text.cc: see key_text.h.
// SPDX-License-Identifier: Apache-2.0
#include "keys/key_text.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

namespace tensorpatch::keys {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kPemBegin = "-----BEGIN ";

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// Cuts the first word or line off the front of `text`.
std::string_view take_until(std::string_view& text, std::string_view separators) {
  const size_t end = std::min(text.find_first_of(separators), text.size());
  const std::string_view piece = text.substr(0, end);
  text.remove_prefix(end);
  text = trim(text);
  return piece;
}

std::optional<SecretBytes> from_base64(std::string_view text) {
  SecretBytes bytes(text.size() / 4 * 3 + 3);
  size_t size = 0;
  if (sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), kSpace.data(), &size,
                        nullptr, sodium_base64_VARIANT_ORIGINAL) != 0) {
    return std::nullopt;
  }
  bytes.resize(size);
  return bytes;
}

std::optional<SecretBytes> from_hex(std::string_view text) {
  SecretBytes bytes(text.size() / 2);
  size_t size = 0;
  if (sodium_hex2bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size,
                     nullptr) != 0 ||
      size * 2 != text.size()) {
    return std::nullopt;
  }
  return bytes;
}

tl::unexpected<Error> not_a_key(std::string message) {
  return fail(TENSORPATCH_E_KEY, std::move(message),
              "keys are PEM, minisign, signify, ssh-ed25519 or hex text");
}

Result<KeyText> take_apart_pem(std::string_view text) {
  text.remove_prefix(text.find(kPemBegin) + kPemBegin.size());
  const size_t label_end = text.find("-----");
  if (label_end == std::string_view::npos || label_end > 64) return not_a_key("damaged PEM text");
  KeyText result{KeyText::Kind::kPem, std::string(text.substr(0, label_end)), {}};
  text.remove_prefix(label_end + 5);
  if (result.label != "PRIVATE KEY" && result.label != "PUBLIC KEY") return result;

  const std::string end_line = "-----END " + result.label + "-----";
  const size_t end = text.find(end_line);
  if (end == std::string_view::npos) return not_a_key("PEM text without its end line");
  if (text.find(kPemBegin, end) != std::string_view::npos) {
    return not_a_key("more than one PEM block in one key file");
  }
  std::optional<SecretBytes> payload = from_base64(text.substr(0, end));
  if (!payload) return not_a_key("damaged PEM text: not base64");
  result.payload = std::move(*payload);
  return result;
}

Result<KeyText> take_apart_two_lines(std::string_view text) {
  take_until(text, "\n");
  const std::string_view line = trim(take_until(text, "\n"));
  std::optional<SecretBytes> payload = from_base64(line);
  if (!payload || payload->empty()) {
    return not_a_key("damaged minisign or signify key: the second line is not base64");
  }
  if (!text.empty() && payload->size() != kTwoLineSignatureSize) {
    return not_a_key("text after the second line of a minisign or signify key");
  }
  return KeyText{KeyText::Kind::kTwoLines, "", std::move(*payload)};
}

Result<KeyText> take_apart_ssh(std::string_view text) {
  if (text.find('\n') != std::string_view::npos) {
    return not_a_key("more than one line in an OpenSSH public key");
  }
  std::string label(take_until(text, kSpace));
  std::optional<SecretBytes> payload = from_base64(take_until(text, kSpace));
  if (!payload) return not_a_key("damaged " + label + " key: not base64");
  return KeyText{KeyText::Kind::kSsh, std::move(label), std::move(*payload)};
}

// The algorithm of a PKCS#8 or SPKI structure, from the object identifier near its beginning; only
// to tell a person what the file is.
std::string algorithm_name(std::span<const uint8_t> der) {
  struct Entry {
    std::string_view oid;  // DER, with its tag and length
    std::string_view name;
  };
  using std::string_view_literals::operator""sv;
  static constexpr Entry kEntries[] = {
      {"\x06\x03\x2b\x65\x70"sv, "Ed25519"},
      {"\x06\x03\x2b\x65\x71"sv, "Ed448"},
      {"\x06\x03\x2b\x65\x6e"sv, "X25519"},
      {"\x06\x03\x2b\x65\x6f"sv, "X448"},
      {"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv, "P-256"},
      {"\x06\x05\x2b\x81\x04\x00\x22"sv, "P-384"},
      {"\x06\x05\x2b\x81\x04\x00\x23"sv, "P-521"},
      {"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"sv, "elliptic curve"},
      {"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"sv, "RSA"},
      {"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"sv, "RSA-PSS"},
      {"\x06\x07\x2a\x86\x48\xce\x38\x04\x01"sv, "DSA"},
  };
  const std::span<const uint8_t> head = der.first(std::min<size_t>(der.size(), 40));
  for (const Entry& entry : kEntries) {
    const auto same = [](uint8_t byte, char c) { return byte == static_cast<uint8_t>(c); };
    const auto found =
        std::search(head.begin(), head.end(), entry.oid.begin(), entry.oid.end(), same);
    if (found != head.end()) return std::string(entry.name);
  }
  return "unknown";
}

std::string with_article(const std::string& name) {
  static constexpr std::string_view kVowelSounds = "AERXesu";  // "an RSA key", "an ssh-rsa key"
  return (kVowelSounds.find(name.front()) == std::string_view::npos ? "a " : "an ") + name;
}

}  // namespace

Result<KeyText> take_apart(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // what some editors put first
  if (text.starts_with('\x30') && text.find('\0') != std::string_view::npos) {
    return fail(TENSORPATCH_E_KEY, "not a text file; it looks like a key in DER form",
                "turn it into PEM: openssl pkey -inform DER -in KEY -out KEY.pem");
  }
  text = trim(text);
  if (text.empty()) return not_a_key("the key is empty");
  if (text.find(kPemBegin) != std::string_view::npos) return take_apart_pem(text);
  if (text.starts_with("untrusted comment:")) return take_apart_two_lines(text);
  if (text.starts_with("ssh-") || text.starts_with("ecdsa-sha2-") || text.starts_with("sk-")) {
    return take_apart_ssh(text);
  }
  if (text.size() == 64 || text.size() == 130) {
    std::optional<SecretBytes> payload = from_hex(text);
    if (payload) return KeyText{KeyText::Kind::kHex, "", std::move(*payload)};
  }
  // The second line alone is how minisign prints public keys and takes them after -P.
  if (text.size() == kTwoLinePublicSize / 3 * 4) {
    std::optional<SecretBytes> payload = from_base64(text);
    if (payload) return KeyText{KeyText::Kind::kTwoLines, "", std::move(*payload)};
  }
  return not_a_key("not a key");
}

std::string describe(const KeyText& text) {
  switch (text.kind) {
    case KeyText::Kind::kHex:
      return "a public key in hex";
    case KeyText::Kind::kSsh:
      return with_article(text.label) + " public key";
    case KeyText::Kind::kTwoLines:
      switch (text.payload.size()) {
        case kTwoLinePublicSize:
          return "a minisign or signify public key";
        case kTwoLineSignatureSize:
          return "a minisign or signify signature";
        case kSignifySecretSize:
          return "a signify secret key";
        case kMinisignSecretSize:
          return "a minisign secret key";
        default:
          return "a damaged minisign or signify key";
      }
    case KeyText::Kind::kPem:
      break;
  }
  if (text.label == "PRIVATE KEY") {
    return with_article(algorithm_name(text.payload)) + " private key (PEM)";
  }
  if (text.label == "PUBLIC KEY") {
    return with_article(algorithm_name(text.payload)) + " public key (PEM)";
  }
  if (text.label == "ENCRYPTED PRIVATE KEY") return "an encrypted private key (PEM)";
  if (text.label == "OPENSSH PRIVATE KEY") return "an OpenSSH private key";
  if (text.label == "RSA PRIVATE KEY") return "an RSA private key (PEM)";
  if (text.label == "RSA PUBLIC KEY") return "an RSA public key (PEM)";
  if (text.label.starts_with("EC ")) return "an elliptic curve private key (PEM)";
  if (text.label == "CERTIFICATE") return "a certificate";
  return "PEM text of a kind that tensorpatch does not read";
}

void require_sodium() {
  // Fails only when the system has no source of randomness: nothing that a caller could handle.
  static const int status = sodium_init();
  if (status < 0) std::abort();
}

std::string to_base64(std::span<const uint8_t> bytes) {
  constexpr int kVariant = sodium_base64_VARIANT_ORIGINAL;
  std::string text(sodium_base64_encoded_len(bytes.size(), kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), kVariant);
  text.pop_back();  // the terminating zero
  return text;
}

std::string to_pem_text(std::string_view label, std::span<const uint8_t> der) {
  constexpr size_t kPemLine = 64;
  std::string base64 = to_base64(der);
  std::string text;
  text.reserve(base64.size() + 2 * label.size() + 40);  // no copy of a secret left behind by growth
  text.append(kPemBegin).append(label).append("-----\n");
  for (size_t at = 0; at < base64.size(); at += kPemLine) {
    text.append(base64, at, kPemLine).append("\n");
  }
  text.append("-----END ").append(label).append("-----\n");
  sodium_memzero(base64.data(), base64.size());
  return text;
}

}  // namespace tensorpatch::keys
