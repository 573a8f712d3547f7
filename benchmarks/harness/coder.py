# harness/coder.py: `bench coder`: bundles against what a coder of model updates must reach.
#
# The bounds are shares of another tool's result, by kind of update and type of values: what an
# early prototype of this coder reached, with some room. Ours are whole bundles, signed, by profile
# linux. How many values are equal decides between two rows and is counted here.
# SPDX-License-Identifier: Apache-2.0
import csv
import pathlib

from harness.report import load, mean, table

WIDTHS = {'int8': 1, 'bf16': 2, 'f16': 2, 'f32': 4, 'onnx': 4}
FINE_TUNES = ('ft_', 'fine-tuned', 'domain', 'addclass', 'qat', 'sgd')


def values_of(format):
    """The type of the values: how a format begins or ends."""
    return next((name for name in WIDTHS if name in format), format)


def equal_share(old, new, width):
    """Of values, where both files have the same size."""
    a, b = pathlib.Path(old).read_bytes(), pathlib.Path(new).read_bytes()
    if len(a) != len(b):
        return None
    count = len(a) // width
    same = sum(a[i:i + width] == b[i:i + width] for i in range(0, count * width, width))
    return same / count


class Update:
    """A pair's results and what is known of its files."""

    def __init__(self, pair, paths):
        self.pair, self.kind = pair, pair.kind.lower()
        self.type = values_of(pair.format)
        self.equal = equal_share(*paths, WIDTHS.get(self.type, 1))

    def is_fine_tune(self):
        return self.kind.startswith(FINE_TUNES)

    def is_norm(self):
        return 'bn' in self.kind or 'batch norm' in self.kind

    def is_equal(self, low, high):
        return self.equal is not None and low <= self.equal <= high

    def share_of(self, peers):
        """Of the smallest of these peers' results."""
        sizes = [size for size in map(self.pair.size, peers) if size]
        return self.pair.size('tensorpatch') / min(sizes) if sizes else None


BEST = ('bsdiff', 'zstd-22-patch', 'xz-9e')
ROWS = [  # kind; which updates; peers; bound; prototype
    ('int8, 35 to 50 % of the bytes equal',
     lambda u: u.type == 'int8' and u.is_fine_tune() and u.is_equal(.35, .5),
     ('bsdiff', 'zstd-22-patch'), .40, '0.32-0.37'),
    ('int8, fewer', lambda u: u.type == 'int8' and u.is_fine_tune() and u.is_equal(0, .35),
     ('bsdiff', 'zstd-22-patch'), None, ''),
    ('int8, 70 to 92 % equal', lambda u: u.type == 'int8' and u.is_equal(.70, .92),
     ('bsdiff',), .85, '0.77-0.81'),
    ('bf16, dense', lambda u: u.type == 'bf16' and u.is_fine_tune() and u.is_equal(0, .88),
     ('fm-delta',), .87, '0.47-0.87'),
    ('bf16, dense', lambda u: u.type == 'bf16' and u.is_fine_tune() and u.is_equal(0, .88),
     ('bitx',), .84, '0.45-0.84'),
    ('bf16, 88 to 97 % equal', lambda u: u.type == 'bf16' and u.is_equal(.88, .97),
     ('bsdiff',), .62, '0.58-0.60'),
    ('Q4_0 blocks', lambda u: u.type == 'q4_0.gguf' and u.pair.group != 'scratch', ('bsdiff',), .72,
     '0.32-0.71'),
    ('merged LoRA, bf16', lambda u: u.type == 'bf16' and 'lora' in u.kind, ('fm-delta',), .35,
     '0.30'),
    ('merged LoRA, fp32', lambda u: u.type == 'onnx' and 'lora' in u.kind, ('fm-delta',), .20,
     '0.135'),
    ('fp32, dense', lambda u: u.type in ('f32', 'onnx') and u.is_fine_tune(), ('fm-delta',), .96,
     '0.86-0.95'),
    ('fp32, dense', lambda u: u.type in ('f32', 'onnx') and u.is_fine_tune(), ('bsdiff',), .79, ''),
    ('fp32, BN re-estimated', lambda u: u.type in ('f32', 'onnx') and u.is_norm(),
     ('fm-delta',), .15, '0.11'),
    ('newly pruned', lambda u: 'prune' in u.kind, ('bsdiff', 'zstd-22-patch'), .55, '0.42-0.6'),
    ('from scratch', lambda u: u.pair.group == 'scratch', BEST, .94, '0.92-0.95'),
]


def row_of(updates, name, belongs, peers, bound, prototype):
    limit = f'{bound:.2f}' if bound else ''
    shares = [share for u in updates if belongs(u) and (share := u.share_of(peers))]
    if not shares:
        return [name, '0', ' or '.join(peers), limit, prototype, '-', '-']
    worst = f'{min(shares):.2f}-{max(shares):.2f}'
    return [name, str(len(shares)), ' or '.join(peers), limit, prototype,
            f'{mean(shares):.3f}', worst]


def run(options):
    with open(options.pairs, encoding='utf-8', newline='') as file:
        paths = {row['id']: [options.pairs.parent / row[side] for side in ('old', 'new')]
                 for row in csv.DictReader(file, delimiter='\t')}
    pairs, notes = load([options.results])
    updates = [Update(pair, paths[pair.id]) for pair in pairs]
    print('\n'.join(f'- {note}' for note in notes))
    print()
    head = ['kind', 'pairs', 'of', 'bound', 'prototype', 'bundle (mean)', 'from-to']
    print('\n'.join(table(head, [row_of(updates, *row) for row in ROWS])))
    return 0
