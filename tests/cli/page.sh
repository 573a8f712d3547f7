# page.sh: the page of `diff --html` in a real browser, light and dark: plots drawn, no error, names
# shown as they are whatever they hold, table and keyboard work, thousands of tensors stay quick.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
need chromium
models

# browse ARGUMENTS...: the browser without a window. No network is asked for: the page must not.
browse() {
  timeout 60 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
    --hide-scrollbars --disable-background-networking --no-first-run --window-size=1000,800 \
    --user-data-dir="$work/browser" "$@" 2>"$err"
}

# Runs in the browser at the end of a copy of the page, and leaves what it finds in data-found.
cat >"$work/probe.js" <<'END'
const found = {};
const all = (selector) => [...document.querySelectorAll(selector)];
const press = (element, key) => element.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const look = () => ({ tiles: all("#treemap rect").length, rows: all("#rows tr").length });
found.begin = look();
found.bars = all("#histogram .bar").length;
found.layers = all("#layers path").length;
found.cards = all("#cards > div").length;
found.advice = all("#advice li").map((item) => item.dataset.code);
found.dark = matchMedia("(prefers-color-scheme: dark)").matches;
found.wide = document.documentElement.scrollWidth <= innerWidth;
const choose = (id, value) => {
  const element = document.getElementById(id);
  element.value = value;
  element.dispatchEvent(new Event(id === "filter" ? "input" : "change"));
};
choose("state", "all");
found.all = look().rows;
document.getElementById("more").click();
found.names = all("#rows td.name").map((cell) => cell.firstChild.data);
const header = (title) => all("#columns button").find((button) => button.textContent === title);
header("Size").click();
found.sorted = all("#columns [aria-sort]").map(
  (head) => [head.textContent, head.getAttribute("aria-sort")]);
found.largest = all("#rows td.name")[0].firstChild.data;
header("Size").click();
found.smallest = all("#rows td.name")[0].firstChild.data;
choose("filter", found.largest);
found.filtered = look().rows;
choose("filter", "");
for (const kind of ["lineage", "method", "change"]) {
  choose("colour", kind);
  found["colours_" + kind] = new Set(all("#treemap rect").map((r) => r.getAttribute("fill"))).size;
}
const tiles = all("#treemap .tile");
if (tiles.length > 1) {
  tiles[0].focus();
  found.tip = !document.getElementById("tip").hidden;
  press(tiles[0], "ArrowRight");
  found.second = document.activeElement === tiles[1];
  press(tiles[1], "Enter");
  found.chosen = all("#rows tr.chosen").length;
  found.row_focus = document.activeElement === document.querySelector("#rows tr.chosen");
  found.labels = tiles.every((tile) => tile.getAttribute("aria-label"));
}
const slider = document.querySelector("#layers [role=slider]");
slider.focus();
press(slider, "End");
found.slider = slider.getAttribute("aria-valuenow") === slider.getAttribute("aria-valuemax");
found.files = all("#files button").length;
if (found.files > 1) {
  all("#files button")[1].click();
  found.other = look();
  found.other_advice = all("#advice li").map((item) => item.dataset.code);
}
document.documentElement.dataset.found = JSON.stringify(found);
END

cat >"$work/page.py" <<'END'
# page.py add PAGE COPY PROBE: a copy of a page with the probe at its end.
# page.py found: the JSON that the probe left in the document on standard input.
# page.py png FILE: mean brightness and count of colours of a screenshot.
import html.parser, json, struct, sys, zlib

class Root(html.parser.HTMLParser):
    found = None
    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == 'html' and self.found is None:
            assert values.get('data-drawn') == 'yes' and 'data-error' not in values, values
            self.found = values['data-found']

