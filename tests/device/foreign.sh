#!/bin/bash
# foreign.sh: builds for Linux on another machine, runs that build's tests in qemu-user, and applies
# there what PROGRAM (tensorpatch) packs here, for small and for large decoders.
#
# usage: foreign.sh MACHINE PROGRAM SOURCE FOLDER
# MACHINE: see cmake/toolchains/foreign-linux.cmake; everything made goes to FOLDER.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
machine=$1 program=$2 source=$3 folder=$4
models=$source/testdata/quickstart

mkdir -p "$folder"
"$program" keygen -o "$folder/key" --force
"$program" pubkey "$folder/key" --format c >"$folder/key.inc"

cd "$source"
settings=(-B "$folder/build" -DTENSORPATCH_MACHINE="$machine")
cmake --preset foreign "${settings[@]}" -UTENSORPATCH_EXAMPLE_KEY # a run before may have set it
cmake --build "$folder/build" -j 2
ctest --test-dir "$folder/build" --no-tests=error -V

# The tests need the key of the vectors, these bundles their own.
cmake --preset foreign "${settings[@]}" -DTENSORPATCH_EXAMPLE_KEY="$folder/key.inc" >/dev/null
cmake --build "$folder/build" --target linux_apply
for profile in mcu-8k mcu-64k mcu-256k; do
  bundle=$folder/$profile.tpb
  rm -f "$folder/new"
  "$program" pack "$models/old.tflite" "$models/new.tflite" -o "$bundle" --force \
    --key "$folder/key" --profile $profile
  "qemu-$machine-static" "$folder/build/bin/linux_apply" "$models/old.tflite" "$bundle" \
    "$folder/new"
  cmp "$folder/new" "$models/new.tflite"
done
