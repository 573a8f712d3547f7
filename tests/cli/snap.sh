# snap.sh: `tensorpatch snap`: sizes, what stays, searches with an evaluation, its cache, the marks
# in a bundle, the page in a browser.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
need python3 chromium

# make.py FILE CHANGE: fp32 tensors; CHANGE is how far their values are from the old ones'.
cat >"$work/make.py" <<'END'
import array, json, random, struct, sys
path, change = sys.argv[1], float(sys.argv[2])
header, data = {'__metadata__': {'change': sys.argv[2]}}, b''
def add(name, shape, values):
    global data
    raw = array.array('f', values).tobytes()
    header[name] = {'dtype': 'F32', 'shape': shape,
                    'data_offsets': [len(data), len(data) + len(raw)]}
    data += raw
for i, (rows, columns) in enumerate([(64, 96), (96, 64), (48, 80)]):
    old, update = random.Random(i), random.Random(99 + i)
    add(f'layer.{i}.weight', [rows, columns], [old.gauss(0, 0.05) + change * update.gauss(0, 0.002)
                                               for _ in range(rows * columns)])
old, update = random.Random(7), random.Random(8)
add('norm.bias', [96], [old.gauss(0, 1) + change * update.gauss(0, 0.01) for _ in range(96)])
add('table', [40, 10], [old.gauss(0, 1) for _ in range(400)])
add('broken.weight', [4, 4], [float('nan')] + [change] * 15)
if change:
    add('head.weight', [3, 96], [change] * 288)
text = json.dumps(header).encode()
open(path, 'wb').write(struct.pack('<Q', len(text)) + text + data)
END
python3 "$work/make.py" old.safetensors 0
python3 "$work/make.py" new.safetensors 1

# judge.py MODEL LEAST [PREDICTIONS]: prints how near layer.0 is to the new model's, and ends with 1
# below LEAST; LOG in the environment counts the calls.
cat >"$work/judge.py" <<'END'
import array, json, os, struct, sys
def layer(path):
    data = open(path, 'rb').read()
    size = struct.unpack('<Q', data[:8])[0]
    begin, end = json.loads(data[8:8 + size])['layer.0.weight']['data_offsets']
    return array.array('f', data[8 + size + begin:8 + size + end])
model, new = layer(sys.argv[1]), layer('new.safetensors')
error = sum((a - b) ** 2 for a, b in zip(model, new)) / len(new) / 0.002 ** 2
open(os.environ['LOG'], 'a').write(sys.argv[1] + '\n')
if len(sys.argv) > 3:
    open(sys.argv[3], 'w').writelines(f'{a > 0}\n' for a in model)
print('some words\nnearness: %.4f, error: %.4f' % (1 - error, error))
sys.exit(1 - error < float(sys.argv[2]))
END
export LOG="$work/log/calls"
judge="python3 $work/judge.py {model}"

# Without an evaluation: a valid model of the same layout, a small update, the same bytes always.
ok snap old.safetensors new.safetensors -o a.safetensors --json
notes 'every device must get this file'
json 'j["result"] == "snapped" and j["grid"] == 0.25 and len(j["tensors"]) == 7'
cat >fates.json <<'END'
{"layer.0.weight": "snapped", "layer.1.weight": "snapped", "layer.2.weight": "snapped",
 "norm.bias": "snapped", "table": "equal", "broken.weight": "not finite",
 "head.weight": "no match"}
