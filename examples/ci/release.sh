#!/bin/sh
# release.sh: from a released model to a small update in the field: fine-tune, snap under an
# evaluation, pack, sign, verify, apply, run. model.py stands for a team's own code.
#
# usage: release.sh OLD FOLDER
#   OLD       the model that devices have, a file of an earlier release (model.py train makes one)
#   FOLDER    where everything appears: trained.safetensors, which training goes on from,
#             released.safetensors, the OLD of the next release, the report of snap as JSON and as a
#             page, and public/, which a web server serves
# The environment is that of publish.sh: RELEASE_KEY or RELEASE_KEY_FILE, RELEASE_PUBKEY, SEQUENCE.
# SPDX-License-Identifier: Apache-2.0
set -eu
[ $# -eq 2 ] || {
  echo "usage: release.sh OLD FOLDER" >&2
  exit 2
}
old=$1 folder=$2
here=$(dirname "$0")
tensorpatch=${TENSORPATCH:-tensorpatch}
model="python3 $here/model.py"
mkdir -p "$folder"

# Fine-tune.
$model tune "$old" "$folder/trained.safetensors"

# Snap: at most half a point lost on the new data, and on the old data. A search that was stopped
# goes on.
"$tensorpatch" snap "$old" "$folder/trained.safetensors" -o "$folder/released.safetensors" --force \
  --eval "$model judge {model} new" --regression "$model judge {model} old" \
  --metric-regex 'accuracy: ([0-9.]+)' --max-drop 0.005 --cache "$folder/evaluations" \
  --report "$folder/snap.json" --report "$folder/snap.html"

# Pack, sign, verify, apply and compare; then it is public.
PACK_OPTIONS="--snap-report $folder/snap.json ${PACK_OPTIONS:-}" \
  "$here/publish.sh" "$old" "$folder/released.safetensors" "$folder/public"

# What a device does: it finds the update of the file that it has, applies it, and runs the result.
name=$(sha256sum "$old" | cut -d ' ' -f 1).tpb
"$tensorpatch" apply "$old" "$folder/public/$name" -o "$folder/device.safetensors" --force \
  --pubkey "${RELEASE_PUBKEY:-release.key.pub}" --min-sequence "$SEQUENCE"
$model run "$folder/device.safetensors"
