#!/bin/bash
# linux_apply.sh: examples/linux_apply makes new, and leaves nothing behind when it must refuse.
#
# usage: linux_apply.sh VECTORS PROGRAM...    PROGRAM may have an emulator before it.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
vectors=$1
program=("${@:2}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# refuses STATUS OLD BUNDLE
refuses() {
  if "${program[@]}" "$2" "$3" "$work/refused" 2>"$work/message"; then
    echo "took $3"
    exit 1
  fi
  if [ "$(cat "$work/message")" != "linux_apply: $1" ] || compgen -G "$work/refused*"; then
    echo "expected '$1' and no file for $3, not '$(cat "$work/message")'"
    exit 1
  fi
}

cp "$vectors/good-restarts-0.old" "$work/model"
"${program[@]}" "$work/model" "$vectors/good-restarts.tpb" "$work/new"
cmp "$work/new" "$vectors/good-restarts-0.new"
# Over the old file itself, which stays whole until the new one is.
"${program[@]}" "$work/model" "$vectors/good-restarts.tpb" "$work/model"
cmp "$work/model" "$vectors/good-restarts-0.new"
"${program[@]}" "$work/model" "$vectors/good-restarts.tpb" "$work/again" # nothing to do
[ ! -e "$work/again" ]

old=$vectors/good-restarts-0.old
refuses "wrong old file" "$vectors/good-tiny-0.old" "$vectors/good-restarts.tpb"
head -c 300 "$vectors/good-restarts.tpb" >"$work/short"
refuses "bundle ends too early" "$old" "$work/short"
refuses "wrong signature" "$vectors/good-tiny-0.old" "$vectors/signature-wrong.tpb"
refuses "not enough signatures by known keys" "$vectors/good-tiny-0.old" "$vectors/unsigned.tpb"
refuses "input or output error" "$work/missing" "$vectors/good-restarts.tpb"
