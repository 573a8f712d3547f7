#!/bin/bash
# boards.sh: the example and the vectors on Cortex-M0, M7 and M33, and with Mbed TLS, in QEMU.
#
# usage: boards.sh PROGRAM SOURCE FOLDER
# A micro:bit has 16 KiB of RAM and real flash: there only the example runs, with small models and
# the profile mcu-8k; code for its core runs the vectors on a larger board. What the example applies
# is packed and signed here by PROGRAM (tensorpatch); everything made goes to FOLDER.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
program=$1 source=$2 folder=$3

mkdir -p "$folder"
cd "$folder"
for name in old new; do
  head -c 20000 "$source/testdata/quickstart/$name.tflite" | tail -c 12000 >"$name.bin"
done
echo '{"name": "small-flash", "like": "mcu-8k", "restart_interval": 4096}' >profile.json
pack() { "$program" pack old.bin new.bin -o "$1" --force --profile profile.json "${@:2}"; }

"$program" keygen -o key --force
"$program" pubkey key --format c >key.inc
pack ed25519.tpb --key key

# A key that a secure element might have.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256
openssl pkey -in p256 -pubout -out p256.pub
"$program" pubkey p256.pub --format c >p256.inc
pack p256.tpb
"$program" sign p256.tpb --pubkey p256.pub \
  --signer-cmd "openssl pkeyutl -sign -inkey '$folder/p256' -rawin -in /dev/stdin"
"$program" verify p256.tpb --pubkey p256.pub --old old.bin

# board NAME CPU MACHINE SIGNED [OPTION...]: builds and tests in a folder of its own. The first one
# fetches libsodium's source for all. `targets` and `tests` say what is built and run.
board() {
  local build=$folder/$1 cpu=$2 machine=$3 signed=$4
  (cd "$source" && cmake --preset cortex-m4 -B "$build" -DTENSORPATCH_CPU="$cpu" \
    -DTENSORPATCH_QEMU_BOARD="$machine" -DTENSORPATCH_EXAMPLE_OLD="$folder/old.bin" \
    -DTENSORPATCH_EXAMPLE_BUNDLE="$folder/$signed.tpb" "${@:5}")
  cmake --build "$build" -j 2 --target "${targets[@]}"
  ctest --test-dir "$build" -R "$tests" --no-tests=error --output-on-failure
}
ed25519=(ed25519 -DTENSORPATCH_EXAMPLE_KEY="$folder/key.inc")
fetched=-DTENSORPATCH_LIBSODIUM_SOURCE=$folder/m0/examples/portable_libsodium/source
targets=(cortex_m_apply) tests='^examples'
board m0 cortex-m0 microbit "${ed25519[@]}"
board psa cortex-m4 mps2-an386 p256 -DTENSORPATCH_EXAMPLE_KEY="$folder/p256.inc" \
  -DTENSORPATCH_EXAMPLE_CRYPTO=psa
targets=(cortex_m_apply device_vectors) tests='^(examples|device)'
board m0-vectors cortex-m0 mps2-an385 "${ed25519[@]}" "$fetched"
board m7 cortex-m7 mps2-an500 "${ed25519[@]}" "$fetched"
board m33 cortex-m33 mps2-an505 "${ed25519[@]}" "$fetched"
