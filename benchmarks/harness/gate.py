# harness/gate.py: `bench gate`: what `pack` makes of testdata's pairs against benchmarks/sizes.tsv.
#
# The table holds patch streams; tests/delta/sizes_test.cc holds the library to it, and this the
# program: a patch that grew by more than half a percent and eight bytes fails, and so does a bundle
# with more around its patch than docs/FORMAT.md promises. Shrinking asks to write the rows anew
# with --update.
# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / 'benchmarks' / 'sizes.tsv'
PROFILES = ['linux', 'mcu-256k', 'mcu-64k', 'mcu-16k', 'mcu-8k']
FIXED, BLOCK = 560, 32  # bytes of a bundle beside its patch: once, and for each block


def measure(program, testdata=ROOT / 'testdata'):
    """({pair and profile: bytes of the patch}, what is around a patch and too large)"""
    sizes, findings = {}, []

    def call(*words):
        return subprocess.run([program, *words], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout
    with tempfile.TemporaryDirectory() as folder:
        key, bundle = f'{folder}/key', f'{folder}/bundle'
        call('keygen', '-o', key)
        for new in sorted(testdata.rglob('new.*')):
            for profile in PROFILES:
                call('pack', new.with_stem('old'), new, '-o', bundle, '--key', key, '--profile',
                     profile, '--force')
                facts = json.loads(call('inspect', bundle, '--json'))
                patch = facts['components'][0]['patch_size']
                name = f'{new.parent.relative_to(testdata)}\t{profile}'
                sizes[name] = patch
                blocks = -(-patch // facts['contract']['block_size'])
                if facts['bundle_size'] > patch + FIXED + BLOCK * blocks:
                    findings.append(f'{name}: {facts["bundle_size"] - patch} bytes around a patch '
                                    f'of {blocks} blocks'.replace('\t', ' '))
    return sizes, findings


def read_table(path=TABLE):
    rows = [line.rsplit('\t', 1) for line in path.read_text().splitlines()
            if not line.startswith('#')]
    return {key: int(size) for key, size in rows}


def write_rows(now, path=TABLE):
    """Other rows stay as they are, and all in order."""
    notes = [line for line in path.read_text().splitlines() if line.startswith('#')]
    rows = [f'{key}\t{size}' for key, size in sorted((read_table(path) | now).items())]
    path.write_text('\n'.join(notes + rows) + '\n')


def allowed(size):
    return size + max(8, size // 200)


def compare(before, now):
    """(findings that fail, bytes saved)"""
    findings, saved = [], 0
    for key, size in now.items():
        name = key.replace('\t', ' ')
        if key not in before:
            findings.append(f'{name}: not in the table')
        elif size > allowed(before[key]):
            findings.append(f'{name}: grew from {before[key]} to {size} bytes')
        else:
            saved += max(0, before[key] - size)
    return findings, saved


def run(options):
    now, around = measure(options.tensorpatch)
    if options.update:
        write_rows(now)
    findings, saved = compare(read_table(), now)
    for finding in around + findings:
        print(finding)
    if findings:
        print('if that is meant: scripts/bench gate --update, and review the difference')
    elif saved:
        print(f'patches shrank by {saved} bytes in all; keep that: scripts/bench gate --update')
    elif not around:
        print(f'{len(now)} bundles, none grew')
    return 1 if around or findings else 0
