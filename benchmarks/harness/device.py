# harness/device.py: `bench device`: the applier on Cortex-M cores, counted by QEMU.
#
# Each core's build runs on a board of QEMU's whose processor knows its instructions: M0+ code on a
# Cortex-M3, which has them all; with -icount an instruction is an instruction on each. QEMU 7.2
# has no board with the M33 and the memory of the linker script: for it only the code is measured.
# scripts/device_size, whose functions are used, makes the longer page of the Cortex-M4.
# SPDX-License-Identifier: Apache-2.0
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import shutil
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORES = [('cortex-m0plus', 'mps2-an385'), ('cortex-m4', 'mps2-an386'), ('cortex-m7', 'mps2-an500'),
         ('cortex-m33', None)]
PROFILES = ['mcu-8k', 'mcu-64k']


def sizes_module():
    """scripts/device_size as a module: what builds, reads linker maps and prints tables."""
    path = str(ROOT / 'scripts' / 'device_size')
    loader = importlib.machinery.SourceFileLoader('device_size', path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('device_size', loader))
    loader.exec_module(module)
    return module


def find(pattern, text):
    return int(re.search(pattern, text)[1])


def measure(sizes, folder, core, board, bundles, sodium):
    """(rows of updates, row of code sizes) of one core."""
    build = folder / core
    common = [f'-DTENSORPATCH_CPU={core}', f'-DTENSORPATCH_EXAMPLE_OLD={sizes.OLD}',
              f'-DTENSORPATCH_EXAMPLE_KEY={folder}/key.inc',
              f'-DTENSORPATCH_QEMU_BOARD={board or "mps2-an386"}']
    if sodium.is_dir():
        common.append(f'-DTENSORPATCH_LIBSODIUM_SOURCE={sodium}')
    updates = []
    for profile, bundle in bundles.items():
        sizes.build(str(build), f'-DTENSORPATCH_EXAMPLE_BUNDLE={bundle}', *common)
        if not sodium.is_dir():
            shutil.copytree(build / 'examples/cortex_m/libsodium', sodium)
        if board is None:
            continue
        said = sizes.run('ctest', '--test-dir', str(build), '-R', 'examples.cortex_m', '-V')
        total = find(r'thousand instructions.*: (\d+)', said)
        crypto = find(r'for hash and signature: (\d+)', said)
        new = os.path.getsize(sizes.NEW)
        updates.append((core, f'`{profile}`', os.path.getsize(bundle), round(total / 1000),
                        round(total * 1000 / new), round((total - crypto) * 1000 / new),
                        find(r'bytes of stack: (\d+)', said)))
    code = [sizes.linked(str(build), name)[0] for name, _ in sizes.LINKED]
    return updates, (core, board or '-', *code)


def run(options):
    sizes = sizes_module()
    updates, codes = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        program = str(options.tensorpatch)
        sizes.run(program, 'keygen', '-o', f'{folder}/key', stderr=-3)
        (folder / 'key.inc').write_text(
            sizes.run(program, 'pubkey', f'{folder}/key', '--format', 'c', stderr=-3))
        bundles = {profile: folder / f'{profile}.tpb' for profile in PROFILES}
        for profile, bundle in bundles.items():
            sizes.run(program, 'pack', sizes.OLD, sizes.NEW, '-o', str(bundle), '--key',
                      f'{folder}/key', '--profile', profile)
        for core, board in CORES:
            rows, code = measure(sizes, folder, core, board, bundles, folder / 'libsodium')
            updates += rows
            codes.append(code)
    print('# The applier on Cortex-M cores\n')
    print('Made by `scripts/bench device`; counted by QEMU with -icount. An update of '
          '`testdata/quickstart`\n(114,448 bytes), SHA-256 and Ed25519 by libsodium\'s portable '
          'C. *Without ports*: less what hash and\nsignature take, as on a device with a hash '
          'unit.\n')
    sizes.table(('core', 'profile', 'bundle', 'million instructions', 'a byte of new',
                 'a byte, without ports', 'bytes of stack'), *updates)
    print('Bytes of code that the linker keeps of the device library, by codecs in the table that '
          'is handed to init:\n')
    sizes.table(('core', 'board of QEMU', *(name for _, name in sizes.LINKED)), *codes)
    return 0
