# bsdiff.sh: classic patches, in both directions against the tools of that name.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
need bsdiff bspatch
models
: >empty
head -c 100000 "$TENSORPATCH" >a
(tail -c 60000 a && head -c 50000 a) >b
for pair in 'old.tflite new.tflite' 'a b' 'b a' 'a a'; do
  set -- $pair
  rm -f ours theirs n1 n2 n3
  ok bsdiff "$1" "$2" ours
  bsdiff "$1" "$2" theirs
  bspatch "$1" n1 ours
  same n1 "$2"
  ok bspatch "$1" n2 theirs
  same n2 "$2"
  ok bspatch "$1" n3 ours
  same n3 "$2"
done
# The other tools cannot map an empty file.
for pair in 'a empty' 'empty a' 'empty empty'; do
  set -- $pair
  rm -f ours n1
  ok bsdiff "$1" "$2" ours
  ok bspatch "$1" n1 ours
  same n1 "$2"
done
refuse 1 '' bspatch old.tflite made old.tflite
head -c 40 theirs >cut # of a to a
refuse 1 '' bspatch a made cut
ok bsdiff old.tflite new.tflite ours --force
