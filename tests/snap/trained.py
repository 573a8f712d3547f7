# trained.py: snaps networks that are really trained, packs them, and measures both.
#
# usage: trained.py TENSORPATCH [--table FILE]    all pairs; FILE gets the table of docs/SNAP.md
#        trained.py judge MODEL known|all         prints the loss of a model (for --eval)
# For each network and update of networks.py: the sizes of real bundles, lossless and on grids of
# 0.25, 1 and 2, and the metric on held-out data of the old task and of the update's. Checked are
# the sizes, that 0.25 changes nothing beyond the noise of the test set, and that a regression
# program keeps snap from a grid that an evaluation which looks at too little would let pass. Needs
# PyTorch and safetensors.
# SPDX-License-Identifier: Apache-2.0
import argparse
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

import networks

GRIDS = (0.25, 1, 2)
SEED = 1
MOST_LOST = 0.03  # nats
# What the evidence behind the method had on networks of these kinds (fp32, order-0 code lengths).
EVIDENCE = {
    'conv net, domain shift': '1.39x; 7.6x, 14x, 22x',
    'transformer, fine-tune': '1.55x; 8.1x, 16x, 27x',
    'transformer, new domain': '1.38x; 8.2x, 16x, 28x',
}


def call(program, *arguments):
    done = subprocess.run([program, *map(str, arguments), '--json'], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f'{arguments}: {done.stderr}')
    return json.loads(done.stdout)


def write(model, path, kind):
    save_file({name: (value.to(kind) if value.is_floating_point() else value).contiguous()
               for name, value in model.state_dict().items()}, path)


def read(network, path):
    model = network.fresh()
    state = load_file(path)
    model.load_state_dict({name: value.float() if value.is_floating_point() else value
                           for name, value in state.items()})
    return model.eval()


def pairs():
    """(network, update, task of old, task of new, old model, new model)"""
    for network in (networks.Chirps(SEED), networks.Language(SEED)):
        bases = {}
        for update, old_task, new_task, make in network.updates():
            key = repr(old_task)
            if key not in bases:
                bases[key] = network.base(**old_task)
            torch.manual_seed(SEED)
            yield (network, update, old_task, new_task, bases[key],
                   make(copy.deepcopy(bases[key])))


class Pair:
    def __init__(self, program, folder, pair, kind):
        self.program, self.folder, self.kind = program, folder, kind
        self.network, self.update, self.old_task, self.new_task, old, new = pair
        self.name = f'{self.network.name}, {self.update}'
        self.old, self.new = folder / 'old.safetensors', folder / 'new.safetensors'
        write(old, self.old, kind)
        write(new, self.new, kind)
        self.sizes, self.metrics = {}, {}
        self.full = self.new.stat().st_size
        self.measure('old', self.old)
        self.measure(None, self.new)
        for grid in GRIDS:
            call(program, 'snap', self.old, self.new, '-o', self.path(grid), '--grid', grid)
            self.measure(grid, self.path(grid))

    def path(self, grid):
        return self.folder / f'{grid}.safetensors'

    def measure(self, key, path):
        model = read(self.network, path)
        self.metrics[key] = [self.network.measure(model, task)
                             for task in (self.new_task, self.old_task)]
        if key != 'old':
            bundle = self.folder / f'{key}.tpb'
            report = call(self.program, 'pack', self.old, path, '-o', bundle)
            self.sizes[key] = report['bundle_size']

    def ratio(self, key):
        return self.full / self.sizes[key]

    def loss(self, key, task=0):
        """How much worse than the new model's a metric is, in per cent points."""
        return 100 * (self.metrics[None][task] - self.metrics[key][task])

    def row(self):
        def cell(key):
            return f'{self.ratio(key):.1f}x, {-self.loss(key):+.1f} / {-self.loss(key, 1):+.1f}'
        kind = {torch.float32: 'fp32', torch.bfloat16: 'bf16'}[self.kind]
        evidence = EVIDENCE.get(self.name, '') if self.kind == torch.float32 else ''
        return (f'| {self.name} | {kind} | {self.full:,} | {self.ratio(None):.2f}x | '
                f'{-self.loss("old"):+.1f} / {-self.loss("old", 1):+.1f} | '
                + ' | '.join(cell(grid) for grid in GRIDS) + f' | {evidence} |')


