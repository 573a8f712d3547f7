# reference.sh: what the program packs, decoded by reference_decoder.py.
#
# usage: reference.sh PYTHON DECODER, with TENSORPATCH and TESTDATA in the environment
# SPDX-License-Identifier: Apache-2.0
set -eu
: "${TENSORPATCH:?names the program}" "${TESTDATA:?names the folder of test data}"
python=$1 decoder=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
old=$TESTDATA/quickstart/old.tflite new=$TESTDATA/quickstart/new.tflite

for profile in mcu-8k mcu-256k; do
  "$TENSORPATCH" pack "$old" "$new" -o "$work/$profile.tpb" --profile "$profile" >/dev/null 2>&1
  "$python" "$decoder" "$work/$profile.tpb" --old "$old" --new "$new"
done

# Backwards, and as one of two components that may read each other's old.
"$TENSORPATCH" pack --component a "$old" "$new" --component b "$new" "$old" -o "$work/two.tpb" \
  --profile mcu-64k >/dev/null 2>&1
"$python" "$decoder" "$work/two.tpb" --old "$old" "$new" --new "$new" "$old"

# It can fail.
if "$python" "$decoder" "$work/mcu-8k.tpb" --old "$new" --new "$new"; then
  echo "FAILED: the wrong old file was taken" >&2
  exit 1
fi
