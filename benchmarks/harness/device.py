# harness/device.py: `bench device`: appliers on Cortex-M cores, counted by QEMU.
#
# Each core's build of examples/cortex_m runs on a board of QEMU's whose processor knows its
# instructions: M0+ code on a Cortex-M3, which has them all (the M0 of `microbit` has no timer that
# could count); with -icount an instruction is an instruction on each. Beside it HPatchLite with
# tinyuz (benchmarks/device/hpatchlite_apply.c), whose C source the package hdiffpatch carries;
# detools has an applier in C too, but no package of PyPI or Debian carries it.
# scripts/device_size, whose functions are used, makes the longer page of the Cortex-M4.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from harness import sources

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORES = [('cortex-m0plus', 'mps2-an385'), ('cortex-m4', 'mps2-an386'), ('cortex-m7', 'mps2-an500'),
         ('cortex-m33', 'mps2-an505')]
PROFILES = {'mcu-8k': 1 << 10, 'mcu-64k': 1 << 15}  # and bytes of tinyuz's dictionary beside them


def sizes_module():
    """scripts/device_size as a module: what builds, reads linker maps and prints tables."""
    path = str(ROOT / 'scripts' / 'device_size')
    loader = importlib.machinery.SourceFileLoader('device_size', path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('device_size', loader))
    loader.exec_module(module)
    return module


def find(pattern, text):
    return int(re.search(pattern, text)[1])


# --- one core -------------------------------------------------------------------------------------

def measure(sizes, folder, core, board, work):
    """(rows of bundles, row of code sizes, rows of HPatchLite) of one core."""
    build = str(folder / core)
    common = [f'-DTENSORPATCH_CPU={core}', f'-DTENSORPATCH_EXAMPLE_OLD={sizes.OLD}',
              f'-DTENSORPATCH_EXAMPLE_KEY={folder}/key.inc', f'-DTENSORPATCH_QEMU_BOARD={board}']
    sodium = folder / 'libsodium'
    if sodium.is_dir():
        common.append(f'-DTENSORPATCH_LIBSODIUM_SOURCE={sodium}')
    ours, others = [], []
    targets = ['cortex_m_apply', *(f'device_size_{name}' for name, _ in sizes.LINKED)]
    for profile, bundle, workspace, dictionary, patch in work.updates:
        definitions = [f'-DTENSORPATCH_EXAMPLE_BUNDLE={bundle}']
        if patch:
            definitions += [f'-DTENSORPATCH_HPATCHLITE_SOURCE={work.source}',
                            f'-DTENSORPATCH_HPATCHLITE_PATCH={patch}',
                            f'-DTENSORPATCH_HPATCHLITE_DICTIONARY={dictionary}']
        sizes.run('cmake', '--preset', 'cortex-m4', '-B', build, *definitions, *common)
        sizes.run('cmake', '--build', build, '--target', *targets,
                  *(['hpatchlite_apply'] if patch else []))
        if not sodium.is_dir():
            shutil.copytree(next(pathlib.Path(build).glob('**/portable_libsodium/source')), sodium)
        said = run_test(sizes, build, 'examples.cortex_m')
        total = find(r'thousand instructions.*: (\d+)', said)
        crypto = find(r'for hash and signature: (\d+)', said)
        ours.append((core, f'`{profile}`', bundle.stat().st_size, round(total / 1000),
                     round(total * 1000 / len(work.new)),
                     round((total - crypto) * 1000 / len(work.new)), workspace,
                     find(r'bytes of stack: (\d+)', said)))
        if patch:
            others.append((core, dictionary, *hpatchlite(sizes, build, work.new, patch)))
    code = [sizes.linked(build, name)[0] for name, _ in sizes.LINKED]
    return ours, (core, board, *code), others


def run_test(sizes, build, name):
    return sizes.run('ctest', '--test-dir', build, '-R', f'^{name}$', '-V')


