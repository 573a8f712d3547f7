#!/bin/sh
# examples/hsm-sign.sh: signs with an Ed25519 key in an HSM, for `tensorpatch sign --signer-cmd`.
#
# Bytes to sign on standard input, the raw 64-byte signature on standard output; everything else
# that pkcs11-tool (package opensc) says goes to standard error. Set:
#   HSM_MODULE   the HSM's PKCS#11 library, such as /usr/lib/softhsm/libsofthsm2.so
#   HSM_TOKEN    label of the token
#   HSM_KEY_ID   id of the key, in hex
#   HSM_PIN      the user PIN; unset: pkcs11-tool asks for it on the terminal
#
# tensorpatch sign U.tpb --signer-cmd examples/hsm-sign.sh --pubkey release.pub
#
# The message goes through a file because pkcs11-tool takes what one read of its input gives.
# SPDX-License-Identifier: Apache-2.0
set -eu
: "${HSM_MODULE:?}" "${HSM_TOKEN:?}" "${HSM_KEY_ID:?}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

cat >"$work/message"
if [ -n "${HSM_PIN:-}" ]; then
  export HSM_PIN
  set -- --pin env:HSM_PIN
fi
pkcs11-tool --module "$HSM_MODULE" --token-label "$HSM_TOKEN" --login "$@" \
  --sign --mechanism EDDSA --id "$HSM_KEY_ID" \
  --input-file "$work/message" --output-file "$work/signature" >&2
cat "$work/signature"