def check(pair, failures):
    def expect(holds, words):
        if not holds:
            failures.append(f'{pair.name}, {pair.kind}: {words}')
    bits = 32 if pair.kind == torch.float32 else 16
    if pair.update != 'merged LoRA':  # whose structure the coder finds without any loss
        # The conv net has 17,000 weights: its vectors and the bundle's head weigh.
        for grid, least in zip(GRIDS, (6, 9, 10.5) if 'conv' in pair.name else (7, 13, 20)):
            expect(pair.ratio(grid) > bits / 32 * least,
                   f'only {pair.ratio(grid):.1f}x on a grid of {grid}')
    for task in (0, 1):
        expect(abs(pair.loss(0.25, task)) < 1.5, f'{pair.loss(0.25, task):.2f} points lost')


def regression_matters(program, folder, failures):
    """Judged by the letters that the old model knew, and by all letters as well."""
    me = f'{sys.executable} {pathlib.Path(__file__).resolve()} judge {{model}}'
    old, new = folder / 'old.safetensors', folder / 'new.safetensors'
    common = ['snap', old, new, '--lower-is-better', '--max-drop', MOST_LOST,
              '--cache', folder / 'cache', '--eval', f'{me} known']
    alone = call(program, *common, '-o', folder / 'alone.safetensors')
    both = call(program, *common, '-o', folder / 'both.safetensors', '--regression', f'{me} all')
    losses = [judge(folder / f'{name}.safetensors', 'all') for name in ('new', 'alone', 'both')]
    print(f'known letters alone: grid {alone["grid"]}, loss on all letters {losses[0]:.3f} -> '
          f'{losses[1]:.3f}; with all letters: grid {both["grid"]}, {losses[2]:.3f}', flush=True)
    if not both['grid'] < alone['grid']:
        failures.append(f'the regression program changed nothing: {alone["grid"]} {both["grid"]}')
    if losses[1] - losses[0] <= MOST_LOST or losses[2] - losses[0] > MOST_LOST:
        failures.append(f'losses on all letters: {losses}')
    return alone['grid'], both['grid'], losses


def judge(path, task):
    network = networks.Language(SEED)
    return network.loss(read(network, path), {'letters': 20} if task == 'known' else {})


def main():
    if sys.argv[1:2] == ['judge']:
        print(judge(sys.argv[2], sys.argv[3]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument('program')
    parser.add_argument('--table', type=pathlib.Path)
    options = parser.parse_args()
    failures, rows = [], []
    with tempfile.TemporaryDirectory() as top:
        for i, pair in enumerate(pairs()):
            for kind in (torch.float32, torch.bfloat16):
                folder = pathlib.Path(top) / f'{i}-{kind}'
                folder.mkdir()
                made = Pair(options.program, folder, pair, kind)
                check(made, failures)
                rows.append(made.row())
                print(rows[-1], flush=True)
                if made.name == 'transformer, added letters' and kind == torch.float32:
                    caught = regression_matters(options.program, folder, failures)
    if options.table:
        write_table(options.table, rows, caught)
    print('\n'.join(failures) or 'all as expected')
    sys.exit(1 if failures else 0)


def write_table(path, rows, caught):
    alone, both, losses = caught
    text = f"""# Snapped models: sizes and accuracy

`scripts/test --snap` trains these networks and measures them (seed {SEED}, PyTorch
{torch.__version__}); this file is made by
`tests/snap/trained.py build/release/bin/tensorpatch --table {path}`.

Sizes are of real bundles with the default profile, unsigned, against the model file; lossless is
the bundle of the new model as it was trained. Behind each size: points of accuracy on held-out
data, gained or lost against the new model, on the update's task / on the old task. *Keep old* is
what not shipping would cost. The last column is the evidence on which the method was built:
networks of the same kinds, order-0 code lengths of the weights alone; lossless, then grids of 0.25,
1 and 2.

| pair | type | bytes | lossless | keep old | grid 0.25 | grid 1 | grid 2 | evidence |
|---|---|---|---|---|---|---|---|---|
""" + '\n'.join(rows) + f"""

A regression program matters (transformer, added letters, fp32, at most {MOST_LOST} nats lost):
judged by the letters that the old model knew alone, the search takes a grid of {alone:g}, and the
loss on all letters goes from {losses[0]:.3f} to {losses[1]:.3f} nats; with all letters as the
regression program it takes {both:g}, with {losses[2]:.3f}.
"""
    path.write_text(text)


if __name__ == '__main__':
    main()
