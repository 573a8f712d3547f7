# harness/ablation.py: `bench ablation`: what each predictor and each context of the coder is worth.
#
# Takes pairs of files, best those of `bench train`, which have every kind of update. Copies the
# tree, takes one thing after another out of its sources, builds that and packs the pairs: pack's
# own check makes sure that each variant still decodes what it encodes. An edit that finds nothing
# to change is an error, so that the table cannot go stale unnoticed.
# SPDX-License-Identifier: Apache-2.0
import csv
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTS = ['CMakeLists.txt', 'CMakePresets.json', 'cmake', 'lib', 'schemas', 'tools']

PLAN, PREDICTORS = 'lib/delta/plan.cc', 'lib/delta/predictors.cc'
VALUES, BYTES = 'lib/apply/value_model.h', 'lib/apply/byte_model.h'


def slots_off(*numbers):
    """Contexts of bytes become the first one, which only knows the place in a word."""
    return [(BYTES, rf'slots\[{number}\] =\s[^;]*;', f'slots[{number}] = slots[0];')
            for number in numbers]


# Name; edits (file, pattern, replacement) or nothing; limits of the profile.
VARIANTS = [
    ('**Predictors**', None, {}),
    ('no gains, no low ranks', [(PLAN, r'fit_rows\(values_of\(piece\), 1u << column_log2\)',
                                 'std::vector<RowsFit>{}')], {}),
    ('no low ranks', [(PREDICTORS, r'if \(fits == 0 \|\| !may_be_low_rank\(matrix, update\)\)',
                       'if (true)')], {}),
    ('no zero map', [(PLAN, r'if \(grows_zeros\(piece\)\)', 'if (false)')], {}),
    ('no grid', [(PLAN, r'coding\.grid = find_grid\(values_of\(piece\)\);', '')], {}),
    ('no lattice', [(PLAN, r'coding\.lattice = find_lattice\(values_of\(piece\)\);', ''),
                    (PLAN, r'if \(!has_steps_by_row\(piece\)\)', 'if (true)')], {}),
    ('no products (scales of biases)', [(PLAN, r'add_products\(piece, specials\);', '')], {}),
    ('no fields of quantised blocks', [(PLAN, r'if \(piece\.record\.count != 0 &&',
                                        'if (false &&')], {}),
    ('no values by themselves', [
        (PLAN, r'\|\| \(by_itself && piece\.size >= kTiny\)', '')], {}),
    ('no values at all', [(PLAN, r'return delta::values_allowed\(options_\);', 'return false;')],
     {}),
    ('no bytes at all', [], {'codecs': ['values'], 'zstd_window': 0}),
    ('**Contexts of values**', None, {}),
    ('level S: one context each', [], {'value_level': 'S'}),
    ('without the second context', [(VALUES, r'cells \+ second', 'cells + first')], {}),
    ('without the third context', [(VALUES, r'cells \+ third', 'cells + first')], {}),
    ('one set of weights', [(VALUES, r'weight_set \* 3', 'weight_set * 0')], {}),
    ('no known low zero bits', [(VALUES, r'\.tail = 255;', '.tail = 0;')], {}),
    ('no row above', [(PLAN, r'operation\.row_bytes = row_of\(piece, coding\);', '')], {}),
    ('one slot for all tensors', [], {'value_slots': 1}),
    ('**Contexts of bytes**', None, {}),
    ('no order above 1', slots_off(2, 3, 5, 6), {}),
    ('no old byte, no byte above', slots_off(4), {}),
    ('no bytes 2 and 3, nor since the anchor', slots_off(7), {}),
    ('no aligned words', slots_off(8), {}),
    ('no match as a context', slots_off(9, 10), {}),
    ('no match table', [], {'match_entries': 0}),
    ('1,024 cells', [], {'byte_cells': 1024}),
    ('no structures of four bytes', [
        (PLAN, r'return bytes_allowed\(\) && options_\.limits\.byte_cells_log2 >= kStrongCells;',
         'return false;')], {}),
    ('no whole files that learn old', [
        (PLAN, r'\n  return \{?all\}?;\n\}', '\n  all.clear();\n  return all;\n}')], {}),
]


def copy_tree(folder):
    for part in PARTS:
        source = os.path.join(ROOT, part)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(folder, part))
        else:
            shutil.copy(source, folder)


def build(folder):
    """Configures at the first call; the program."""
    made = os.path.join(folder, 'build')
    if not os.path.exists(made):
        subprocess.run(['cmake', '-S', folder, '-B', made, '-G', 'Ninja',
                        '-DCMAKE_BUILD_TYPE=Release'], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(['cmake', '--build', made, '--target', 'tensorpatch'], check=True,
                   stdout=subprocess.DEVNULL)
    return os.path.join(made, 'bin', 'tensorpatch')


def edit(folder, edits):
    """Changes the sources; what they were."""
    before = {}
    for name, pattern, replacement in edits:
        path = os.path.join(folder, name)
        with open(path, encoding='utf-8') as file:
            text = file.read()
        before.setdefault(path, text)
        changed, count = re.subn(pattern, lambda _: replacement, text)
        if count == 0:
            sys.exit(f'{name} has nothing like {pattern}')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(changed)
    return before


def restore(before):
    for path, text in before.items():
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)


