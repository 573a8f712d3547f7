# refusals.sh: what must not succeed: exit code, message, nothing left behind.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
models
ok keygen -o other
ok pack old.tflite new.tflite -o u.tpb --key k
ok pack old.tflite new.tflite -o unsigned.tpb
says 'not signed'

# Trust: 3.
refuse 3 'not trusted' apply old.tflite unsigned.tpb -o n --pubkey k.pub
refuse 3 'not trusted' verify unsigned.tpb --pubkey k.pub
refuse 3 'not trusted' apply old.tflite u.tpb -o n --pubkey other.pub
refuse 3 'not trusted' verify u.tpb --pubkey other.pub
refuse 3 'not trusted' verify u.tpb --pubkey k.pub --pubkey other.pub --threshold 2
ok pack old.tflite new.tflite -o tagged.tpb --key k --sequence 7 --security-version 3 \
  --device-class 123e4567-e89b-42d3-a456-426614174000
refuse 3 'device class' apply old.tflite tagged.tpb -o n --pubkey k.pub
refuse 3 'device class' verify tagged.tpb --pubkey k.pub \
  --device-class 00000000-0000-4000-8000-000000000001
class='--device-class 123E4567-E89B-42D3-A456-426614174000'
ok verify tagged.tpb --pubkey k.pub $class --min-sequence 7 --min-security-version 3
refuse 3 'sequence' verify tagged.tpb --pubkey k.pub $class --min-sequence 8
refuse 3 'security version' verify tagged.tpb --pubkey k.pub $class --min-security-version 4
refuse 3 'security version' apply old.tflite tagged.tpb -o n --pubkey k.pub $class \
  --min-security-version 4

# The wrong old file: 4, before anything is written.
cp old.tflite wrong.tflite
flip wrong.tflite 5000
refuse 4 'wrong old file' apply wrong.tflite u.tpb -o n --pubkey k.pub
refuse 4 'wrong old file' verify u.tpb --pubkey k.pub --old wrong.tflite
head -c 1000 old.tflite >short.tflite
refuse 4 'wrong old file' apply short.tflite u.tpb -o n --pubkey k.pub
refuse 4 'wrong old file' apply - u.tpb -o n --pubkey k.pub

# Does not fit: 5.
refuse 5 'workspace' apply old.tflite u.tpb -o n --pubkey k.pub --memory 8K
refuse 5 'workspace' verify u.tpb --pubkey k.pub --memory 8K
refuse 5 '' pack old.tflite new.tflite -o n --key k --memory 1K

# Damage anywhere: every region of the bundle, shortened and lengthened.
size=$(size_of u.tpb)
for offset in 0 5 6 9 12 20 60 110 150 170 200 220 300 380 600 $((size / 2)) $((size - 1)); do
  cp u.tpb flipped.tpb
  flip flipped.tpb $offset
  run apply old.tflite flipped.tpb -o n --pubkey k.pub
  [ $code -eq 1 ] || [ $code -eq 3 ] || fail "a flip at $offset: exit code $code"
  absent n
  run verify flipped.tpb --pubkey k.pub
  [ $code -eq 1 ] || [ $code -eq 3 ] || fail "verify of a flip at $offset: exit code $code"
done
rm flipped.tpb
for cut in 0 9 10 60 143 144 200 300 500 $((size - 1)); do
  head -c "$cut" u.tpb >cut.tpb
  refuse 1 '' apply old.tflite cut.tpb -o n --pubkey k.pub
  refuse 1 '' verify cut.tpb --pubkey k.pub
done
(cat u.tpb && printf x) >longer.tpb
refuse 1 'after the end' apply old.tflite longer.tpb -o n --pubkey k.pub
refuse 1 '' verify longer.tpb --pubkey k.pub
refuse 1 '' inspect old.tflite

# An input that is also the output, whatever its name.
mkdir x
ln -s old.tflite link.tflite
ln -s . here
for name in old.tflite ./x/../old.tflite link.tflite here/old.tflite "$PWD/old.tflite"; do
  refuse 2 'read and written' pack old.tflite new.tflite -o "$name" --key k --force
  refuse 2 'read and written' apply old.tflite u.tpb -o "$name" --pubkey k.pub --force
  refuse 2 'read and written' bsdiff old.tflite new.tflite "$name" --force
done
refuse 2 'read and written' apply old.tflite u.tpb -o x/../u.tpb --pubkey k.pub --force
refuse 2 'read and written' sign u.tpb --export-tbs ./u.tpb --force
refuse 2 'two outputs' pack old.tflite new.tflite -o n.tpb --details x/../n.tpb --key k

# No overwriting without --force.
echo precious >kept
refuse 1 'exists already' keygen -o k
refuse 1 'exists already' pack old.tflite new.tflite -o kept --key k
refuse 1 'exists already' pack old.tflite new.tflite -o fresh.tpb --details kept --key k
refuse 1 'exists already' apply old.tflite u.tpb -o kept --pubkey k.pub
refuse 1 'exists already' sign u.tpb --export-tbs kept
refuse 1 'exists already' bsdiff old.tflite new.tflite kept
ok apply old.tflite u.tpb -o kept --pubkey k.pub --force
same kept new.tflite
cp k.pub taken.pub
refuse 1 'exists already' keygen -o taken # its second file is in the way

# Usage: 2.
refuse 2 "'frobnicate' is not a command" frobnicate
refuse 2 '' pack old.tflite -o n --key k
refuse 2 '' pack old.tflite new.tflite --key k
refuse 2 'profile' pack old.tflite new.tflite -o n --key k --profile gigantic
refuse 2 'not a size' pack old.tflite new.tflite -o n --key k --memory 12Q
refuse 2 '' pack old.tflite new.tflite -o n --key k --device-class nonsense
refuse 2 'key=value' pack old.tflite new.tflite -o n --key k --meta nonsense
refuse 2 'component' pack old.tflite new.tflite -o n --key k --name 'Upper Case'
refuse 2 '' verify u.tpb
refuse 2 '' sign u.tpb
refuse 2 '' sign u.tpb --attach kept
refuse 2 '' apply old.tflite u.tpb --pubkey k.pub
refuse 2 '' verify u.tpb --pubkey k.pub --old old.tflite --old old.tflite

# Files that do not exist or cannot be made.
refuse 1 'missing' pack missing new.tflite -o n --key k
refuse 1 'missing' apply missing u.tpb -o n --pubkey k.pub
refuse 1 'missing' apply old.tflite missing -o n --pubkey k.pub
refuse 1 'missing' pack old.tflite new.tflite -o n --key missing
refuse 1 'missing' pack old.tflite new.tflite -o missing/n --key k
refuse 1 '' pack old.tflite new.tflite -o n --key old.tflite
