# readme.sh: every example of README.md that is marked as `sh`, run as it is written, in order, in
# one folder.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
: "${README:?names the file}"
mkdir bin
ln -s "$TENSORPATCH" bin/tensorpatch
PATH=$PWD/bin:$PATH
cp "$TESTDATA/quickstart/old.tflite" "$TESTDATA/quickstart/new.tflite" .
printf 'yes\nno\n' >labels.txt
printf '\377\377\377\377' >fill.bin
: >"$out"
awk '/^```sh$/ { block = ""; inside = 1; next }
     /^```$/ { if (inside && block ~ /tensorpatch [a-z]/) printf "%s", block; inside = 0 }
     inside { block = block $0 "\n" }' "$README" >examples.sh
count=$(grep -c '^tensorpatch ' examples.sh) || fail 'README.md has no example'
[ "$count" -ge 8 ] || fail "README.md has only $count examples"
sh -eu examples.sh >"$out" 2>"$err" || fail 'an example of README.md does not work'
same rebuilt.tflite new.tflite