END
json '{t["name"]: t["fate"] for t in j["tensors"]} == json.load(open("fates.json"))'
json 'all(0.05 < t["error"] / t["update"] < 0.09 for t in j["tensors"] if "layer" in t["name"])'
[ "$(size_of a.safetensors)" = "$(size_of new.safetensors)" ] || fail 'another size'
ok snap old.safetensors new.safetensors -o b.safetensors --jobs 1
same a.safetensors b.safetensors
ok keygen -o k
ok pack old.safetensors new.safetensors -o dense.tpb --key k
ok pack old.safetensors a.safetensors -o snapped.tpb --key k
[ $(($(size_of snapped.tpb) * 4)) -lt "$(size_of dense.tpb)" ] || fail 'the update is not small'
ok apply old.safetensors snapped.tpb -o applied.safetensors --pubkey k.pub
same a.safetensors applied.safetensors
ok snap old.safetensors new.safetensors -o b.safetensors --grid 2 --force
notes 'a grid above 0.5 without --eval'
ok pack old.safetensors b.safetensors -o coarse.tpb --key k
[ $(($(size_of coarse.tpb) * 2)) -lt "$(size_of snapped.tpb)" ] || fail 'coarser is not smaller'

# Refusals.
refuse 1 'exists' snap old.safetensors new.safetensors -o a.safetensors
refuse 2 '' snap old.safetensors new.safetensors -o new.safetensors --force
refuse 2 'a grid is a number' snap old.safetensors new.safetensors -o c --grid 4
refuse 2 '--max-drop needs --eval' snap old.safetensors new.safetensors -o c --max-drop 1
refuse 2 'does not say {model}' snap old.safetensors new.safetensors -o c --eval true
refuse 2 'expression for the metric' snap old.safetensors new.safetensors -o c --eval "$judge 0" \
  --metric-regex '('
refuse 2 'cannot be started' snap old.safetensors new.safetensors -o c \
  --eval 'no-such-judge {model}'
refuse 2 'does not pass its own' snap old.safetensors new.safetensors -o c --eval "$judge 2"
refuse 2 'did not finish in time' snap old.safetensors new.safetensors -o c \
  --eval "sh -c 'sleep 20' {model}" --timeout 1
head -c 9000 /dev/urandom >raw
refuse 2 'tensors of the new file are not known' snap raw raw -o c
ls -A | grep -F .tensorpatch-snap && fail 'a scratch folder is left'

# With one: by exit code; the largest grid that passes has 1 - grid^2 / 12 above the mark.
calls() { wc -l <"$LOG"; }
rm -f "$LOG"
ok snap old.safetensors new.safetensors -o c.safetensors --json --cache cache \
  --eval "$judge 0.9" --report snap.json --report snap.html
json 'j["grid"] == 1 and not j["old_will_do"] and 6 <= j["evaluations"] <= 10 and j["cached"] == 0'
json 'not j["old"]["evaluation"]["passed"] and j["new"]["evaluation"]["passed"]'
json '{c["evaluation"]["passed"] == (c["grid"] <= 1) for c in j["candidates"]
       if "evaluation" in c} == {True}'
json '[c["grid"] for c in j["candidates"]] == [0.125, 0.25, 0.5, 1, 1.5, 2, 3]'
json 'all(a["patch_size"] > b["patch_size"] for a, b in zip(j["candidates"], j["candidates"][1:]))'
json 'j["new_patch_size"] > 4 * j["snapped_patch_size"] == 4 * j["candidates"][3]["patch_size"]'
json 'j == json.load(open("snap.json"))'
[ "$(calls)" -ge 6 ] || fail 'too few evaluations'
ls -A | grep -F .tensorpatch-snap && fail 'a scratch folder is left'
# Again: all of it from the cache.
before=$(calls)
ok snap old.safetensors new.safetensors -o c.safetensors --force --json --cache cache \
  --eval "$judge 0.9" --parallel 2
[ "$(calls)" -le $((before + 3)) ] || fail 'the cache was not used' # two at a time look further
json 'j["grid"] == 1 and j["cached"] >= 5'

# By a metric, more or less of it being better, with predictions; a regression program.
ok snap old.safetensors new.safetensors -o d.safetensors --json --eval "$judge 0 {predictions}" \
  --metric-regex 'nearness: ([0-9.-]+)' --max-drop 0.03
