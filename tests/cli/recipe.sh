# recipe.sh: examples/ci: from two model files to a published, verified bundle, by the shell script
# and by the lines of the two CI recipes that call it.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
: "${RECIPES:?names the folder}"
need python3 sha256sum
models
export TENSORPATCH RELEASE_PUBKEY=k.pub SEQUENCE=7
name=$(sha256sum old.tflite | cut -d ' ' -f 1).tpb

# publish ARGUMENTS...: exit code in $code.
publish() {
  code=0
  "$RECIPES/publish.sh" "$@" >"$out" 2>"$err" || code=$?
}
# published FOLDER: the bundle is there, whole and right, and nothing else.
published() {
  [ $code -eq 0 ] || fail "exit code $code"
  [ "$(ls -A "$1" | sort | tr '\n' ' ')" = "$name $name.sha256 " ] || fail "wrong files in $1"
  (cd "$1" && sha256sum --check --quiet "$name.sha256") || fail 'wrong digest file'
  ok apply old.tflite "$1/$name" -o made --pubkey k.pub --min-sequence "$SEQUENCE" --force
  same made new.tflite
}
# refused: fails and leaves everything as it was.
refused() {
  [ $code -ne 0 ] || fail 'should have failed'
  listing >"$work/log/after"
  cmp -s "$work/log/before" "$work/log/after" || fail 'something was changed'
}

RELEASE_KEY=$(cat k) publish old.tflite new.tflite site
published site
[ "$(stat -c %a "site/$name")" = 644 ] || fail 'a web server cannot read the bundle'
export RELEASE_KEY_FILE=k
SEQUENCE=8 publish old.tflite new.tflite site
SEQUENCE=8 published site
PACK_OPTIONS='--profile mcu-64k --device-class 123e4567-e89b-42d3-a456-426614174000' \
  publish old.tflite new.tflite site
[ $code -eq 0 ] || fail "exit code $code"
ok inspect "site/$name" --json
json 'j["device_class"] == "123e4567-e89b-42d3-a456-426614174000" and j["sequence"] == 7'

# Nothing to do is no error.
publish new.tflite new.tflite none
[ $code -eq 0 ] || fail "exit code $code"
[ -z "$(ls -A none)" ] || fail 'something was published'

ok keygen -o other
listing >"$work/log/before"
RELEASE_PUBKEY=other.pub publish old.tflite new.tflite site # not what devices trust
refused
RELEASE_KEY_FILE=missing publish old.tflite new.tflite site
refused
RELEASE_KEY_FILE= publish old.tflite new.tflite site
refused
SEQUENCE= publish old.tflite new.tflite site
refused
publish missing new.tflite site
refused
PACK_OPTIONS=--no-such-option publish old.tflite new.tflite site
refused
publish old.tflite new.tflite
[ $code -eq 2 ] || fail 'wrong usage is not told'

# What the recipes run, in a repository as they want it.
mkdir -p repository/examples/ci repository/models
cp "$RECIPES/publish.sh" repository/examples/ci/
cp old.tflite repository/models/released.tflite
cp new.tflite repository/models/candidate.tflite
cp k.pub repository/release.key.pub
python3 - "$RECIPES" <<'PYTHON' >"$out" 2>"$err" || fail 'the recipes are not as they should be'
import sys, yaml
def lines(text):
    return [line for line in text.splitlines() if line]
github = yaml.safe_load(open(sys.argv[1] + '/github.yml'))
steps = github['jobs']['publish']['steps']
step, = [s for s in steps if 'publish.sh' in s.get('run', '')]
assert set(step['env']) == {'RELEASE_KEY', 'RELEASE_PUBKEY', 'SEQUENCE'}, step['env']
assert step['env']['RELEASE_KEY'] == '${{ secrets.RELEASE_KEY }}'
open('github.sh', 'w').write('set -e\n' + step['run'])
upload, = [s for s in steps if 'upload-pages-artifact' in s.get('uses', '')]
gitlab = yaml.safe_load(open(sys.argv[1] + '/gitlab.yml'))
assert gitlab['pages']['artifacts']['paths'] == [upload['with']['path']] == ['public']
open('gitlab.sh', 'w').write('set -e\n' + '\n'.join(gitlab['pages']['script']) + '\n')
PYTHON
for recipe in github gitlab; do
  grep -q '^examples/ci/publish.sh ' $recipe.sh || fail "$recipe does not call publish.sh"
  code=0
  (cd repository && RELEASE_PUBKEY=release.key.pub CI_PIPELINE_IID=7 RELEASE_KEY_FILE=../k \
    sh ../$recipe.sh) >"$out" 2>"$err" || code=$?
  published repository/public
  rm -r repository/public
done

# From fine-tuning to a device that runs the result.
python3 "$RECIPES/model.py" train base.safetensors
code=0
"$RECIPES/release.sh" base.safetensors tuned >"$out" 2>"$err" || code=$?
[ $code -eq 0 ] || fail "exit code $code"
grep -q '^class [0-5], it was ' "$out" || fail 'the model was not run'
same tuned/device.safetensors tuned/released.safetensors
bundle=tuned/public/$(sha256sum base.safetensors | cut -d ' ' -f 1).tpb
[ $(($(size_of "$bundle") * 2)) -lt "$(size_of tuned/trained.safetensors)" ] || fail 'not small'
ok inspect "$bundle" --json
json 'float(j["metadata"]["snap.grid"]) >= 0.25'
json 'float(j["metadata"]["snap.metric-snapped"]) > float(j["metadata"]["snap.metric-new"]) - .006'
