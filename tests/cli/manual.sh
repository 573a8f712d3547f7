# manual.sh: every command has a manual page that is well formed and names exactly the options that
# --help names; the overview names every command, and every page that is referred to exists.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
: "${MANUALS:?names the folder}"
need mandoc

# The long options of the last --help, one a line, without those that its examples use.
options_of_help() {
  sed '/^Examples:/,$d' "$out" | grep -o '^ *\(-[a-z],\)\?--[a-z-]*' | sed 's/.*--/--/' | sort -u
}
# The long options that a page has an entry for.
options_of_page() {
  grep '^\.It Fl ' "$1" | grep -o 'Fl -[a-z][a-z-]*' | sed 's/^Fl -/--/' | sort -u
}

ok --help
commands=$(sed -n '/^Subcommands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' "$out")
[ "$(echo "$commands" | wc -l)" -ge 9 ] || fail "--help names too few commands: $commands"
for command in $commands; do
  page=$MANUALS/tensorpatch-$command.1
  [ -f "$page" ] || fail "$command has no manual page"
  grep -q "^\.It Xr tensorpatch-$command 1" "$MANUALS/tensorpatch.1" ||
    fail "the overview does not name $command"
  for section in NAME SYNOPSIS DESCRIPTION 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
    grep -qx "\.Sh $section" "$page" || fail "the page of $command has no section $section"
  done
  ok "$command" --help
  options_of_help >helped
  options_of_page "$page" >described
  [ "$(wc -l <helped)" -ge 2 ] || fail "$command --help shows no options"
  diff helped described >differences ||
    fail "--help (<) and the page (>) of $command differ: $(grep '^[<>]' differences | tr '\n' ' ')"
done

for page in "$MANUALS"/*.1; do
  mandoc -Tlint -Wwarning "$page" >"$out" 2>"$err" || fail "mandoc finds fault with $page"
  command=$(basename "$page" .1)
  command=${command#tensorpatch}
  [ -z "$command" ] || echo "$commands" | grep -qx -e "${command#-}" ||
    fail "$page is about no command"
  for other in $(sed -n 's/^\.\(It \)\?Xr \(tensorpatch[a-z-]*\) 1.*/\2/p' "$page"); do
    [ -f "$MANUALS/$other.1" ] || fail "$page refers to $other, which does not exist"
  done
done