json 'j["grid"] == 0.5 and 0.96 < j["snapped"]["evaluation"]["metric"] < 1'
json '0 < j["snapped"]["evaluation"]["churn"] < 0.02 < 1 and j["new"]["evaluation"]["churn"] == 0'
ok snap old.safetensors new.safetensors -o d.safetensors --force --json --eval "$judge -9" \
  --metric-regex 'error: ([0-9.-]+)' --max-drop 0.03 --lower-is-better
json 'j["grid"] == 0.5'
ok snap old.safetensors new.safetensors -o d.safetensors --force --json --eval 'true {model}' \
  --regression "$judge 0.97"
json 'j["grid"] == 0.5'
json 'any("regression" in c["evaluation"].get("failure", "") for c in j["candidates"])'

ok snap old.safetensors new.safetensors -o d.safetensors --force --json --eval 'true {model}'
notes 'the old model passes the evaluation as well'
json 'j["grid"] == 3 and j["old_will_do"]'

# No grid passes: nothing is written.
run snap old.safetensors new.safetensors -o e.safetensors --json --eval "$judge 0.99999"
[ $code -eq 1 ] || fail "exit code $code"
json 'j["result"] == "no grid passed" and "snapped" not in j'
absent e.safetensors
ok snap old.safetensors new.safetensors -o e.safetensors --json --eval "$judge 0.9" --grid 1
json 'j["grid"] == 1 and [c["grid"] for c in j["candidates"]] == [0.5, 1]'

# The bundle says what it was made of.
ok pack old.safetensors c.safetensors -o c.tpb --key k --snap-report snap.json
ok inspect c.tpb --json
json 'j["metadata"]["snap.grid"] == "1.0"'
says "$(sha256sum new.safetensors | cut -d ' ' -f 1)"
refuse 2 'report of other files' pack old.safetensors a.safetensors -o x.tpb --snap-report snap.json
refuse 2 'only a report of snap' pack old.safetensors c.safetensors -o x.tpb --meta snap.grid=0.1
ok pack old.safetensors c.safetensors -o y.tpb --key k --meta snapshot=nightly
refuse 1 'not the report' pack old.safetensors c.safetensors -o x.tpb --snap-report c.safetensors

# The page, in a browser without a window: drawn, no error, nothing fetched.
grep -Eq '(src|href)="?(https?:)?//|url\(|@import' snap.html && fail 'the page asks for files'
cat >probe.js <<'END'
const count = (selector) => document.querySelectorAll(selector).length;
document.documentElement.dataset.found = JSON.stringify({
  drawn: document.documentElement.dataset.drawn,
  error: document.documentElement.dataset.error || "",
  sizes: count("#curve .dot"), bars: count("#bars g"), grids: count("#grids tr"),
  tensors: count("#tensors tr"), cards: count("#cards > div"),
  wide: document.documentElement.scrollWidth <= innerWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches });
END
look() {
  timeout 60 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
    --hide-scrollbars --disable-background-networking --no-first-run --window-size="$1",800 \
    --user-data-dir="$work/browser" $2 --dump-dom "file://$PWD/probed.html" >"$work/dom" 2>"$err" ||
    fail 'the browser failed'
  python3 - "$work/dom" >"$out" <<'END'
import html.parser, sys
class Root(html.parser.HTMLParser):
    def handle_starttag(self, tag, attributes):
        if tag == 'html':
            print(dict(attributes)['data-found'])
Root().feed(open(sys.argv[1], encoding='utf-8').read())
END
}
python3 - <<'END'
page, probe = open('snap.html', encoding='utf-8').read(), open('probe.js').read()
assert page.count('</body>') == 1
open('probed.html', 'w', encoding='utf-8').write(
    page.replace('</body>', '<script>(() => {' + probe + '})()</script></body>'))
END
look 1000 ''
json 'j["drawn"] == "yes" and j["error"] == "" and j["sizes"] == 7 and j["grids"] == 8'
json 'j["bars"] >= 4 and j["tensors"] == 7 and j["cards"] == 6 and j["wide"] and not j["dark"]'
look 500 --force-dark-mode
json 'j["drawn"] == "yes" and j["error"] == "" and j["wide"] and j["dark"]'
