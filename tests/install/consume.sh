#!/bin/bash
# tests/install/consume.sh: installs a build and builds and runs a consumer against it.
#
# usage: consume.sh apply|toolkit cmake|pkgconfig BUILD SOURCE
# The prefix is moved before it is used: an installed package must not know where it was made.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
component=$1 via=$2 build=$3 source=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/made" >"$work/install.log" || {
  cat "$work/install.log"
  exit 1
}
mv "$work/made" "$work/prefix"
if leaked=$(grep -rlF -e "$work/made" -e "$source" --include='*.cmake' --include='*.pc' \
  "$work/prefix"); then
  echo "these installed files name the folder that they were made in: $leaked"
  exit 1
fi

export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig:$(echo "$work"/prefix/lib/*/pkgconfig)"
cmake -S "$source/tests/install/$component" -B "$work/build" -G Ninja \
  -DCMAKE_PREFIX_PATH="$work/prefix" -DTENSORPATCH_VIA="$via" -DCMAKE_BUILD_TYPE=Release
cmake --build "$work/build"
mkdir "$work/files"
"$work/build/consumer" "$work/files"

if [ "$component" = apply ] &&
  readelf -d "$work/build/consumer" | grep -F NEEDED | grep -vF 'libc.so'; then
  echo "the device library's consumer needs more than the C library"
  exit 1
fi
