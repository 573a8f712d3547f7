# components.sh: updates of several files.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
models
printf 'cat\ndog\n' >labels.txt
head -c 20000 "$TENSORPATCH" >old.bin
(cat old.bin && echo more) >new.bin
ok pack --component model old.tflite new.tflite --component labels - labels.txt \
  --component table old.bin new.bin -o u.tpb --key k --json
json '[c["name"] for c in j["components"]] == ["model", "labels", "table"]'

ok verify u.tpb --pubkey k.pub
ok verify u.tpb --pubkey k.pub --old old.tflite --old - --old old.bin
says 'the whole update decodes'
refuse 4 'wrong old' verify u.tpb --pubkey k.pub --old old.tflite --old - --old new.tflite
refuse 2 'component(s)' verify u.tpb --pubkey k.pub --old old.tflite

# In any order; names decide.
ok apply u.tpb --component table old.bin t --component model old.tflite m \
  --component labels - l --pubkey k.pub
same m new.tflite
same l labels.txt
same t new.bin
refuse 2 'component' apply u.tpb --component model old.tflite n --pubkey k.pub
refuse 2 'labels' apply u.tpb --component model old.tflite n1 --component lables - n2 \
  --component table old.bin n3 --pubkey k.pub
refuse 2 'component' apply old.tflite u.tpb -o n --pubkey k.pub
refuse 2 'given twice' apply u.tpb --component model old.tflite n --component model old.bin o \
  --pubkey k.pub
refuse 2 'two outputs' apply u.tpb --component model old.tflite n --component labels - ./n \
  --component table old.bin o --pubkey k.pub
refuse 4 'wrong old' apply u.tpb --component model old.tflite n1 --component labels - n2 \
  --component table new.tflite n3 --pubkey k.pub

# A stream that stops in the second half of the last file.
size=$(size_of u.tpb)
code=0
head -c $((size - 5)) u.tpb | "$TENSORPATCH" apply - --component table old.bin t2 \
  --component model old.tflite m2 --component labels - l2 --pubkey k.pub --resume state \
  >"$out" 2>"$err" || code=$?
[ $code -eq 6 ] || fail "exit code $code instead of 6"
absent t2 m2 l2
ok apply u.tpb --component table old.bin t2 --component model old.tflite m2 \
  --component labels - l2 --pubkey k.pub --resume state
same m2 new.tflite
same l2 labels.txt
same t2 new.bin
absent state t2.part m2.part l2.part

# All equal: nothing to do. One equal, one not: packed.
ok pack --component a old.bin old.bin --component b labels.txt labels.txt -o none.tpb
says 'nothing to do'
absent none.tpb
ok pack --component a old.bin old.bin --component b old.bin new.bin -o some.tpb --key k
ok apply some.tpb --component a old.bin a --component b old.bin b --pubkey k.pub
same a old.bin
same b new.bin

# Names, and the number of components.
refuse 2 'name' pack --component 'No' old.bin new.bin -o n --key k
refuse 2 'given twice' pack --component a old.bin new.bin --component a - labels.txt -o n --key k
refuse 2 '' pack --component a old.bin new.bin old.tflite new.tflite -o n --key k
refuse 2 '1 to 6' pack --component a - k --component b - k --component c - k --component d - k \
  --component e - k --component f - k --component g - k -o n
cp new.bin 'My Model (v2).BIN'
ok pack old.bin 'My Model (v2).BIN' -o named.tpb --key k --json
json 'j["components"][0]["name"] == "model"'
