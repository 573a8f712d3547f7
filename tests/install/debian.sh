#!/bin/bash
# tests/install/debian.sh: makes the Debian packages of a build, installs them in a root of their
# own, uses what is there, removes them, and looks for what they left behind.
#
# usage: debian.sh BUILD SOURCE
# Needs no root: dpkg works on a folder. The libraries of Depends are the machine's.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=1700000000
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

cpack --config "$build/CPackConfig.cmake" -G DEB -B "$work/made" >"$work/cpack.log" 2>&1 || {
  cat "$work/cpack.log"
  exit 1
}
program=$(echo "$work"/made/tensorpatch_*.deb)
development=$(echo "$work"/made/libtensorpatch-dev_*.deb)
# As root, lintian says that it should not be.
lintian --fail-on error --no-tag-display-limit "$program" "$development" 2>"$work/lintian.log" ||
  fail "lintian finds errors"

# The machine's packages are what Depends asks for, and none is asked for that is not linked.
depends=$(dpkg-deb -f "$program" Depends | tr ',' '\n' | sed 's/^ *\([^ ]*\).*/\1/' | sort)
linked=$(ldd "$build/bin/tensorpatch" | sed -n 's/.*=> \/.*\(\/[^/ ]*\) .*/*\1/p' |
  xargs dpkg -S | sed 's/:.*//' | sort -u)
[ -n "$depends" ] || fail "the package depends on nothing"
for package in $depends; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" | grep -qx installed ||
    fail "$package, which is depended on, does not exist"
  grep -qx "$package" <<<"$linked" || fail "$package is depended on and not linked"
done

root=$work/root
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/kept"
: >"$root/var/lib/dpkg/status"
dpkg_there() {
  dpkg --root="$root" --force-not-root --force-depends --force-script-chrootless \
    --log="$work/dpkg.log" "$@" >>"$work/dpkg.out" 2>&1 || {
    cat "$work/dpkg.out"
    fail "dpkg $*"
  }
}
listing() { (cd "$root" && find . -path ./var/lib/dpkg -prune -o -print | sort); }
listing >"$work/before"
dpkg_there -i "$program" "$development"
(cd "$root" && cat var/lib/dpkg/info/*.md5sums | md5sum --check --quiet) || fail "md5sums are wrong"

# What is there works.
bin=$root/usr/bin/tensorpatch
mkdir "$work/files"
cd "$work/files"
"$bin" keygen -o k >log
"$bin" pack "$source/testdata/quickstart/old.tflite" "$source/testdata/quickstart/new.tflite" \
  -o u.tpb --key k >>log
"$bin" verify u.tpb --pubkey k.pub --old "$source/testdata/quickstart/old.tflite" >>log
"$bin" apply "$source/testdata/quickstart/old.tflite" u.tpb -o n --pubkey k.pub >>log
cmp n "$source/testdata/quickstart/new.tflite"
for page in "$source"/docs/man/*.1; do
  installed=$root/usr/share/man/man1/$(basename "$page").gz
  zcat "$installed" | cmp - "$page" || fail "$installed is not the manual page"
done
(. "$root/usr/share/bash-completion/completions/tensorpatch" && complete -p tensorpatch >/dev/null)
zsh -n "$root/usr/share/zsh/vendor-completions/_tensorpatch"
fish -n "$root/usr/share/fish/vendor_completions.d/tensorpatch.fish"
zcat "$root/usr/share/doc/tensorpatch/changelog.Debian.gz" | grep -qF 'Nov 2023' ||
  fail "the changelog is not of SOURCE_DATE_EPOCH"

# A firmware builds against it.
cat >c.c <<'CODE'
#include <tensorpatch/apply.h>
#include <tensorpatch/ports/flash.h>
#include <tensorpatch/slots.h>
int main(void) {
  tensorpatch_flash_log log = {0};
  return tensorpatch_status_text(TENSORPATCH_E_OLD) == 0 || tensorpatch_flash_log_open(&log) == 0 ||
         tensorpatch_slots_open(0, 0) != TENSORPATCH_SLOTS_E_ARGUMENT;
}
CODE
export PKG_CONFIG_PATH="$root/usr/lib/pkgconfig"
cc c.c $(pkg-config --cflags --libs tensorpatch-ports tensorpatch-slots) -o c
./c

dpkg_there -P tensorpatch libtensorpatch-dev
listing >"$work/after"
diff "$work/before" "$work/after" || fail "the packages left something behind"
