# harness/gate.py: `bench gate`: bundle sizes of testdata's pairs against benchmarks/gate.tsv.
#
# Growth of more than half a percent and eight bytes fails; shrinking asks to write the table anew
# with --update. Patch streams of generated models are held by tests/delta/sizes_test.cc and
# benchmarks/sizes.tsv; this holds what the program writes.
# SPDX-License-Identifier: Apache-2.0
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / 'benchmarks' / 'gate.tsv'
HEAD = ('# Bytes of the bundle that pack writes, by folder of testdata and profile; '
        'see scripts/bench gate.\n')
PROFILES = ['linux', 'mcu-256k', 'mcu-64k', 'mcu-16k', 'mcu-8k']


def measure(program, testdata=ROOT / 'testdata'):
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, 'keygen', '-o', f'{folder}/key'], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for new in sorted(testdata.rglob('new.*')):
            for profile in PROFILES:
                bundle = pathlib.Path(folder, 'bundle')
                subprocess.run([program, 'pack', new.with_stem('old'), new, '-o', bundle, '--key',
                                f'{folder}/key', '--profile', profile, '--force'], check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                name = new.parent.relative_to(testdata)
                sizes[f'{name}\t{profile}'] = bundle.stat().st_size
    return sizes


def read_table(path=TABLE):
    rows = [line.rsplit('\t', 1) for line in path.read_text().splitlines()
            if not line.startswith('#')]
    return {key: int(size) for key, size in rows}


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
    findings += [f'{key}: only in the table'.replace('\t', ' ')
                 for key in before.keys() - now.keys()]
    return findings, saved


def run(options):
    now = measure(options.tensorpatch)
    if options.update:
        TABLE.write_text(HEAD + ''.join(f'{key}\t{size}\n' for key, size in now.items()))
    findings, saved = compare(read_table(), now)
    for finding in findings:
        print(finding)
    if findings:
        print('if that is meant: scripts/bench gate --update, and review the difference')
    elif saved:
        print(f'bundles shrank by {saved} bytes in all; keep that: scripts/bench gate --update')
    else:
        print(f'{len(now)} bundles, none grew')
    return 1 if findings else 0
