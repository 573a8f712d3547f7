# resume.sh: interrupted updates from a stream go on where they stopped.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
models
# A bundle with many restart points: a profile of small intervals, and nothing in common.
python3 -c 'import random
random.seed(1)
open("old.bin", "wb").write(random.randbytes(300000))
open("new.bin", "wb").write(random.randbytes(600000))'
ok pack old.bin new.bin -o u.tpb --key k --profile mcu-64k
size=$(size_of u.tpb)

# stream BEGIN END ARGUMENTS...: feeds these bytes of the bundle to standard input.
stream() {
  begin=$1 end=$2
  shift 2
  code=0
  head -c "$end" u.tpb | tail -c +$((begin + 1)) | "$TENSORPATCH" apply old.bin - -o n "$@" \
    --pubkey k.pub >"$out" 2>"$err" || code=$?
}
# told: the offset that the last call asked for.
told() { sed -n 's/.*from offset \([0-9]*\).*/\1/p' "$err"; }

# Without --resume an early end leaves nothing.
listing >"$work/log/before"
stream 0 $((size / 2))
[ $code -eq 1 ] || fail "exit code $code"
notes 'ends too early'
listing >"$work/log/after"
cmp "$work/log/before" "$work/log/after" || fail 'something was left behind'

# In several pieces.
stream 0 $((size / 3)) --resume state
[ $code -eq 6 ] || fail "exit code $code instead of 6"
absent n
[ -e n.part ] && [ -e state ] || fail 'the partial file or the state is missing'
first=$(told)
[ "$first" -gt 0 ] && [ "$first" -le $((size / 3)) ] || fail "told to go on at $first"
stream "$first" $((size * 2 / 3)) --resume state
[ $code -eq 6 ] || fail "exit code $code instead of 6"
second=$(told)
[ "$second" -gt "$first" ] || fail "no progress: $first, then $second"
# A wrong offset is refused, and does not cost what was reached.
stream $((second + 1)) "$size" --resume state
[ $code -eq 3 ] || fail "exit code $code instead of 3"
absent n
[ -e n.part ] && [ -e state ] || fail 'the partial file or the state is missing'
stream "$second" "$size" --resume state
[ $code -eq 0 ] || fail "exit code $code"
same n new.bin
absent n.part state
rm n

# Of an old file larger than what is hashed in one go.
python3 -c 'import random
random.seed(2)
old = bytearray(random.randbytes(3 << 20))
open("large-old.bin", "wb").write(old)
for at in range(0, len(old), 100000):
    old[at:at + 300] = random.randbytes(300)
open("large-new.bin", "wb").write(old)'
ok pack large-old.bin large-new.bin -o large.tpb --key k --level 1 --jobs 2
code=0
head -c $(($(size_of large.tpb) * 4 / 5)) large.tpb |
  "$TENSORPATCH" apply large-old.bin - -o n --resume state --pubkey k.pub >"$out" 2>"$err" ||
  code=$?
[ $code -eq 6 ] || fail "exit code $code instead of 6"
ok apply large-old.bin large.tpb -o n --resume state --pubkey k.pub
same n large-new.bin
rm n

# From a file: sought by itself.
stream 0 $((size / 2)) --resume state
[ $code -eq 6 ] || fail "exit code $code instead of 6"
ok apply old.bin u.tpb -o n --resume state --pubkey k.pub
same n new.bin
absent n.part state
rm n

# An end before the first checkpoint: from the start.
stream 0 100 --resume state
[ $code -eq 6 ] && [ "$(told)" = 0 ] || fail "exit code $code, told $(told)"
stream 0 "$size" --resume state
[ $code -eq 0 ] || fail "exit code $code"
same n new.bin
absent n.part state
rm n

# The state of one bundle is not taken for another; what was reached stays.
stream 0 $((size / 2)) --resume state
ok pack old.bin new.bin -o v.tpb --key k --profile mcu-64k --sequence 1
refuse 1 'another bundle' apply old.bin v.tpb -o n --resume state --pubkey k.pub
# The wrong old file, a key that is not trusted any more.
refuse 4 'wrong old' apply new.tflite u.tpb -o n --resume state --pubkey k.pub
ok keygen -o other
refuse 3 'not trusted' apply old.bin u.tpb -o n --resume state --pubkey other.pub
# A state that is damaged, or that has lost its partial file.
cp state good
flip state 40
refuse 1 'not the state' apply old.bin u.tpb -o n --resume state --pubkey k.pub
cp good state
mv n.part away
refuse 1 'n.part' apply old.bin u.tpb -o n --resume state --pubkey k.pub
# A partial file that was changed: the digest of what storage holds decides.
mv away n.part
flip n.part 10
run apply old.bin u.tpb -o n --resume state --pubkey k.pub
[ $code -eq 1 ] || fail "exit code $code instead of 1"
absent n n.part state

# A part file of someone else.
echo precious >n.part
refuse 1 'exists already' apply old.bin u.tpb -o n --resume state --pubkey k.pub
rm n.part

# A signal: the same as an early end.
mkfifo pipe
"$TENSORPATCH" apply old.bin - -o n --resume state --pubkey k.pub <pipe >"$out" 2>"$err" &
child=$!
exec 3>pipe
head -c $((size / 2)) u.tpb >&3
sleep 1
kill -INT $child || true
code=0
wait $child || code=$?
exec 3>&-
[ $code -eq 6 ] || fail "exit code $code instead of 6 after a signal"
absent n
stream "$(told)" "$size" --resume state
[ $code -eq 0 ] || fail "exit code $code"
same n new.bin
absent n.part state
