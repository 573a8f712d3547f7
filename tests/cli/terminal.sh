# terminal.sh: what only a terminal or a signal shows: the progress bar, asking for a password, a
# clean end.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
need minisign
ok keygen -o k
# Random bytes with nothing in common keep the encoder busy; more of them until it takes a while.
python3 -c 'import random
random.seed(4)
open("old.bin", "wb").write(random.randbytes(1 << 20))
open("new.bin", "wb").write(random.randbytes(24 << 20))'

cat >on-terminal.py <<'END'
# usage: on-terminal.py INPUT COMMAND...: runs a command on a terminal, types INPUT when it is asked
# something, stops it by SIGINT once a progress bar is seen. Prints what the terminal got.
import os, pty, signal, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen = b''
asked = stopped = False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    seen += piece
    if b'password' in seen and not asked:
        asked = True
        os.write(terminal, sys.argv[1].encode() + b'\n')
    if b'] ' in seen and not stopped:
        stopped = True
        os.kill(child, signal.SIGINT)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.stdout.buffer.write(seen)
sys.exit(status)
END

# A bar, and nothing left behind by a signal.
listing >"$work/log/before"
code=0
python3 on-terminal.py '' "$TENSORPATCH" pack old.bin new.bin -o u.tpb --key k --jobs 1 \
  >"$out" 2>"$err" || code=$?
says 'encoding ['
says 'stopped before the end'
[ $code -eq 1 ] || fail "exit code $code instead of 1"
listing >"$work/log/after"
cmp "$work/log/before" "$work/log/after" || fail 'something was left behind'

# A password is asked for, and not shown.
head -c 1000 new.bin >small.bin
printf 'secret word\nsecret word\n' | minisign -G -p mini.pub -s mini >/dev/null 2>&1
ok pack old.bin small.bin -o s.tpb
code=0
python3 on-terminal.py 'secret word' "$TENSORPATCH" sign s.tpb --key mini \
  >"$out" 2>"$err" || code=$?
[ $code -eq 0 ] || fail "exit code $code"
says 'password of the key: '
grep -q 'secret' "$out" && fail 'the password was shown'
ok verify s.tpb --pubkey mini.pub
# Without a terminal it cannot be asked for.
code=0
setsid -w "$TENSORPATCH" sign s.tpb --key mini >"$out" 2>"$err" </dev/null || code=$?
[ $code -eq 1 ] || fail "exit code $code instead of 1"
notes 'TENSORPATCH_PASSWORD'
