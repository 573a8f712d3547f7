#!/usr/bin/env python3
# tests/benchmarks/harness_test.py: pairs, peers, damage, references, corpora, radio, reports, gate.
# SPDX-License-Identifier: Apache-2.0
import argparse
import contextlib
import hashlib
import io
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

import support
from harness import (ablation, children, coder, commands, corpus, gate, micro, pairs, peers, radio,
                     reference, report, run)

PROGRAM = os.environ['TENSORPATCH']
QUICKSTART = support.ROOT / 'testdata' / 'quickstart'
# What .ci/packages.txt installs; peers from PyPI are tested where they are.
INSTALLED = {'bsdiff', 'xdelta3', 'zstd-19-patch', 'zstd-19-long-patch', 'zstd-22-patch', 'rdiff',
             'zchunk', 'casync', 'ostree', 'zstd-19', 'xz-9e', 'brotli-11', 'bitx', 'fm-delta'}


class Folder(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def file(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


def bench(*words):
    """(exit code, standard output) of scripts/bench."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = commands.main(list(map(str, words)))
    return code, said.getvalue()


class Coder(Folder):
    def test_an_update_counts_where_its_kind_and_type_say(self):
        old = self.file('old', bytes(range(100)))
        new = self.file('new', bytes(range(60)) + bytes(40))
        head = ['pair', 'group', 'family', 'format', 'kind', 'old_bytes', 'new_bytes', 'peer',
                'role', 'status', 'patch_bytes']
        rows = [['p', 'lineage', 'x', 'int8.tflite', 'pruned', '100', '100', *cells] for cells in (
            ['tensorpatch', 'tensorpatch', 'ok', '30'], ['bsdiff', 'delta', 'ok', '60'],
            ['zstd-22-patch', 'delta', 'ok', '50'])]
        update = coder.Update(report.Pair([dict(zip(head, row)) for row in rows]), (old, new))
        self.assertEqual((update.type, update.equal), ('int8', .6))
        self.assertEqual(update.share_of(('bsdiff', 'zstd-22-patch')), .6)
        named = [coder.row_of([update], *row) for row in coder.ROWS]
        self.assertEqual([row for row in named if row[1] != '0'],
                         [['newly pruned', '1', 'bsdiff or zstd-22-patch', '0.55', '0.42-0.6',
                           '0.600', '0.60-0.60']])


class Ablation(Folder):
    def test_every_edit_finds_its_place(self):
        ablation.copy_tree(str(self.folder))
        for _, edits, _ in ablation.VARIANTS:
            for change in edits or []:
                before = ablation.edit(str(self.folder), [change])
                ablation.restore(before)

    def test_growth_is_a_geometric_mean(self):
        self.assertAlmostEqual(ablation.growth([100, 100], [200, 50]), 0)
        self.assertAlmostEqual(ablation.growth([100, 100], [121, 100]), 10)


class Pairs(Folder):
    def test_two_files(self):
        old, new = self.file('a.bin', b'1'), self.file('b.bin', b'2')
        pair, = pairs.load([old, new])
        self.assertEqual((pair.id, pair.old, pair.new, pair.format),
                         ('b.bin', old.resolve(), new.resolve(), 'bin'))

    def test_two_folders_match_by_path(self):
        for name in ('old/x/m.onnx', 'new/x/m.onnx', 'old/gone', 'new/added'):
            self.file(name, b'data')
        pair, = pairs.load([self.folder / 'old', self.folder / 'new'])
        self.assertEqual((pair.id, pair.format), ('x/m.onnx', 'onnx'))

    def test_table(self):
        self.file('sub/o', b'1')
        self.file('sub/n', b'2')
        table = self.file('t.tsv', b'# a note\nid\told\tnew\tkind\np\tsub/o\tsub/n\tpruned\n')
        pair, = pairs.load([table])
        self.assertEqual((pair.id, pair.kind, pair.new.read_bytes()), ('p', 'pruned', b'2'))

    def test_what_is_not_there_is_an_error(self):
        table = self.file('t.tsv', b'id\told\tnew\np\to\tn\n')
        for words in ([table], ['nowhere'], [self.file('u.tsv', b'x\ty\n')]):
            with self.assertRaises(SystemExit):
                pairs.load(words)


class Children(Folder):
    def test_memory_and_time_are_the_childs_own(self):
        small = children.run([['true']], 10, self.folder)
        work = 'x = bytearray(80 << 20); sum(range(10 ** 6))'
        large = children.run([[sys.executable, '-c', work]], 10, self.folder)
        self.assertTrue(small.ok and large.ok)
        self.assertLess(small.cost.peak_kib, 8 << 10)
        self.assertGreater(large.cost.peak_kib, 80 << 10)
        self.assertGreater(large.cost.cpu, 0)

    def test_steps_add_up_and_stop_at_a_failure(self):
        done = children.run([['sh', '-c', 'exit 0'], ['sh', '-c', 'echo bad >&2; exit 3'],
                             ['touch', 'after']], 10, self.folder)
        self.assertEqual((done.code, done.message), (3, 'bad'))
        self.assertFalse((self.folder / 'after').exists())

    def test_time_runs_out(self):
        self.assertEqual(children.run([['sleep', '30']], 0.2, self.folder).code, 124)


def script_peer(apply_script):
    """A peer whose patch is new itself, and whose apply is a shell script."""
    return peers.Peer('script', 'delta', lambda job: [['cp', job.new, job.patch]],
                      lambda job: [['sh', '-c', apply_script, 'sh', job.old, job.patch, job.out]])


class Damage(Folder):
    def judge(self, script):
        old, new = self.file('old', b'o' * 3000), self.file('new', b'n' * 3000)
        work = self.folder / 'work'
        work.mkdir(exist_ok=True)
        job = peers.Job(old, new, work / 'patch', work / 'out', work)
        job.patch.write_bytes(new.read_bytes())
        verdicts = run.damage(script_peer(script), job, 5, 10)
        return [str(verdicts[name]) for name in ('flips', 'cuts', 'wrong_old')]

    def test_a_silent_peer_is_found_out(self):
        self.assertEqual(self.judge('cp "$2" "$3"'), ['0/0/0/5', '0/0/0/5', '1/0/0/0'])

    def test_a_peer_that_checks(self):
        whole = f'cmp -s "$2" {self.folder}/new && cmp -s "$1" {self.folder}/old || exit 1; '
        self.assertEqual(self.judge(whole + 'cp "$2" "$3"'), ['0/5/0/0', '0/5/0/0', '0/1/0/0'])

    def test_a_crash_is_no_refusal(self):
        self.assertEqual(self.judge('kill -SEGV $$'), ['0/0/5/0', '0/0/5/0', '0/0/1/0'])

    def test_success_without_a_file_is_silent(self):
        self.assertEqual(self.judge('true')[0], '0/0/0/5')

    def test_a_result_that_differs_is_never_ok(self):
        pair, = pairs.load([self.file('old', b'o'), self.file('new', b'n' * 50)])
        options = argparse.Namespace(timeout=10, instructions=0, faults=0)
        row = run.measure(script_peer('head -c 49 "$2" >"$3"; printf x >>"$3"'), pair, options,
                          self.folder)
        self.assertEqual(row['status'], 'WRONG: the result differs from new')
        self.assertNotIn('patch_bytes', row)
        row = run.measure(script_peer('exit 7'), pair, options, self.folder)
        self.assertTrue(row['status'].startswith('apply failed: 7'), row)


class Run(Folder):
    def test_every_installed_peer_rebuilds_new(self):
        output = self.folder / 'r.tsv'
        missing = INSTALLED - {peer.name for peer in peers.choose(None)[0]}
        self.assertFalse(missing, 'see .ci/packages.txt')
        code, _ = bench('run', QUICKSTART / 'old.tflite', QUICKSTART / 'new.tflite', '-o', output,
                        '--profiles', 'linux,mcu-8k', '--faults', 1, '--peers',
                        ','.join(sorted(INSTALLED)))
        self.assertEqual(code, 0)
        rows = {row['peer']: row for row in run.read_rows(output)}
        self.assertEqual(rows.keys(), INSTALLED | {'tensorpatch', 'tensorpatch-mcu-8k'})
        self.assertEqual({row['status'] for row in rows.values()}, {'ok'})
        for name in ('tensorpatch', 'tensorpatch-mcu-8k'):
            self.assertEqual([rows[name][what] for what in ('flips', 'cuts', 'wrong_old')],
                             ['0/1/0/0'] * 3)
        size = {name: int(row['patch_bytes']) for name, row in rows.items()}
        self.assertLess(size['fm-delta'], size['bitx'])
        self.assertLess(size['bsdiff'], size['xz-9e'])
        notes = ' '.join(run.read_notes(output))
        self.assertIn('machine: ', notes)
        self.assertNotIn(os.uname().nodename, notes)

    def test_python_peers_that_are_here(self):
        here = {peer.name for peer in peers.choose(None)[0]} - INSTALLED
        for name in sorted(here):
            with self.subTest(name):
                output = self.folder / f'{name}.tsv'
                bench('run', QUICKSTART / 'old.tflite', QUICKSTART / 'new.tflite', '-o', output,
                      '--faults', 0, '--peers', name)
                self.assertEqual([row['status'] for row in run.read_rows(output)], ['ok', 'ok'])

    def test_slow_peers_and_several_pairs_at_a_time(self):
        rows = ['id\told\tnew']
        for i, size in enumerate((3000, 40, 2000, 50)):
            self.file(f'{i}.old', bytes(range(200)) * size)
            self.file(f'{i}.new', b'new' + bytes(range(200)) * size)
            rows.append(f'p{i}\t{i}.old\t{i}.new')
        table, output = self.file('t.tsv', '\n'.join(rows).encode()), self.folder / 'r.tsv'
        bench('run', table, '-o', output, '--faults', 0, '--peers', 'rdiff,brotli-11', '--jobs', 3,
              '--slow-limit', 20000)
        found = [(row['pair'], row['peer']) for row in run.read_rows(output)]
        own = [(f'p{i}', peer) for i in range(4) for peer in ('tensorpatch', 'rdiff')]
        self.assertEqual([each for each in found if each[1] != 'brotli-11'], own)
        self.assertEqual([each for each in found if each[1] == 'brotli-11'],
                         [('p1', 'brotli-11'), ('p3', 'brotli-11')])
        self.assertIn('only pairs with new of at most 20,000 bytes: brotli-11',
                      run.read_notes(output))
        bench('run', table, '-o', output, '--faults', 0, '--peers', 'rdiff', '--only', 'p3')
        self.assertEqual({row['pair'] for row in run.read_rows(output)}, {'p3'})
        with self.assertRaisesRegex(SystemExit, 'no such pair: p9'):
            bench('run', table, '-o', output, '--only', 'p3,p9')

    def test_resume_keeps_rows(self):
        old, new = self.file('old', b'abc' * 900), self.file('new', b'abd' * 900)
        output = self.folder / 'r.tsv'
        words = ('run', old, new, '-o', output, '--faults', 0, '--peers')
        bench(*words, 'bsdiff', '--note', 'built today')
        self.assertIn('built today', run.read_notes(output))
        before = output.read_text()
        bench(*words, 'bsdiff,xz-9e', '--resume', '--note', 'only for a new table')
        after = output.read_text()
        self.assertTrue(after.startswith(before))
        self.assertEqual([row['peer'] for row in run.read_rows(output)],
                         ['tensorpatch', 'bsdiff', 'xz-9e'])


def safetensors(values, kind='F32', code='f'):
    header = ('{"w":{"dtype":"%s","shape":[%d],"data_offsets":[0,%d]}}' %
              (kind, len(values), len(values) * struct.calcsize(code))).encode()
    return struct.pack('<Q', len(header)) + header + struct.pack(f'<{len(values)}{code}', *values)


class Reference(Folder):
    def round_trip(self, old, new):
        os.environ['TENSORPATCH'] = PROGRAM
        sizes = {}
        old, new = self.file('old.safetensors', old), self.file('new.safetensors', new)
        for name, (diff, apply) in reference.METHODS.items():
            patch = diff(old, new)
            self.assertEqual(apply(old, patch), new.read_bytes(), name)
            sizes[name] = len(patch)
        return sizes

    def test_floats(self):
        random.seed(1)
        old = [random.gauss(0, 1) for _ in range(4000)]
        new = [value * (1 + random.gauss(0, 1e-5)) for value in old]
        sizes = self.round_trip(safetensors(old), safetensors(new))
        self.assertLess(sizes['fm-delta'], sizes['bitx'])
        self.assertLess(sizes['bitx'], 14000)

    def test_values_at_the_ends(self):
        ends = [0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, float('inf'), float('-inf')]
        self.round_trip(safetensors(ends), safetensors(ends[::-1]))
        self.round_trip(safetensors([0, 255] * 500, 'U8', 'B'),
                        safetensors([255, 0] * 500, 'U8', 'B'))

    def test_no_tensor_and_nothing(self):
        self.round_trip(b'some bytes', b'other bytes' * 50)
        self.round_trip(b'x', b'')

    def test_symbols_of_every_kind(self):
        random.seed(2)
        for symbols in ([], [0], [64] * 5000, [random.randrange(65) for _ in range(9000)],
                        [min(64, int(random.expovariate(0.3))) for _ in range(70000)]):
            data = reference.encode_symbols(symbols, 65)
            self.assertEqual(list(reference.decode_symbols(data, 65, len(symbols))), symbols)

    def test_raw_bits(self):
        random.seed(3)
        values = [(random.getrandbits(size), size) for size in
                  (random.randrange(33) for _ in range(3000))]
        bits = reference.RawBits()
        for value, size in values:
            bits.put(value, size)
        bits = reference.RawBits(bits.end())
        self.assertEqual([(bits.take(size), size) for _, size in values], values)


class Corpus(Folder):
    def fetch(self, digest):
        """A corpus of one pair in a wheel that the cache has."""
        wheel = self.folder / 'cache/pypi/made/1.0/made-1.0-py3-none-any.whl'
        wheel.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel, 'w') as zipped:
            zipped.writestr('made/a.onnx', b'old model')
            zipped.writestr('made/b.onnx', b'new model')
        row = {'id': 'made-1', 'group': 'lineage', 'family': 'made', 'format': 'onnx', 'kind': 'k',
               'old_package': 'pypi:made@1.0', 'old_member': 'made/a.onnx',
               'old_sha256': hashlib.sha256(b'old model').hexdigest(),
               'new_package': 'pypi:made@1.0', 'new_member': 'made/b.onnx', 'new_sha256': digest,
               'licence': 'MIT'}
        table = self.file('corpus.tsv', ('\t'.join(corpus.COLUMNS) + '\n' + '\t'.join(
            row[name] for name in corpus.COLUMNS) + '\n').encode())
        return bench('fetch', table, '-o', self.folder / 'out', '--cache', self.folder / 'cache')

    def test_members_become_pairs(self):
        code, _ = self.fetch(hashlib.sha256(b'new model').hexdigest())
        self.assertEqual(code, 0)
        pair, = pairs.load([self.folder / 'out/pairs.tsv'])
        self.assertEqual((pair.id, pair.old.read_bytes(), pair.new.read_bytes()),
                         ('made-1', b'old model', b'new model'))

    def test_another_digest_is_an_error(self):
        with self.assertRaisesRegex(SystemExit, 'another digest'):
            self.fetch('0' * 64)

    def test_corpora_of_the_repository(self):
        tables = sorted((support.ROOT / 'benchmarks' / 'corpus').glob('*.tsv'))
        rows = [row for path in tables for row in corpus.read_corpus(path)]
        self.assertGreaterEqual(len(rows), 40)
        self.assertGreaterEqual(len({row['family'] for row in rows}), 12)
        self.assertEqual(len({row['id'] for row in rows}), len(rows))
        for row in rows:
            self.assertEqual(list(row), corpus.COLUMNS)
            self.assertTrue(all(row.values()), row)
            self.assertIn(row['group'], ('lineage', 'scratch'), row)
            for side in ('old', 'new'):
                self.assertRegex(row[f'{side}_package'], '^(pypi|npm):@?[^@:]+@[0-9.]+$')
                self.assertRegex(row[f'{side}_sha256'], '^[0-9a-f]{64}$')
            self.assertNotEqual(row['old_sha256'], row['new_sha256'])


class Radio(Folder):
    def test_air_time_of_the_table_follows_from_the_formula(self):
        units = {unit.name: unit for unit in radio.load()}
        for name, spreading in (('lorawan-sf12', 12), ('lorawan-sf7', 7)):
            unit = units[name]
            self.assertAlmostEqual(unit.ms, radio.airtime_ms(unit.bytes + 13, spreading), 3)
        # By hand: (12.25 + 8 + 6 * 5) symbols of 4.096 ms.
        self.assertAlmostEqual(radio.airtime_ms(25, 9), 205.824, 3)

    def test_units_are_whole(self):
        unit = radio.Unit('link', 'x', 'X', 100, 50.0, 20.0, 's')
        self.assertEqual(unit.cost(0), (0.0, 0.0))
        self.assertEqual(unit.cost(1), unit.cost(100))
        self.assertEqual(unit.cost(101), (0.1, 2.0))

    def test_an_update_adds_up(self):
        units = [radio.Unit('link', 'l', 'L', 10, 1000.0, 5.0, 's'),
                 radio.Unit('apply', 'a', 'A', 100, 500.0, 2.0, 's'),
                 radio.Unit('flash', 'f', 'F', 100, 100.0, 10.0, 's')]
        one = radio.update(units, units[0], 25, 250, True)
        self.assertEqual((one.air, one.seconds), (3.0, 3.0 + 1.5 + 0.3))
        self.assertAlmostEqual(one.millijoules, 15.0 + 3.0 + 3.0)
        self.assertEqual(radio.update(units, units[0], 25, 250, False).seconds, 3.3)

    def test_each_figure_has_a_source(self):
        units = radio.load()
        self.assertTrue({'lorawan-sf12', 'nb-iot', 'lte-m', 'ble-1m', 'wifi'} <=
                        {unit.name for unit in units})
        self.assertTrue(all(len(unit.source) > 30 and unit.ms > 0 and unit.mw > 0
                            for unit in units))

    def test_inspect_estimates_the_same(self):
        key, bundle = self.folder / 'key', self.folder / 'bundle'
        for words in (['keygen', '-o', key],
                      ['pack', QUICKSTART / 'old.tflite', QUICKSTART / 'new.tflite', '-o', bundle,
                       '--key', key]):
            subprocess.run([PROGRAM, *words], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        said = subprocess.run([PROGRAM, 'inspect', bundle, '--json'], check=True,
                              stdout=subprocess.PIPE).stdout
        found = {link['name']: link for link in json.loads(said)['contract']['links']}
        units = radio.load()
        links = {unit.name: unit for unit in units if unit.kind == 'link'}
        self.assertEqual(found.keys(), links.keys())
        for name, link in links.items():
            here = radio.update(units, link, bundle.stat().st_size,
                                (QUICKSTART / 'new.tflite').stat().st_size, True)
            for ours, theirs in ((here.air * 1000, 'air_ms'), (here.seconds * 1000, 'time_ms'),
                                 (here.millijoules, 'energy_mj')):
                self.assertAlmostEqual(ours, found[name][theirs], delta=0.51)

    def test_saving_is_computed_from_results(self):
        table = support.table(self.folder / 'r.tsv', [
            support.row('p', 'tensorpatch', 'tensorpatch', 222, new_bytes=9999),
            support.row('p', 'xz-9e', 'full', 222 * 20), support.row('p', 'bsdiff', 'delta', 444)])
        _, said = bench('radio', table)
        self.assertIn('| fine-tuned | 1 | 95.0 % | 50.0 % |', said)


class Report(Folder):
    def load(self, rows):
        return report.load([support.table(self.folder / 'r.tsv', rows)])

    def test_best_is_a_tool_that_works_and_can_be_had(self):
        pair, = self.load([
            support.row('p', 'tensorpatch', 'tensorpatch', 300),
            support.row('p', 'bsdiff', 'delta', 400), support.row('p', 'xz-9e', 'full', 350),
            support.row('p', 'bitx', 'reference', 100),
            support.row('p', 'rdiff', 'delta', 10, status='WRONG: the result differs')])[0]
        self.assertEqual((pair.best, pair.ratio), ('xz-9e', 300 / 350))
        self.assertEqual(pair.failures, {'rdiff': 'WRONG: the result differs'})

    def test_means_wins_and_losses(self):
        rows = [support.row('p', 'tensorpatch', 'tensorpatch', 200),
                support.row('p', 'bsdiff', 'delta', 100),
                support.row('q', 'tensorpatch', 'tensorpatch', 100),
                support.row('q', 'bsdiff', 'delta', 800, flips='0/1/0/2')]
        text = report.markdown(*self.load(rows), 'T')
        self.assertIn('bundle / best other tool: 0.500 over all pairs', text)
        self.assertIn('| fine-tuned | 2 | 0.141 | 0.283 | 0.500 | 1 : 1 |', text)
        self.assertLess(text.index('| p |'), text.index('| q |'))
        self.assertIn('| bsdiff | 2 SILENT, 1 refused | - | - |', text)
        self.assertIn('best other below 4 KB | 2 | 0.500 | 0.125 | 2.000 | 1 : 1 |', text)

    def test_instructions_are_of_pairs_that_all_have(self):
        count = {'diff_minstr': '2.0', 'apply_minstr': '0.1'}
        rows = [support.row('p', 'tensorpatch', 'tensorpatch', 200, **count),
                support.row('p', 'bsdiff', 'delta', 100, **count),
                support.row('p', 'xz-9e', 'full', 100, diff_minstr='9.0'),
                support.row('q', 'bsdiff', 'delta', 800)]
        text = report.markdown(*self.load(rows), 'T')
        self.assertIn('over 1 pairs of 1,000 to 1,000 bytes', text)
        self.assertIn('| bsdiff | 2,000 | 100 | 2,000 | 100 |', text)
        self.assertNotIn('| xz-9e | 9,000', text)

    def test_beyond_the_overhead(self):
        def beyond(own, best):
            pair, = self.load([support.row('p', 'tensorpatch', 'tensorpatch', own),
                               support.row('p', 'bsdiff', 'delta', best)])[0]
            return pair.beyond
        self.assertFalse(beyond(1632, 1000))
        self.assertTrue(beyond(1633, 1000))

    def test_several_tables_are_one(self):
        one = support.table(self.folder / 'a.tsv', [support.row('p', 'tensorpatch', 'tensorpatch',
                                                                90)])
        two = support.table(self.folder / 'b.tsv', [support.row('p', 'bsdiff', 'delta', 100)])
        pair, = report.load([one, two])[0]
        self.assertEqual(pair.ratio, 0.9)

    def test_results_of_the_repository_are_whole(self):
        tables = sorted((support.ROOT / 'benchmarks' / 'results').glob('*.tsv'))
        self.assertTrue(tables)
        for path in tables:
            rows = run.read_rows(path)
            self.assertGreater(len(rows), 40, path)
            self.assertNotRegex(path.read_text(), r'/(home|work|tmp|root)/')
            self.assertFalse([row for row in rows if row['status'].startswith('WRONG')])


    def test_readme_has_the_results(self):
        self.assertIn(report.BEGIN + report.readme_text() + report.END, report.README.read_text(),
                      'scripts/bench readme')


class Micro(unittest.TestCase):
    def test_medians_and_rates(self):
        one = {'run_name': 'sort/8', 'aggregate_name': 'median', 'cpu_time': 2.5, 'time_unit': 'ms',
               'bytes_per_second': 3 * 2**20}
        other = {'run_name': 'code', 'aggregate_name': 'median', 'cpu_time': 999.0,
                 'time_unit': 'ns', 'items_per_second': 5e6}
        found = micro.rows_of({'benchmarks': [one, one | {'aggregate_name': 'mean'}, other]})
        self.assertEqual(list(found), [['`sort/8`', '2.5 ms', '3 MiB/s'],
                                       ['`code`', '999 ns', '5 M/s']])


class Gate(Folder):
    def test_growth_fails_and_shrinking_asks(self):
        self.assertEqual(gate.compare({'a\tlinux': 1000}, {'a\tlinux': 1008}), ([], 0))
        self.assertEqual(gate.compare({'a\tlinux': 1000}, {'a\tlinux': 900}), ([], 100))
        self.assertEqual(gate.compare({'a\tlinux': 1000}, {'a\tlinux': 1009})[0],
                         ['a linux: grew from 1000 to 1009 bytes'])
        self.assertEqual(gate.compare({'a\tlinux': 1}, {'b\tlinux': 1})[0],
                         ['b linux: not in the table'])

    def test_other_rows_stay(self):
        table = self.file('t.tsv', b'# head\na\tlinux\t5\nb\tlinux\t7\n')
        gate.write_rows({'b\tlinux': 6, 'aa\tlinux': 1}, table)
        self.assertEqual(table.read_text(), '# head\na\tlinux\t5\naa\tlinux\t1\nb\tlinux\t6\n')


if __name__ == '__main__':
    unittest.main()
