#!/bin/bash
# tests/install/release.sh: makes the release archive twice, unpacks it into an empty root, and uses
# the program there, where no other file is.
#
# usage: release.sh SOURCE BUILD         BUILD is kept, so that the next run is quick
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

export SOURCE_DATE_EPOCH=1700000000
"$source/scripts/release" "$work/one" "$build"
touch "$source/README.md" # times do not matter
umask 077                 # nor does the umask
"$source/scripts/release" "$work/two" "$build" >"$work/log"
umask 022
cmp "$work"/one/*.tar.gz "$work"/two/*.tar.gz || fail "two runs make two archives"
(cd "$work/one" && sha256sum --check --quiet SHA256SUMS)

mkdir "$work/root"
tar -C "$work/root" -xf "$work"/one/*.tar.gz --strip-components=1
for file in README.md CHANGELOG.md LICENSE licenses/libsodium23 share/man/man1/tensorpatch.1 \
  share/bash-completion/completions/tensorpatch; do
  [ -f "$work/root/$file" ] || fail "the archive has no $file"
done
said=$(LC_ALL=C ldd "$work/root/bin/tensorpatch" 2>&1 || true)
grep -q 'not a dynamic executable' <<<"$said" || fail "the program is a dynamic executable: $said"
if grep -aqF -e "$source/" -e "$build/" "$work/root/bin/tensorpatch"; then
  fail "the program names the folder that it was built in"
fi

cp "$source"/testdata/quickstart/{old,new}.tflite "$work/root"
# there ARGUMENTS...: the program with nothing around it, not even /proc or /dev.
there() {
  if [ "$(id -u)" -eq 0 ]; then
    chroot "$work/root" /bin/tensorpatch "$@"
  else
    unshare --map-root-user chroot "$work/root" /bin/tensorpatch "$@"
  fi
}
there keygen -o /k
there pack /old.tflite /new.tflite -o /u.tpb --key /k --profile mcu-64k --jobs 2
there verify /u.tpb --pubkey /k.pub --old /old.tflite
there apply /old.tflite /u.tpb -o /made.tflite --pubkey /k.pub
cmp "$work/root/made.tflite" "$work/root/new.tflite"
there bsdiff /old.tflite /new.tflite /b
there bspatch /old.tflite /classic.tflite /b
cmp "$work/root/classic.tflite" "$work/root/new.tflite"
