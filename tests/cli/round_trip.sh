# round_trip.sh: from keys to the new file, and what each command prints on the way.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
models

ok pack old.tflite new.tflite -o u.tpb --key k
says 'u.tpb: '
says 'on air, estimated: lorawan-sf12 '
says 'signed by '
quiet # no progress bar in a pipe
[ "$(size_of u.tpb)" -lt "$(size_of new.tflite)" ] || fail 'the bundle is not smaller than new'

ok verify u.tpb --pubkey k.pub
says 'u.tpb: ok'
says 'old files not checked'
ok verify u.tpb --pubkey k.pub --old old.tflite
says 'the whole update decodes'
ok verify u.tpb --pubkey k.pub --old new.tflite
says 'nothing to do'

ok apply old.tflite u.tpb -o made.tflite --pubkey k.pub
says 'digest right'
same made.tflite new.tflite
"$TENSORPATCH" apply old.tflite - -o piped.tflite --pubkey k.pub <u.tpb >"$out" 2>"$err"
same piped.tflite new.tflite

# Old is new already: new is made as a copy of it.
ok apply new.tflite u.tpb -o copy.tflite --pubkey k.pub
says 'nothing to do'
same copy.tflite new.tflite

# The same inputs and options give the same bytes, whatever the number of threads.
ok pack old.tflite new.tflite -o one.tpb --key k --jobs 1
ok pack old.tflite new.tflite -o three.tpb --key k --jobs 3
same one.tpb u.tpb
same three.tpb u.tpb

# Nothing to do: no file.
ok pack old.tflite old.tflite -o none.tpb --key k
says 'nothing to do'
absent none.tpb

# The other direction, and files that are no models.
ok pack new.tflite old.tflite -o back.tpb --key k
ok apply new.tflite back.tpb -o back.tflite --pubkey k.pub
same back.tflite old.tflite
: >empty
printf x >one-byte
head -c 70000 "$TENSORPATCH" >unrelated
for pair in 'empty one-byte' 'one-byte empty' 'old.tflite unrelated' 'unrelated empty'; do
  set -- $pair
  ok pack "$1" "$2" -o "$1-$2.tpb" --key k
  ok apply "$1" "$1-$2.tpb" -o "$1-$2.made" --pubkey k.pub
  same "$1-$2.made" "$2"
done

# A whole file, both ways to say it.
ok pack --full new.tflite -o full.tpb --key k
ok verify full.tpb --pubkey k.pub
says 'the whole update decodes'
ok apply - full.tpb -o full.tflite --pubkey k.pub
same full.tflite new.tflite
ok pack - new.tflite -o full2.tpb --key k
same full2.tpb full.tpb

# Every profile.
for profile in linux mcu-256k mcu-64k mcu-16k mcu-8k; do
  ok pack old.tflite new.tflite -o $profile.tpb --key k --profile $profile
  ok apply old.tflite $profile.tpb -o $profile.tflite --pubkey k.pub
  same $profile.tflite new.tflite
done
ok pack old.tflite new.tflite -o small.tpb --key k --profile mcu-64k --memory 48K
ok apply old.tflite small.tpb -o small.tflite --pubkey k.pub --memory 48K
same small.tflite new.tflite

# Damaged containers are packed as raw bytes, with a warning.
cp new.tflite damaged.tflite
printf '\377\377\377\177' | dd of=damaged.tflite conv=notrunc 2>/dev/null
ok pack old.tflite damaged.tflite -o damaged.tpb --key k
notes 'tensorpatch: warning: '
ok apply old.tflite damaged.tpb -o damaged.made --pubkey k.pub
same damaged.made damaged.tflite

find . -name '.*' -type f | grep . && fail 'a hidden file was left behind'
find . -name '*.tmp' | grep . && fail 'a temporary file was left behind'
exit 0
