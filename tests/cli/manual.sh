# manual.sh: the manual page is well formed, and names every command and option that there is.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
: "${MANUAL:?names the file}"
need mandoc
mandoc -Tlint -Wwarning "$MANUAL" >"$out" 2>"$err" || fail 'mandoc finds fault with the page'
mandoc -Tascii "$MANUAL" | sed "s/.$(printf '\b')//g" >page # without overstriking
for command in keygen pubkey pack sign verify apply inspect bsdiff bspatch; do
  grep -q "tensorpatch $command" page || fail "the manual does not show $command"
  ok $command --help
  for option in $(grep -o '^ *\(-[a-z],\)\?--[a-z-]*' "$out" | sed 's/.*\(--\)/\1/' | sort -u); do
    grep -qF -e "$option" page || fail "the manual does not name $option of $command"
  done
done
