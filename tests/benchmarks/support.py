# tests/benchmarks/support.py: finds the harness, and makes small results.
# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))


def row(pair, peer, role, size, **more):
    """One row of a table of results."""
    from harness import run
    cells = {'pair': pair, 'group': 'lineage', 'family': 'f', 'format': 'raw', 'kind': 'fine-tuned',
             'old_bytes': 1000, 'new_bytes': 1000, 'peer': peer, 'role': role, 'status': 'ok',
             'patch_bytes': size, 'diff_cpu': '0.10', 'diff_wall': '0.10', 'diff_peak_kib': 2048,
             'apply_cpu': '0.01', 'apply_wall': '0.01', 'apply_peak_kib': 1024} | more
    return '\t'.join(str(cells.get(name, '')) for name in run.COLUMNS)


def table(path, rows, notes=('machine: a test',)):
    from harness import run
    text = [f'# {note}' for note in notes] + ['\t'.join(run.COLUMNS), *rows]
    path.write_text('\n'.join(text) + '\n')
    return path
