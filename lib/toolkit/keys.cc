// toolkit/keys.cc: key files and signatures.
// SPDX-License-Identifier: Apache-2.0
#include "keys/keys.h"

#include "toolkit/paths.h"
#include "toolkit/signing.h"

namespace tensorpatch::toolkit {
namespace {

constexpr size_t kMaxKeySize = 65536;

base::Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

keys::PublicKeyFormat format_of(PublicKeyFormat format) {
  switch (format) {
    case PublicKeyFormat::kMinisign:
      return keys::PublicKeyFormat::kMinisign;
    case PublicKeyFormat::kSignify:
      return keys::PublicKeyFormat::kSignify;
    case PublicKeyFormat::kHex:
      return keys::PublicKeyFormat::kHex;
    case PublicKeyFormat::kC:
      return keys::PublicKeyFormat::kC;
    case PublicKeyFormat::kPem:
      break;
  }
  return keys::PublicKeyFormat::kPem;
}

}  // namespace

Result<std::string> read_key_file(const Path& path) {
  return base::read_small_file(path, kMaxKeySize);
}

Result<KeyFiles> generate_key_files(const Path& private_key, Existing existing) {
  KeyFiles files;
  files.private_key = private_key;
  files.public_key = private_key;
  files.public_key += ".pub";
  const bool replace = existing == Existing::kReplace;
  // Both are opened before either appears: a name that is taken leaves nothing behind.
  auto private_file = base::OutputFile::create(private_key, {.replace = replace, .mode = 0600});
  if (!private_file) return tl::unexpected(private_file.error());
  auto public_file = base::OutputFile::create(files.public_key, {.replace = replace});
  if (!public_file) return tl::unexpected(public_file.error());
  auto key = keys::PrivateKey::generate();
  if (!key) return tl::unexpected(key.error());
  files.id = key->public_key().id;
  const auto public_text = keys::format_public_key(key->public_key(), keys::PublicKeyFormat::kPem);
  if (!public_text) return tl::unexpected(public_text.error());
  auto written = (*private_file)->write(bytes_of(key->to_pem()));
  if (written) written = (*public_file)->write(bytes_of(*public_text));
  if (written) written = (*private_file)->commit();
  if (written) written = (*public_file)->commit();
  if (!written) return tl::unexpected(written.error());
  return files;
}

Result<PublicKeyText> public_key_of(std::string_view key_text, PublicKeyFormat format,
                                    const PasswordCallback& password) {
  auto key = keys::parse_public_key(key_text);
  if (!key) {
    auto secret = keys::PrivateKey::parse(key_text, password);
    if (!secret) return tl::unexpected(secret.error());
    key = secret->public_key();
  }
  auto text = keys::format_public_key(*key, format_of(format));
  if (!text) return tl::unexpected(text.error());
  return PublicKeyText{std::move(*text), key->id};
}

Result<std::vector<keys::PublicKey>> parse_ring(const std::vector<std::string>& texts) {
  std::vector<keys::PublicKey> ring;
  for (const std::string& text : texts) {
    auto key = keys::parse_public_key(text);
    if (!key) return tl::unexpected(key.error());
    ring.push_back(std::move(*key));
  }
  return ring;
}

Result<OpenSigner> OpenSigner::open(const Signer& signer) {
  OpenSigner opened;
  if (signer.command.empty()) {
    auto key = keys::PrivateKey::parse(signer.private_key, signer.password);
    if (!key) return tl::unexpected(key.error());
    opened.public_key_ = key->public_key();
    opened.key_ = std::move(*key);
    return opened;
  }
  auto key = keys::parse_public_key(signer.public_key);
  if (!key) return tl::unexpected(key.error());
  opened.command_ = signer.command;
  opened.public_key_ = std::move(*key);
  return opened;
}

Result<keys::Signature> OpenSigner::sign(base::Bytes message) const {
  if (key_) return key_->sign(message);
  return keys::sign_with_command(command_, public_key_, message);
}

}  // namespace tensorpatch::toolkit
