# lib.sh: what the scripts of this folder share: a folder of their own, and words for expectations.
#
# ctest calls `sh TOPIC.sh` with TENSORPATCH (the program) and TESTDATA in the environment. A script
# stops at the first expectation that does not hold. There are no skips: what is missing fails.
# SPDX-License-Identifier: Apache-2.0
set -eu
: "${TENSORPATCH:?names the program}" "${TESTDATA:?names the folder of test data}"
unset TENSORPATCH_PASSWORD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/files" "$work/log"
cd "$work/files"
out=$work/log/out
err=$work/log/err

fail() {
  echo "FAILED: $*" >&2
  echo "--- standard output:" >&2
  cat "$out" >&2
  echo "--- standard error:" >&2
  cat "$err" >&2
  exit 1
}

# need PROGRAM...: these must be installed (.ci/packages.txt).
need() {
  for program in "$@"; do
    command -v "$program" >/dev/null || {
      echo "FAILED: the test needs $program, see .ci/packages.txt" >&2
      exit 1
    }
  done
}

# run ARGUMENTS...: calls the program; its exit code in $code.
run() {
  code=0
  "$TENSORPATCH" "$@" >"$out" 2>"$err" || code=$?
}

# ok ARGUMENTS...: must succeed.
ok() {
  run "$@"
  [ $code -eq 0 ] || fail "exit code $code: tensorpatch $*"
}

# refuse CODE 'WORDS' ARGUMENTS...: must fail with this exit code and an error that holds WORDS, and
# leave the folder exactly as it was.
refuse() {
  expected=$1 words=$2
  shift 2
  listing >"$work/log/before"
  run "$@"
  [ $code -eq "$expected" ] || fail "exit code $code instead of $expected: tensorpatch $*"
  grep -q '^tensorpatch: error: ' "$err" || fail "no error message: tensorpatch $*"
  grep -qF -e "$words" "$err" || fail "the error does not say '$words': tensorpatch $*"
  listing >"$work/log/after"
  cmp -s "$work/log/before" "$work/log/after" || {
    diff "$work/log/before" "$work/log/after" >&2 || true
    fail "the folder was changed by: tensorpatch $*"
  }
}

# Every file with its digest, hidden ones too.
listing() { find . -type f -exec sha256sum {} + | sort; }

# says WORDS: the last call printed them to standard output.
says() { grep -qF -e "$1" "$out" || fail "standard output does not say '$1'"; }
# notes WORDS: the same for standard error.
notes() { grep -qF -e "$1" "$err" || fail "standard error does not say '$1'"; }
# quiet: the last call printed nothing to standard error.
quiet() { [ ! -s "$err" ] || fail "standard error is not empty"; }
same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }
absent() { for file in "$@"; do [ ! -e "$file" ] || fail "$file exists"; done; }
# json EXPRESSION: holds for the last output as `j`, in Python.
json() {
  python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
assert eval(sys.argv[2]), json.dumps(j, indent=1)' "$out" "$1" || fail "not so: $1"
}

# models: old.tflite, new.tflite and a key pair k, k.pub.
models() {
  cp "$TESTDATA/quickstart/old.tflite" "$TESTDATA/quickstart/new.tflite" .
  ok keygen -o k
}
# flip FILE OFFSET: changes the lowest bit of one byte.
flip() {
  python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); b = f.read(1)[0]
    f.seek(int(sys.argv[2])); f.write(bytes([b ^ 1]))' "$1" "$2"
}
size_of() { stat -c %s "$1"; }