def png(data):
    assert data[:8] == b'\x89PNG\r\n\x1a\n'
    at, packed = 8, b''
    while at < len(data):
        size, kind = struct.unpack('>I4s', data[at:at + 8])
        if kind == b'IHDR':
            width, height, depth, colour = struct.unpack('>IIBB', data[at + 8:at + 18])
            assert depth == 8 and colour in (2, 6)
        if kind == b'IDAT':
            packed += data[at + 8:at + 8 + size]
        at += size + 12
    pixel = 3 if colour == 2 else 4
    raw, line = zlib.decompress(packed), bytearray(width * pixel)
    colours, total = set(), 0
    for row in range(height):
        begin = row * (width * pixel + 1)
        kind, before = raw[begin], line
        line = bytearray(raw[begin + 1:begin + 1 + width * pixel])
        if kind == 1:
            for i in range(pixel, len(line)):
                line[i] = line[i] + line[i - pixel] & 255
        elif kind == 2:
            line = bytearray(a + b & 255 for a, b in zip(line, before))
        elif kind == 3:
            for i in range(len(line)):
                left = line[i - pixel] if i >= pixel else 0
                line[i] = line[i] + (left + before[i]) // 2 & 255
        elif kind == 4:
            for i in range(len(line)):
                a, b, c = (line[i - pixel] if i >= pixel else 0, before[i],
                           before[i - pixel] if i >= pixel else 0)
                p = a + b - c
                best = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
                line[i] = line[i] + best & 255
        if row % 4 == 0:
            colours.update(bytes(line[i:i + 3]) for i in range(0, len(line), pixel * 4))
            total += sum(line[0::pixel * 4])
    looked_at = ((height + 3) // 4) * ((width + 3) // 4)
    return {'brightness': total / looked_at, 'colours': len(colours)}

if sys.argv[1] == 'add':
    page, probe = (open(name, encoding='utf-8').read() for name in (sys.argv[2], sys.argv[4]))
    assert page.count('</body>') == 1, 'something in the data ends the document'
    with open(sys.argv[3], 'w', encoding='utf-8') as copy:
        copy.write(page.replace('</body>', '<script>(() => {' + probe + '})()</script></body>'))
elif sys.argv[1] == 'found':
    root = Root()
    root.feed(sys.stdin.read())
    json.dump(json.loads(root.found), sys.stdout)
else:
    json.dump(png(open(sys.argv[2], 'rb').read()), sys.stdout)
END

# probe PAGE [BROWSER OPTION...]: draws the page; what the probe found is the last output.
probe() {
  page=$1
  shift
  python3 "$work/page.py" add "$page" probed.html "$work/probe.js"
  browse "$@" --dump-dom "file://$PWD/probed.html" >"$work/dom" || fail 'the browser failed'
  python3 "$work/page.py" found <"$work/dom" >"$out" 2>>"$err" || fail 'the page was not drawn'
}

# expect EXPRESSION: json(), with the --json of the same comparison as `d`.
expect() { json "(lambda d: $1)(json.load(open('diff.json')))"; }

# A model, in a light page.
ok diff old.tflite new.tflite --html page.html --json
cp "$out" diff.json
grep -Eq '(src|href)="?(https?:)?//|url\(|@import' page.html && fail 'the page asks for files'
probe page.html
expect 'j["begin"]["tiles"] == sum(t["patch_bytes"] > 0 for t in d["tensors"]) > 50'
expect 'j["begin"]["rows"] == sum(t["state"] != "unchanged" or t["moved"] for t in d["tensors"])'
expect 'j["all"] == len(d["tensors"])'
expect 'set(t["name"] for t in d["tensors"] if t["name"]) <= set(j["names"])'
expect 'j["bars"] >= 5 and j["layers"] >= 2 and j["cards"] == 4 and not j["dark"] and j["wide"]'
expect 'j["advice"] == [a["code"] for a in d["advice"]] != []'
expect 'j["sorted"] == [["Size", "descending"]]'
expect 'j["largest"] == max(d["tensors"], key=lambda t: t["size"])["name"]'
expect 'j["smallest"] != j["largest"] and 1 <= j["filtered"] <= 3'
expect 'j["colours_change"] > 5 and j["colours_method"] >= 2 and j["colours_lineage"] > 1'
expect 'j["tip"] and j["second"] and j["chosen"] == 1 and j["row_focus"] and j["labels"]'
expect 'j["slider"]'

# Names that would end a script, 3,000 tensors, in a dark page; from a bundle.
python3 - <<'END'
import json, random, struct
names = ['</script><script>document.documentElement.dataset.error="run"</script>',
         '<!--<script>', '"quoted" & \\ \'so\'', '\u2028line', '<img src=x onerror=alert(1)>',
         'caf\u00e9 \U0001f9e0', '']
for path, step in ('o.safetensors', 0), ('n.safetensors', 1):
    header, data = {'__metadata__': {'v': str(step)}}, b''
    for i in range(3000):
        values = bytes(random.Random(i).randrange(100, 140) + step * (j % 8 == i % 8)
                       for j in range(64))
        header[names[i] if i < len(names) else f'layer.{i}.weight'] = {
            'dtype': 'U8', 'shape': [8, 8], 'data_offsets': [len(data), len(data) + 64]}
        data += values
    text = json.dumps(header).encode()
    open(path, 'wb').write(struct.pack('<Q', len(text)) + text + data)
open('names.json', 'w').write(json.dumps(names[:-1]))
END
ok pack o.safetensors n.safetensors -o n.tpb --details n.details
ok inspect n.tpb --details n.details --html hostile.html --json
python3 -c 'import json, sys
json.dump(json.load(open(sys.argv[1]))["components"][0], open("diff.json", "w"))' "$out"
probe hostile.html --force-dark-mode
expect 'j["dark"]'
expect 'j["begin"]["tiles"] == sum(t["patch_bytes"] > 0 for t in d["tensors"]) >= 2800'
expect 'j["begin"]["rows"] == j["all"] == 250'
expect 'j["filtered"] >= 1 and j["slider"] and j["chosen"] == 1'
expect 'len(j["names"]) > 3000 and set(json.load(open("names.json"))) <= set(j["names"])'

# Files that are equal, and bytes without tensors: nothing to draw is no error.
ok diff old.tflite old.tflite --html same.html --json
cp "$out" diff.json
probe same.html
expect 'j["advice"] == ["identical"] and j["bars"] == 0'

# Several files in one bundle: a button for each; bytes without tensors.
head -c 3000 old.tflite >raw
ok pack --component model old.tflite new.tflite --component raw - raw -o both.tpb --details d
ok inspect both.tpb --details d --html both.html
probe both.html
json 'j["files"] == 2 and j["other"] == {"tiles": 1, "rows": 1} and j["other_advice"] == ["no-old"]'

# Screenshots: not blank, light and dark, also narrow.
shot() {
  browse "$@" --screenshot=shot.png "file://$PWD/page.html" >"$out" || fail 'no screenshot'
  python3 "$work/page.py" png shot.png >"$out"
}
shot
json 'j["brightness"] > 180 and j["colours"] > 100'
shot --force-dark-mode --window-size=500,900
json 'j["brightness"] < 100 and j["colours"] > 100'
