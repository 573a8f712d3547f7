// keys/external_signer.cc: signatures made by another program, for keys that never leave an HSM or
// a KMS.
// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/program.h"
#include "keys/keys.h"

namespace tensorpatch::keys {
namespace {

tl::unexpected<Error> signer_failed(std::string message, std::string hint = {}) {
  return fail(TENSORPATCH_E_SIGNER, std::move(message), std::move(hint));
}

}  // namespace

Result<Signature> sign_with_command(const std::string& command, const PublicKey& key,
                                    base::Bytes message, std::chrono::milliseconds patience) {
  Result<std::vector<std::string>> words = base::split_command(command, "the signer command");
  if (!words) return tl::unexpected(words.error());
  base::ProgramRun run;
  run.words = *words;
  run.input = message;
  run.patience = patience;
  auto end = base::run_program(run, TENSORPATCH_E_SIGNER);
  if (end && !end->failure.empty()) {
    end = signer_failed(end->failure + base::as_one_line(end->error_tail));
  }
  if (!end) {
    Error error = end.error();
    error.message = "the signer " + words->front() + " " + error.message;
    return tl::unexpected(std::move(error));
  }
  const Signature signature = make_signature(
      key, {reinterpret_cast<const uint8_t*>(end->output.data()), end->output.size()});
  if (signature.bytes.size() != 64) {
    const bool is_p256 = key.algorithm == TENSORPATCH_ECDSA_P256_SHA256;
    return signer_failed("the signer " + words->front() + " wrote " +
                             std::to_string(signature.bytes.size()) + " bytes; " +
                             (is_p256 ? "an ECDSA P-256 signature is DER or has 64"
                                      : "a raw Ed25519 signature has 64"),
                         "it must write the signature itself, not base64 or hex, and nothing else");
  }
  if (!verify(key, message, signature)) {
    return signer_failed(
        "the signer " + words->front() + " made a signature that does not verify",
        "is the public key that of the signer's key, and was all of the input signed");
  }
  return signature;
}

}  // namespace tensorpatch::keys