def read_pairs(paths):
    pairs = []
    for path in paths:
        folder = os.path.dirname(os.path.abspath(path))
        with open(path, encoding='utf-8', newline='') as file:
            for row in csv.DictReader(file, delimiter='\t'):
                kind = row['format'].split('.')[0] if row['group'] != 'scratch' else 'from scratch'
                pairs.append((kind, os.path.join(folder, row['old']),
                              os.path.join(folder, row['new'])))
    return pairs


def quantised_floats(folder):
    """A pair that no public source has: int8 values that training stored as float32, by rows."""
    rows, width, seed = 64, 256, 1
    header = ('{"w":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,%d]}}'
              % (rows, width, 4 * rows * width))
    header += ' ' * (-len(header) % 8)
    bodies = [bytearray(), bytearray()]
    for i in range(rows * width):
        seed = (seed * 1103515245 + 12345) % (1 << 31)
        number = (seed >> 16) % 101 - 50
        moved = number + (1 if seed >> 24 & 3 == 0 else 0)
        for body, value, largest in zip(bodies, (number, moved), (0.5, 0.51)):
            step, = struct.unpack('<f', struct.pack('<f', largest / (i // width + 3)))
            body += struct.pack('<f', value * step)
    paths = [os.path.join(folder, f'floats.{version}') for version in ('old', 'new')]
    for path, body in zip(paths, bodies):
        with open(path, 'wb') as file:
            file.write(struct.pack('<Q', len(header)) + header.encode() + body)
    return ('floats of integers', *paths)


def snapped(folder, program, pairs):
    """The first float32 fine-tune on a grid around its old model."""
    old, new = next((o, n) for kind, o, n in pairs if kind == 'f32' and 'adam-0.001' in n)
    made = os.path.join(folder, 'snapped.' + new.rsplit('.', 1)[1])
    subprocess.run([program, 'snap', old, new, '-o', made, '--grid', '0.25'], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return ('snapped', old, made)


def profile_file(folder, limits):
    if not limits:
        return 'linux'
    path = os.path.join(folder, 'profile.json')
    with open(path, 'w', encoding='utf-8') as file:
        json.dump({'name': 'ablated', 'like': 'linux', **limits}, file)
    return path


def sizes(folder, program, pairs, limits):
    """By kind: the bundles' sizes."""
    found = {}
    bundle = os.path.join(folder, 'bundle')
    profile = profile_file(folder, limits)
    for kind, old, new in pairs:
        subprocess.run([program, 'pack', old, new, '-o', bundle, '--force', '--profile', profile],
                       check=True, stdout=subprocess.DEVNULL)
        found.setdefault(kind, []).append(os.path.getsize(bundle))
    return found


def growth(whole, part):
    """Percent by which bundles grow, as a geometric mean."""
    logs = [math.log(b / a) for a, b in zip(whole, part, strict=True)]
    return 100 * math.expm1(sum(logs) / len(logs))


def shown(percent):
    return '' if abs(percent) < 0.05 else f'{percent:+.1f}'


def run(options):
    with tempfile.TemporaryDirectory() as folder:
        copy_tree(folder)
        program = os.path.join(folder, 'whole')
        shutil.copy(build(folder), program)
        pairs = read_pairs(options.pairs)
        pairs += [snapped(folder, program, pairs), quantised_floats(folder)]
        whole = sizes(folder, program, pairs, {})
        kinds = sorted(whole, key=lambda kind: -len(whole[kind]))
        print('| without | ' + ' | '.join(kinds) + ' | all |')
        print('|---' + '|--:' * (len(kinds) + 1) + '|')
        print('| (pairs) | ' + ' | '.join(str(len(whole[kind])) for kind in kinds) +
              f' | {len(pairs)} |', flush=True)
        for name, edits, limits in VARIANTS:
            if edits is None:
                print(f'| {name} |' + ' |' * (len(kinds) + 1), flush=True)
                continue
            before = edit(folder, edits)
            part = sizes(folder, build(folder) if edits else program, pairs, limits)
            restore(before)
            cells = [shown(growth(whole[kind], part[kind])) for kind in kinds]
            every = growth(sum((whole[k] for k in kinds), []), sum((part[k] for k in kinds), []))
            print(f'| {name} | ' + ' | '.join(cells) + f' | {shown(every)} |', flush=True)
    return 0
