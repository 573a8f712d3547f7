#!/usr/bin/env python3
# tests/benchmarks/page_test.py: the page of `bench report` in a real browser, light and dark: plots
# drawn, no error, names shown as they are, controls and keyboard work, screenshots not blank.
# SPDX-License-Identifier: Apache-2.0
import html.parser
import json
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib

import support
from harness import report

HOSTILE = '</script><script>document.documentElement.dataset.error="run"</script><!--'
# Runs at the end of a copy of the page and leaves what it finds in data-found.
PROBE = '''
const all = (selector) => [...document.querySelectorAll(selector)];
const found = { dark: matchMedia("(prefers-color-scheme: dark)").matches };
found.ratios = all("#ratio .mark").length;
found.losses = all("#ratio .mark.other").length;
found.kinds = all("#kinds .mark").length;
found.times = all("#time .mark").length;
found.points = all("#memory .mark").length;
const boxes = all("#time .label").map((label) => label.getBoundingClientRect());
found.labels = boxes.length;
found.shared = all("#time .label").filter((label) => / and \\d more$/.test(label.textContent))
  .map((label) => label.textContent);
found.leads = all("#time .lead").map((line) => getComputedStyle(line).stroke);
found.covered = boxes.filter((a, i) => boxes.some((b, k) => k < i && a.left < b.right &&
  b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
found.cards = all("#cards > div").length;
found.damage = all("#damage td.silent").map((cell) => cell.textContent);
found.names = all("#rows tr").map((row) => row.firstChild.textContent);
found.wide = document.documentElement.scrollWidth <= innerWidth;
found.text = [...new Set(all("#kinds text").map((text) => text.textContent))];
const first = all("#ratio .mark")[0];
first.focus();
found.tip = document.getElementById("tip").textContent;
first.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
found.second = document.activeElement === all("#ratio .mark")[1];
const choose = (id, value, event) => {
  const element = document.getElementById(id);
  element.value = value;
  element.dispatchEvent(new Event(event));
};
const place = () => all("#time .mark").map((mark) => mark.getAttribute("cx")).join();
const before = place();
choose("action", "apply", "change");
found.moved = place() !== before;
choose("peer", "xz-9e", "change");
found.compared = document.getElementById("memory-legend").textContent;
all("#head button").find((button) => button.textContent === "new").click();
found.largest = all("#rows tr")[0].firstChild.textContent;
choose("filter", "PAIR-3", "input");
found.filtered = all("#rows tr").length;
document.documentElement.dataset.found = JSON.stringify(found);
'''


class Root(html.parser.HTMLParser):
    values = None

    def handle_starttag(self, tag, attributes):
        if tag == 'html' and self.values is None:
            self.values = dict(attributes)


