#!/bin/bash
# cortex_m4.sh: builds for a Cortex-M4 and runs that build's tests in QEMU.
#
# usage: cortex_m4.sh PROGRAM SOURCE FOLDER
# What examples/cortex_m applies is a bundle of testdata's models that PROGRAM (tensorpatch) packs
# and signs here; everything made goes to FOLDER.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
program=$1 source=$2 folder=$3
models=$source/testdata/quickstart

mkdir -p "$folder"
"$program" keygen -o "$folder/key" --force
"$program" pubkey "$folder/key" --format c >"$folder/key.inc"
"$program" pack "$models/old.tflite" "$models/new.tflite" -o "$folder/update.tpb" --force \
  --key "$folder/key" --profile mcu-64k

cd "$source"
cmake --preset cortex-m4 -B "$folder/build" -DTENSORPATCH_EXAMPLE_BUNDLE="$folder/update.tpb" \
  -DTENSORPATCH_EXAMPLE_OLD="$models/old.tflite" -DTENSORPATCH_EXAMPLE_KEY="$folder/key.inc"
cmake --build "$folder/build" -j 2
ctest --test-dir "$folder/build" --no-tests=error -V