def hpatchlite(sizes, build, new, patch):
    """Patch, million instructions, a byte, memory, stack, code; its result compared with new."""
    said = run_test(sizes, build, 'device.hpatchlite')
    if find(r'bytes of new: (\d+)', said) != len(new) or \
            find(r'sum of new: (\d+)', said) != sum_of(new):
        raise SystemExit('HPatchLite: the result differs from new')
    with open(f'{build}/hpatchlite_apply.map', encoding='utf-8') as file:
        entries = file.read().split('Linker script and memory map')[1]
    code = sum(int(size, 16) for size, path in sizes.MAP_ENTRY.findall(entries)
               if path.endswith(('hpatch_lite.c.obj', 'tuz_dec.c.obj')))
    thousands = find(r'thousand instructions: (\d+)', said)
    return (patch.stat().st_size, round(thousands / 1000), round(thousands * 1000 / len(new)),
            find(r'bytes of memory: (\d+)', said), find(r'bytes of stack: (\d+)', said), code)


# --- what is applied ------------------------------------------------------------------------------

def sum_of(data):
    total = 2166136261  # FNV-1a, as hpatchlite_apply.c has it
    for byte in data:
        total = (total ^ byte) * 16777619 & 0xFFFFFFFF
    return total


@dataclasses.dataclass
class Work:
    source: pathlib.Path | None  # of HPatchLite
    new: bytes
    updates: list  # (profile, bundle, workspace, dictionary, patch of HPatchLite or None)


def prepare(sizes, options, folder):
    """Bundles and patches, and the key as the example takes it."""
    def program(*words):
        return sizes.run(str(options.tensorpatch), *map(str, words), stderr=subprocess.DEVNULL)
    old, new = (pathlib.Path(path).read_bytes() for path in (sizes.OLD, sizes.NEW))
    source = None
    archive = (sources.fetch(sources.HDIFFPATCH, options.cache)
               if importlib.util.find_spec('hdiffpatch') else None)
    if archive is not None:
        source = sources.unpack(archive, folder / 'c')
    work = Work(source, new, [])
    program('keygen', '-o', folder / 'key')
    (folder / 'key.inc').write_text(program('pubkey', folder / 'key', '--format', 'c'))
    for profile, dictionary in PROFILES.items():
        bundle, patch = folder / f'{profile}.tpb', None
        program('pack', sizes.OLD, sizes.NEW, '-o', bundle, '--key', folder / 'key', '--profile',
                profile)
        facts = json.loads(program('inspect', bundle, '--json'))
        if source is not None:
            import hdiffpatch
            patch = folder / f'{dictionary}.hpatchlite'
            patch.write_bytes(hdiffpatch.diff_lite(
                old, new, compression=hdiffpatch.TuzConfig(dict_size=dictionary)))
        work.updates.append((profile, bundle, facts['contract']['workspace'], dictionary, patch))
    return work


# --- the page -------------------------------------------------------------------------------------

def run(options):
    sizes = sizes_module()
    updates, codes, others = [], [], []
    with tempfile.TemporaryDirectory() as name:
        work = prepare(sizes, options, pathlib.Path(name))
        for core, board in CORES:
            ours, code, theirs = measure(sizes, pathlib.Path(name), core, board, work)
            updates += ours
            codes.append(code)
            others += theirs
    print('# Appliers on Cortex-M cores\n')
    print('Made by `scripts/bench device`; counted by QEMU with -icount. An update of '
          f'`testdata/quickstart`\n({os.path.getsize(sizes.NEW):,} bytes), SHA-256 and Ed25519 by '
          'libsodium\'s portable C. *Without ports*: less what hash and\nsignature take, as on a '
          'device with a hash unit. The stack counts the example\'s callbacks and libsodium.\n')
    sizes.table(('core', 'profile', 'bundle', 'million instructions', 'a byte of new',
                 'a byte, without ports', 'workspace', 'bytes of stack'), *updates)
    print('Bytes of code that the linker keeps of the device library, by codecs in the table that '
          'is handed to init:\n')
    sizes.table(('core', 'board of QEMU', *(text for _, text in sizes.LINKED)), *codes)
    if not others:
        print('HPatchLite was left out: hdiffpatch is not installed, or its source was not there.')
        return 0
    print(f'HPatchLite with tinyuz, from the source of {" ".join(sources.HDIFFPATCH[:2])}, on the '
          'same update, to compare with *without ports*: it has\nno signature, no digest and no '
          'resume. Memory: its buffers and state. The result was compared with new.\n')
    sizes.table(('core', 'dictionary', 'patch', 'million instructions', 'a byte of new', 'memory',
                 'bytes of stack', 'bytes of code'), *others)
    return 0