def brightness(png):
    """Mean of the red samples of a screenshot, and how many colours it has."""
    at, packed, width, pixel = 8, b'', 0, 0
    while at < len(png):
        size, kind = struct.unpack('>I4s', png[at:at + 8])
        if kind == b'IHDR':
            width, _, _, colour = struct.unpack('>IIBB', png[at + 8:at + 18])
            pixel = {2: 3, 6: 4}[colour]
        if kind == b'IDAT':
            packed += png[at + 8:at + 8 + size]
        at += size + 12
    raw, stride = zlib.decompress(packed), width * pixel
    line, total, colours = bytearray(stride), 0, set()
    rows = len(raw) // (stride + 1)
    for row in range(rows):
        kind = raw[row * (stride + 1)]
        before, line = line, bytearray(raw[row * (stride + 1) + 1:(row + 1) * (stride + 1)])
        for i in range(stride) if kind else ():
            left, up = line[i - pixel] if i >= pixel else 0, before[i]
            corner = before[i - pixel] if i >= pixel else 0
            guess = left + up - corner
            paeth = min((abs(guess - left), 0, left), (abs(guess - up), 1, up),
                        (abs(guess - corner), 2, corner))[2]
            line[i] = line[i] + (0, left, up, (left + up) // 2, paeth)[kind] & 255
        total += sum(line[::pixel])
        colours.update(bytes(line[i:i + 3]) for i in range(0, stride, 4 * pixel))
    return total / (rows * width), len(colours)


class Page(unittest.TestCase):
    def setUp(self):
        self.assertTrue(shutil.which('chromium'), 'the test needs chromium, .ci/packages.txt')
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        random.seed(4)
        rows = []
        for i in range(30):
            name = HOSTILE if i == 7 else f'pair-{i}'
            new = 1000 * 2 ** (i % 12) + i
            sizes = {'bsdiff': new // 2, 'xz-9e': new // 3 * 2, 'bitx': new // 4}
            own = new // 2 + (9 if i % 3 == 0 else -99)
            for peer, role in (('tensorpatch', 'tensorpatch'), ('bsdiff', 'delta'),
                               ('xz-9e', 'full'), ('bitx', 'reference')):
                rows.append(support.row(
                    name, peer, role, sizes.get(peer, own), new_bytes=new, old_bytes=new,
                    kind=('pruned', 'merged LoRA <b>')[i % 2], diff_cpu=random.random() + 0.1,
                    apply_cpu=random.random() + 0.01, diff_peak_kib=random.randrange(900, 90000),
                    flips='0/1/0/3' if peer == 'bsdiff' else '0/4/0/0'))
        # Dots on one spot, which have one name, and near it, whose names must not lie on it.
        rows += [support.row(f'pair-{pair}', f'crowded-{i}', 'delta', 9000 + i // 4 * 700,
                             diff_cpu=0.5, apply_cpu=0.5) for i in range(6) for pair in range(3)]
        results = support.table(self.folder / 'r.tsv', rows, ['machine: a <i>test</i>'])
        self.page = self.folder / 'page.html'
        self.page.write_text(report.page(*report.load([results]), f'A title {HOSTILE}'))

    def browse(self, *words):
        return subprocess.run(
            ['chromium', '--headless=new', '--no-sandbox', '--disable-gpu',
             '--disable-dev-shm-usage', '--hide-scrollbars', '--disable-background-networking',
             '--no-first-run', f'--user-data-dir={self.folder}/browser', *words],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=90).stdout

    def probe(self, *words):
        text = self.page.read_text()
        self.assertEqual(text.count('</body>'), 1)
        self.assertNotRegex(text, r'(src|href)="?(https?:)?//|url\(|@import')
        copy = self.folder / 'probed.html'
        copy.write_text(text.replace('</body>', f'<script>(() => {{{PROBE}}})()</script></body>'))
        root = Root()
        root.feed(self.browse('--dump-dom', *words, copy.as_uri()).decode())
        self.assertNotIn('data-error', root.values)
        self.assertEqual(root.values.get('data-drawn'), 'yes')
        return json.loads(root.values['data-found'])

    def test_everything_is_drawn(self):
        found = self.probe('--window-size=1000,900')
        self.assertEqual((found['ratios'], found['losses']), (30, 10))
        self.assertEqual((found['kinds'], found['times'], found['points']), (4, 10, 120))
        self.assertEqual((found['labels'], found['covered']), (6, 0))
        self.assertEqual(found['shared'], ['crowded-0 and 3 more', 'crowded-4 and 1 more'])
        self.assertNotIn('none', found['leads'])
        self.assertEqual((found['cards'], found['damage']), (4, ['90 SILENT, 30 refused']))
        self.assertFalse(found['dark'])
        self.assertTrue(found['wide'] and found['second'] and found['moved'])
        self.assertIn(HOSTILE, found['names'])
        self.assertIn('merged LoRA <b>', found['text'])
        self.assertRegex(found['tip'], r'ratio 1\.0')
        self.assertIn('xz-9e', found['compared'])
        self.assertEqual((found['largest'], found['filtered']), ('pair-23', 1))

    def test_dark_and_narrow(self):
        found = self.probe('--force-dark-mode', '--window-size=500,900')
        self.assertTrue(found['dark'] and found['wide'])
        self.assertEqual(found['ratios'], 30)

    def test_screenshots(self):
        for words, light in (([], True), (['--force-dark-mode'], False)):
            picture = self.folder / 'shot.png'
            self.browse(*words, '--window-size=800,600', f'--screenshot={picture}',
                        self.page.as_uri())
            bright, colours = brightness(picture.read_bytes())
            self.assertGreater(colours, 40)
            self.assertEqual(bright > 128, light, bright)


if __name__ == '__main__':
    unittest.main()
