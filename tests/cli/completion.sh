# completion.sh: what a user of bash, zsh and fish gets when pressing the tab key.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
need bash zsh fish python3
mkdir bin zsh fish
ln -s "$TENSORPATCH" bin/tensorpatch
PATH=$PWD/bin:$PATH
export HOME="$work/home" XDG_CONFIG_HOME="$work/home" XDG_DATA_HOME="$work/home" TERM=dumb
mkdir "$HOME"
for shell in bash zsh fish; do
  ok completion $shell
  quiet
  case $shell in
    bash) cp "$out" tensorpatch.bash ;;
    zsh) cp "$out" zsh/_tensorpatch ;;
    fish) cp "$out" fish/tensorpatch.fish ;;
  esac
done
refuse 2 'none of bash, zsh and fish' completion tcsh
bash -n tensorpatch.bash || fail 'bash cannot read its script'
zsh -n zsh/_tensorpatch || fail 'zsh cannot read its script'
fish -n fish/tensorpatch.fish || fail 'fish cannot read its script'
mkdir here
cd here
touch old.tflite new.tflite release.key 'my model.onnx'

# What each shell proposes for a command line that ends at the cursor, one word a line.
with_bash() {
  bash --norc -c '. ../tensorpatch.bash
    IFS=" " read -r -a COMP_WORDS <<<"$1"
    case $1 in
      *" ") COMP_WORDS+=("") ;;
      *=) COMP_WORDS[-1]=${COMP_WORDS[-1]%=} COMP_WORDS+=(=) ;;
    esac
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _tensorpatch
    printf "%s\n" "${COMPREPLY[@]}"' bash "$1" 2>"$err"
}
with_fish() {
  fish --no-config -c 'source ../fish/tensorpatch.fish; complete -C $argv[1]' "$1" 2>"$err" |
    cut -f 1 | sed 's/\\//g'
}
# zsh completes only at a terminal; every match that it finds also goes to a file.
with_zsh() {
  python3 - "$1" <<'PYTHON' 2>"$err"
import os, pty, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp('zsh', ['zsh', '-f', '-i'])

def send(line, awaited):
    """Types the line, and waits until zsh has made the file."""
    os.write(terminal, line.encode())
    end = time.time() + 20
    while not os.path.exists(awaited):
        if time.time() > end:
            sys.exit('zsh did not answer to ' + repr(line))
        if select.select([terminal], [], [], 0.01)[0]:
            os.read(terminal, 65536)

for name in ('../ready', '../done'):
    if os.path.exists(name):
        os.unlink(name)
send("fpath=(../zsh $fpath); autoload -U compinit; compinit -u -D; setopt no_beep\n"
     "compadd() { local -a found; builtin compadd -O found \"$@\"; "
     "print -rl -- $found >>../matches; builtin compadd \"$@\" }\n"
     "finish() { : >../done }; zle -N finish; bindkey '^T' finish\n"
     ": >../matches; : >../ready\n", '../ready')
send(sys.argv[1] + '\t\x14', '../done')
os.close(terminal)
print(open('../matches').read().replace('\\', ''))
PYTHON
}

# completes 'LINE' WORD...: all of the words are proposed, by every shell.
completes() {
  line=$1
  shift
  for shell in bash zsh fish; do
    with_$shell "$line" >"$out"
    for word in "$@"; do
      grep -qxF -e "$word" "$out" || fail "$shell does not propose '$word' for '$line'"
    done
  done
}
# never 'LINE' WORD...: none of them is.
never() {
  line=$1
  shift
  for shell in bash zsh fish; do
    with_$shell "$line" >"$out"
    for word in "$@"; do
      if grep -qxF -e "$word" "$out"; then fail "$shell proposes '$word' for '$line'"; fi
    done
  done
}

completes 'tensorpatch ' keygen pubkey pack sign verify apply inspect bsdiff bspatch completion
completes 'tensorpatch pa' pack
never 'tensorpatch pa' pubkey old.tflite
completes 'tensorpatch pack --' --output --old-offset --old-size --key --profile --help
never 'tensorpatch pack --' --resume
completes 'tensorpatch sign u.tpb --' --key --signer-cmd --attach
completes 'tensorpatch pack --profile mcu-' mcu-256k mcu-64k mcu-16k mcu-8k
never 'tensorpatch pack --profile mcu-' linux
completes 'tensorpatch diff --profile li' linux
completes 'tensorpatch pubkey release.key --format ' pem minisign signify hex c
never 'tensorpatch pubkey release.key --format ' old.tflite
completes 'tensorpatch pack ol' old.tflite
completes 'tensorpatch pack my' 'my model.onnx'
completes 'tensorpatch pack --key rel' release.key
never 'tensorpatch pack --memory ' old.tflite --key
completes 'tensorpatch completion ' bash zsh fish
never 'tensorpatch completion ' old.tflite
with_bash 'tensorpatch pack --profile=' >"$out"
says linux

# Every option that --help names is proposed, by bash as one for all three.
cd ..
for command in pack verify apply inspect; do
  ok $command --help
  sed '/^Examples:/,$d' "$out" | grep -o '^ *\(-[a-z],\)\?--[a-z-]*' | sed 's/.*--/--/' >options
  cd here
  completes "tensorpatch $command --" $(cat ../options)
  cd ..
done
