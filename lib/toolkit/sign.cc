// toolkit/sign.cc: signatures added to a bundle that exists; manifest and blocks stay as they are.
// SPDX-License-Identifier: Apache-2.0
#include "toolkit/signing.h"

#include "bundle/bundle_reader.h"
#include "bundle/bundle_writer.h"
#include "toolkit/paths.h"

namespace tensorpatch::toolkit {
namespace {

constexpr size_t kMaxSignatureFile = 4096;

Result<SignReport> add(const Path& path, const bundle::BundleReader& reader,
                       const keys::PublicKey& key, const keys::Signature& signature) {
  std::vector<keys::Signature> signatures = reader.signatures();
  if (auto added = bundle::add_signature(signatures, signature); !added) {
    return tl::unexpected(added.error());
  }
  // Through a link the file that it names is replaced, not the link.
  std::error_code error;
  const Path real = std::filesystem::canonical(path, error);
  auto file = base::OutputFile::create(error ? path : real, {.replace = true});
  if (!file) return tl::unexpected(file.error());
  auto written = bundle::replace_signatures(reader, signatures, **file);
  if (written) written = (*file)->commit();
  if (!written) return tl::unexpected(written.error());
  return SignReport{key.id, reader.identity(), signatures.size()};
}

}  // namespace

Result<SignReport> sign(const Path& bundle, const Signer& signer) {
  auto file = base::MappedFile::open(bundle);
  if (!file) return tl::unexpected(file.error());
  auto reader = bundle::BundleReader::open(file->bytes());
  if (!reader) return tl::unexpected(reader.error());
  auto opened = OpenSigner::open(signer);
  if (!opened) return tl::unexpected(opened.error());
  auto signature = opened->sign(bundle::dsse_message(reader->statement_bytes()));
  if (!signature) return tl::unexpected(signature.error());
  return add(bundle, *reader, opened->public_key(), *signature);
}

Result<SignReport> attach_signature(const Path& bundle, const Path& signature,
                                    std::string_view public_key) {
  auto file = base::MappedFile::open(bundle);
  if (!file) return tl::unexpected(file.error());
  auto reader = bundle::BundleReader::open(file->bytes());
  if (!reader) return tl::unexpected(reader.error());
  auto key = keys::parse_public_key(public_key);
  if (!key) return tl::unexpected(key.error());
  auto raw = base::read_small_file(signature, kMaxSignatureFile);
  if (!raw) return tl::unexpected(raw.error());
  const keys::Signature attached =
      keys::make_signature(*key, {reinterpret_cast<const uint8_t*>(raw->data()), raw->size()});
  if (!keys::verify(*key, bundle::dsse_message(reader->statement_bytes()), attached)) {
    return fail(TENSORPATCH_E_SIGNATURE,
                quoted(signature) + " is not a signature of this bundle by that key",
                "it must be the signature (Ed25519: 64 bytes) over what --export-tbs wrote");
  }
  return add(bundle, *reader, *key, attached);
}

Result<void> export_to_be_signed(const Path& bundle, const Path& output, Existing existing) {
  if (auto distinct = check_distinct({{bundle}, {output}}); !distinct) return distinct;
  auto file = base::MappedFile::open(bundle);
  if (!file) return tl::unexpected(file.error());
  auto reader = bundle::BundleReader::open(file->bytes());
  if (!reader) return tl::unexpected(reader.error());
  auto made = base::OutputFile::create(output, {.replace = existing == Existing::kReplace});
  if (!made) return tl::unexpected(made.error());
  auto written = (*made)->write(bundle::dsse_message(reader->statement_bytes()));
  if (written) written = (*made)->commit();
  return written;
}

}  // namespace tensorpatch::toolkit
